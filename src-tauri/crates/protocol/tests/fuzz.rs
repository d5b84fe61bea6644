//! Frames of arbitrary bytes: whoever is at the other end, nothing panics, and
//! what is read is what is written again.

#[cfg(test)]
mod tests {
    use countersign_protocol::control::{Ask, Reply};
    use countersign_protocol::frame;
    use countersign_protocol::surface::{FromSurface, ToSurface};
    use countersign_testkit::Fuzz;
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use std::fmt::Debug;
    use std::path::Path;

    /// Reads frames to the end of the bytes; how many there were, and how they
    /// ended.
    fn read_all<T>(bytes: &[u8]) -> String
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let mut from = bytes;
        let mut read = 0;
        loop {
            let message = match frame::read::<T>(&mut from) {
                Ok(Some(message)) => message,
                Ok(None) => return format!("{read}, end"),
                Err(e) => return format!("{read}, {:?}", e.kind()),
            };
            read += 1;
            let again = frame::encode(&message).unwrap();
            let same = frame::read::<T>(&mut again.as_slice()).unwrap();
            assert_eq!(same, Some(message), "a message is another when read again");
        }
    }

    #[test]
    fn no_frame_panics_and_each_message_is_the_same_when_written_and_read_again() {
        let dictionary = [
            b"\0\0\0\x0b".as_slice(),
            b"\0\0\0\0",
            b"\xff\xff\xff\xff",
            b"{\"ask\":\"",
            b"{\"reply\":\"",
            b"{\"type\":\"",
            b"goodbye",
            b"quit",
            b"answered",
            b"entries",
            b"status",
            b"stop",
            b"trigger",
            b"command",
            b"reason",
            b"agent",
            b"null",
            b"begin-run",
            b"end-run",
            b"exit_code",
            b"credential-set",
            b"length",
            b"18446744073709551615",
            b"-1",
            b"1e99",
            b"timeline",
            b"filter",
            b"[]",
            b"{}",
            b"\\ud800",
            b"\\u0000",
            b"\xff",
            b"\"",
            b",",
            b":",
        ];
        let fuzz = Fuzz {
            corpus: Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/frames")),
            dictionary: &dictionary,
        };
        fuzz.run(|bytes| {
            // A length may be stated that never comes: it costs no more than
            // the limit.
            let secret = frame::read_secret(&mut &bytes[..], bytes.len() * 2);
            assert!(bytes.is_empty() || secret.is_err());
            [
                read_all::<Ask>(bytes),
                read_all::<Reply>(bytes),
                read_all::<ToSurface>(bytes),
                read_all::<FromSurface>(bytes),
            ]
            .join("; ")
        });
    }
}
