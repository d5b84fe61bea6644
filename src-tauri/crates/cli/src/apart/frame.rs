//! Messages on a stream, each with the raw bytes of secrets behind it.
//!
//! Eight bytes of lengths, the message as MessagePack, the secrets. Both ends are of
//! one program, but one of them parses what is hostile: lengths are bounded, and what
//! does not parse ends the connection. Source: the MessagePack specification.

use bytes::{Buf as _, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use zeroize::{Zeroize as _, Zeroizing};

/// Bytes of one message: a preview's text (256 KiB), headers, and room.
const MOST: usize = 1 << 20;
/// Bytes of the secrets behind it.
const MOST_SECRET: usize = 1 << 20;
const HEAD: usize = 8;
/// Bytes that are read at once.
const PIECE: usize = 32 << 10;

/// Where messages are put to be sent. There is no limit to how many wait, because
/// each belongs to a request, and those have one.
#[derive(Debug, Clone)]
pub(super) struct Sender(UnboundedSender<Zeroizing<Vec<u8>>>);

/// What [`carry`] sends.
pub(super) type Queue = UnboundedReceiver<Zeroizing<Vec<u8>>>;

/// A message, written. Names of fields are written too, so that what is left out, or
/// tagged, reads back as it was.
pub(super) fn written<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write(&mut bytes, message)?;
    Ok(bytes)
}

fn write<T: Serialize>(to: &mut Vec<u8>, message: &T) -> io::Result<()> {
    let mut to = rmp_serde::Serializer::new(to)
        .with_struct_map()
        .with_human_readable();
    message.serialize(&mut to).map_err(io::Error::other)
}

/// A message, read.
pub(super) fn read<T: DeserializeOwned>(message: &[u8]) -> io::Result<T> {
    let mut from = rmp_serde::Deserializer::from_read_ref(message).with_human_readable();
    T::deserialize(&mut from).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

pub(super) fn queue() -> (Sender, Queue) {
    let (to, from) = mpsc::unbounded_channel();
    (Sender(to), from)
}

impl Sender {
    /// Sends a message and the secrets behind it. Whoever reads no more has ended,
    /// which its reader finds out.
    pub(super) fn send<T: Serialize>(&self, message: &T, secrets: &[u8]) -> io::Result<()> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1024 + secrets.len()));
        bytes.extend([0; HEAD]);
        write(&mut bytes, message)?;
        let length = bytes.len() - HEAD;
        if length > MOST || secrets.len() > MOST_SECRET {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        bytes[..4].copy_from_slice(&(length as u32).to_be_bytes());
        bytes[4..HEAD].copy_from_slice(&(secrets.len() as u32).to_be_bytes());
        bytes.extend_from_slice(secrets);
        self.0
            .send(bytes)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Writes what is in the queue, as much at once as there is, until it breaks.
pub(super) async fn carry(mut queue: Queue, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    while let Some(first) = queue.recv().await {
        let mut bytes = first;
        while bytes.len() < PIECE
            && let Ok(next) = queue.try_recv()
        {
            bytes.extend_from_slice(&next);
        }
        to.write_all(&bytes).await?;
    }
    Ok(())
}

/// Reads messages.
pub(super) struct Reader<R> {
    from: R,
    read: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(from: R) -> Self {
        Self {
            from,
            read: BytesMut::new(),
        }
    }

    /// The next message and the secrets behind it; `None` at the end. Cancelling
    /// it loses nothing.
    pub(super) async fn next<T: DeserializeOwned>(
        &mut self,
    ) -> io::Result<Option<(T, Zeroizing<Vec<u8>>)>> {
        loop {
            if let Some(found) = self.whole()? {
                return Ok(Some(found));
            }
            self.read.reserve(PIECE);
            if self.from.read_buf(&mut self.read).await? == 0 {
                return if self.read.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    fn whole<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Zeroizing<Vec<u8>>)>> {
        let Some((head, rest)) = self.read.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let number = |at: usize| {
            let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            u32::from_be_bytes(bytes) as usize
        };
        let (length, secret) = (number(0), number(4));
        if length > MOST || secret > MOST_SECRET {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Some(body) = rest.get(..length + secret) else {
            return Ok(None);
        };
        let (message, secrets) = body.split_at(length);
        let message = read(message)?;
        let secrets = Zeroizing::new(secrets.to_vec());
        let used = HEAD + length + secret;
        self.read[HEAD + length..used].zeroize();
        self.read.advance(used);
        Ok(Some((message, secrets)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_arrive_whole_and_in_order_with_their_secrets_however_they_are_cut() {
        let (ours, theirs) = tokio::io::duplex(7);
        let (to, queue) = queue();
        tokio::spawn(carry(queue, ours));
        for n in 0..50_u64 {
            let secret = vec![b'x'; usize::try_from(n).unwrap()];
            to.send(&(n, "text"), &secret).unwrap();
        }
        drop(to);
        let mut reader = Reader::new(theirs);
        for n in 0..50_u64 {
            let ((number, _), secrets) = reader.next::<(u64, String)>().await.unwrap().unwrap();
            assert_eq!((number, secrets.len() as u64), (n, n));
        }
        assert!(reader.next::<(u64, String)>().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_too_long_cut_off_or_no_message_ends_the_connection() {
        let long = [&(u32::MAX).to_be_bytes()[..], &[0; 4]].concat();
        let cut = [&9_u32.to_be_bytes()[..], &[0; 4], b"[1"].concat();
        let none = [&4_u32.to_be_bytes()[..], &[0; 4], &[0xc1; 4]].concat();
        for wrong in [long, cut, none] {
            let mut reader = Reader::new(&wrong[..]);
            assert!(reader.next::<(u64, String)>().await.is_err(), "{wrong:?}");
        }
    }
}
