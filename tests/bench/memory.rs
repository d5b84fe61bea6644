//! How much memory processes take, by the kernel's count.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const OFTEN: Duration = Duration::from_millis(10);

/// Memory in KiB, and how it was counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Memory {
    /// What is shared with others counts in part.
    Pss(u64),
    /// What is shared counts whole: more than the PSS, never less.
    Rss(u64),
}

impl Memory {
    pub(crate) const fn kib(self) -> u64 {
        match self {
            Self::Pss(kib) | Self::Rss(kib) => kib,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pss(_) => "PSS",
            Self::Rss(_) => "RSS",
        }
    }
}

/// The memory of these processes together. The authority closes itself to all
/// but root: others get the RSS.
pub(crate) fn of(pids: &[u32]) -> io::Result<Memory> {
    let pss: io::Result<u64> = pids
        .iter()
        .map(|pid| field(&format!("/proc/{pid}/smaps_rollup"), "Pss:"))
        .sum();
    match pss {
        Ok(kib) => Ok(Memory::Pss(kib)),
        Err(_) => pids
            .iter()
            .map(|pid| rss(*pid))
            .sum::<io::Result<u64>>()
            .map(Memory::Rss),
    }
}

/// Of one process, in KiB.
pub(crate) fn rss(pid: u32) -> io::Result<u64> {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// A number of KiB in one of the kernel's tables.
fn field(file: &str, name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("{file} says no {name}")))
}

/// A process, all that it started, and what those started.
pub(crate) fn tree(root: u32) -> io::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        // A process can end while we look at it.
        if let Ok(parent) = field(&format!("/proc/{pid}/status"), "PPid:") {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let children = parents.iter().filter(|(_, p)| *p == u64::from(parent));
        found.extend(children.map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(found)
}

/// Watches the RSS of a process and of all that it starts, from now on.
pub(crate) struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    pub(crate) fn begin(root: u32) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&over);
        let thread = thread::Builder::new()
            .name("memory".into())
            .spawn(move || {
                let mut highest = 0;
                while !end.load(Ordering::Relaxed) {
                    // One that ended while we looked has no memory.
                    let now = tree(root)
                        .iter()
                        .flatten()
                        .filter_map(|pid| rss(*pid).ok())
                        .sum();
                    highest = highest.max(now);
                    thread::sleep(OFTEN);
                }
                highest
            })?;
        Ok(Self { over, thread })
    }

    /// The most that was seen, in KiB.
    pub(crate) fn end(self) -> io::Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        let highest = self.thread.join();
        highest.map_err(|_| io::Error::other("nobody watched the memory"))
    }
}
