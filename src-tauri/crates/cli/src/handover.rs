//! How what a run is ended by, and the sockets of its ports, come from the run's
//! launcher to the authority: on the run's lease, after [`Ask::Tree`] and
//! [`Ask::Listening`], as descriptors that one byte carries (`SCM_RIGHTS`,
//! unix(7)).
//!
//! A descriptor that comes with any other byte is closed by the kernel, for what
//! reads those bytes has no room for one.

use countersign_protocol::control::{Ask, Reply};
use countersign_protocol::frame;
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use tokio::io::Interest;

/// Sockets of one run: the proxy's port, the name server's two, and its hosts'.
const MOST: usize = 20;

/// Open files of whoever hands over: several times what a run's processes may have.
const ROOM: u64 = 64 << 10;

/// The byte itself says nothing.
const BYTE: [u8; 1] = [0];

/// Closed on exec from the beginning: another thread may be starting a program.
#[cfg(target_os = "linux")]
const CLOSED: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const CLOSED: RecvFlags = RecvFlags::empty();

/// Descriptors that are under way are counted for all of the user's processes, and
/// a sender is refused when there are more than its own soft limit of open files
/// (unix(7), `ETOOMANYREFS`). A run's processes have a hard one that is lower: what
/// they have under way keeps nobody from handing over who called this.
pub(crate) fn make_room() {
    let mut limit = getrlimit(Resource::Nofile);
    let room = limit.maximum.map_or(ROOM, |hard| hard.min(ROOM));
    if limit.current.is_some_and(|soft| soft < room) {
        limit.current = Some(room);
        // Without it, it is as it was.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// Hands the sockets over, and closes them here: when whoever serves them is gone,
/// nobody is to wait for an answer.
pub(crate) fn give(mut lease: &UnixStream, sockets: Vec<OwnedFd>) -> io::Result<()> {
    frame::write(&mut lease, &Ask::Listening {})?;
    let carry: Vec<_> = sockets.iter().map(OwnedFd::as_fd).collect();
    let sent = send(lease, &carry);
    drop(sockets);
    sent
}

/// Hands over the run's side of its passages, and closes it here.
pub(crate) fn give_passages(
    mut lease: &UnixStream,
    passages: countersign_containment::Passages,
) -> io::Result<()> {
    frame::write(&mut lease, &Ask::Passages {})?;
    let sockets = passages.sockets.iter();
    let carry: Vec<_> = sockets
        .chain(&passages.listeners)
        .map(OwnedFd::as_fd)
        .collect();
    let sent = send(lease, &carry);
    drop(passages);
    sent
}

/// Hands over what the run is ended by, and waits until it is held.
///
/// # Errors
/// When it is not: the run must not begin.
pub(crate) fn give_tree(
    mut lease: &UnixStream,
    init: BorrowedFd<'_>,
    group: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    frame::write(&mut lease, &Ask::Tree {})?;
    let carry: Vec<_> = std::iter::once(init).chain(group).collect();
    send(lease, &carry)?;
    match frame::read::<Reply>(&mut lease)? {
        Some(Reply::RunHeld {}) => Ok(()),
        Some(Reply::RunKill { why }) => Err(io::Error::other(why)),
        _ => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

fn send(lease: &UnixStream, carry: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(carry)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let data = [IoSlice::new(&BYTE)];
    loop {
        match rustix::net::sendmsg(lease, &data, &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => return Ok(sent.map(drop)?),
        }
    }
}

/// Waits for the byte, and takes what it carries.
///
/// # Errors
/// `UnexpectedEof` when the launcher is gone; `InvalidInput` when the byte carries
/// no descriptor or more than a run has; others when they cannot be taken.
pub(crate) async fn take(lease: &tokio::net::UnixStream) -> io::Result<Vec<OwnedFd>> {
    lease
        .async_io(Interest::READABLE, || receive(lease.as_fd()))
        .await
}

fn receive(lease: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut byte = BYTE;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut data = [IoSliceMut::new(&mut byte)];
        match rustix::net::recvmsg(lease, &mut data, &mut ancillary, CLOSED) {
            Err(Errno::INTR) => {}
            received => break received?,
        }
    };
    let descriptors: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // There is room for a few more, for alignment. What there is none for the
    // kernel closes: in what was passed, or in this process.
    let too_many = descriptors.len() > MOST;
    let cut = received.flags.contains(ReturnFlags::CTRUNC);
    if too_many || (cut && descriptors.len() == MOST) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if cut {
        return Err(Errno::MFILE.into());
    }
    if descriptors.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    #[cfg(not(target_os = "linux"))]
    for descriptor in &descriptors {
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    /// The launcher's end and the authority's.
    fn lease() -> (UnixStream, tokio::net::UnixStream) {
        let (launcher, authority) = UnixStream::pair().unwrap();
        authority.set_nonblocking(true).unwrap();
        (
            launcher,
            tokio::net::UnixStream::from_std(authority).unwrap(),
        )
    }

    /// A socket, and its other end, which tells whether the socket is open.
    fn socket() -> (OwnedFd, UnixStream) {
        let (socket, other) = UnixStream::pair().unwrap();
        other.set_nonblocking(true).unwrap();
        (socket.into(), other)
    }

    fn is_closed(mut other: &UnixStream) -> bool {
        matches!(other.read(&mut [0]), Ok(0))
    }

    #[tokio::test]
    async fn a_socket_that_is_given_is_the_takers_alone_and_not_for_programs_it_starts() {
        let (launcher, mut authority) = lease();
        let (socket, other) = socket();
        give(&launcher, vec![socket]).unwrap();
        frame::write(&mut &launcher, &Ask::EndRun { exit_code: None }).unwrap();
        let ask = crate::serve::wire::read::<Ask>(&mut authority)
            .await
            .unwrap();
        assert_eq!(ask, Some(Ask::Listening {}));
        let taken = take(&authority).await.unwrap();
        assert_eq!(taken.len(), 1);
        let flags = rustix::io::fcntl_getfd(&taken[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert!(!is_closed(&other));
        drop(taken);
        assert!(is_closed(&other), "the giver kept none");
        // The byte is no part of what follows.
        let ask = crate::serve::wire::read::<Ask>(&mut authority)
            .await
            .unwrap();
        assert_eq!(ask, Some(Ask::EndRun { exit_code: None }));
    }

    #[tokio::test]
    async fn a_run_hands_over_as_many_sockets_as_it_may_have() {
        let (launcher, authority) = lease();
        let (socket, other) = socket();
        let copies: Vec<OwnedFd> = (0..MOST).map(|_| socket.try_clone().unwrap()).collect();
        drop(socket);
        give(&launcher, copies).unwrap();
        let mut authority = authority;
        let ask = crate::serve::wire::read::<Ask>(&mut authority).await;
        assert_eq!(ask.unwrap(), Some(Ask::Listening {}));
        assert_eq!(take(&authority).await.unwrap().len(), MOST);
        assert!(is_closed(&other));
    }

    #[tokio::test]
    async fn a_byte_with_no_descriptor_or_too_many_is_refused_and_nothing_stays_open() {
        for count in [0, MOST + 1, MOST + 2, 200] {
            let (mut launcher, authority) = lease();
            let (socket, other) = socket();
            let copies: Vec<OwnedFd> = (0..count).map(|_| socket.try_clone().unwrap()).collect();
            if count == 0 {
                launcher.write_all(&BYTE).unwrap();
            } else {
                let carry: Vec<_> = copies.iter().map(|copy| copy.as_fd()).collect();
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(200))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                assert!(ancillary.push(SendAncillaryMessage::ScmRights(&carry)));
                let data = [IoSlice::new(&BYTE)];
                rustix::net::sendmsg(&launcher, &data, &mut ancillary, SendFlags::empty()).unwrap();
            }
            let refused = take(&authority).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{count}");
            drop((socket, copies));
            assert!(is_closed(&other), "{count}");
        }
    }

    #[tokio::test]
    async fn a_launcher_that_is_gone_is_no_socket() {
        let (launcher, authority) = lease();
        drop(launcher);
        let gone = take(&authority).await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_descriptor_that_comes_with_a_message_is_closed() {
        let (launcher, mut authority) = lease();
        let (socket, other) = socket();
        send(&launcher, &[socket.as_fd()]).unwrap();
        drop(socket);
        assert!(!is_closed(&other), "it is under way");
        let mut byte = [1];
        tokio::io::AsyncReadExt::read_exact(&mut authority, &mut byte)
            .await
            .unwrap();
        assert!(is_closed(&other));
    }
}
