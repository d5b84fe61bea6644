use super::*;
use crate::Parts;
use proptest::prelude::*;
use zeroize::Zeroizing;

/// The key of AWS's published examples; it opens nothing.
fn example() -> Key {
    let secret = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_vec();
    Key::new("AKIAIOSFODNN7EXAMPLE", Zeroizing::new(secret)).unwrap()
}

fn decoder(pieces: Pieces, seed: &str) -> Decoder {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-date,Signature={seed}"
    );
    let field = |name: &str, value: &str| HeaderField {
        name: name.into(),
        value: value.into(),
    };
    let headers = [
        field("host", "s3.amazonaws.com"),
        field("x-amz-date", "20130524T000000Z"),
        field("authorization", &authorization),
    ];
    let parts = Parts {
        method: "PUT",
        path: "/",
        query: None,
        headers: &headers,
    };
    Decoder::new(pieces, &Authorization::read(&parts).unwrap(), &example())
}

/// The body of the S3 API Reference's example: 65 KiB of `a` in two pieces.
fn published(signatures: [&str; 3], end: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (size, signature) in [65_536, 1024, 0].into_iter().zip(signatures) {
        body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
        if size > 0 {
            body.extend_from_slice(&vec![b'a'; size]);
            body.extend_from_slice(b"\r\n");
        }
    }
    body.extend_from_slice(end.as_bytes());
    body
}

const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
const SIGNED: [&str; 3] = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];
const TRAILER_SEED: &str = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
const WITH_TRAILER: [&str; 3] = [
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
];
const TRAILERS: &str = "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n";

fn all(
    mut decoder: Decoder,
    body: &[u8],
    step: usize,
    length: u64,
) -> Result<(Vec<u8>, Vec<HeaderField>), BadChunk> {
    let mut out = Vec::new();
    for piece in body.chunks(step.max(1)) {
        decoder.push(piece, &mut out)?;
    }
    Ok((out, decoder.finish(length)?))
}

#[test]
fn the_published_bodies_are_taken_apart_however_they_arrive() {
    let body = published(SIGNED, "\r\n");
    let with_trailer = published(WITH_TRAILER, TRAILERS);
    // As the API Reference writes it, with a line end of its own after the checksum.
    let as_written = published(WITH_TRAILER, &TRAILERS.replacen("\r\n", "\n\r\n", 1));
    for step in [1, 7, 8192, usize::MAX] {
        let (content, trailers) = all(decoder(Pieces::Signed, SEED), &body, step, 66_560).unwrap();
        assert_eq!(content, vec![b'a'; 66_560]);
        assert!(trailers.is_empty());
        for body in [&with_trailer, &as_written] {
            let decoder = decoder(Pieces::SignedWithTrailer, TRAILER_SEED);
            let (content, trailers) = all(decoder, body, step, 66_560).unwrap();
            assert_eq!(content.len(), 66_560);
            assert_eq!(trailers[0].name, "x-amz-checksum-crc32c");
            assert_eq!(trailers[0].value, b"sOO8/Q==");
        }
    }
}

#[test]
fn a_piece_that_was_changed_is_not_taken() {
    let body = published(SIGNED, "\r\n");
    let mut changed = body.clone();
    changed[1000] = b'b';
    let err =
        |body: &[u8], seed: &str| all(decoder(Pieces::Signed, seed), body, 4096, 66_560).err();
    assert_eq!(err(&changed, SEED), Some(BadChunk::Signature));
    assert_eq!(err(&body, TRAILER_SEED), Some(BadChunk::Signature));
    let without = published([SIGNED[0], SIGNED[1], SIGNED[0]], "\r\n");
    assert_eq!(err(&without, SEED), Some(BadChunk::Signature));
    let trailers = TRAILERS.replace("sOO8", "sOO9");
    let body = published(WITH_TRAILER, &trailers);
    let decoder = decoder(Pieces::SignedWithTrailer, TRAILER_SEED);
    assert_eq!(
        all(decoder, &body, 4096, 66_560).err(),
        Some(BadChunk::Signature)
    );
}

fn unsigned(body: &str, length: u64) -> Result<(Vec<u8>, Vec<HeaderField>), BadChunk> {
    let decoder = decoder(Pieces::UnsignedWithTrailer, SEED);
    all(decoder, body.as_bytes(), 3, length)
}

#[test]
fn pieces_without_signatures_are_framed_as_strictly() {
    let good = "3\r\nabc\r\n2\r\nde\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
    let (content, trailers) = unsigned(good, 5).unwrap();
    assert_eq!((content.as_slice(), trailers.len()), (&b"abcde"[..], 1));
    assert!(unsigned("0\r\n\r\n", 0).is_ok());
    for (bad, length) in [
        (good, 6),
        ("3\r\nabcd\r\n0\r\n\r\n", 3),
        ("3\r\nabc\r\n", 3),
        ("3\r\nabc\r\n0\r\n\r\nx", 3),
        ("-3\r\nabc\r\n0\r\n\r\n", 3),
        ("\r\n", 0),
        ("1000000000000\r\n", 0),
        ("0\r\nset-cookie:a\r\n\r\n", 0),
        (
            "0\r\nx-amz-checksum-crc32:a\r\nx-amz-checksum-crc32:b\r\n\r\n",
            0,
        ),
        ("0\r\nx-amz-checksum-crc32 a\r\n\r\n", 0),
        ("", 0),
    ] {
        assert!(unsigned(bad, length).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_never_holds_more_than_what_came(
        body in prop::collection::vec(any::<u8>(), 0..400),
        step in 1usize..50,
        begin in 0usize..40,
    ) {
        let good = b"3\r\nabc\r\n2\r\nde\r\n0\r\nx-amz-checksum-crc32:A";
        let mixed = [&good[..begin], &body].concat();
        for pieces in [Pieces::Signed, Pieces::SignedWithTrailer, Pieces::UnsignedWithTrailer] {
            for body in [&body, &mixed] {
                let (mut decoder, mut out) = (decoder(pieces, SEED), Vec::new());
                let pushed = body.chunks(step).try_for_each(|piece| decoder.push(piece, &mut out));
                prop_assert!(out.len() <= body.len());
                if pushed.is_ok() {
                    let _ = decoder.finish(out.len() as u64);
                }
            }
        }
    }
}
