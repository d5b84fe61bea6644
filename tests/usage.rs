//! The programs that play and measure say how they are used, and take nothing else.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::process::Command;

#[test]
fn who_asks_for_help_gets_it_and_what_is_no_argument_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (program, more) in [
        (env!("CARGO_BIN_EXE_countersign-demo"), "more"),
        (env!("CARGO_BIN_EXE_countersign-bench"), "no-folder"),
        (env!("CARGO_BIN_EXE_countersign-agents"), "no-agent"),
    ] {
        for (arguments, code) in [
            (&["--help"][..], 0),
            (&["out", "-h"], 0),
            (&["--out"], 2),
            (&["out", "--quiet"], 2),
            (&[], 2),
            (&["out", more, "much"], 2),
        ] {
            let mut command = Command::new(program);
            command.args(arguments).current_dir(&folder);
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{program} {arguments:?}");
            let told = match code {
                0 => output.stdout,
                _ => output.stderr,
            };
            let told = String::from_utf8(told).unwrap();
            assert!(told.contains("usage: countersign-"), "{program}: {told}");
        }
    }
    let made = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(made, 0, "whatever was asked of them wrongly");
}
