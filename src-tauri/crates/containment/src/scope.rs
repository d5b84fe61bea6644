//! A scope of systemd's for this process, in which it may make control groups.
//!
//! The group of a login (a display manager's, ssh's) belongs to root. The user's
//! systemd can move a process of the user's to a scope below itself, and leave that
//! to the user.
//!
//! Sources: org.freedesktop.systemd1(5), `StartTransientUnit`; systemd.scope(5);
//! systemd.resource-control(5), `Delegate=`.

use std::io;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use zbus::blocking::connection::Builder;
use zbus::zvariant::{OwnedObjectPath, Value};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// How long systemd may take to answer, and then to move this process.
const ANSWERS: Duration = Duration::from_secs(1);
const MOVES: Duration = Duration::from_secs(1);

/// Has this process moved to a scope of its own.
///
/// # Errors
/// When there is no systemd on the session bus, or it does not do so in time.
pub(crate) fn enter() -> io::Result<()> {
    let process = std::process::id();
    let name = format!("countersign-run-{process}.scope");
    // On a thread of its own: a bus may take a connection and say nothing.
    let (tell, told) = mpsc::channel();
    let of_it = name.clone();
    std::thread::spawn(move || tell.send(start(&of_it, process)));
    let answer = told.recv_timeout(ANSWERS).map_err(io::Error::other)?;
    answer.map_err(io::Error::other)?;
    // It answers before it has done so.
    let began = Instant::now();
    while !is_in(&name)? {
        if began.elapsed() > MOVES {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn start(name: &str, process: u32) -> zbus::Result<()> {
    /// Other units to start with it: none.
    const WITH: &[(&str, Vec<(&str, Value<'_>)>)] = &[];
    let bus = Builder::session()?.build()?;
    let properties = [
        ("Description", Value::from("A run of Countersign")),
        ("PIDs", Value::from(vec![process])),
        ("Delegate", Value::from(true)),
        // Gone with its last process, also when one of them failed.
        ("CollectMode", Value::from("inactive-or-failed")),
    ];
    let ask = (name, "fail", properties.as_slice(), WITH);
    let reply = bus.call_method(Some(NAME), PATH, Some(MANAGER), "StartTransientUnit", &ask)?;
    let _job: OwnedObjectPath = reply.body().deserialize()?;
    Ok(())
}

/// Whether this process is in the group of this unit: cgroups(7).
fn is_in(name: &str) -> io::Result<bool> {
    let groups = std::fs::read_to_string("/proc/self/cgroup")?;
    let mut last = groups.lines().filter_map(|line| line.rsplit('/').next());
    Ok(last.any(|folder| folder == name))
}
