//! Whether a run is over, and what it left behind put back: told by files beside
//! its copies, for whoever looks next.

use crate::before::{BEFORE, Before};
use crate::later::Keep;
use std::io;
use std::path::{Path, PathBuf};

/// Is there once nothing of the run's is in force any more.
const SETTLED: &str = "settled";

/// Runs whose leftovers may still be in force, living ones among them, and their
/// working folders. `root` is where [`Keep`]s are made.
///
/// # Errors
/// The system's: then there may be others.
pub fn unsettled(root: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let (name, kept) = entry.map(|entry| (entry.file_name(), entry.path()))?;
        if kept.join(SETTLED).exists() {
            continue;
        }
        // Without it nothing has begun.
        if let Some(before) = Keep::read::<Before>(&kept, BEFORE)? {
            all.push((name.to_string_lossy().into_owned(), before.folder.into()));
        }
    }
    Ok(all)
}

/// Says that nothing of the run's is in force any more.
pub(crate) fn is_settled(kept: &Path) -> io::Result<()> {
    std::fs::write(kept.join(SETTLED), "")
}

#[cfg(target_os = "linux")]
pub(crate) use processes::{await_end, begins};

/// Elsewhere nothing is contained.
#[cfg(not(target_os = "linux"))]
pub(crate) fn await_end(_kept: &Path) -> io::Result<()> {
    Ok(())
}

/// The last process of a run. Its launcher may be killed; the run then ends too, but
/// not in the same moment.
#[cfg(target_os = "linux")]
mod processes {
    use super::{Keep, Path, io};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fd::{AsRawFd as _, BorrowedFd};
    use rustix::io::Errno;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use serde::{Deserialize, Serialize};

    const INIT: &str = "init.json";

    /// How long a run may take to end once its launcher has.
    const ENDS: Timespec = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };

    /// A process, and when it began (proc_pid_stat(5), `starttime`), so that it is
    /// not taken for another that has its number later.
    #[derive(Serialize, Deserialize, PartialEq, Eq)]
    struct Init {
        pid: i32,
        began: u64,
    }

    /// Writes down the run's init, which ends after every other process of the run.
    /// For before its command begins.
    pub(crate) fn begins(kept: &Path, init: BorrowedFd<'_>) -> io::Result<()> {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", init.as_raw_fd()))?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
        let pid = pid.and_then(|pid| pid.trim().parse().ok());
        let pid = pid.ok_or_else(|| io::Error::other("the run has ended before it began"))?;
        let began = began(pid)?;
        Keep::write(kept, INIT, &Init { pid, began })
    }

    fn began(pid: i32) -> io::Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is a name in parentheses, which may hold anything.
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
        let began = fields.and_then(|fields| fields.split_whitespace().nth(19)?.parse().ok());
        began.ok_or_else(|| io::Error::other("the kernel does not say when the run began"))
    }

    /// Waits until no process of the run is left.
    pub(crate) fn await_end(kept: &Path) -> io::Result<()> {
        let Some(init) = Keep::read::<Init>(kept, INIT)? else {
            return Ok(());
        };
        let Some(pid) = Pid::from_raw(init.pid) else {
            return Ok(());
        };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(()),
            handle => handle?,
        };
        if began(init.pid).ok() != Some(init.began) {
            return Ok(());
        }
        let mut ends = [PollFd::new(&handle, PollFlags::IN)];
        match rustix::io::retry_on_intr(|| poll(&mut ends, Some(&ENDS)))? {
            0 => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "processes of the run are still there",
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_unsettled_from_when_it_is_prepared_until_it_is_said_to_be_settled() {
        let root = tempfile::tempdir().unwrap();
        assert!(unsettled(&root.path().join("nowhere")).unwrap().is_empty());
        let keep = Keep::make(root.path(), "run").unwrap();
        assert!(unsettled(root.path()).unwrap().is_empty());
        let before = Before {
            folder: "/a".into(),
            ..Before::default()
        };
        Keep::write(keep.folder(), BEFORE, &before).unwrap();
        let expected = [("run".to_owned(), PathBuf::from("/a"))];
        assert_eq!(unsettled(root.path()).unwrap(), expected);
        is_settled(keep.folder()).unwrap();
        assert!(unsettled(root.path()).unwrap().is_empty());
        std::fs::remove_file(keep.folder().join(SETTLED)).unwrap();
        std::fs::write(keep.folder().join(BEFORE), "{").unwrap();
        assert!(unsettled(root.path()).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_end_of_the_runs_last_process_is_waited_for() {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        let root = tempfile::tempdir().unwrap();
        await_end(root.path()).unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("0.5")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let handle = pidfd_open(pid.unwrap(), PidfdFlags::empty()).unwrap();
        let since = std::time::Instant::now();
        begins(root.path(), rustix::fd::AsFd::as_fd(&handle)).unwrap();
        await_end(root.path()).unwrap();
        assert!(since.elapsed().as_millis() > 300);
        child.wait().unwrap();
        await_end(root.path()).unwrap();
    }
}
