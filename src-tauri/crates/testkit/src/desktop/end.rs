//! Ending everything that ran at a desktop, by process id.
//!
//! The bus starts programs that are not our children, and some programs detach
//! themselves; they all inherit our mark in their environment. Where the person
//! is a user of this desktop alone, every process of that user is ours.

use crate::person::Person;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;
use std::{fs, io};

/// The environment variable that holds the desktop's mark.
pub(super) const MARK: &str = "COUNTERSIGN_TEST_DESKTOP";

/// Asks everything to end, last started first; then ends what is left.
pub(super) fn everything(mark: &str, person: &Person, children: &mut [Child]) {
    for child in children.iter().rev() {
        if let Ok(pid) = i32::try_from(child.id()) {
            // A group that has already ended is what we want.
            let _gone = killpg(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
    for round in 0..50 {
        for child in children.iter_mut() {
            let _not_yet = child.try_wait();
        }
        let left = processes(mark, person).unwrap_or_default();
        if left.is_empty() {
            break;
        }
        let signal = if round < 15 {
            Signal::SIGTERM
        } else {
            Signal::SIGKILL
        };
        if round % 5 == 0 {
            for pid in left {
                let _gone = kill(pid, signal);
            }
        }
        sleep(Duration::from_millis(20));
    }
    for child in children {
        let _ended = child.kill();
        let _ended = child.wait();
    }
}

/// The live processes of the desktop.
fn processes(mark: &str, person: &Person) -> io::Result<Vec<Pid>> {
    let wanted = format!("{MARK}={mark}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // A process can end while we look at it, and others' are closed to us.
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let marked = environment
            .split(|b| *b == 0)
            .any(|line| line == wanted.as_bytes());
        if marked || person.is_another() && runs_as(&entry.path(), person) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

/// Whether a process that is no zombie has the person's uid. The owner of its
/// folder would not do: that is root where a process is not dumpable.
fn runs_as(process: &Path, person: &Person) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next())
            .unwrap_or_default()
    };
    field("Uid:") == person.uid.to_string() && field("State:") != "Z"
}
