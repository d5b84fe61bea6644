//! Guarantee G5, the stop wins: over runs that do not listen, on a machine where
//! nothing else works, and for one agent alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on has failed

mod adversity;
mod freezer;
mod handed;
mod one_agent;
mod scope;
mod upload;

use countersign_testkit::scene::{piped, said};
use countersign_testkit::{Group, Scene, programs};
use serde_json::Value;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// What a busy machine may take for what takes a moment.
const SOON: Duration = Duration::from_secs(20);
/// Nothing that runs is silent for so long.
const SILENCE: Duration = Duration::from_millis(400);
/// An agent that lets nobody tell it to end, and writes as long as it runs.
const BEATS: &str = "trap '' HUP INT TERM; while :; do echo >> beats; sleep 0.02; done";

fn soon(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SOON, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |m| m.len())
}

fn beats(scene: &Scene) -> u64 {
    length(&scene.work().unwrap().join("beats"))
}

fn is_silent(scene: &Scene) -> bool {
    let before = beats(scene);
    std::thread::sleep(SILENCE);
    beats(scene) == before
}

fn until_it_beats(scene: &Scene) {
    let before = beats(scene);
    soon("it works", || beats(scene) > before + 3);
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

fn timeline(scene: &Scene) -> String {
    ends(scene, &["timeline", "--limit", "900"], 0)
}

/// A run of this agent, whose launcher is in a group of its user's own, if any.
fn run(scene: &Scene, group: Option<&Group>, agent: &str, argv: &[&str]) -> Child {
    let program = programs::built("countersign").unwrap();
    let mut command = match group {
        Some(group) => group.command(&scene.desktop, program),
        None => scene.desktop.command(program),
    };
    // Two runs never write to the same files at once.
    let folder = match agent {
        "inbox-bot" => scene.work().unwrap(),
        other => scene.desktop.path("home").join(other),
    };
    scene.desktop.person().make_folder(&folder).unwrap();
    command
        .args(["run", "--agent", agent, "--task", "tidy the inbox", "--"])
        .args(argv)
        .current_dir(folder);
    piped(&mut command).spawn().unwrap()
}
