//! With a freezer the first press freezes, and a human can let it go on; without
//! one it kills at once. Which of them it is stands in `status` beforehand.

use crate::{BEATS, beats, ends, is_silent, run, soon, status, timeline, until_it_beats};
use countersign_testkit::scene::said;
use countersign_testkit::{Group, Hierarchy, Scene};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Child;

const HIERARCHIES: [(Hierarchy, &str); 2] = [
    (Hierarchy::V2, "freeze-v2"),
    (Hierarchy::V1Freezer, "freeze-v1"),
];

fn frozen(scene: &Scene) -> bool {
    status(scene)["runs"][0]["standing"] == "frozen"
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn the_first_press_freezes_and_resuming_goes_on_as_another_run() {
    for (hierarchy, means) in HIERARCHIES {
        let mut scene = Scene::start(3).unwrap();
        let group = Group::make(hierarchy, scene.desktop.person()).unwrap();
        // It asks for something, is frozen while it waits, and asks again.
        let script = format!(
            "({BEATS}) & curl -sS --max-time 30 -X POST -w ' status=%{{http_code}}' \
             https://gmail.googleapis.com/gmail/v1/users/me/messages/x/trash > first 2>&1; \
             curl -sS -w ' status=%{{http_code}}' 'https://gmail.googleapis.com/gmail/v1/users/me/messages?maxResults=3'; \
             until [ -e go ]; do sleep 0.05; done"
        );
        let from = scene.authority.screen().len();
        let agent = run(&scene, Some(&group), "inbox-bot", &["sh", "-c", &script]);
        scene.authority.wait_for("Approve? [y/N] ", from).unwrap();
        until_it_beats(&scene);
        let before = status(&scene);
        assert_eq!(before["runs"][0]["stop"], means, "{before}");
        let words = ends(&scene, &["ps"], 0);
        assert!(words.contains("the first stop freezes it"), "{words}");

        let told = ends(&scene, &["stop"], 0);
        assert!(told.contains("1 run(s) are frozen"), "{told}");
        assert!(frozen(&scene) && is_silent(&scene));
        assert_eq!(status(&scene)["waiting"], 0, "its question is answered");

        scene.confirm(&["resume"]).unwrap();
        until_it_beats(&scene);
        let after = status(&scene);
        assert_eq!(after["runs"][0]["standing"], "runs", "{after}");
        let (old, new) = (&before["runs"][0]["run"], &after["runs"][0]["run"]);
        assert_ne!(old, new);
        assert_eq!(&after["runs"][0]["goes_on_from"], old);
        let go = scene.work().unwrap().join("go");
        scene.desktop.person().write(&go, "").unwrap();
        let told = said(&agent.wait_with_output().unwrap());
        assert!(
            told.contains("status=200"),
            "it works as the new run: {told}"
        );
        assert!(
            told.contains("this run is frozen") && told.contains("Resumed"),
            "{told}"
        );
        assert_eq!(scene.mailbox.trashed(), 0);
        let first = std::fs::read_to_string(scene.work().unwrap().join("first")).unwrap();
        assert!(!first.contains("status=200"), "{first}");
        let trail = timeline(&scene);
        let goes_on = format!("goes on from {}", old.as_str().unwrap());
        assert!(trail.contains(&goes_on), "{trail}");
        assert!(trail.contains("it goes on as"), "{trail}");
    }
}

#[test]
fn no_process_of_a_run_leaves_its_group_or_reaches_the_freezer() {
    // It moves a detached child wherever it can, and says where it can write.
    const LEAVE: &str = "for g in $(find / -xdev -name cgroup.procs -o -name freezer.state -o -name cgroup.freeze 2>/dev/null) \
         /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/unified/cgroup.procs /sys/fs/cgroup/freezer/cgroup.procs; do \
         (echo 0 > $g) 2>/dev/null && echo wrote $g; done; \
         mkdir -p /tmp/c && mount -t cgroup2 none /tmp/c 2>/dev/null && echo mounted; \
         unshare -C true 2>/dev/null && echo unshared; cat /proc/self/cgroup";
    for (hierarchy, _) in HIERARCHIES {
        let scene = Scene::start(3).unwrap();
        let group = Group::make(hierarchy, scene.desktop.person()).unwrap();
        let script = format!("({LEAVE}) > told 2>&1; setsid sh -c \"{BEATS}\" & sleep 60");
        let mut agent = run(&scene, Some(&group), "inbox-bot", &["sh", "-c", &script]);
        until_it_beats(&scene);
        let told = std::fs::read_to_string(scene.work().unwrap().join("told")).unwrap();
        for way in ["wrote", "mounted", "unshared"] {
            assert!(!told.contains(way), "{told}");
        }
        assert!(
            !told.contains("countersign-"),
            "it sees no path of a group: {told}"
        );
        ends(&scene, &["stop"], 0);
        assert!(is_silent(&scene) && frozen(&scene));
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
}

#[test]
fn a_second_press_kills_what_is_frozen_and_says_how_to_go_on() {
    for (hierarchy, _) in HIERARCHIES {
        let scene = Scene::start(3).unwrap();
        let group = Group::make(hierarchy, scene.desktop.person()).unwrap();
        let agent = run(&scene, Some(&group), "inbox-bot", &["sh", "-c", BEATS]);
        until_it_beats(&scene);
        ends(&scene, &["stop"], 0);
        assert!(frozen(&scene));
        ends(&scene, &["stop"], 0);
        let output = agent.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(6), "{}", said(&output));
        let told = said(&output);
        assert!(
            told.contains("countersign run --agent inbox-bot -- sh -c '"),
            "{told}"
        );
        assert!(is_silent(&scene));
        let trail = timeline(&scene);
        assert!(trail.contains("1 frozen run(s) killed"), "{trail}");
        // The run's own group went with it.
        let left = std::fs::read_dir(group.path()).unwrap().flatten();
        assert_eq!(left.filter(|entry| entry.path().is_dir()).count(), 0);
    }
}

#[test]
fn without_a_freezer_the_first_press_kills_and_status_says_so_beforehand() {
    let scene = Scene::start(3).unwrap();
    let agent = run(&scene, None, "inbox-bot", &["sh", "-c", BEATS]);
    until_it_beats(&scene);
    assert_eq!(status(&scene)["runs"][0]["stop"], "kill");
    let words = ends(&scene, &["ps"], 0);
    assert!(words.contains("the stop kills it at once"), "{words}");
    ends(&scene, &["stop"], 0);
    // Of a busy machine the kernel may need some milliseconds to carry it out.
    assert_eq!(agent.wait_with_output().unwrap().status.code(), Some(6));
    assert!(is_silent(&scene));
}

#[test]
fn the_authority_itself_freezes_and_kills_while_the_launcher_is_suspended() {
    for (hierarchy, _) in HIERARCHIES {
        let scene = Scene::start(3).unwrap();
        let group = Group::make(hierarchy, scene.desktop.person()).unwrap();
        let mut agent = run(&scene, Some(&group), "inbox-bot", &["sh", "-c", BEATS]);
        until_it_beats(&scene);
        send(&agent, Signal::SIGSTOP);
        ends(&scene, &["stop"], 0);
        assert!(is_silent(&scene) && frozen(&scene));
        ends(&scene, &["stop"], 0);
        soon("it is over", || {
            status(&scene)["runs"].as_array().unwrap().is_empty()
        });
        assert!(is_silent(&scene));
        assert_eq!(agent.wait().unwrap().code(), None);
    }
}

#[test]
fn a_frozen_run_ends_with_its_authority_and_with_its_launcher() {
    for (hierarchy, _) in HIERARCHIES {
        let mut scene = Scene::start(3).unwrap();
        let group = Group::make(hierarchy, scene.desktop.person()).unwrap();
        for who in ["launcher", "authority"] {
            let mut agent = run(&scene, Some(&group), "inbox-bot", &["sh", "-c", BEATS]);
            until_it_beats(&scene);
            ends(&scene, &["stop"], 0);
            assert!(frozen(&scene));
            if who == "launcher" {
                send(&agent, Signal::SIGKILL);
                agent.wait().unwrap();
                soon("it is over", || {
                    status(&scene)["runs"].as_array().unwrap().is_empty()
                });
                scene.confirm(&["resume"]).unwrap();
            } else {
                scene.authority.kill().unwrap();
                agent.wait().unwrap();
                scene.start_again().unwrap();
                assert!(!status(&scene)["stopped"].is_null());
            }
            let before = beats(&scene);
            assert!(
                is_silent(&scene) && beats(&scene) == before,
                "{hierarchy:?}: {who}"
            );
        }
    }
}

#[test]
fn a_run_ends_with_its_authority_while_its_launcher_is_suspended() {
    let mut scene = Scene::start(3).unwrap();
    let mut agent = run(&scene, None, "inbox-bot", &["sh", "-c", BEATS]);
    until_it_beats(&scene);
    send(&agent, Signal::SIGSTOP);
    scene.authority.kill().unwrap();
    soon("it is silent", || is_silent(&scene));
    // It heard nothing, and finds its run ended.
    send(&agent, Signal::SIGCONT);
    assert_ne!(agent.wait().unwrap().code(), Some(0));
    scene.start_again().unwrap();
    assert!(!status(&scene)["stopped"].is_null());
}

#[test]
fn what_is_frozen_while_authority_and_launcher_are_gone_ends_once_it_is_thawed() {
    for (hierarchy, _) in HIERARCHIES {
        let mut scene = Scene::start(3).unwrap();
        let group = Group::make(hierarchy, scene.desktop.person()).unwrap();
        let mut agent = run(&scene, Some(&group), "inbox-bot", &["sh", "-c", BEATS]);
        until_it_beats(&scene);
        ends(&scene, &["stop"], 0);
        send(&agent, Signal::SIGSTOP);
        scene.authority.kill().unwrap();
        assert!(is_silent(&scene));
        // By whoever may; nobody of ours does.
        let run = std::fs::read_dir(group.path()).unwrap().flatten();
        let run = run.map(|entry| entry.path()).find(|path| path.is_dir());
        let run = run.unwrap();
        for (file, word) in [("cgroup.freeze", "0"), ("freezer.state", "THAWED")] {
            let file = run.join(file);
            if file.exists() {
                std::fs::write(file, word).unwrap();
            }
        }
        soon("nobody is in it", || {
            std::fs::read_to_string(run.join("cgroup.procs"))
                .unwrap()
                .is_empty()
        });
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
}
