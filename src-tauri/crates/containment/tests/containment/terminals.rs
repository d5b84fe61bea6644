//! The pty of a run and the user's terminal.

use crate::stage::{PROBE, Stage, eventually};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

/// A user's terminal of 91 by 33.
struct Terminal {
    /// What the user types goes in here.
    keys: File,
    slave: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn new() -> Self {
        let size = Winsize {
            ws_row: 33,
            ws_col: 91,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, seen) = (File::from(master.try_clone().unwrap()), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = screen.read(&mut buffer) {
                seen.lock().unwrap().extend(&buffer[..count]);
            }
        });
        Self {
            keys: File::from(master),
            slave,
            shown,
        }
    }

    fn start(&self, mut launcher: Command) -> Child {
        launcher
            .stdin(self.slave.try_clone().unwrap())
            .stdout(self.slave.try_clone().unwrap())
            .stderr(self.slave.try_clone().unwrap())
            .spawn()
            .unwrap()
    }

    fn shows(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave)
            .unwrap()
            .local_flags
            .contains(LocalFlags::ICANON)
    }
}

#[test]
fn at_a_terminal_a_run_has_a_terminal_of_its_own_with_the_same_size() {
    let (stage, terminal) = (Stage::new(), Terminal::new());
    let script = format!("tty; exec {PROBE} terminal");
    let mut launcher = terminal.start(stage.launch(&[], &["/bin/sh", "-c", &script]));
    assert!(launcher.wait().unwrap().success());
    eventually("the findings are shown", || {
        terminal.shows().contains("controlling")
    });
    let shown = terminal.shows();
    assert!(shown.contains("terminals: true true true"), "{shown}");
    assert!(shown.contains("size: Ok((91, 33))"), "{shown}");
    assert!(shown.contains("controlling: true"), "{shown}");
    assert!(shown.contains("/dev/console"), "{shown}");
}

#[test]
fn keys_reach_the_run_and_control_c_interrupts_it() {
    let (stage, mut terminal) = (Stage::new(), Terminal::new());
    let script = "trap 'echo interrupted; exit 5' INT; echo ready; read line; echo \"read $line\"; sleep 20 & wait";
    let mut launcher = terminal.start(stage.launch(&[], &["/bin/sh", "-c", script]));
    eventually("the command begins", || terminal.shows().contains("ready"));
    terminal.keys.write_all(b"some words\r").unwrap();
    eventually("the line arrives", || {
        terminal.shows().contains("read some words")
    });
    terminal.keys.write_all(b"\x03").unwrap();
    assert_eq!(launcher.wait().unwrap().code(), Some(5));
    eventually("the end is shown", || {
        terminal.shows().contains("interrupted")
    });
}

#[test]
fn a_new_window_size_reaches_the_run() {
    let (stage, terminal) = (Stage::new(), Terminal::new());
    let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut launcher = terminal.start(stage.launch(&[], &["/bin/sh", "-c", script]));
    eventually("the command begins", || terminal.shows().contains("ready"));
    let size = rustix::termios::Winsize {
        ws_row: 12,
        ws_col: 34,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&terminal.slave, size).unwrap();
    // The terminal is nobody's controlling one here, so the kernel tells nobody.
    let launched = nix::unistd::Pid::from_raw(launcher.id().cast_signed());
    nix::sys::signal::kill(launched, nix::sys::signal::Signal::SIGWINCH).unwrap();
    assert!(launcher.wait().unwrap().success());
    eventually("the size is shown", || terminal.shows().contains("12 34"));
}

#[test]
fn the_users_terminal_is_raw_during_a_run_and_restored_after_it_also_when_killed() {
    let (stage, terminal) = (Stage::new(), Terminal::new());
    let before = format!("{:?}", tcgetattr(&terminal.slave).unwrap());
    for kill in [false, true] {
        let go = stage.home.join(format!("go-{kill}"));
        let mut options = Vec::new();
        let mut script = "echo ready; read line";
        if kill {
            options.push(format!("kill-when={}", go.display()));
            options.push(format!("report={}", stage.home.join("report").display()));
            script = "echo ready; sleep 60";
        }
        let mut launcher = terminal.start(stage.launch(&options, &["/bin/sh", "-c", script]));
        eventually("the terminal is raw", || terminal.is_raw());
        stage.write(&go, "");
        if !kill {
            (&terminal.keys).write_all(b"\r").unwrap();
        }
        launcher.wait().unwrap();
        assert_eq!(
            format!("{:?}", tcgetattr(&terminal.slave).unwrap()),
            before,
            "kill: {kill}"
        );
    }
}

#[test]
fn errors_that_the_caller_keeps_apart_stay_apart() {
    let (stage, terminal) = (Stage::new(), Terminal::new());
    let mut launcher = stage.launch(&[], &["/bin/sh", "-c", "echo shown; echo kept >&2"]);
    launcher
        .stdin(terminal.slave.try_clone().unwrap())
        .stdout(terminal.slave.try_clone().unwrap())
        .stderr(std::process::Stdio::piped());
    let output = launcher.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.stderr, b"kept\n");
    eventually("the output is shown", || terminal.shows().contains("shown"));
    assert!(!terminal.shows().contains("kept"));
}
