//! How busy the machine is with what is not ours.

use std::fs;
use std::io;
use std::thread::sleep;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(250);

/// The load average as the kernel prints it: over 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// How many processors there are.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Pauses while nothing of ours works; the share of all processors, in percent,
/// that others used meanwhile.
pub(crate) fn pause() -> io::Result<f64> {
    let before = times()?;
    sleep(PAUSE);
    let after = times()?;
    let all = after.0.saturating_sub(before.0).max(1);
    let idle = after.1.saturating_sub(before.1);
    Ok(100.0 * all.saturating_sub(idle) as f64 / all as f64)
}

/// Ticks in all, and those in which a processor had nothing to do.
fn times() -> io::Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat")?;
    let first = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first
        .split_whitespace()
        .skip(1)
        // User, nice, system, idle, waiting, interrupts (two kinds), stolen.
        .take(8)
        .filter_map(|n| n.parse().ok())
        .collect();
    let idle = ticks.iter().skip(3).take(2).sum();
    Ok((ticks.iter().sum(), idle))
}
