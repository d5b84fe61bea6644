//! The main job at a terminal: an agent without a credential reads alone, asks
//! to delete, and the real credential is used only after a human's yes.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use countersign_testkit::agents;
use countersign_testkit::scene::{Scene, said};

const LIST: &str = "https://gmail.googleapis.com/gmail/v1/users/me/messages?maxResults=5";

#[test]
fn an_agent_reads_alone_and_holds_no_credential() {
    let scene = Scene::start(20).unwrap();
    let output = scene
        .run(&["curl", "-sS", "-H", "Authorization: Bearer made-up", LIST])
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("\"messages\""), "{}", said(&output));
    let seen = scene.mailbox.upstream.seen();
    assert!(
        seen.iter().all(|s| s.bears(&scene.credential)),
        "the upstream got the real credential"
    );

    let look = "env; cat /proc/*/environ /proc/*/cmdline /proc/self/maps 2>/dev/null; ls -l /proc/self/fd; find / -xdev -type f -size -64k -newermt '1 hour ago' -exec cat {} + 2>/dev/null";
    let output = scene
        .run(&["sh", "-c", look])
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert!(
        said(&output).contains("HTTPS_PROXY") || said(&output).contains("https_proxy"),
        "{}",
        said(&output)
    );
    assert!(!said(&output).contains(&scene.credential));
}

#[test]
fn a_deletion_waits_for_the_human_and_happens_once() {
    let mut scene = Scene::start(20).unwrap();
    let id = scene.mailbox.ids()[0].clone();
    let from = scene.authority.screen().len();
    let url = format!("https://gmail.googleapis.com/gmail/v1/users/me/messages/{id}/trash");
    let trash = scene.run(&["curl", "-sS", "-X", "POST", &url]).unwrap();
    scene.authority.wait_for("Approve? [y/N] ", from).unwrap();
    assert_eq!(scene.mailbox.trashed(), 0, "nothing happens before the yes");
    let block = scene.authority.approve(from).unwrap();
    assert!(
        block.contains("inbox-bot") && block.contains("tidy the inbox"),
        "{block}"
    );
    let output = trash.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(scene.mailbox.trashed(), 1);

    let timeline = said(&scene.countersign(&["timeline"]).unwrap());
    assert!(timeline.contains("approved (terminal)"), "{timeline}");
    let verified = scene.countersign(&["ledger", "verify"]).unwrap();
    assert!(verified.status.success(), "{}", said(&verified));
}

#[test]
fn a_denied_agent_is_told_why_and_what_to_do() {
    let mut scene = Scene::start(20).unwrap();
    let from = scene.authority.screen().len();
    let url = "https://gmail.googleapis.com/gmail/v1/users/me/messages/x/trash";
    let trash = scene
        .run(&[
            "curl",
            "-sS",
            "-w",
            " status=%{http_code}",
            "-X",
            "POST",
            url,
        ])
        .unwrap();
    scene.authority.wait_for("Approve? [y/N] ", from).unwrap();
    scene.authority.type_line("n").unwrap();
    let output = trash.wait_with_output().unwrap();
    let told = said(&output);
    assert!(
        told.contains("status=403") && told.contains("denied-by-human"),
        "{told}"
    );
    assert_eq!(scene.mailbox.trashed(), 0);
}

#[test]
fn the_stop_ends_a_run_and_nothing_reaches_the_upstream_after_it() {
    let scene = Scene::start(20).unwrap();
    let script = agents::INBOX;
    let folder = scene.work().unwrap();
    scene
        .desktop
        .person()
        .write(&folder.join("agent.py"), script)
        .unwrap();
    let run = scene
        .run(&["python3", "agent.py", "--pause", "0.01"])
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let stop = scene.countersign(&["stop", "--reason", "enough"]).unwrap();
    assert!(stop.status.success(), "{}", said(&stop));
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    let after = scene.mailbox.upstream.seen().len();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(scene.mailbox.upstream.seen().len(), after);
    let again = scene.run(&["true"]).unwrap().wait_with_output().unwrap();
    assert_eq!(
        again.status.code(),
        Some(6),
        "a stopped authority begins no run"
    );
}
