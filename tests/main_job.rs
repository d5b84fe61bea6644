//! The main job at a terminal: an agent without a credential reads alone, asks
//! to delete, and the real credential is used only after a human's yes.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

use countersign_testkit::agents;
use countersign_testkit::scene::{Scene, said};
use std::io::{BufRead as _, BufReader};
use std::time::Duration;

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
    std::thread::sleep(Duration::from_secs(2));
    let stop = scene.countersign(&["stop", "--reason", "enough"]).unwrap();
    assert!(stop.status.success(), "{}", said(&stop));
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    let after = scene.mailbox.upstream.seen().len();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(scene.mailbox.upstream.seen().len(), after);
    let again = scene.run(&["true"]).unwrap().wait_with_output().unwrap();
    assert_eq!(
        again.status.code(),
        Some(6),
        "a stopped authority begins no run"
    );
}

#[test]
fn an_agent_that_nobody_launched_comes_by_loopback_with_its_token_once_that_is_switched_on() {
    let mut scene = Scene::start(3).unwrap();
    let listen = ["run", "--agent", "inbox-bot", "--loopback"];
    let refused = scene.countersign(&listen).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("switched off"),
        "{}",
        said(&refused)
    );

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let config = scene.read_config().unwrap();
    let asked = scene
        .accept(&format!("{config}\n[gateway]\ntcp = {port}\n"))
        .unwrap();
    assert!(asked.contains("loopback ports"), "{asked}");

    let mut door = scene.spawn(&listen).unwrap();
    let mut way = String::new();
    let mut lines = BufReader::new(door.stdout.take().unwrap());
    while !way.contains("NODE_EXTRA_CA_CERTS") {
        assert_ne!(lines.read_line(&mut way).unwrap(), 0, "{way}");
    }
    let curl = |way: &str| {
        let script = format!("{way}\ncurl -sS -w ' status=%{{http_code}}' '{LIST}' 2>&1");
        let output = scene.desktop.command("sh").args(["-c", &script]).output();
        said(&output.unwrap())
    };
    let told = curl(&way);
    assert!(
        told.contains("\"messages\"") && told.contains("status=200"),
        "{told}"
    );
    let seen = scene.mailbox.upstream.seen().len();
    let told = curl(&way.replace("inbox-bot:", "inbox-bot:x"));
    assert!(told.contains("407"), "another token opens nothing: {told}");
    assert_eq!(scene.mailbox.upstream.seen().len(), seen);
    let status = said(&scene.countersign(&["status"]).unwrap());
    assert!(status.to_lowercase().contains("not contained"), "{status}");

    assert!(scene.countersign(&["stop"]).unwrap().status.success());
    assert_eq!(door.wait().unwrap().code(), Some(6));
    let told = curl(&way);
    assert!(
        told.contains("status=000"),
        "nothing listens any more: {told}"
    );
}

#[test]
fn a_run_whose_launcher_is_suspended_ends_at_the_stop_all_the_same() {
    let scene = Scene::start(3).unwrap();
    let beats = scene.work().unwrap().join("beats");
    let mut launcher = scene
        .run(&["sh", "-c", "while :; do echo >> beats; sleep 0.05; done"])
        .unwrap();
    let count = || std::fs::metadata(&beats).map_or(0, |m| m.len());
    let soon = |what: &str, holds: &dyn Fn() -> bool| {
        for _ in 0..200 {
            if holds() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never: {what}");
    };
    soon("it works", &|| count() > 3);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(launcher.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    assert!(scene.countersign(&["stop"]).unwrap().status.success());
    soon("the agent is gone", &|| {
        let before = count();
        std::thread::sleep(Duration::from_millis(300));
        count() == before
    });
    // Ended by the authority: a suspended process obeys nobody else.
    assert_eq!(launcher.wait().unwrap().code(), None);
}
