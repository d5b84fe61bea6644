//! Process 1 of a contained run. It starts the agent's command, reaps, passes
//! signals on, and reports how the command ended. When it ends, the kernel ends
//! every other process of the run.
//!
//! bubblewrap starts it with a socket to the launcher as standard input, the
//! launcher's complaint file as standard error, and nothing else.

use crate::control::{Order, Report, Start};
use crate::fence;
use crate::filter::INITS_NUMBERS;
use crate::layout::OWN;
use crate::session::{SessionsTurn, enter, harden_self, lead};
use crate::sockets;
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Arc, mpsc};

/// The first argument by which a program knows that it is to be the init of a
/// run, and calls [`main`].
pub const SUBCOMMAND: &str = "init-of-a-run";

/// Exit code when the run could not be begun; nobody but bubblewrap sees it.
const NOT_BEGUN: u8 = 125;

/// Is the init of a run, to the end. Only bubblewrap starts it; started
/// otherwise it does nothing and fails.
#[must_use]
pub fn main() -> ExitCode {
    match begin_and_wait() {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "init of the run: {error}");
            ExitCode::from(NOT_BEGUN)
        }
    }
}

fn begin_and_wait() -> io::Result<ExitCode> {
    // Where memory runs out, the run goes first, as a whole: its limits count each
    // process, and not what lies in memory files. (Before the next step, which
    // closes this file too. Without it nothing is lost but the order.)
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // First of all: from here on the agent, which has the same user id, cannot
    // look into this process (its environment, descriptors, memory).
    harden_self()?;
    if rustix::process::getpid() != Pid::INIT {
        return Err(io::Error::other("this is not a run"));
    }
    let control = Arc::new(io::stdin().as_fd().try_clone_to_owned()?);
    let itself = rustix::process::pidfd_open(Pid::INIT, PidfdFlags::empty())?;
    Report::Init(itself).send(control.as_fd())?;
    // The launcher lays it out before it says that the command may begin.
    match File::open("/proc/self/ns/net") {
        Ok(network) => Report::Network(network.into()).send(control.as_fd())?,
        Err(error) => {
            failed(&error).send(control.as_fd())?;
            return Err(error);
        }
    }
    let descriptors = loop {
        match Order::receive(control.as_fd())? {
            Some(Order::Asked(end)) => sockets::give(end)?,
            Some(Order::EndWith(process)) => end_with(process)?,
            Some(Order::Start(descriptors)) => break descriptors,
            Some(Order::Signal(_)) => {}
            Some(Order::Socket) | None => {
                return Err(io::Error::other("the launcher is gone"));
            }
        }
    };
    let (tell, told) = mpsc::channel();
    let orders = Arc::clone(&control);
    std::thread::Builder::new()
        .name("orders".into())
        .spawn(move || {
            if let Ok(agent) = told.recv() {
                obey(&orders, agent);
            }
        })?;
    let (begun, began) = mpsc::channel();
    std::thread::Builder::new()
        .name("yields".into())
        .spawn(move || {
            if let Some(turn) = began.recv().ok().and_then(SessionsTurn::of) {
                turn.goes_last();
            }
        })?;
    // Every thread of ours has begun.
    use_up_numbers()?;
    let agent = match begin(descriptors) {
        Ok(agent) => agent,
        Err((report, error)) => {
            report.send(control.as_fd())?;
            return Err(error);
        }
    };
    Report::Running.send(control.as_fd())?;

    // The threads wait for it.
    let _ = tell.send(agent);
    let _ = begun.send(Some(agent));
    reap(&control, agent)
}

/// The agent, and whatever it starts, has a number above [`INITS_NUMBERS`]: by
/// those below, the filter knows the threads of this process.
fn use_up_numbers() -> io::Result<()> {
    let next = || -> io::Result<i32> {
        let thread = std::thread::Builder::new().spawn(nix::unistd::gettid)?;
        let number = thread.join().map_err(|_| io::ErrorKind::Other)?;
        Ok(number.as_raw())
    };
    // Those that began before have lower ones.
    let mut number = next()?;
    if number > INITS_NUMBERS {
        return Err(io::Error::other(
            "init has numbers that the filter does not know",
        ));
    }
    while number < INITS_NUMBERS {
        let after = next()?;
        if after <= number {
            return Err(io::Error::other("the kernel does not count up"));
        }
        number = after;
    }
    Ok(())
}

fn failed(error: &io::Error) -> Report {
    Report::Failed(error.raw_os_error().unwrap_or(0))
}

/// A thread that ends the run when this process has ended, whatever the launcher
/// does: a shell may have suspended that. (While the run is frozen, so is this
/// thread; once thawed, it ends the run.)
fn end_with(process: OwnedFd) -> io::Result<()> {
    let wait = move || {
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        // A handle of a process is readable once that has ended: pidfd_open(2).
        while let Ok(0) | Err(Errno::INTR) = rustix::event::poll(&mut ended, None) {}
        std::process::exit(i32::from(NOT_BEGUN));
    };
    std::thread::Builder::new()
        .name("ends-with".into())
        .spawn(wait)
        .map(drop)
}

/// Starts the command.
fn begin([start, stdin, stdout, stderr]: [OwnedFd; 4]) -> Result<Pid, (Report, io::Error)> {
    let failed = |error| (failed(&error), error);
    let mut bytes = Vec::new();
    File::from(start).read_to_end(&mut bytes).map_err(failed)?;
    let start =
        Start::from_bytes(&bytes).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;

    let (program, arguments) = start
        .argv
        .split_first()
        .ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(start.environment)
        .current_dir(start.folder)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr);
    lead(&mut command, start.terminal, Some(start.limits));
    let fence = fence::around(&start.writable, Path::new(OWN))
        .map_err(|error| failed(io::Error::other(error)))?;
    if let Some(fence) = fence {
        enter(&mut command, fence);
    }
    let child = command
        .spawn()
        .map_err(|error| (Report::NoCommand(error.raw_os_error().unwrap_or(0)), error))?;
    Ok(Pid::from_child(&child))
}

/// Passes signals on until the launcher is gone; then ends the run, since
/// nobody can stop it any more.
fn obey(orders: &OwnedFd, agent: Pid) {
    while let Ok(Some(order)) = Order::receive(orders.as_fd()) {
        let Order::Signal(number) = order else {
            continue;
        };
        let Some(signal) = Signal::from_named_raw(number) else {
            continue;
        };
        // A key press reaches everything in the foreground, other signals the
        // one process that they were sent to.
        let _ = if signal == Signal::INT || signal == Signal::QUIT {
            rustix::process::kill_process_group(agent, signal)
        } else {
            rustix::process::kill_process(agent, signal)
        };
    }
    std::process::exit(i32::from(NOT_BEGUN));
}

/// Reaps every process of the run until the agent's command has ended.
fn reap(control: &OwnedFd, agent: Pid) -> io::Result<ExitCode> {
    loop {
        let (ended, status) = match rustix::process::wait(WaitOptions::UNTRACED) {
            Ok(Some(ended)) => ended,
            Ok(None) | Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if ended != agent {
            continue;
        }
        if status.stopped() {
            // There is no shell here that would continue it.
            let _ = rustix::process::kill_process(agent, Signal::CONT);
            continue;
        }
        report_of(status).send(control.as_fd())?;
        return Ok(ExitCode::SUCCESS);
    }
}

fn report_of(status: WaitStatus) -> Report {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Report::Code(code),
        (None, Some(signal)) => Report::Signalled(signal),
        (None, None) => Report::Failed(0),
    }
}
