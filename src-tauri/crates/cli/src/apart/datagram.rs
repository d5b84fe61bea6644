//! Messages that carry descriptors: datagrams (`SOCK_SEQPACKET`), so that a
//! message and what it carries belong together. Source: unix(7).
//!
//! A message that is too long for a datagram lies in a file without a name, which
//! is the last descriptor of those that the datagram carries.

use super::frame;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::io::{IoSlice, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Descriptors of one message: a run's ports, and one for what is too long.
const MOST: usize = 22;
/// Bytes of a datagram; what is longer lies in a file.
const SHORT: usize = 16 << 10;
/// Bytes of a message in a file: a thousand accounts with CAs of their own.
const LONGEST: u64 = 128 << 20;
/// The first byte says where the message is.
const HERE: u8 = 0;
const IN_A_FILE: u8 = 1;

pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// A file without a name, to be read from its beginning.
pub(super) fn file(content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("countersign", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

/// Sends a message and what it carries. Of a socket that does not block,
/// `WouldBlock` when there is no room.
pub(super) fn send<T: Serialize>(
    to: BorrowedFd<'_>,
    message: &T,
    carry: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let message = frame::written(message)?;
    if carry.is_empty() && message.len() <= SHORT {
        let message = [&[HERE], &message[..]].concat();
        return loop {
            // A gateway may carry nothing, so it has no `sendmsg`.
            match rustix::net::send(to, &message, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                sent => break Ok(sent.map(drop)?),
            }
        };
    }
    let mut carry = carry.to_vec();
    let (place, short, long) = if message.len() > SHORT {
        (IN_A_FILE, &[][..], Some(file(&message)?))
    } else {
        (HERE, &message[..], None)
    };
    carry.extend(long.as_ref().map(AsFd::as_fd));
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !carry.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&carry)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let data = [
        IoSlice::new(std::slice::from_ref(&place)),
        IoSlice::new(short),
    ];
    loop {
        match sendmsg(to, &data, &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => return Ok(sent.map(drop)?),
        }
    }
}

/// The next message and what it carries; `None` at the end.
pub(super) fn receive<T: DeserializeOwned>(
    from: BorrowedFd<'_>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; SHORT + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut data = [IoSliceMut::new(&mut bytes)];
        match recvmsg(from, &mut data, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            received => break received?,
        }
    };
    let mut carried: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    let cut = ReturnFlags::CTRUNC | ReturnFlags::TRUNC;
    if received.flags.intersects(cut) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let message = match bytes.get(..received.bytes).and_then(<[u8]>::split_first) {
        None => return Ok(None),
        Some((&HERE, message)) => frame::read(message)?,
        Some((&IN_A_FILE, [])) => {
            let file = carried.pop().ok_or(io::ErrorKind::InvalidData)?;
            let mut message = Vec::new();
            File::from(file).take(LONGEST).read_to_end(&mut message)?;
            frame::read(&message)?
        }
        Some(_) => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok(Some((message, carried)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_short_or_long_arrives_with_what_it_carries() {
        let (ours, theirs) = pair().unwrap();
        for length in [0, SHORT - 10, SHORT + 1, 3 << 20] {
            let text = "é".repeat(length / 2);
            let carried = file(b"carried").unwrap();
            send(ours.as_fd(), &text, &[carried.as_fd()]).unwrap();
            let (there, carried) = receive::<String>(theirs.as_fd()).unwrap().unwrap();
            assert!(there == text);
            let [file] = <[OwnedFd; 1]>::try_from(carried).unwrap();
            let mut content = String::new();
            File::from(file).read_to_string(&mut content).unwrap();
            assert_eq!(content, "carried");
        }
        drop(ours);
        assert!(receive::<String>(theirs.as_fd()).unwrap().is_none());
    }
}
