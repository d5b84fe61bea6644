//! The demo, as it is played by `cargo xtask demo`: the inbox and the forum on a
//! desktop without a screen, by mouse and key, with the trail verified at its end.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use countersign_testkit::programs;
use std::process::Command;

#[test]
fn the_demo_plays_to_its_end_and_leaves_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let played = Command::new(programs::built("countersign-demo").unwrap())
        .arg(folder.path())
        .output()
        .unwrap();
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&played.stdout),
        String::from_utf8_lossy(&played.stderr)
    );
    assert!(played.status.success(), "{told}");
    let gone = told.split("All of them are gone ").nth(1);
    let milliseconds = gone.and_then(|rest| rest.split_once(" ms")).unwrap().0;
    assert!(milliseconds.parse::<u64>().unwrap() < 2000, "{told}");
    for left in [
        "narration.txt",
        "timeline.json",
        "timeline.txt",
        "checkpoint.txt",
        "ledger.db",
        "question.png",
        "screenshots/01-tray.png",
    ] {
        assert!(folder.path().join(left).is_file(), "{left}: {told}");
    }
}
