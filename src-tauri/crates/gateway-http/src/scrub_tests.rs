use super::*;
use crate::escape::LONGEST_ESCAPE;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

fn needles(secret: &[u8]) -> Needles {
    Needles::of(&[Secret::new(secret.to_vec())])
}

/// What the agent would get of a body, cut into pieces at `cuts`.
fn passed(secret: &[u8], body: &[u8], cuts: &[usize]) -> (Vec<u8>, bool) {
    let mut scrubber = Scrubber::new(needles(secret));
    let mut out = Vec::new();
    let mut places: Vec<usize> = cuts.iter().map(|c| c % (body.len() + 1)).collect();
    places.extend([0, body.len()]);
    places.sort_unstable();
    for pair in places.windows(2) {
        match scrubber.push(Bytes::copy_from_slice(&body[pair[0]..pair[1]])) {
            Ok(safe) => out.extend_from_slice(&safe),
            Err(Found) => return (out, true),
        }
    }
    match scrubber.finish() {
        Ok(safe) => out.extend_from_slice(&safe),
        Err(Found) => return (out, true),
    }
    (out, false)
}

/// One of the ways in which an upstream echoes things.
fn encode(secret: &[u8], how: u8, mask: u64) -> Vec<u8> {
    let chosen = |i: usize| mask >> (i % 64) & 1 == 1;
    let ascii = secret.iter().enumerate();
    match how {
        0 => secret.to_vec(),
        1 => STANDARD.encode(secret).into_bytes(),
        2 => URL_SAFE.encode(secret).into_bytes(),
        3 => STANDARD.encode([b"x", secret, b"yz"].concat()).into_bytes(),
        4 => URL_SAFE_NO_PAD
            .encode([b"xy", secret, b"z"].concat())
            .into_bytes(),
        5 => STANDARD_NO_PAD
            .encode([b"user:", secret].concat())
            .into_bytes(),
        6 => secret
            .iter()
            .flat_map(|b| format!("{b:02x}").into_bytes())
            .collect(),
        7 => secret
            .iter()
            .flat_map(|b| format!("{b:02X}").into_bytes())
            .collect(),
        8 => ascii
            .flat_map(|(i, &b)| {
                if chosen(i) || b == b'%' {
                    format!("%{b:02X}").into_bytes()
                } else {
                    vec![b]
                }
            })
            .collect(),
        9 => ascii
            .flat_map(|(i, &b)| {
                if chosen(i) || b == b'%' {
                    format!("%{b:02x}").into_bytes()
                } else {
                    vec![b]
                }
            })
            .collect(),
        10 => ascii
            .flat_map(|(i, &b)| match b {
                _ if chosen(i) => format!("\\u{b:04x}").into_bytes(),
                b'"' | b'\\' | b'/' => vec![b'\\', b],
                _ => vec![b],
            })
            .collect(),
        11 => ascii
            .flat_map(|(i, &b)| {
                if chosen(i) || b == b'&' {
                    format!("&#{b};").into_bytes()
                } else {
                    vec![b]
                }
            })
            .collect(),
        12 => ascii
            .flat_map(|(i, &b)| {
                if chosen(i) || b == b'&' {
                    format!("&#x{b:X};").into_bytes()
                } else {
                    vec![b]
                }
            })
            .collect(),
        13 => secret
            .iter()
            .flat_map(|b| format!("\\x{b:02x}").into_bytes())
            .collect(),
        14 => secret.iter().flat_map(|&b| [b, 0]).collect(),
        _ => STANDARD
            .encode(secret)
            .bytes()
            .flat_map(|b| {
                if b.is_ascii_alphanumeric() {
                    vec![b]
                } else {
                    format!("%{b:02X}").into_bytes()
                }
            })
            .collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn a_credential_never_gets_through(
        secret in proptest::collection::vec(0x21u8..0x7f, 8..60),
        before in "[a-zA-Z0-9 {}:,.\"\\\\%&;\n]{0,40}",
        after in "[a-zA-Z0-9 {}:,.\"\\\\%&;\n]{0,40}",
        how in 0u8..16,
        mask in any::<u64>(),
        cuts in proptest::collection::vec(any::<usize>(), 0..40),
    ) {
        // An escape that is left open right before would swallow what follows,
        // for every reader alike: end it.
        let hidden = encode(&secret, how, mask);
        let body = [before.as_bytes(), b"  \n   \n    ", &hidden, b" ", after.as_bytes()].concat();
        let (out, found) = passed(&secret, &body, &cuts);
        prop_assert!(found, "{how}: {} passed", String::from_utf8_lossy(&hidden));
        prop_assert!(out.len() <= before.len() + 20, "part of it was passed on");
    }

    #[test]
    fn a_reply_without_it_passes_unchanged(
        secret in proptest::collection::vec(0x21u8..0x7f, 12..40),
        body in proptest::collection::vec(any::<u8>(), 0..400),
        text in "[a-f0-9%\\\\u&#x;]{0,200}",
        cuts in proptest::collection::vec(any::<usize>(), 0..60),
    ) {
        for body in [body.as_slice(), text.as_bytes()] {
            let (out, found) = passed(&secret, body, &cuts);
            prop_assert!(!found);
            prop_assert_eq!(out.as_slice(), body);
        }
    }

    #[test]
    fn text_that_almost_holds_it_passes_unchanged(
        secret in "[ab%\\\\]{8,16}",
        cuts in proptest::collection::vec(any::<usize>(), 0..60),
        times in 1usize..5,
    ) {
        let mut almost = secret.clone().into_bytes();
        almost.pop();
        almost.push(b'_');
        let body = almost.repeat(times);
        let (out, found) = passed(secret.as_bytes(), &body, &cuts);
        prop_assert!(!found);
        prop_assert_eq!(out, body);
    }
}

#[test]
fn a_stream_of_events_is_not_delayed() {
    let mut scrubber = Scrubber::new(needles(b"secret-token-123"));
    for event in ["data: {\"a\": 1}\n\n", "data: 50%\n\n", ": ping\n\n"] {
        let out = scrubber.push(Bytes::from_static(event.as_bytes())).unwrap();
        assert_eq!(
            out,
            event.as_bytes(),
            "nothing of {event:?} can begin a match"
        );
    }
    let out = scrubber.push(Bytes::from_static(b"data: sec")).unwrap();
    assert_eq!(
        out,
        &b"data: "[..],
        "only what may begin a match is held back"
    );
}

#[test]
fn what_is_held_back_is_bounded() {
    let mut scrubber = Scrubber::new(needles(&[b'a'; 64]));
    for _ in 0..10_000 {
        scrubber
            .push(Bytes::from_static(b"\\u0061\\u0061 \\u0061"))
            .unwrap();
        assert!(scrubber.held.len() <= 64 * LONGEST_ESCAPE);
    }
}

#[test]
fn a_credential_with_percent_signs_and_backslashes_is_found_in_every_form() {
    let secret = br#"a%41\u0041&amp;"x/"#;
    for body in [
        br#"{"t":"a%41\\u0041&amp;\"x\/"}"#.to_vec(),
        b"t=a%2541%5Cu0041%26amp%3B%22x%2F".to_vec(),
        b"<b>a%41\\u0041&amp;amp;&quot;x/</b>".to_vec(),
        secret.to_vec(),
    ] {
        assert!(
            needles(secret).in_whole(&body),
            "{}",
            String::from_utf8_lossy(&body)
        );
        assert!(passed(secret, &body, &(0..100).collect::<Vec<_>>()).1);
    }
}

#[test]
fn needles_do_not_print() {
    assert_eq!(format!("{:?}", needles(b"secret-token-123")), "Needles(…)");
}

#[test]
fn a_short_end_is_not_kept_from_whoever_waits_for_it_and_a_match_is_found_all_the_same() {
    let secret = "ghq_0123456789abcdef";
    let needles = Needles::of(&[Secret::new(secret.as_bytes().to_vec())]);
    let mut scrub = Scrubber::new(needles.clone());
    assert_eq!(scrub.push("ping".into()).unwrap(), "pin");
    assert_eq!(scrub.pause(), "g");
    assert_eq!(scrub.pause(), "", "once");
    assert_eq!(scrub.push("!pong".into()).unwrap(), "!pon");
    assert_eq!(
        (scrub.pause(), scrub.finish()),
        ("g".into(), Ok(Bytes::new()))
    );

    for cut in 1..secret.len() {
        let (begin, end) = secret.split_at(cut);
        let mut scrub = Scrubber::new(needles.clone());
        let mut out = scrub.push(format!("x{begin}").into()).unwrap().to_vec();
        out.extend_from_slice(&scrub.pause());
        assert!(out.len() <= 1 + SHORT, "{out:?}");
        assert_eq!(scrub.push(end.to_owned().into()), Err(Found), "{cut}");
    }
}
