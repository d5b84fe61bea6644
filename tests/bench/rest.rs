//! What is not a race: memory at rest and under large bodies, and how long the
//! command takes to say how things are.

use crate::loader::{Answer, number};
use crate::memory::{self, Memory, Watch};
use crate::ours::{self, Ours};
use crate::table::{Goal, Table};
use countersign_testkit::desktop::{Desktop, Options};
use countersign_testkit::{Authority, programs};
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Until what starts has started, and what is not needed again was given back.
const SETTLED: Duration = Duration::from_secs(8);
const GIGABYTE: u64 = 1_000_000_000;
const SLOW_TOTAL: u64 = 200_000_000;
const SLOW_RATE: &str = "20000000";
/// From the kernel's KiB.
const MB_PER_KIB: f64 = 0.001_024;
const STATUS_TIMES: usize = 50;

/// The memory of an authority and of the tray app that it started, before any
/// window was opened.
pub(crate) fn with_desktop() -> io::Result<Memory> {
    let desktop = Desktop::start(&Options::default())?;
    let authority = Authority::start(&desktop, &["--desktop"])?;
    desktop.tray()?;
    sleep(SETTLED);
    let all = memory::tree(authority.pid())?;
    if all.len() < 2 {
        return Err(io::Error::other("the tray app does not run"));
    }
    let memory = memory::of(&all)?;
    authority.end(&desktop)?;
    Ok(memory)
}

/// Adds the memory of the authority alone, which did nothing yet but take its
/// configuration, and that of both together.
pub(crate) fn idle(ours: &Ours, together: Memory, table: &mut Table) -> io::Result<()> {
    sleep(SETTLED);
    let alone = memory::of(&[ours.scene.authority.pid()])?;
    table.once(
        &format!("memory at rest, authority ({})", alone.name()),
        alone.kib() as f64 * MB_PER_KIB,
        " MB",
        Some(Goal::AtMost(20.0)),
    );
    table.once(
        &format!("memory at rest, with the tray app ({})", together.name()),
        together.kib() as f64 * MB_PER_KIB,
        " MB",
        Some(Goal::AtMost(75.0)),
    );
    Ok(())
}

/// Large bodies: down, up, and to an agent that reads slowly.
pub(crate) fn streams(ours: &mut Ours, table: &mut Table) -> io::Result<()> {
    let pid = ours.scene.authority.pid();
    // What any first request needs is there from here on; and the second run shows
    // what any run takes, with the process of its gateway.
    ours.contained(&["read", &ours::small(), "1", "300"])?;
    crate::say("a small run");
    let watch = Watch::begin(pid)?;
    ours.contained(&["read", &ours::small(), "1", "300"])?;
    let small = watch.end()?;
    let alone = memory::rss(pid)?;
    table.once(
        "memory more for a run, its gateway (RSS, what it shares with the authority included)",
        small.saturating_sub(alone) as f64 * MB_PER_KIB,
        " MB",
        None,
    );

    crate::say("1 GB down");
    let watch = Watch::begin(pid)?;
    let answer = ours.contained(&["down", &ours::read(GIGABYTE)])?;
    stream("1 GB down", &answer, GIGABYTE, (watch, small), table)?;
    speed("1 GB down", &answer, table)?;

    crate::say("1 GB up");
    let watch = Watch::begin(pid)?;
    let answer = ours.approved(&["up", ours::UPLOAD, &GIGABYTE.to_string()])?;
    stream("1 GB up", &answer, GIGABYTE, (watch, small), table)?;

    crate::say("200 MB down to a slow reader");
    let watch = Watch::begin(pid)?;
    let answer = ours.contained(&["down", &ours::read(SLOW_TOTAL), SLOW_RATE])?;
    let what = "200 MB down, read at 20 MB/s";
    stream(what, &answer, SLOW_TOTAL, (watch, small), table)?;
    speed(what, &answer, table)
}

fn stream(
    what: &str,
    answer: &Answer,
    length: u64,
    (watch, small): (Watch, u64),
    table: &mut Table,
) -> io::Result<()> {
    let highest = watch.end()?;
    let bytes = number(answer, "bytes")?;
    if bytes != length as f64 {
        return Err(io::Error::other(format!("{what}: {bytes} bytes arrived")));
    }
    table.once(
        &format!("memory more than of a small run at most, {what} (RSS)"),
        highest.saturating_sub(small) as f64 * MB_PER_KIB,
        " MB",
        Some(Goal::AtMost(20.0)),
    );
    Ok(())
}

/// Not of the upload: a human's reading is part of its time.
fn speed(what: &str, answer: &Answer, table: &mut Table) -> io::Result<()> {
    let megabytes = number(answer, "bytes")? / 1e6;
    let speed = megabytes / number(answer, "seconds")?;
    table.once(&format!("  {what}: how fast"), speed, " MB/s", None);
    Ok(())
}

/// How long `countersign status` takes.
pub(crate) fn status(ours: &Ours, table: &mut Table) -> io::Result<()> {
    crate::say("countersign status");
    let program = programs::built("countersign")?;
    let mut times = Vec::with_capacity(STATUS_TIMES);
    for _ in 0..STATUS_TIMES {
        let mut command = ours.scene.desktop.command(&program);
        let begun = Instant::now();
        let output = command.arg("status").output()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        if !output.status.success() {
            return Err(io::Error::other(countersign_testkit::scene::said(&output)));
        }
    }
    table.rounds(
        "countersign status",
        &times,
        " ms",
        Some(Goal::AtMost(10.0)),
    );
    Ok(())
}
