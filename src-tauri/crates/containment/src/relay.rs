//! Copying between a run's standard descriptors and the caller's, and passing
//! signals on. A few threads of the caller's process; each copies one way.

use crate::session::duplicate;
use crate::terminal::{Outer, RawMode, copy_window_size, pipe};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::{Handle, Signals};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

/// Passed on to the run. The stop does not come this way.
const PASSED_ON: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// Begins to catch the signals of a run, before the run begins: none of them may
/// end the launcher in between. They stay caught by this process for good, and
/// have no effect once the relay has ended.
pub(crate) fn catch() -> io::Result<Signals> {
    Signals::new(PASSED_ON.into_iter().chain([SIGWINCH, SIGCONT]))
}

/// A relay at work.
pub(crate) struct Relay {
    /// They end by themselves, when nobody in the run can write any more.
    outputs: Vec<JoinHandle<()>>,
    input: Option<(JoinHandle<()>, OwnedFd)>,
    signals: (JoinHandle<()>, Handle),
    raw: Option<Arc<RawMode>>,
}

impl Relay {
    /// Begins. With a pty, the user's terminal is in raw mode until
    /// [`Relay::end`], or until the relay is dropped.
    pub(crate) fn begin(
        outer: Outer,
        mut caught: Signals,
        pass_on: impl Fn(i32) + Send + 'static,
    ) -> io::Result<Self> {
        let Outer {
            master,
            input,
            output,
            errors,
        } = outer;
        let raw = match &master {
            Some(_) => Some(Arc::new(RawMode::begin()?)),
            None => None,
        };
        let mut outputs = vec![copier(
            "relay-output",
            output,
            duplicate(io::stdout())?.into(),
        )?];
        if let Some(errors) = errors {
            outputs.push(copier(
                "relay-errors",
                errors,
                duplicate(io::stderr())?.into(),
            )?);
        }
        let input = match input {
            Some(to) => Some(feeder(to)?),
            None => None,
        };

        let handle = caught.handle();
        // Weak: a thread that lives on must not keep the terminal raw.
        let terminal = master.zip(raw.as_ref().map(Arc::downgrade));
        let thread = thread("relay-signals", move || {
            for signal in &mut caught {
                match (signal, &terminal) {
                    (SIGWINCH, Some((master, _))) => copy_window_size(master),
                    (SIGCONT, Some((master, raw))) => {
                        let _ = Weak::upgrade(raw).map(|raw| raw.again());
                        copy_window_size(master);
                    }
                    (SIGWINCH | SIGCONT, None) => {}
                    (signal, _) => pass_on(signal),
                }
            }
        })?;
        Ok(Self {
            outputs,
            input,
            signals: (thread, handle),
            raw,
        })
    }

    /// Waits until everything that the run wrote is out, then ends and restores
    /// the terminal. Call it when no process of the run is left.
    pub(crate) fn end(self) {
        for output in self.outputs {
            let _ = output.join();
        }
        if let Some((thread, stop)) = self.input {
            drop(stop);
            let _ = thread.join();
        }
        let (thread, handle) = self.signals;
        handle.close();
        let _ = thread.join();
        drop(self.raw);
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(work)
}

/// Copies until the end. If the caller's side is gone, the rest is read and
/// dropped only for a pty's sake: closing our end tells the run (`SIGPIPE`).
fn copier(name: &str, mut from: File, mut to: File) -> io::Result<JoinHandle<()>> {
    thread(name, move || {
        let mut buffer = [0; 16 * 1024];
        loop {
            // A pty whose inner side is closed reads as an error (EIO).
            let count = match from.read(&mut buffer) {
                Ok(0) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
                Ok(count) => count,
            };
            if to.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    })
}

/// Copies the caller's standard input until its end, or until the returned
/// descriptor is dropped. Whoever only waits for input must not wait for the
/// user to press one more key.
fn feeder(mut to: File) -> io::Result<(JoinHandle<()>, OwnedFd)> {
    let mut from = File::from(duplicate(io::stdin())?);
    let (stopped, stop) = pipe()?;
    let thread = thread("relay-input", move || {
        let mut buffer = [0; 16 * 1024];
        loop {
            let mut ready = [
                PollFd::new(&from, PollFlags::IN),
                PollFd::from_borrowed_fd(stopped.as_fd(), PollFlags::IN),
            ];
            match rustix::event::poll(&mut ready, None) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) => {}
            }
            if !ready[1].revents().is_empty() {
                return;
            }
            match from.read(&mut buffer) {
                Ok(0) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
                Ok(count) => {
                    if to.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
            }
        }
    })?;
    Ok((thread, stop))
}
