//! `countersign stop --agent`: one agent is stopped, and no other, until a human
//! lets it go on.

use crate::{BEATS, ends, is_silent, run, status, timeline, until_it_beats};
use countersign_testkit::scene::said;
use countersign_testkit::{Group, Hierarchy, Scene};

const READ: &str = "curl -sS --max-time 20 -w ' status=%{http_code}\\n' 'https://gmail.googleapis.com/gmail/v1/users/me/messages?maxResults=3'";

/// A scene with a second agent.
fn scene() -> Scene {
    let mut scene = Scene::start(3).unwrap();
    let config = scene.read_config().unwrap();
    let text = format!("[agents.other-bot]\naccounts = [\"mail\"]\n\n{config}");
    scene.accept(&text).unwrap();
    scene
}

fn works(scene: &Scene, agent: &str) -> (Option<i32>, String) {
    let output = run(scene, None, agent, &["sh", "-c", READ]);
    let output = output.wait_with_output().unwrap();
    (output.status.code(), said(&output))
}

#[test]
fn one_agent_is_stopped_with_its_runs_and_questions_and_no_other_is() {
    let mut scene = scene();
    let group = Group::make(Hierarchy::V2, scene.desktop.person()).unwrap();
    let from = scene.authority.screen().len();
    let trash = "curl -sS --max-time 30 -X POST https://gmail.googleapis.com/gmail/v1/users/me/messages/x/trash";
    let script = format!("({BEATS}) & {trash}; sleep 60");
    let stopped = run(&scene, Some(&group), "inbox-bot", &["sh", "-c", &script]);
    scene.authority.wait_for("Approve? [y/N] ", from).unwrap();
    until_it_beats(&scene);
    let told = ends(
        &scene,
        &["stop", "--agent", "inbox-bot", "--reason", "enough"],
        0,
    );
    assert!(
        told.contains("inbox-bot is stopped, with 1 run(s)"),
        "{told}"
    );
    assert!(is_silent(&scene));
    let now = status(&scene);
    assert!(now["stopped"].is_null(), "{now}");
    assert_eq!(now["stopped_agents"][0]["agent"], "inbox-bot", "{now}");
    assert_eq!(now["waiting"], 0, "{now}");
    assert_eq!(now["runs"][0]["standing"], "frozen", "{now}");

    let (code, told) = works(&scene, "other-bot");
    assert!(code == Some(0) && told.contains("status=200"), "{told}");
    assert_eq!(works(&scene, "inbox-bot").0, Some(6), "no new run of it");

    // A second press kills it; it stays stopped.
    ends(&scene, &["stop", "--agent", "inbox-bot"], 0);
    assert_eq!(stopped.wait_with_output().unwrap().status.code(), Some(6));
    assert_eq!(works(&scene, "inbox-bot").0, Some(6));
    let asked = scene.confirm(&["resume", "--agent", "inbox-bot"]).unwrap();
    assert!(asked.contains("Let inbox-bot go on"), "{asked}");
    let (code, told) = works(&scene, "inbox-bot");
    assert!(code == Some(0) && told.contains("status=200"), "{told}");
    let trail = timeline(&scene);
    for expected in [
        "inbox-bot stopped by command: “enough”",
        "inbox-bot may go on (terminal)",
    ] {
        assert!(trail.contains(expected), "{expected}: {trail}");
    }
}

#[test]
fn resuming_one_agent_thaws_its_run() {
    let mut scene = scene();
    let group = Group::make(Hierarchy::V2, scene.desktop.person()).unwrap();
    let mut agent = run(&scene, Some(&group), "inbox-bot", &["sh", "-c", BEATS]);
    until_it_beats(&scene);
    ends(&scene, &["stop", "--agent", "inbox-bot"], 0);
    assert!(is_silent(&scene));
    // The stop of all, lifted, does not let it go on.
    ends(&scene, &["stop"], 0);
    scene.confirm(&["resume"]).unwrap();
    assert!(is_silent(&scene));
    assert_eq!(works(&scene, "inbox-bot").0, Some(6));
    scene.confirm(&["resume", "--agent", "inbox-bot"]).unwrap();
    until_it_beats(&scene);
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn a_stopped_agent_is_stopped_after_a_restart_and_after_a_crash() {
    let mut scene = scene();
    ends(&scene, &["stop", "--agent", "inbox-bot"], 0);
    scene.authority.kill().unwrap();
    scene.start_again().unwrap();
    let now = status(&scene);
    assert_eq!(now["stopped_agents"][0]["agent"], "inbox-bot", "{now}");
    assert_eq!(works(&scene, "inbox-bot").0, Some(6));
    assert_eq!(works(&scene, "other-bot").0, Some(0));
    // The file that says so was removed: the trail knows.
    scene.shut_down().unwrap();
    std::fs::remove_file(scene.state().join("stopped-agents")).unwrap();
    scene.start_again().unwrap();
    assert_eq!(works(&scene, "inbox-bot").0, Some(6));
    // It cannot be read: everything is stopped.
    scene.shut_down().unwrap();
    let garbled = scene.state().join("stopped-agents");
    scene.desktop.person().write(&garbled, "?").unwrap();
    scene.start_again().unwrap();
    assert!(!status(&scene)["stopped"].is_null());
    assert_eq!(works(&scene, "other-bot").0, Some(6));
}
