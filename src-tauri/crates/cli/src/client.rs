//! Talking to the authority: one message there, and replies back. Plain
//! blocking sockets, so that a command is quick.

use crate::exit;
use crate::home::Home;
use countersign_protocol::control::{Ask, Reply};
use countersign_protocol::frame;
use std::io::{self, Write as _};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// A command that did not work: exit code and sentence.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) u8, pub(crate) String);

impl Failure {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(exit::FAILED, sentence.into())
    }
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self(exit::USAGE, sentence.into())
    }
    /// Says it, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        crate::say::problem(&self.1);
        ExitCode::from(self.0)
    }
}

/// A connection to the authority.
pub(crate) struct Client(UnixStream);

impl Client {
    /// Connects.
    pub(crate) fn connect(home: &Home) -> Result<Self, Failure> {
        let stream = UnixStream::connect(home.control()).map_err(|_| {
            Failure(
                exit::NO_AUTHORITY,
                "No authority is running. Start the tray app, or: countersign serve".into(),
            )
        })?;
        // Where there is no session, the socket lies in a folder that somebody
        // else may have made first.
        if is_ours(&stream) {
            Ok(Self(stream))
        } else {
            Err(Failure::new(format!(
                "What listens at {} is not yours, so it was told nothing.",
                home.control().display()
            )))
        }
    }

    /// Sends one message. A peer that is refused finds the connection closed,
    /// and the reason in it.
    pub(crate) fn send(&mut self, ask: &Ask) -> Result<(), Failure> {
        frame::write(&mut self.0, ask)
            .or_else(unless_closed)
            .map_err(lost)
    }

    /// Sends the secret that follows a message.
    pub(crate) fn send_secret(&mut self, secret: &[u8]) -> Result<(), Failure> {
        self.0
            .write_all(secret)
            .and_then(|()| self.0.flush())
            .or_else(unless_closed)
            .map_err(lost)
    }

    /// The next reply. A refusal is a [`Failure`].
    pub(crate) fn reply(&mut self) -> Result<Reply, Failure> {
        match self.heard()? {
            Reply::Failed { exit, sentence } => Err(Failure(exit, sentence)),
            reply => Ok(reply),
        }
    }

    /// The next reply, which may be a refusal. No reply is a [`Failure`].
    pub(crate) fn heard(&mut self) -> Result<Reply, Failure> {
        match frame::read(&mut self.0).map_err(lost)? {
            Some(reply) => Ok(reply),
            None => Err(Failure::new("The authority ended the connection.")),
        }
    }

    /// The next reply that is not "the human is being asked".
    pub(crate) fn answer(&mut self) -> Result<Reply, Failure> {
        loop {
            match self.reply()? {
                Reply::Asking { .. } => crate::say::asking(),
                reply => return Ok(reply),
            }
        }
    }

    /// A handle of the authority's process.
    #[cfg(target_os = "linux")]
    pub(crate) fn authority(&self) -> Result<OwnedFd, Failure> {
        use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        let handle = || {
            let peer = getsockopt(&self.0, PeerCredentials)?;
            let pid = Pid::from_raw(peer.pid()).ok_or(io::ErrorKind::NotFound)?;
            Ok::<_, io::Error>(pidfd_open(pid, PidfdFlags::empty())?)
        };
        handle().map_err(|e| Failure::new(format!("The authority's process is not in sight: {e}")))
    }

    /// The connection itself, for a run's lease.
    pub(crate) fn into_stream(self) -> UnixStream {
        self.0
    }
}

/// Whether the other end belongs to this user.
fn is_ours(stream: &UnixStream) -> bool {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
        let us = nix::unistd::geteuid().as_raw();
        getsockopt(stream, PeerCredentials).is_ok_and(|peer| peer.uid() == us)
    }
    #[cfg(not(target_os = "linux"))]
    {
        nix::unistd::getpeereid(stream).is_ok_and(|(uid, _)| uid == nix::unistd::geteuid())
    }
}

/// A closed connection is no failure to send: what was written into it before
/// can still be read.
fn unless_closed(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(()),
        _ => Err(error),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn lost(error: io::Error) -> Failure {
    Failure::new(format!("The authority does not answer: {error}"))
}
