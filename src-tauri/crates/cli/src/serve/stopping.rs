//! What ends or stops the authority from outside: signals, and the file for
//! scripts.

use super::Authority;
use countersign_broker::Press;
use countersign_model::StopTrigger;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{SigSet, Signal};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// To touch a file that is not there makes it and then sets its time: two events,
/// and one press.
const ONE_TOUCH: Duration = Duration::from_secs(1);

/// Begins to watch. `SIGUSR1` and the stop file engage the stop; `SIGTERM`,
/// `SIGINT` and `SIGHUP` end in order.
pub(super) fn watch(authority: &Arc<Authority>) -> Result<(), String> {
    let say = |e: std::io::Error| format!("Signals cannot be watched: {e}");
    watch_signal(authority)?;
    let mut ends = [
        signal(SignalKind::terminate()).map_err(say)?,
        signal(SignalKind::interrupt()).map_err(say)?,
        signal(SignalKind::hangup()).map_err(say)?,
    ];
    // Caught, so that a file that may not grow (`ulimit -f`) is a failed write
    // that denies, like a full disk, and no end. Source: setrlimit(2).
    let _caught_for_good = signal(SignalKind::from_raw(nix::libc::SIGXFSZ)).map_err(say)?;
    let ending = Arc::clone(authority);
    tokio::spawn(async move {
        let [term, int, hup] = &mut ends;
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {}, _ = hup.recv() => {} }
        ending.end.notify_one();
    });
    watch_file(authority)
}

/// Of this and of all threads that it will start, so that [`watch`] alone hears
/// them. (Ours that are started unblock them when they begin.)
pub(super) fn block_signals() -> Result<(), String> {
    let blocked = SigSet::from(Signal::SIGUSR1).thread_block();
    blocked.map_err(|e| format!("Signals cannot be blocked: {e}"))
}

/// A thread of its own, which the kernel wakes and nobody between: on a machine that
/// agents keep busy, each further thread would have to wait for its turn.
fn watch_signal(authority: &Arc<Authority>) -> Result<(), String> {
    let authority = Arc::clone(authority);
    std::thread::Builder::new()
        .name("stop-signal".into())
        .spawn(move || {
            let awaited = SigSet::from(Signal::SIGUSR1);
            while awaited.wait().is_ok() {
                let broker = &authority.broker;
                broker.engage(StopTrigger::Signal, None, Press::Once);
            }
        })
        .map(|_| ())
        .map_err(|e| format!("Signals cannot be watched: {e}"))
}

/// A thread of its own, asleep in the kernel until something happens.
fn watch_file(authority: &Arc<Authority>) -> Result<(), String> {
    let say = |e: nix::Error| format!("The stop file cannot be watched: {e}");
    let notify = Inotify::init(InitFlags::IN_CLOEXEC).map_err(say)?;
    let happened = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MOVED_TO;
    notify
        .add_watch(&authority.home.runtime, happened)
        .map_err(say)?;
    let authority = Arc::clone(authority);
    asked_by_file(&authority);
    // One that was there before we came counts too.
    if authority.home.stop_file().exists() {
        authority
            .broker
            .engage(StopTrigger::File, None, Press::Once);
    }
    std::thread::Builder::new()
        .name("stop-file".into())
        .spawn(move || {
            let mut last = None::<Instant>;
            while let Ok(events) = notify.read_events() {
                let name = authority.home.stop_file();
                let touched = events.iter().any(|e| e.name.as_deref() == name.file_name());
                asked_by_file(&authority);
                // Whether it is still there says nothing: it was touched.
                let broker = &authority.broker;
                let same = last.is_some_and(|last| last.elapsed() < ONE_TOUCH);
                if touched && !(same && broker.stop().is_engaged()) {
                    last = Some(Instant::now());
                    broker.engage(StopTrigger::File, None, Press::Once);
                }
            }
        })
        .map(|_| ())
        .map_err(|e| format!("The stop file cannot be watched: {e}"))
}

/// Whoever asked by file was not heard at the control socket: the same press may
/// yet come by that, so this one only engages.
fn asked_by_file(authority: &Authority) {
    let asked = authority.home.stop_asked();
    if asked.symlink_metadata().is_err() {
        return;
    }
    let broker = &authority.broker;
    if !broker.stop().is_engaged() {
        broker.engage(StopTrigger::Command, None, Press::Once);
    }
    // Tells whoever asked.
    let _ = std::fs::remove_file(asked);
}
