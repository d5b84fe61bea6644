//! WebSocket (RFC 6455): one request of unknown content. What goes through it is
//! not looked at, so it is `exec`, asked in the window, and the human is told so.
//! What comes back is searched for the credential like any reply: no extension
//! is agreed on, so a server's frames carry their text as it is. (A credential
//! that is cut in two by a frame's head is not found.)

use crate::agent::{Reader, Writer};
use crate::body::Progress;
use crate::head::{Framing, Head};
use crate::scrub::{Needles, Scrubber};
use crate::upstream::{Failed, Upgraded};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use countersign_model::{Action, DataPreview, Effect, HeaderField, Objects, Span, Words};
use http::{HeaderMap, Response, StatusCode, header};
use sha1::{Digest as _, Sha1};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// What a server proves with that it took the key for one (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// How long the service may go on when the agent has ended its side.
const LAST_WORDS: Duration = Duration::from_secs(2);
const READ_SIZE: usize = 16 << 10;

/// Whether a request asks for a WebSocket, in every point as section 4.1 says.
pub(crate) fn is_asked(head: &Head) -> bool {
    let is = |name: &str, value: &[u8]| {
        let mut all = head.all(name);
        let first = all.next();
        first.is_some_and(|v| v.trim_ascii().eq_ignore_ascii_case(value)) && all.next().is_none()
    };
    let upgrades = |value: &[u8]| {
        let mut tokens = value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
        tokens.any(|token| token.eq_ignore_ascii_case(b"upgrade"))
    };
    let key = head.first("sec-websocket-key").map(|k| STANDARD.decode(k));
    head.method == "GET"
        && head.http_11
        && head.framing == Framing::None
        && is("upgrade", b"websocket")
        && is("sec-websocket-version", b"13")
        && head.all("connection").any(upgrades)
        && matches!(key, Some(Ok(key)) if key.len() == 16)
}

/// The headers that make the upstream request one for a WebSocket. Extensions
/// are left out: what cannot be searched is not agreed on.
pub(crate) fn headers(head: &Head) -> Vec<HeaderField> {
    let field = |name: &str, value: &[u8]| HeaderField {
        name: name.into(),
        value: value.to_vec(),
    };
    let mut all = vec![
        field("connection", b"Upgrade"),
        field("upgrade", b"websocket"),
        field("sec-websocket-version", b"13"),
    ];
    for name in ["sec-websocket-key", "sec-websocket-protocol"] {
        all.extend(head.all(name).map(|value| field(name, value)));
    }
    all
}

/// What a human is told, whatever the catalogue knows of the path.
pub(crate) fn describe(action: &mut Action, preview: &mut DataPreview, host: &str, path: &str) {
    action.operation = "websocket".into();
    // A service that does not know WebSocket does what the path alone says.
    action.effects = action.effects.with(Effect::Exec);
    action.objects = Objects::unknown();
    let alone = std::mem::take(&mut action.words);
    action.words = Words::new("Open a two-way connection (WebSocket) to ")
        .foreign(format!("{host}{path}"))
        .ours(", through which nothing is looked at. Without it: ");
    for span in alone.spans() {
        let words = std::mem::take(&mut action.words);
        action.words = match span {
            Span::Ours(text) => words.ours(text.clone()),
            Span::Foreign(text) => words.foreign(text.clone()),
        };
    }
    action.routine = false;
    action.decided_by = "an upgrade of the connection".into();
    *preview = DataPreview::default();
}

/// Whether the service agreed to exactly what was asked (section 4.1, 2.).
pub(crate) fn is_agreed(reply: &Response<()>, asked: &Head) -> bool {
    let one = |name: &str| {
        let mut all = reply.headers().get_all(name).iter();
        all.next().filter(|_| all.next().is_none())
    };
    let proof = asked.first("sec-websocket-key").map(|key| {
        let mut hash = Sha1::new();
        hash.update(key);
        hash.update(GUID);
        STANDARD.encode(hash.finalize())
    });
    let upgrade = one("upgrade").is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let accept = one("sec-websocket-accept").map(http::HeaderValue::as_bytes);
    let protocol = match reply.headers().get("sec-websocket-protocol") {
        None => true,
        Some(chosen) => asked.all("sec-websocket-protocol").any(|offered| {
            let mut offers = offered.split(|&b| b == b',').map(<[u8]>::trim_ascii);
            offers.any(|offer| offer == chosen.as_bytes())
        }),
    };
    reply.status() == StatusCode::SWITCHING_PROTOCOLS
        && upgrade
        && accept == proof.as_deref().map(str::as_bytes)
        && protocol
        && !reply.headers().contains_key("sec-websocket-extensions")
}

