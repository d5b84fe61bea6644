//! What the broker is asked, and how an agent is kept while it waits.

use crate::agent::{Agent, Reader, Writer};
use crate::body::{self, Decoded};
use crate::head::Head;
use crate::headers;
use crate::refuse::No;
use crate::run::Run;
use crate::send::Body;
use crate::wire::CONTINUE;
use countersign_broker::{Countersigner, Submission};
use countersign_catalogue::{BodyView, Kind, RequestView};
use countersign_model::{
    Account, Action, BodyCommitment, Digest, ExactRequest, Foreign, Objects, RequestId, Span, Words,
};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, interval_at, sleep};

/// How much of one value a question and a record carry, and of all objects, in
/// bytes. More is no name that anybody reads.
const ONE_VALUE: usize = 4 << 10;
const ALL_VALUES: usize = 512 << 10;
/// A client that closes its half right after a request still gets a reply that
/// comes at once; one that is gone while a human is asked has withdrawn.
const WATCH_AFTER: Duration = Duration::from_secs(1);

/// What the broker judges: the exact request, and what the catalogue says it does.
pub(crate) fn submission<C: Countersigner>(
    run: &Run<C>,
    id: &RequestId,
    head: &Head,
    account: &Account,
    kind: Option<&Kind>,
    exact: &ExactRequest,
    body: &Body,
) -> Submission {
    let plain;
    let view = match body {
        Body::None => BodyView::None,
        Body::Streamed => BodyView::Streaming,
        Body::Whole(whole) if whole.bytes.is_empty() => BodyView::None,
        Body::Whole(whole) => match body::decode(
            coding(exact).as_deref(),
            &whole.bytes,
            run.limits.judged_body,
        ) {
            Decoded::Plain => BodyView::Whole(&whole.bytes),
            Decoded::Bytes(bytes) => {
                plain = bytes;
                BodyView::Whole(&plain)
            }
            Decoded::Opaque => BodyView::Encoded,
            Decoded::TooLong => BodyView::TooLarge { length: None },
        },
        Body::Spooled(spooled) => BodyView::TooLarge {
            length: Some(spooled.length),
        },
    };
    let mut known = countersign_catalogue::recognise(
        account,
        &RequestView {
            method: &exact.method,
            host: &exact.host,
            path: &exact.path,
            query: exact.query.as_deref(),
            headers: &exact.headers,
            body: view,
        },
    );
    if bound(&mut known.objects, &mut known.words) {
        known.preview.whole = false;
    }
    let action = Action {
        provider: account.provider.clone(),
        operation: known.operation,
        effects: known.effects,
        objects: known.objects,
        words: known.words,
        routine: known.routine,
        decided_by: format!("{}; {}", known.decided_by, countersign_catalogue::id()),
        account: account.id.clone(),
        environment: account.environment.clone(),
        reason: headers::reason(head),
        data_digest: match exact.body {
            BodyCommitment::Exact { digest, .. } => Some(digest),
            _ => None,
        },
    };
    Submission {
        request: id.clone(),
        run: run.id.clone(),
        account: account.id.clone(),
        action,
        exact: exact.clone(),
        preview: known.preview,
        same: headers::same(exact, kind),
    }
}

/// How the body is coded that would be forwarded. The agent's own word is of how
/// it came: pieces are put together by now.
fn coding(exact: &ExactRequest) -> Option<Vec<u8>> {
    let fields = exact.headers.iter();
    let codings: Vec<&[u8]> = fields
        .filter(|field| field.name == "content-encoding")
        .map(|field| field.value.as_slice())
        .collect();
    (!codings.is_empty()).then(|| codings.join(&b", "[..]))
}

