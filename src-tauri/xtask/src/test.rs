//! All checks and tests, in the order that finds cheap mistakes first and
//! compiles as little as possible twice.

use crate::shell::{self, Result};
use crate::{deny, tidy, ui};
use std::time::Instant;

/// How much random testing is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Usual,
    Long,
}

/// Cases that each property is tried with under `--long` (256 otherwise).
const LONG_CASES: &str = "20000";
/// Tells tests that go on for as long as they are let (kills, fuzzing) that
/// they have time.
const LONG: &str = "COUNTERSIGN_LONG";

/// What could connect a test with the desktop or the network of whoever runs it.
const OUTSIDE: [&str; 16] = [
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
    "XAUTHORITY",
    "SSH_AUTH_SOCK",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Runs every stage; the tests come last, so that their summary is what is seen.
pub(crate) fn all(length: Length) -> Result {
    let begun = Instant::now();
    stage("setup", crate::setup)?;
    stage("format", || {
        shell::show(shell::cargo().args(["fmt", "--all", "--check"]))
    })?;
    stage("tidy", tidy::run)?;
    stage("licences and bans", deny::check)?;
    stage("user interface", || ui::build().and_then(|()| ui::check()))?;
    stage("clippy", || {
        shell::show(shell::cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    // All targets at once: the programs share every dependency with the tests.
    stage("build", || {
        shell::show(shell::cargo().args(["build", "--workspace", "--all-targets", "--locked"]))
    })?;
    stage("tests", || {
        let mut tests = shell::cargo();
        tests.args(["test", "--workspace", "--locked"]);
        if length == Length::Long {
            tests.env("PROPTEST_CASES", LONG_CASES).env(LONG, "1");
        }
        for name in OUTSIDE {
            tests.env_remove(name);
        }
        shell::show(&mut tests)
    })?;
    println!("all in {:.1} min", begun.elapsed().as_secs_f64() / 60.0);
    Ok(())
}

fn stage(name: &str, run: impl FnOnce() -> Result) -> Result {
    println!("\n== {name}");
    let begun = Instant::now();
    let done = run();
    println!("== {name}: {:.1} min", begun.elapsed().as_secs_f64() / 60.0);
    done
}
