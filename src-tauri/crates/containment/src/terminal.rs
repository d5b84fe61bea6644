//! The standard input, output and error of a run, and the user's terminal.
//!
//! A run never gets a descriptor that the caller's terminal, file or pipe is
//! open on: it gets the inner side of a pty or of pipes of its own, and the
//! outer side is copied from and to the caller's.

use crate::session::duplicate;
use rustix::fd::OwnedFd;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios};
use std::fs::File;
use std::io::{self, IsTerminal};

/// What the agent's side gets as standard input, output and error.
pub(crate) struct Inner {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Our side: what is copied.
pub(crate) struct Outer {
    /// Set if the run has a pty: its master, for the window size.
    pub(crate) master: Option<OwnedFd>,
    /// Where the caller's standard input goes. `None`: the run's is empty.
    pub(crate) input: Option<File>,
    /// Where the run's standard output comes from.
    pub(crate) output: File,
    /// Where its standard error comes from, if it is apart from its output.
    pub(crate) errors: Option<File>,
}

impl Outer {
    /// The name of the run's terminal out here, if it has one.
    #[cfg(target_os = "linux")]
    pub(crate) fn terminal_path(&self) -> Option<std::path::PathBuf> {
        use std::os::unix::ffi::OsStringExt;
        let name = rustix::pty::ptsname(self.master.as_ref()?, Vec::new()).ok()?;
        Some(std::ffi::OsString::from_vec(name.into_bytes()).into())
    }
}

/// Makes both sides, after the caller's own descriptors.
///
/// Input and output at a terminal: a pty. Otherwise pipes; and if only the
/// input is a terminal (`countersign run tool | less`), the run's input is
/// empty: the terminal then belongs to the other program.
pub(crate) fn arrange() -> io::Result<(Inner, Outer)> {
    let terminal = io::stdin().is_terminal();
    if terminal && io::stdout().is_terminal() {
        return pty(io::stderr().is_terminal());
    }
    let (output, stdout) = pipe()?;
    let (errors, stderr) = pipe()?;
    let (stdin, input) = if terminal {
        (File::open("/dev/null")?.into(), None)
    } else {
        let (stdin, input) = pipe()?;
        (stdin, Some(input.into()))
    };
    let inner = Inner {
        stdin,
        stdout,
        stderr,
    };
    let outer = Outer {
        master: None,
        input,
        output: output.into(),
        errors: Some(errors.into()),
    };
    Ok((inner, outer))
}

fn pty(errors_too: bool) -> io::Result<(Inner, Outer)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    #[cfg(target_os = "linux")]
    let flags = flags | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    #[cfg(target_os = "linux")]
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    #[cfg(not(target_os = "linux"))]
    let slave = {
        use rustix::fs::{Mode, OFlags};
        rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(name, flags, Mode::empty())?
    };
    // The inner terminal begins as the outer one is.
    let outside = rustix::termios::tcgetattr(io::stdin())?;
    rustix::termios::tcsetattr(&slave, OptionalActions::Now, &outside)?;
    copy_window_size(&master);
    let (stderr, errors) = if errors_too {
        (duplicate(&slave)?, None)
    } else {
        let (errors, stderr) = pipe()?;
        (stderr, Some(errors.into()))
    };
    let inner = Inner {
        stdin: duplicate(&slave)?,
        stdout: slave,
        stderr,
    };
    let outer = Outer {
        input: Some(duplicate(&master)?.into()),
        output: duplicate(&master)?.into(),
        errors,
        master: Some(master),
    };
    Ok((inner, outer))
}

/// The read end and the write end, closed on exec.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?);
    #[cfg(not(target_os = "linux"))]
    {
        let ends = rustix::pipe::pipe()?;
        rustix::io::fcntl_setfd(&ends.0, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::fcntl_setfd(&ends.1, rustix::io::FdFlags::CLOEXEC)?;
        Ok(ends)
    }
}

/// Gives the inner terminal the size of the outer one; the kernel tells the
/// programs in it. A terminal that has no size keeps none.
pub(crate) fn copy_window_size(master: &OwnedFd) {
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stdin()) {
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
}

/// Switches off: mouse reports, focus reports, bracketed paste, application
/// keys, the alternate screen, the extended keyboard; shows the cursor; ends
/// colours. Source: XTerm Control Sequences.
const MODES_OFF: &[u8] = b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>\x1b[<u\x1b[?1049l\x1b[?25h\x1b[0m";

/// The user's terminal in raw mode: every key goes to the inner one. Dropping
/// it restores the terminal, also while a panic unwinds.
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Begins.
    pub(crate) fn begin() -> io::Result<Self> {
        let before = rustix::termios::tcgetattr(io::stdin())?;
        let raw = Self { before };
        raw.again()?;
        Ok(raw)
    }

    /// Begins anew after the shell took the terminal for a while.
    pub(crate) fn again(&self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        Ok(rustix::termios::tcsetattr(
            io::stdin(),
            OptionalActions::Drain,
            &raw,
        )?)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Modes that the run may have left on, in which keys and the mouse type
        // other things than they say.
        let _ = rustix::io::write(io::stdout(), MODES_OFF);
        // What the terminal has answered to the run is not for the user's shell
        // to read: flushed, with what was typed.
        let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}
