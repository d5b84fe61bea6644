//! The few messages between the launcher and the init of a run.
//!
//! One socket, one message a packet, one letter each. Nothing that an agent
//! writes ever travels here: it has no descriptor of it.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Descriptors that one message can carry.
const MOST_DESCRIPTORS: usize = 4;

/// What the launcher says.
pub(crate) enum Order {
    /// Before [`Order::Start`]: a handle of a process with which the run ends.
    EndWith(OwnedFd),
    /// Begin: the [`Start`] as a memory file, then the agent's standard input,
    /// output and error.
    Start([OwnedFd; 4]),
    /// Pass this signal on.
    Signal(i32),
    /// Before `Start`, at most once: where sockets of the run's network will be asked
    /// for.
    Asked(OwnedFd),
    /// There: a socket is wanted.
    Socket,
}

/// What init says, and who lays out its network.
pub(crate) enum Report {
    /// First of all: a handle of init itself, to end the tree by.
    Init(OwnedFd),
    /// Next: a handle of the run's network. Only then it waits for
    /// [`Order::Start`], so that no command begins before that is laid out, and
    /// its tree in the hands of who stops it.
    Network(OwnedFd),
    /// Not init, but who lays out the network: a socket of the run's ports.
    Listening(OwnedFd),
    /// The same, of a port of this machine that the run reaches.
    Reaching(OwnedFd),
    /// Where it was asked for: a socket of the run's network.
    Socket(OwnedFd),
    /// The command runs.
    Running,
    /// The command could not be started: the system's error number.
    NoCommand(i32),
    /// Anything else failed first.
    Failed(i32),
    /// The command ended by itself.
    Code(i32),
    /// A signal ended the command.
    Signalled(i32),
}

/// Both ends, closed on exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        kind,
        flags,
        None,
    )?)
}

