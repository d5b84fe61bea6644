//! What goes wrong: each thing has its own clear words, denies, and loses no
//! record; and what was accepted before goes on working.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on has failed

mod authority;
mod command;
mod configuration;
mod keyring;
mod launcher;
mod machine;
mod upstream;

use countersign_testkit::programs;
use countersign_testkit::scene::{Scene, said};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// A routine read, with its status after the body.
const READ: &str = "curl -sS --max-time 20 -w ' status=%{http_code}\\n' 'https://gmail.googleapis.com/gmail/v1/users/me/messages?maxResults=3'";

/// The agent works: it reads, and the mailbox saw it.
fn assert_works(scene: &Scene) {
    let before = scene.mailbox.upstream.seen().len();
    let told = scene.script(READ).unwrap();
    assert!(
        told.contains("status=200") && told.contains("\"messages\""),
        "{told}"
    );
    assert_eq!(scene.mailbox.upstream.seen().len(), before + 1);
}

/// The agent is refused for this reason, and the mailbox saw nothing.
fn assert_refused(scene: &Scene, reason: &str) {
    let before = scene.mailbox.upstream.seen().len();
    let told = scene.script(READ).unwrap();
    assert!(
        told.contains("status=403") && told.contains(&format!("\"reason\":\"{reason}\"")),
        "{told}"
    );
    assert_eq!(scene.mailbox.upstream.seen().len(), before);
}

/// Runs a command that must end with this code; what it said.
fn ends(scene: &Scene, args: &[&str], code: i32) -> String {
    let output = scene.countersign(args).unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
    told
}

fn status(scene: &Scene) -> Value {
    let told = ends(scene, &["status", "--json"], 0);
    serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e}: {told}"))
}

/// The requests of the timeline, newest first.
fn requests(scene: &Scene) -> Vec<Value> {
    let told = ends(scene, &["timeline", "--json", "--limit", "900"], 0);
    let entries = told
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries
        .filter(|entry| entry["event"]["kind"] == "requested")
        .collect()
}

/// The reason on record of the newest request whose target holds this text. The
/// record of a refusal comes a moment after the refusal.
fn reason_of(scene: &Scene, target: &str) -> String {
    for _ in 0..100 {
        let all = requests(scene);
        let newest = all.iter().find(|r| {
            let stated = r["event"]["target"].as_str();
            stated.is_some_and(|t| t.contains(target))
        });
        if let Some(reason) = newest.and_then(|r| r["event"]["reason"].as_str()) {
            return reason.to_owned();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{target} was not refused");
}

/// What became of the newest request whose target holds this text. The record
/// after comes a moment after the reply.
fn outcome_of(scene: &Scene, target: &str) -> Value {
    for _ in 0..100 {
        let all = requests(scene);
        let holds = |r: &&Value| {
            r["event"]["target"]
                .as_str()
                .is_some_and(|t| t.contains(target))
        };
        let found = all
            .iter()
            .find(holds)
            .unwrap_or_else(|| panic!("no {target} in {all:#?}"));
        if !found["settled"].is_null() {
            return found["settled"].clone();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{target} has no outcome");
}

/// Starts a command as this agent, whose end must have this code; what it said.
fn run_ends(scene: &Scene, agent: &str, argv: &[&str], code: i32) -> String {
    run_ends_in(scene, &scene.work().unwrap(), agent, argv, code)
}

/// The same in another folder: two runs never write to the same files at once.
fn run_ends_in(scene: &Scene, folder: &Path, agent: &str, argv: &[&str], code: i32) -> String {
    let mut command = scene
        .desktop
        .command(programs::built("countersign").unwrap());
    command.args(["run", "--agent", agent, "--"]).args(argv);
    let output = command.current_dir(folder).output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(code), "{argv:?}: {told}");
    told
}
