//! Frames: four bytes of length, big-endian, then that many bytes of JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// No frame is longer, in bytes. A question carries at most 256 KiB of text,
/// which JSON can make six times as long.
pub const LIMIT: usize = 8 * 1024 * 1024;

/// The longest secret that may follow a message, in bytes.
pub const SECRET_LIMIT: usize = 64 * 1024;

/// One message as a frame.
///
/// # Errors
/// When it is longer than [`LIMIT`].
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut out = vec![0; 4];
    serde_json::to_writer(&mut out, message)?;
    let length = out.len() - 4;
    if length > LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "message over the frame limit",
        ));
    }
    let prefix = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    for (slot, byte) in out.iter_mut().zip(prefix) {
        *slot = byte;
    }
    Ok(out)
}

/// One message from the bytes of a frame, without its length.
///
/// # Errors
/// When it is no such message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    serde_json::from_slice(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Writes one message and flushes.
///
/// # Errors
/// When the peer is gone or the message is too long.
pub fn write<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    to.write_all(&encode(message)?)?;
    to.flush()
}

/// Reads one message; `None` at an orderly end.
///
/// # Errors
/// When the peer is gone mid-frame, the frame is too long, or it is no such
/// message.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut prefix = [0; 4];
    let mut have = 0;
    while let Some(rest) = prefix.get_mut(have..).filter(|r| !r.is_empty()) {
        match from.read(rest) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let length = u32::from_be_bytes(prefix) as usize;
    if length > LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "frame over the limit",
        ));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    decode(&bytes).map(Some)
}

/// Reads the secret that follows a message, of the length that it stated.
///
/// # Errors
/// When it is longer than [`SECRET_LIMIT`] or the peer is gone.
pub fn read_secret(from: &mut impl Read, length: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    if length > SECRET_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "secret over the limit",
        ));
    }
    let mut bytes = Zeroizing::new(vec![0; length]);
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_a_reader_that_gives_one_byte_at_a_time() {
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                let Some((first, rest)) = self.0.split_first() else {
                    return Ok(0);
                };
                buf[0] = *first;
                self.0 = rest;
                Ok(1)
            }
        }
        let bytes = encode(&vec!["a", "b"]).unwrap();
        let mut slow = Slow(&bytes);
        assert_eq!(read::<Vec<String>>(&mut slow).unwrap().unwrap(), ["a", "b"]);
        assert!(read::<Vec<String>>(&mut slow).unwrap().is_none());
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_before_it_is_read() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0xff, 1];
        assert!(read::<String>(&mut bytes).is_err());
    }

    #[test]
    fn a_frame_that_ends_early_is_an_error_and_not_an_end() {
        let bytes = encode(&"abc").unwrap();
        assert!(read::<String>(&mut &bytes[..6]).is_err());
        assert!(read::<String>(&mut &bytes[..2]).is_err());
    }
}