impl Order {
    /// Sends it.
    pub(crate) fn send(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            Self::EndWith(process) => send(to, b'e', 0, &[process.as_fd()]),
            Self::Start(descriptors) => {
                let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                send(to, b's', 0, &descriptors)
            }
            Self::Signal(number) => send(to, b'k', *number, &[]),
            Self::Asked(end) => send(to, b'a', 0, &[end.as_fd()]),
            Self::Socket => send(to, b'o', 0, &[]),
        }
    }

    /// Waits for the next one; `None` when the launcher is gone.
    pub(crate) fn receive(from: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        Ok(match receive(from)? {
            None => None,
            Some((b'e', _, mut descriptors)) => Some(Self::EndWith(
                descriptors.pop().ok_or(io::ErrorKind::InvalidData)?,
            )),
            Some((b's', _, descriptors)) => Some(Self::Start(
                descriptors
                    .try_into()
                    .map_err(|_| io::ErrorKind::InvalidData)?,
            )),
            Some((b'k', number, _)) => Some(Self::Signal(number)),
            Some((b'a', _, mut descriptors)) => Some(Self::Asked(
                descriptors.pop().ok_or(io::ErrorKind::InvalidData)?,
            )),
            Some((b'o', ..)) => Some(Self::Socket),
            Some(_) => return Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

impl Report {
    /// Sends it.
    pub(crate) fn send(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            Self::Init(itself) => send(to, b'i', 0, &[itself.as_fd()]),
            Self::Network(network) => send(to, b'w', 0, &[network.as_fd()]),
            Self::Listening(socket) => send(to, b'l', 0, &[socket.as_fd()]),
            Self::Reaching(socket) => send(to, b'h', 0, &[socket.as_fd()]),
            Self::Socket(socket) => send(to, b'o', 0, &[socket.as_fd()]),
            Self::Running => send(to, b'r', 0, &[]),
            Self::NoCommand(errno) => send(to, b'n', *errno, &[]),
            Self::Failed(errno) => send(to, b'f', *errno, &[]),
            Self::Code(code) => send(to, b'c', *code, &[]),
            Self::Signalled(signal) => send(to, b't', *signal, &[]),
        }
    }

    /// Waits for the next one; `None` when init is gone.
    pub(crate) fn receive(from: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        Ok(match receive(from)? {
            None => None,
            Some((b'i', _, mut descriptors)) => Some(Self::Init(
                descriptors.pop().ok_or(io::ErrorKind::InvalidData)?,
            )),
            Some((b'w', _, mut descriptors)) => Some(Self::Network(
                descriptors.pop().ok_or(io::ErrorKind::InvalidData)?,
            )),
            Some((b'l', _, mut descriptors)) => Some(Self::Listening(
                descriptors.pop().ok_or(io::ErrorKind::InvalidData)?,
            )),
            Some((b'h', _, mut descriptors)) => Some(Self::Reaching(
                descriptors.pop().ok_or(io::ErrorKind::InvalidData)?,
            )),
            Some((b'o', _, mut descriptors)) => Some(Self::Socket(
                descriptors.pop().ok_or(io::ErrorKind::InvalidData)?,
            )),
            Some((b'r', ..)) => Some(Self::Running),
            Some((b'n', errno, _)) => Some(Self::NoCommand(errno)),
            Some((b'f', errno, _)) => Some(Self::Failed(errno)),
            Some((b'c', code, _)) => Some(Self::Code(code)),
            Some((b't', signal, _)) => Some(Self::Signalled(signal)),
            Some(_) => return Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

/// Whether there is something to read (or an end to see) before the time is up.
pub(crate) fn within(control: BorrowedFd<'_>, time: Timespec) -> io::Result<bool> {
    let mut ready = [PollFd::from_borrowed_fd(control, PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut ready, Some(&time)) {
            Err(Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

fn send(to: BorrowedFd<'_>, letter: u8, number: i32, carry: &[BorrowedFd<'_>]) -> io::Result<()> {
    let number = number.to_ne_bytes();
    let packet = [letter, number[0], number[1], number[2], number[3]];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !carry.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(carry)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let data = [IoSlice::new(&packet)];
    loop {
        match rustix::net::sendmsg(to, &data, &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => return Ok(sent.map(drop)?),
        }
    }
}

fn receive(from: BorrowedFd<'_>) -> io::Result<Option<(u8, i32, Vec<OwnedFd>)>> {
    let mut packet = [0; 5];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut data = [IoSliceMut::new(&mut packet)];
        match rustix::net::recvmsg(from, &mut data, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            // A launcher that died with a packet unread resets the pair.
            Err(Errno::CONNRESET) => return Ok(None),
            received => break received?,
        }
    };
    let descriptors = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    match received.bytes {
        0 => Ok(None),
        5 => {
            let number = i32::from_ne_bytes([packet[1], packet[2], packet[3], packet[4]]);
            Ok(Some((packet[0], number, descriptors)))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// What init needs to begin. It travels in a memory file, so that it shows in
/// no command line and no environment block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) terminal: bool,
    pub(crate) limits: crate::Limits,
    pub(crate) folder: OsString,
    /// What the command may write to, besides temporary places and devices.
    pub(crate) writable: Vec<OsString>,
    pub(crate) argv: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
}

impl Start {
    /// Each value ends in NUL, which no argument or variable can contain.
    /// `None` if one does all the same.
    pub(crate) fn to_bytes(&self) -> Option<Vec<u8>> {
        let number = |number: u64| OsString::from(number.to_string());
        let mut values = vec![
            number(self.terminal.into()),
            number(self.limits.processes),
            number(self.limits.memory_bytes),
            number(self.limits.open_files),
            self.folder.clone(),
        ];
        for list in [&self.writable, &self.argv] {
            values.push(number(list.len() as u64));
            values.extend(list.iter().cloned());
        }
        for (name, value) in &self.environment {
            values.extend([name.clone(), value.clone()]);
        }
        if values.iter().any(|value| value.as_bytes().contains(&0)) {
            return None;
        }
        let mut bytes = Vec::new();
        for value in values {
            bytes.extend(value.as_bytes());
            bytes.push(0);
        }
        Some(bytes)
    }

    /// The opposite of [`Start::to_bytes`]; `None` if it is not one.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = |value: &[u8]| OsString::from_vec(value.to_vec());
        let number = |value: &[u8]| OsStr::from_bytes(value).to_str()?.parse::<u64>().ok();
        let mut values = bytes.strip_suffix(&[0])?.split(|byte| *byte == 0);
        let terminal = number(values.next()?)? == 1;
        let limits = crate::Limits {
            processes: number(values.next()?)?,
            memory_bytes: number(values.next()?)?,
            open_files: number(values.next()?)?,
        };
        let folder = text(values.next()?);
        let mut list = || -> Option<Vec<OsString>> {
            let count = number(values.next()?)?;
            (0..count).map(|_| values.next().map(text)).collect()
        };
        let (writable, argv) = (list()?, list()?);
        let mut environment = Vec::new();
        while let Some(name) = values.next() {
            environment.push((text(name), text(values.next()?)));
        }
        Some(Self {
            terminal,
            limits,
            folder,
            writable,
            argv,
            environment,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Start {
        Start {
            terminal: true,
            limits: crate::Limits::default(),
            folder: "/a folder".into(),
            writable: vec!["/a folder".into()],
            argv: vec![
                "program".into(),
                "".into(),
                OsString::from_vec(vec![0xFF, b'\n']),
            ],
            environment: vec![("NAME".into(), "".into()), ("B".into(), "x=y".into())],
        }
    }

    #[test]
    fn a_start_survives_the_way_to_init() {
        let bytes = start().to_bytes().unwrap();
        assert_eq!(Start::from_bytes(&bytes).unwrap(), start());
    }

    #[test]
    fn a_start_with_a_nul_or_cut_short_is_none() {
        let mut with_nul = start();
        with_nul.argv.push("a\0b".into());
        assert!(with_nul.to_bytes().is_none());
        let bytes = start().to_bytes().unwrap();
        assert!(Start::from_bytes(&bytes[..bytes.len() - 1]).is_none());
        assert!(Start::from_bytes(b"").is_none());
    }

    #[test]
    fn messages_arrive_with_their_descriptors_and_an_end_is_seen() {
        let (ours, theirs) = pair().unwrap();
        Order::Signal(15).send(ours.as_fd()).unwrap();
        let received = Order::receive(theirs.as_fd()).unwrap();
        assert!(matches!(received, Some(Order::Signal(15))));
        let carried = ours.try_clone().unwrap();
        Report::Init(carried).send(theirs.as_fd()).unwrap();
        let received = Report::receive(ours.as_fd()).unwrap();
        assert!(matches!(received, Some(Report::Init(_))));
        drop(theirs);
        assert!(Report::receive(ours.as_fd()).unwrap().is_none());
    }
}
