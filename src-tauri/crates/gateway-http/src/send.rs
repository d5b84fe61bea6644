//! Sending what was judged: once, with the credential in its place.

use crate::agent::{Agent, Reader, Writer};
use crate::body::{self, Progress, UpBody, Whole};
use crate::cookies;
use crate::head::Head;
use crate::reply::{self, Side};
use crate::run::Run;
use crate::scrub::Needles;
use crate::spool::{self, Spooled};
use crate::upstream::{Exchange, Failed, Route, To};
use crate::websocket;
use countersign_broker::{Countersigner, Place, Presented, Release};
use countersign_model::{Account, BodyCommitment, Digest, ExactRequest, Scheme};
use http::{HeaderName, HeaderValue, Request, Response, header};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// One request that was let through, ready to be sent once.
pub(crate) struct Judged {
    pub(crate) exact: ExactRequest,
    pub(crate) body: Body,
    /// Whether the agent sends its body only after `100 Continue`.
    pub(crate) wants_continue: bool,
    /// Whether it is to become a WebSocket.
    pub(crate) upgrades: bool,
    pub(crate) release: Release,
    pub(crate) account: Arc<Account>,
}

/// The body of a request, as far as it was read for judging.
pub(crate) enum Body {
    None,
    Whole(Whole),
    /// Too large to be judged: on disk.
    Spooled(Box<Spooled>),
    Streamed,
}

impl Body {
    /// What a permit is bound to.
    pub(crate) fn commitment(&self) -> BodyCommitment {
        match self {
            Self::None => BodyCommitment::None,
            Self::Streamed => BodyCommitment::Streamed,
            Self::Whole(whole) => BodyCommitment::Exact {
                digest: Digest::of(&whole.bytes),
                length: whole.bytes.len() as u64,
            },
            Self::Spooled(spooled) => BodyCommitment::Exact {
                digest: spooled.digest,
                length: spooled.length,
            },
        }
    }
}

impl Body {
    /// Of the bytes that were read; a body that streams has none yet.
    pub(crate) fn digest(&self) -> Digest {
        match self.commitment() {
            BodyCommitment::Exact { digest, .. } => digest,
            BodyCommitment::None | BodyCommitment::Streamed => Digest::of(b""),
        }
    }
}

/// Sends the request once and passes the reply on.
pub(crate) async fn transfer<C: Countersigner>(
    run: &Run<C>,
    agent: &mut Agent<'_>,
    head: &Head,
    mut judged: Judged,
    progress: &Progress,
) -> Result<bool, Failed> {
    let (reader, mut writer) = agent.split();
    if judged.upgrades {
        return upgrade(run, (reader, writer), head, &judged, progress).await;
    }
    if judged.wants_continue {
        writer.carry_on().await.map_err(|_| Failed::AgentGone)?;
    }
    let (up_body, pump) = match &judged.body {
        Body::None => (UpBody::Empty, None),
        Body::Whole(whole) => {
            progress
                .sent
                .store(whole.bytes.len() as u64, Ordering::Relaxed);
            (UpBody::Whole(Some(whole.bytes.clone())), None)
        }
        Body::Spooled(_) | Body::Streamed => {
            let (to, from) = mpsc::channel(1);
            (UpBody::Streamed(from), Some(to))
        }
    };
    let body = std::mem::replace(&mut judged.body, Body::None);
    let mut reply = pin!(exchange(run, writer, head, &judged, up_body, progress));
    let Some(to) = pump else { return reply.await };
    let idle = run.limits.idle_request;
    let pumped = async {
        match body {
            Body::Spooled(mut spooled) => spool::pump(&mut spooled, to, progress).await,
            _ => body::pump(reader, to, idle, progress).await,
        }
    };
    tokio::select! { biased;
        ended = &mut reply => return ended,
        () = pumped => {}
    }
    reply.await
}

/// From the request to the end of its reply. `body` is what `judged.body` says.
async fn exchange<C: Countersigner>(
    run: &Run<C>,
    writer: Writer<'_>,
    head: &Head,
    judged: &Judged,
    body: UpBody,
    progress: &Progress,
) -> Result<bool, Failed> {
    let (reply, mut up, needles) = first(run, judged, body, progress).await?;
    let side = Side {
        is_head: judged.exact.method == "HEAD",
        http_11: head.http_11,
        keep_alive: head.keep_alive,
        idle: run.limits.idle_reply,
        costs_tokens: countersign_catalogue::kind(&judged.account.provider.0)
            .is_some_and(|kind| kind.costs_tokens),
    };
    let keep = reply::deliver(reply, &mut up, &needles, writer, side, progress).await?;
    run.upstreams.put_back(route(judged), up).await;
    Ok(keep)
}

/// Asks for a WebSocket, and carries it if the service agrees.
async fn upgrade<C: Countersigner>(
    run: &Run<C>,
    (reader, writer): (Reader<'_>, Writer<'_>),
    head: &Head,
    judged: &Judged,
    progress: &Progress,
) -> Result<bool, Failed> {
    let (reply, mut up, needles) = first(run, judged, UpBody::Empty, progress).await?;
    if websocket::is_agreed(&reply, head) {
        let up = up.into_upgraded().await.ok_or(Failed::Unknown(
            "The service broke the connection off that it had agreed to.",
        ))?;
        return websocket::carry(&reply, up, (reader, writer), &needles, progress).await;
    }
    // A reply like any other, or a 101 to something that was not asked.
    let side = Side {
        is_head: false,
        http_11: head.http_11,
        keep_alive: false,
        idle: run.limits.idle_reply,
        costs_tokens: false,
    };
    reply::deliver(reply, &mut up, &needles, writer, side, progress).await
}

