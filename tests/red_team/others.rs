//! An agent against others: the authority, other agents, the stop.

use crate::range::{Range, agent};
use countersign_testkit::scene::said;
use std::time::Duration;

#[test]
fn two_agents_never_write_to_the_same_files_at_once() {
    let range = Range::new();
    let outer = range.folder("shared");
    let inner = range.folder("shared/inner");
    let link = range.scene.desktop.path("home").join("link");
    std::os::unix::fs::symlink("shared", &link).unwrap();
    let mut first = range
        .command("inbox-bot", &inner, &["sh", "-c", "echo up; read line"])
        .spawn()
        .unwrap();
    let mut up = [0; 2];
    std::io::Read::read_exact(first.stdout.as_mut().unwrap(), &mut up).unwrap();
    for folder in [&outer, &inner, &link, &link.join("inner")] {
        let output = range.command("helper", folder, &["true"]).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("two agents never write to the same files"),
            "{text}"
        );
    }
    let elsewhere = range.folder("elsewhere");
    let output = range
        .command("helper", &elsewhere, &["true"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    drop(first.stdin.take());
    first.wait().unwrap();
    let output = range.command("helper", &outer, &["true"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn killing_and_flooding_reach_nobody_else() {
    let range = Range::new();
    let authority = range.scene.authority.pid().to_string();
    range.withstands(agent!("kill_others.py"), &[&authority]);
    range.still_works();
    range.withstands(agent!("floods.py"), &[]);
    range.still_works();
}

#[test]
fn a_storm_of_detached_processes_is_over_with_the_stop() {
    let range = Range::new();
    let beats = range.folder("work/beats");
    let run = range.launch(agent!("storm.py"), &[beats.to_str().unwrap(), "50"]);
    let counted = || std::fs::read_dir(&beats).unwrap().count();
    for _ in 0..500 {
        if counted() == 50 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(counted(), 50);
    let stopped = range.scene.countersign(&["stop"]).unwrap();
    assert!(stopped.status.success(), "{}", said(&stopped));
    std::thread::sleep(Duration::from_millis(300));
    let read = || {
        let mut all: Vec<String> = std::fs::read_dir(&beats)
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        all.sort();
        all
    };
    let then = read();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(read(), then, "nothing beats any more");
    run.wait_with_output().unwrap();
}