/// Cuts what no human reads and no message can carry, and says what it was.
/// Whether anything was cut.
fn bound(objects: &mut Objects, words: &mut Words) -> bool {
    let mut cut = false;
    let mut total = 0;
    let mut carried = 0;
    for object in &mut objects.listed {
        cut |= shorten(object);
        total += object.raw().len();
        if total > ALL_VALUES {
            break;
        }
        carried += 1;
    }
    cut |= carried < objects.listed.len();
    objects.listed.truncate(carried);
    let mut shown = Words::default();
    for span in words.spans() {
        shown = match span {
            Span::Ours(text) => shown.ours(text.clone()),
            Span::Foreign(text) => {
                let mut text = text.clone();
                cut |= shorten(&mut text);
                shown.foreign(text)
            }
        };
    }
    *words = shown;
    cut
}

fn shorten(value: &mut Foreign) -> bool {
    let raw = value.raw();
    if raw.len() <= ONE_VALUE {
        return false;
    }
    let begin: String = raw.chars().take(ONE_VALUE / 8).collect();
    let (length, digest) = (raw.chars().count(), Digest::of(raw.as_bytes()));
    *value = Foreign::new(format!(
        "{begin}… ({length} characters in all, SHA-256 {digest})"
    ));
    true
}

/// Waits for the decision; meanwhile keeps clients awake that can bear it, and
/// notices when the agent is gone.
pub(crate) async fn ask<C: Countersigner>(
    run: &Run<C>,
    agent: &mut Agent<'_>,
    head: &Head,
    submission: Submission,
) -> Result<C::Permit, No> {
    /// Clients that take any number of `100 Continue`: those on Python's
    /// http.client, h11 and aiohttp. Node's fetch does not.
    const BEAR_IT: [&[u8]; 9] = [
        b"aiohttp/",
        b"anthropic/python",
        b"boto3/",
        b"openai/python",
        b"python-httplib2/",
        b"python-httpx/",
        b"python-requests/",
        b"python-urllib/",
        b"python-urllib3/",
    ];
    let mut deciding = pin!(run.port.decide(submission));
    let client = head
        .first("user-agent")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let awake = head.http_11
        && BEAR_IT
            .iter()
            .any(|name| memchr::memmem::find(&client, name).is_some());
    let mut beat = interval_at(
        Instant::now() + run.limits.keep_awake,
        run.limits.keep_awake,
    );
    let (reader, writer) = match agent.split() {
        (Reader::One(reader), Writer::One(writer)) => (reader, writer),
        (_, Writer::Two(writer)) => {
            return tokio::select! { biased;
                decided = &mut deciding => decided.map_err(No::Recorded),
                () = writer.hung_up() => Err(No::HungUp),
            };
        }
        (Reader::Two(_), Writer::One(_)) => return Err(No::HungUp),
    };
    let mut gone = pin!(async {
        sleep(WATCH_AFTER).await;
        reader.hung_up().await;
    });
    loop {
        tokio::select! { biased;
            decided = &mut deciding => return decided.map_err(No::Recorded),
            _ = beat.tick(), if awake => writer.send(CONTINUE).await.map_err(|_| No::HungUp)?,
            () = &mut gone => return Err(No::HungUp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_message_can_carry_is_cut_and_says_so() {
        let mut objects = Objects {
            listed: vec!["short".into(), Foreign::new("a".repeat(8 << 20))],
            count: Some(2),
        };
        let mut words = Words::new("Delete ").foreign("b".repeat(8 << 20));
        assert!(bound(&mut objects, &mut words));
        assert_eq!(objects.listed[0].raw(), "short");
        let cut = objects.listed[1].raw();
        assert!(cut.len() < 4096 && cut.contains("8388608 characters in all"));
        assert!(!words.fits(120), "it cannot be approved in a notification");
        let mut many = Objects {
            listed: vec![Foreign::new("c".repeat(4000)); 5000],
            count: Some(5000),
        };
        assert!(bound(&mut many, &mut Words::default()));
        assert!(many.listed.len() < 200 && many.count == Some(5000));
        assert!(!bound(&mut Objects::default(), &mut Words::new("List")));
    }
}
