//! G5: the stop wins. One call ends every process of a run.

use crate::stage::{PROBE, Stage, eventually, processes_with, random};
use std::process::Stdio;

#[test]
fn two_hundred_detached_processes_are_gone_within_a_second() {
    let stage = Stage::new();
    let (ready, report) = (stage.folder.join("ready"), stage.home.join("report"));
    let options = [
        format!("kill-when={}", ready.display()),
        format!("report={}", report.display()),
    ];
    let token = random();
    let ran = stage.run_with(
        &options,
        &[PROBE, "storm", "200", ready.to_str().unwrap(), &token],
    );
    assert_eq!(processes_with(&token), 0, "{ran:?}");
    let report = std::fs::read_to_string(report).unwrap();
    let (milliseconds, end) = report.split_once(' ').unwrap();
    assert_eq!(end, "Killed");
    assert!(milliseconds.parse::<u64>().unwrap() < 1000, "{report}");
    println!("200 detached processes gone after {milliseconds} ms");
    assert_eq!(ran.code, Some(128 + libc::SIGKILL));
}

#[test]
fn a_run_dies_with_its_launcher() {
    let stage = Stage::new();
    let (ready, token) = (stage.folder.join("ready"), random());
    let mut launcher = stage
        .launch(&[], &[PROBE, "storm", "5", ready.to_str().unwrap(), &token])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the run begins", || ready.exists());
    assert!(processes_with(&token) > 5);
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    eventually("every process is gone", || processes_with(&token) == 0);
}

#[test]
fn what_the_command_leaves_behind_ends_with_it() {
    let stage = Stage::new();
    let token = random();
    let ran = stage.shell(&format!(
        "setsid {PROBE} stay {token} >/dev/null 2>&1 & exit 3"
    ));
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(processes_with(&token), 0);
}

#[test]
fn no_process_of_a_run_can_kill_or_stop_init() {
    let stage = Stage::new();
    let ran = stage.shell("kill -KILL 1; kill -STOP 1; kill -TERM 1; echo still here");
    assert_eq!(
        (ran.code, ran.output.as_str()),
        (Some(0), "still here\n"),
        "{ran:?}"
    );
}

#[test]
fn processes_beyond_the_limit_are_not_started() {
    let stage = Stage::new();
    let ran = stage.run_with(
        &["processes=20".into()],
        &[
            "/bin/bash",
            "-c",
            "for i in $(seq 40); do sleep 5 & done; echo started $(jobs -r | wc -l)",
        ],
    );
    assert!(!ran.output.contains("started 40"), "{ran:?}");
    assert!(ran.errors.contains("fork"), "{ran:?}");
}

#[test]
fn what_a_run_does_yields_to_whatever_else_wants_the_processor() {
    let stage = Stage::new();
    // Fields 19 and 41 of proc_pid_stat(5); SCHED_BATCH is 3.
    let ran = stage.shell(
        "awk '{print $19, $41}' /proc/self/stat
         [ ! -e /proc/self/autogroup ] || for i in $(seq 100); do
             grep -q 'nice 10$' /proc/self/autogroup && break; sleep 0.1
         done && echo its session too",
    );
    assert_eq!(ran.output, "5 3\nits session too\n", "{ran:?}");
}
