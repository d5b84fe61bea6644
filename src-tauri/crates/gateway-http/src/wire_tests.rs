use super::*;
use crate::Limits;

fn limits() -> Limits {
    Limits {
        head_time: Duration::from_millis(200),
        ..Limits::default()
    }
}

async fn head_of(bytes: &[u8]) -> Result<Head, NoHead> {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(bytes).await.unwrap();
    Connection::new(Box::new(server))
        .reader
        .head(&limits())
        .await
}

async fn body_of(bytes: &[u8], step: usize) -> Result<Vec<u8>, NoBody> {
    let (mut client, server) = tokio::io::duplex(step);
    let bytes = bytes.to_vec();
    let writer = tokio::spawn(async move {
        let _ = client.write_all(&bytes).await;
    });
    let mut agent = Connection::new(Box::new(server));
    agent.reader.head(&limits()).await.unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = agent.reader.chunk(Duration::from_secs(1)).await? {
        all.extend_from_slice(&chunk);
    }
    assert!(agent.reader.body_is_done());
    drop(agent);
    writer.await.unwrap();
    Ok(all)
}

#[tokio::test]
async fn a_head_that_two_parsers_could_read_differently_is_refused() {
    let cases: [(&str, &[u8]); 24] = [
        ("CL with TE", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("TE with CL", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"),
        ("two equal lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        ("two lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        ("a list of lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"),
        ("a signed length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"),
        ("an empty length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n"),
        ("a huge length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        ("another coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        ("identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
        ("two codings", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("chunked in 1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("obs-fold", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n"),
        ("obs-fold with a tab", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\tc\r\n\r\n"),
        ("bare LF", b"GET / HTTP/1.1\nHost: a\n\n"),
        ("one bare LF", b"GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n"),
        ("bare CR", b"GET / HTTP/1.1\r\nHost: a\rX-A: b\r\n\r\n"),
        ("NUL", b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"),
        ("space before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("no version", b"GET /\r\n\r\n"),
        ("an empty line first", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ];
    for (what, bytes) in cases {
        let got = head_of(bytes).await;
        assert!(matches!(got, Err(NoHead::Malformed(_))), "{what}: {got:?}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_or_too_slow_is_refused() {
    let mut many = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    for i in 0..101 {
        many.extend_from_slice(format!("X-{i}: 1\r\n").as_bytes());
    }
    many.extend_from_slice(b"\r\n");
    assert_eq!(head_of(&many).await.unwrap_err(), NoHead::TooLarge);
    let long = [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec(),
        vec![b'a'; 70_000],
    ]
    .concat();
    assert_eq!(head_of(&long).await.unwrap_err(), NoHead::TooLarge);

    let (mut client, server) = tokio::io::duplex(64);
    client.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let slow = Connection::new(Box::new(server))
        .reader
        .head(&limits())
        .await;
    assert_eq!(slow.unwrap_err(), NoHead::Slow);
}

#[tokio::test]
async fn a_chunked_body_is_read_whatever_the_pieces() {
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n006\r\n world\r\n0\r\nX-T: 1\r\n\r\n";
    for step in [1, 2, 3, 7, 1000] {
        assert_eq!(body_of(bytes, step).await.unwrap(), b"hello world");
    }
}

#[tokio::test]
async fn a_chunked_body_that_two_parsers_could_read_differently_is_refused() {
    for chunks in [
        "5;x=y\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "\r\n",
        "ffffffffffffffffff\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\n folded: 1\r\n\r\n",
        "0\r\nX: a\nY: b\r\n\r\n",
    ] {
        let bytes =
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        assert_eq!(
            body_of(bytes.as_bytes(), 1000).await,
            Err(NoBody::Malformed),
            "{chunks:?}"
        );
    }
}

#[tokio::test]
async fn pipelined_requests_are_kept_apart() {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    client
        .write_all(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut agent = Connection::new(Box::new(server));
    assert_eq!(agent.reader.head(&limits()).await.unwrap().target, "/1");
    assert_eq!(
        &agent
            .reader
            .chunk(Duration::from_secs(1))
            .await
            .unwrap()
            .unwrap()[..],
        b"abc"
    );
    assert_eq!(
        agent.reader.chunk(Duration::from_secs(1)).await.unwrap(),
        None
    );
    assert_eq!(agent.reader.head(&limits()).await.unwrap().target, "/2");
}

#[tokio::test]
async fn a_body_that_stops_midway_is_not_taken_for_whole() {
    assert_eq!(
        body_of(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
            1000
        )
        .await,
        Err(NoBody::HungUp)
    );
    assert_eq!(
        body_of(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            1000
        )
        .await,
        Err(NoBody::HungUp)
    );
}
