//! The gateway of a contained run is a process of its own, which can do little
//! and whose end is no more than the end of its requests.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

use countersign_testkit::scene::{Scene, said};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::Duration;

fn field(pid: i32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().trim().to_owned()
}

fn soon<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    for _ in 0..200 {
        if let Some(found) = found() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}")
}

/// Reads the list of messages each time it is told to, and says how that went.
const READER: &str = r#"
import subprocess, sys, time, os
url = 'https://gmail.googleapis.com/gmail/v1/users/me/messages?maxResults=3'
for n in range(1000):
    while not os.path.exists('go%d' % n):
        if os.path.exists('over'):
            sys.exit()
        time.sleep(0.02)
    code = subprocess.run(['curl', '-sS', '-m', '20', '-o', '/dev/null', '-w', '%{http_code}', url], capture_output=True, text=True).stdout
    with open('was%d.new' % n, 'w') as f:
        f.write(code)
    os.rename('was%d.new' % n, 'was%d' % n)
"#;

#[test]
fn a_gateway_that_ends_ends_its_requests_and_another_takes_its_place() {
    let scene = Scene::start(20).unwrap();
    let folder = scene.work().unwrap();
    let person = scene.desktop.person();
    person.write(&folder.join("reader.py"), READER).unwrap();
    let run = scene.run(&["python3", "reader.py"]).unwrap();
    let read = |n: u32| {
        person.write(&folder.join(format!("go{n}")), "").unwrap();
        let was = folder.join(format!("was{n}"));
        soon("it has read", || fs::read_to_string(&was).ok())
    };
    assert_eq!(read(0), "200");

    let gateway = soon("there is a gateway", || {
        scene.authority.gateways().first().copied()
    });
    assert_eq!(field(gateway, "Seccomp:"), "2");
    assert_eq!(field(gateway, "NoNewPrivs:"), "1");
    for open in fs::read_dir(format!("/proc/{gateway}/fd")).unwrap() {
        let open = open.unwrap();
        let number = open.file_name().to_string_lossy().parse::<u32>().unwrap();
        let to = fs::read_link(open.path()).unwrap();
        let to = to.to_string_lossy();
        // Output goes nowhere, complaints where the authority's go. How soon it gets
        // the processor is its own to say, and for a moment it does.
        let turn = format!("/proc/{gateway}/autogroup");
        let harmless = ["socket:", "anon_inode:", "/memfd:", &turn];
        assert!(
            number == 1 || number == 2 || harmless.iter().any(|kind| to.starts_with(kind)),
            "{number} is {to}"
        );
    }
    let score = fs::read_to_string(format!("/proc/{gateway}/oom_score_adj")).unwrap();
    assert_eq!(score.trim(), "500");
    let environment = fs::read(format!("/proc/{gateway}/environ")).unwrap();
    assert!(environment.is_empty(), "{environment:?}");

    for n in 1..=3 {
        kill(
            Pid::from_raw(scene.authority.gateways()[0]),
            Signal::SIGKILL,
        )
        .unwrap();
        soon("another has taken its place", || {
            let now = scene.authority.gateways();
            (now.len() == 1 && now != [gateway]).then_some(())
        });
        assert_eq!(read(n), "200");
    }

    // One that hangs does not keep the stop from ending the run.
    let hangs = Pid::from_raw(scene.authority.gateways()[0]);
    kill(hangs, Signal::SIGSTOP).unwrap();
    assert!(scene.countersign(&["stop"]).unwrap().status.success());
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    soon("it is gone with its run", || {
        scene.authority.gateways().is_empty().then_some(())
    });
    let timeline = said(&scene.countersign(&["timeline"]).unwrap());
    assert!(timeline.contains("another takes its place"), "{timeline}");
    let verified = scene.countersign(&["ledger", "verify"]).unwrap();
    assert!(verified.status.success(), "{}", said(&verified));
}

#[test]
fn a_question_goes_with_the_gateway_that_asked_it() {
    let scene = Scene::start(20).unwrap();
    let id = scene.mailbox.ids()[0].clone();
    let url = format!("https://gmail.googleapis.com/gmail/v1/users/me/messages/{id}/trash");
    let from = scene.authority.screen().len();
    let trash = scene
        .run(&[
            "curl",
            "-sS",
            "-w",
            " status=%{http_code}",
            "-X",
            "POST",
            &url,
        ])
        .unwrap();
    scene.authority.wait_for("Approve? [y/N] ", from).unwrap();
    let gateway = scene.authority.gateways()[0];
    kill(Pid::from_raw(gateway), Signal::SIGKILL).unwrap();
    let output = trash.wait_with_output().unwrap();
    assert!(!output.status.success(), "{}", said(&output));
    assert_eq!(scene.mailbox.trashed(), 0);
    let timeline = said(&scene.countersign(&["timeline"]).unwrap());
    assert!(!timeline.contains("approved"), "{timeline}");
}

#[test]
fn a_gateway_does_not_outlive_its_authority_even_where_it_does_not_listen() {
    let mut scene = Scene::start(20).unwrap();
    let run = scene.run(&["sleep", "600"]).unwrap();
    let gateway = soon("there is a gateway that has begun", || {
        let mut all = scene.authority.gateways().into_iter();
        all.find(|gateway| field(*gateway, "Seccomp:") == "2")
    });
    kill(Pid::from_raw(gateway), Signal::SIGSTOP).unwrap();
    scene.authority.kill().unwrap();
    soon("it is gone", || {
        let state = field(gateway, "State:");
        (state.is_empty() || state.starts_with('Z')).then_some(())
    });
    assert!(!run.wait_with_output().unwrap().status.success());
}
