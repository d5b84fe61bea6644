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
use countersign_model::{Account, Action, BodyCommitment, ExactRequest, RequestId};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, interval_at, sleep};

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
            head.first("content-encoding"),
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
    let known = countersign_catalogue::recognise(
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
    let action = Action {
        provider: account.provider.clone(),
        operation: known.operation,
        effects: known.effects,
        objects: known.objects,
        words: known.words,
        routine: known.routine,
        decided_by: known.decided_by,
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