/// What the agent is told of the agreement: only what was checked.
fn answer(reply: &Response<()>) -> BytesMut {
    let mut fields = HeaderMap::new();
    fields.insert(
        header::CONNECTION,
        http::HeaderValue::from_static("Upgrade"),
    );
    fields.insert(header::UPGRADE, http::HeaderValue::from_static("websocket"));
    for name in [header::SEC_WEBSOCKET_ACCEPT, header::SEC_WEBSOCKET_PROTOCOL] {
        if let Some(value) = reply.headers().get(&name) {
            fields.insert(name, value.clone());
        }
    }
    let mut out = BytesMut::new();
    crate::wire::write_status(StatusCode::SWITCHING_PROTOCOLS, &mut out);
    crate::wire::write_fields(&fields, &mut out);
    out.extend_from_slice(b"\r\n");
    out
}

/// Carries bytes both ways until one side ends. The caller cuts it.
pub(crate) async fn carry(
    reply: &Response<()>,
    up: Upgraded,
    (reader, writer): (Reader<'_>, Writer<'_>),
    needles: &Needles,
    progress: &Progress,
) -> Result<bool, Failed> {
    let (Reader::One(reader), Writer::One(writer)) = (reader, writer) else {
        return Err(Failed::Unknown("WebSocket is HTTP/1.1 here."));
    };
    progress
        .status
        .store(StatusCode::SWITCHING_PROTOCOLS.as_u16(), Ordering::Relaxed);
    progress.replied.store(true, Ordering::Relaxed);
    writer
        .send(&answer(reply))
        .await
        .map_err(|_| Failed::AgentGone)?;
    let Upgraded { io, read } = up;
    let (mut from, mut to) = tokio::io::split(io);
    let sends = async {
        while let Ok(Some(bytes)) = reader.raw().await {
            progress
                .sent
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    let receives = async {
        let mut scrub = Scrubber::new(needles.clone());
        let mut bytes = BytesMut::from(&*read);
        loop {
            progress
                .received
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
            let safe = scrub
                .push(bytes.split().freeze())
                .map_err(|_| Failed::HeldCredential)?;
            writer.send(&safe).await.map_err(|_| Failed::AgentGone)?;
            // Whoever waits for the end of this message says nothing before.
            let end = scrub.pause();
            writer.send(&end).await.map_err(|_| Failed::AgentGone)?;
            bytes.reserve(READ_SIZE);
            if !matches!(from.read_buf(&mut bytes).await, Ok(1..)) {
                let rest = scrub.finish().map_err(|_| Failed::HeldCredential)?;
                let last = timeout(LAST_WORDS, writer.send(&rest)).await;
                return last.ok().and_then(Result::ok).ok_or(Failed::AgentGone);
            }
        }
    };
    tokio::select! { biased;
        ended = receives => ended.map(|()| false),
        () = sends => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Head {
        Head {
            method: "GET".into(),
            target: "/".into(),
            http_11: true,
            headers: headers
                .iter()
                .map(|(name, value)| HeaderField {
                    name: (*name).into(),
                    value: (*value).into(),
                })
                .collect(),
            framing: Framing::None,
            keep_alive: true,
        }
    }

    /// The example of RFC 6455 section 1.3.
    const ASKED: [(&str, &str); 5] = [
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat, superchat"),
    ];

    fn agreed(change: &[(&str, &str)]) -> bool {
        let mut reply = Response::new(());
        *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let mut fields = HeaderMap::new();
        fields.insert("upgrade", "websocket".parse().unwrap());
        fields.insert("connection", "Upgrade".parse().unwrap());
        let proof = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        fields.insert("sec-websocket-accept", proof.parse().unwrap());
        for (name, value) in change {
            let name = http::HeaderName::try_from(*name).unwrap();
            fields.insert(name, value.parse().unwrap());
        }
        *reply.headers_mut() = fields;
        is_agreed(&reply, &asked(&ASKED))
    }

    #[test]
    fn only_what_is_in_every_point_a_websocket_is_taken_for_one() {
        assert!(is_asked(&asked(&ASKED)));
        for (at, left_out) in ASKED.iter().enumerate().take(4) {
            let mut fewer = ASKED.to_vec();
            fewer.remove(at);
            assert!(!is_asked(&asked(&fewer)), "without {left_out:?}");
        }
        for (name, value) in [
            ("upgrade", "h2c"),
            ("upgrade", "websocket, h2c"),
            ("sec-websocket-version", "8"),
            ("sec-websocket-key", "short"),
        ] {
            let changed = ASKED.map(|(n, v)| if n == name { (n, value) } else { (n, v) });
            assert!(!is_asked(&asked(&changed)), "{name}: {value}");
        }
    }

    #[test]
    fn a_service_must_prove_that_it_agrees_to_what_was_asked() {
        assert!(agreed(&[]) && agreed(&[("sec-websocket-protocol", "superchat")]));
        for (name, value) in [
            ("sec-websocket-accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            ("upgrade", "h2c"),
            ("sec-websocket-protocol", "unasked"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ] {
            assert!(!agreed(&[(name, value)]), "{name}: {value}");
        }
    }
}