/// Sends the request, and keeps the cookies of its reply to itself.
async fn first<C: Countersigner>(
    run: &Run<C>,
    judged: &Judged,
    body: UpBody,
    progress: &Progress,
) -> Result<(Response<()>, Exchange, Needles), Failed> {
    let Judged {
        exact,
        release,
        account,
        ..
    } = judged;
    let version = exact.credential.as_ref().map_or(0, |c| c.version);
    let place = cookies::Place {
        account: &account.id,
        version,
        host: &exact.host,
        path: &exact.path,
        https: exact.scheme == Scheme::Https,
    };
    let has_cookies = !account.is_site();
    let cookie = if has_cookies {
        run.jars.header(place)
    } else {
        None
    };
    let request = outgoing(exact, &release.presented, cookie, body)?;
    let to = To {
        route: route(judged),
        account,
        port: &*run.port,
        run: &run.id,
    };
    let (limits, upstreams) = (&run.limits, &run.upstreams);
    let (reply, up) = if judged.upgrades {
        upstreams
            .send_to_upgrade(&to, request, limits, progress)
            .await?
    } else {
        upstreams.send(&to, request, limits, progress).await?
    };
    let mut needles = Vec::new();
    if has_cookies {
        let set = reply.headers().get_all(header::SET_COOKIE);
        run.jars.store(place, set.iter().map(HeaderValue::as_bytes));
        needles = run.jars.needles(&account.id, version);
    }
    needles.extend(release.presented.needles.iter().cloned());
    // What is signed anew each time is not looked for again.
    let needles = match release.presented.place {
        Place::Headers(_) => Needles::of(&needles),
        _ => run.needles(needles),
    };
    Ok((reply, up, needles))
}

fn route(judged: &Judged) -> Route {
    let exact = &judged.exact;
    Route {
        account: exact.account_digest,
        credential: exact.credential.as_ref().map_or(0, |c| c.version),
        scheme: exact.scheme,
        host: exact.host.clone(),
        port: exact.port,
    }
}

/// The upstream request: everything in it comes from the exact request that was
/// judged, but for the credential in its place and the account's cookies. This
/// is the only place where one is made.
fn outgoing(
    exact: &ExactRequest,
    presented: &Presented,
    cookie: Option<Zeroizing<String>>,
    body: UpBody,
) -> Result<Request<UpBody>, Failed> {
    const CANNOT: Failed = Failed::NotSent("The request cannot be put together.");
    let mut target = Zeroizing::new(exact.path.clone());
    if let Some(query) = &exact.query {
        target.push('?');
        target.push_str(query);
    }
    if let Place::Query { name, value } = &presented.place {
        target.push(if exact.query.is_some() { '&' } else { '?' });
        target.push_str(&percent_encode(name.as_bytes(), NON_ALPHANUMERIC).to_string());
        target.push('=');
        target.push_str(&percent_encode(value.expose(), NON_ALPHANUMERIC).to_string());
    }
    let mut request = Request::new(body);
    *request.method_mut() = exact.method.parse().map_err(|_| CANNOT)?;
    *request.uri_mut() = http::uri::PathAndQuery::try_from(target.as_str())
        .map_err(|_| CANNOT)?
        .into();
    let fields = request.headers_mut();
    fields.insert(
        header::HOST,
        HeaderValue::try_from(exact.authority()).map_err(|_| CANNOT)?,
    );
    for field in &exact.headers {
        let name = HeaderName::try_from(field.name.as_str()).map_err(|_| CANNOT)?;
        fields.append(
            name,
            HeaderValue::from_bytes(&field.value).map_err(|_| CANNOT)?,
        );
    }
    match exact.body {
        BodyCommitment::None => {}
        BodyCommitment::Exact { length, .. } => {
            fields.insert(header::CONTENT_LENGTH, length.into());
        }
        BodyCommitment::Streamed if fields.contains_key(header::CONTENT_LENGTH) => {}
        BodyCommitment::Streamed => {
            fields.insert(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            );
        }
    }
    let secret = |value: &[u8]| {
        let mut value = HeaderValue::from_bytes(value).map_err(|_| CANNOT)?;
        value.set_sensitive(true);
        Ok::<_, Failed>(value)
    };
    if let Some(cookie) = cookie {
        fields.insert(header::COOKIE, secret(cookie.as_bytes())?);
    }
    let places = match &presented.place {
        Place::Header { name, value } => vec![(name, value)],
        Place::Headers(headers) => headers.iter().map(|(name, value)| (name, value)).collect(),
        Place::Nowhere | Place::Query { .. } => vec![],
    };
    for (name, value) in places {
        fields.insert(
            HeaderName::try_from(name.as_str()).map_err(|_| CANNOT)?,
            secret(value.expose())?,
        );
    }
    Ok(request)
}
