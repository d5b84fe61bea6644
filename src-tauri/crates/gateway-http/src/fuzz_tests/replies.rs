//! Replies of an upstream that knows the credential and spells it as it likes.

use super::fuzz;
use crate::scrub::{Needles, Scrubber};
use base64::Engine as _;
use bytes::Bytes;
use countersign_broker::Secret;

#[test]
fn no_reply_brings_the_credential_however_it_is_spelled_and_cut() {
    // Drawn anew each time; the inputs name it by its spellings.
    let secret = countersign_testkit::random::mark::<12>();
    let each = |write: &dyn Fn(u8) -> String| secret.bytes().map(write).collect::<String>();
    let base64 = |before: &str| {
        base64::engine::general_purpose::STANDARD.encode(format!("{before}{secret}!"))
    };
    // A byte from 1 to 12 in an input stands for one of these.
    let spellings = [
        secret.clone(),
        base64(""),
        base64("a"),
        base64("ab"),
        each(&|b| format!("{b:02x}")),
        each(&|b| format!("%{b:02X}")),
        each(&|b| format!("\\u{b:04x}")),
        each(&|b| format!("\\x{b:02x}")),
        each(&|b| format!("&#{b};")),
        each(&|b| format!("&#x{b:x};")),
        secret[..6].to_owned(),
        secret[6..].to_owned(),
    ];
    let dictionary: &[&[u8]] = &[
        b"\x01",
        b"\x02",
        b"\x03",
        b"\x04",
        b"\x05",
        b"\x06",
        b"\x07",
        b"\x08",
        b"\x09",
        b"\x0a",
        b"\x0b",
        b"\x0c",
        b"\x0b\x0c",
        b"%",
        b"\\",
        b"\\u",
        b"\\u00",
        b"\\ud83d",
        b"&",
        b"&#",
        b"&#x",
        b"&amp;",
        b";",
        b"%25",
        b"\\\\",
        b"\\/",
        b"\"",
        b"=",
    ];
    let needles = Needles::of(&[Secret::new(secret.as_bytes().to_vec())]);
    fuzz("scrub", dictionary, |bytes| {
        let (step, input) = match bytes.split_first() {
            Some((first, rest)) => (usize::from(*first).max(1), rest),
            None => (1, bytes),
        };
        let mut text = Vec::new();
        for &byte in input {
            match usize::from(byte)
                .checked_sub(1)
                .and_then(|n| spellings.get(n))
            {
                Some(spelling) => text.extend_from_slice(spelling.as_bytes()),
                None => text.push(byte),
            }
        }
        let in_whole = needles.in_whole(&text);
        let raw = memchr::memmem::find(&text, secret.as_bytes()).is_some();
        assert!(in_whole || !raw, "it is there as it is, and not found");
        for step in [step, 1, text.len().max(1)] {
            let mut scrub = Scrubber::new(needles.clone());
            let mut passed = Vec::new();
            let pieces = text.chunks(step).try_for_each(|piece| {
                let safe = scrub.push(Bytes::copy_from_slice(piece))?;
                passed.extend_from_slice(&safe);
                Ok(())
            });
            let ended = pieces.and_then(|()| scrub.finish());
            match ended {
                Ok(last) => {
                    passed.extend_from_slice(&last);
                    assert!(passed == text, "a reply is not as it was");
                    assert!(!in_whole, "found whole, and not in pieces of {step}");
                }
                Err(_) => assert!(in_whole, "found in pieces of {step}, and not whole"),
            }
            assert!(text.starts_with(&passed));
            assert!(
                !needles.in_whole(&passed),
                "it was passed on before it was found"
            );
        }
        format!("{in_whole} {}", input.len().min(40))
    });
}
