//! The way of a request: normalise, recognise, decide, redeem, send once, pass
//! the reply on, settle. Read this file first.

use crate::body::{self, Decoded, NotRead, Progress, UpBody, Whole};
use crate::cookies;
use crate::headers::{self, Reply};
use crate::normalise::{self, Target, Via};
use crate::reply::{self, Side};
use crate::run::Run;
use crate::scrub::Needles;
use crate::settle::Afterwards;
use crate::refuse::{No, tell, tell_no};
use crate::problem::Problem;
use crate::upstream::{Failed, Route};
use crate::wire::{After, Agent, Framing, Head, NoBody, Reader, Writer};
use countersign_broker::{AccountView, Countersigner, Place, Presented, Release, Submission};
use countersign_catalogue::{BodyView, Kind, RequestView};
use countersign_model::{
    Account, Action, BodyCommitment, CredentialKind, Digest, ExactRequest, HeaderField, ReasonCode, Refusal, RequestId, Scheme,
};
use http::{HeaderName, HeaderValue, Request, header};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How long the broker has to say itself that it stopped a request.
const GRACE: Duration = Duration::from_millis(200);
/// A client that closes its half right after a request still gets a reply that
/// comes at once; one that is gone while a human is asked has withdrawn.
const WATCH_AFTER: Duration = Duration::from_secs(1);

/// One request that was let through, ready to be sent once.
struct Judged {
    exact: ExactRequest,
    body: Body,
    release: Release,
    account: Arc<Account>,
}

/// The body of a request, as far as it was read for judging.
enum Body {
    None,
    Whole(Whole),
    Streamed,
}

/// Answers one request whose head was read.
pub(crate) async fn one<C: Countersigner>(run: &Run<C>, agent: &mut Agent, head: &Head, via: &Via) -> After {
    // Before anything else, so that no stop slips between.
    let stop = run.port.cut(&run.id);
    let id = match run.port.new_request() {
        Ok(id) => id,
        Err(reason) => return tell(agent, head, &Problem::new(None, reason)).await,
    };
    let judged = {
        let mut judging = pin!(judge(run, &id, agent, head, via));
        tokio::select! { biased;
            () = stop.cancelled() => timeout(GRACE, judging)
                .await
                .unwrap_or_else(|_| Err(No::Recorded(Refusal::new(id.clone(), ReasonCode::Stopped)))),
            judged = &mut judging => judged,
        }
    };
    match judged {
        Ok(judged) => carry(run, agent, head, judged, &stop).await,
        Err(no) => tell_no(run, agent, head, via, &id, no).await,
    }
}

/// From the head to leave to send. Nothing has left when this fails.
async fn judge<C: Countersigner>(run: &Run<C>, id: &RequestId, agent: &mut Agent, head: &Head, via: &Via) -> Result<Judged, No> {
    let target = normalise::target(head, via).map_err(No::malformed)?;
    let expects_continue = supported(head)?;
    let views = run.port.accounts(&run.id);
    if head.method == "POST" && is_token_endpoint(&views, &target) {
        return Err(No::Placeholder);
    }
    let AccountView { account, credential } = account_for(views, head, &target)?;
    let kind = countersign_catalogue::kind(&account.provider.0);
    let reply = if account.is_site() { Reply::AsItIs } else { Reply::Searched };
    let mut fields = headers::forwarded(head, &account, kind, reply);
    if headers::dropped_override(head, &fields) {
        return Err(No::unsupported("Overriding the method or path by a header is not supported here; send the real one."));
    }
    let query = headers::without_credentials(target.query.as_deref(), &account);
    let needs_body = countersign_catalogue::needs_body(&account, &head.method, &target.path, query.as_deref(), &fields);
    let body = match head.framing {
        Framing::None => Body::None,
        Framing::Length(0) => Body::Whole(Whole::default()),
        _ if needs_body => {
            if expects_continue {
                agent.writer.send(CONTINUE).await.map_err(|_| No::HungUp)?;
            }
            Body::Whole(body::read_whole(&mut agent.reader, head, &run.limits, &run.budget).await.map_err(not_read)?)
        }
        Framing::Length(length) => {
            fields.push(HeaderField { name: "content-length".into(), value: length.to_string().into_bytes() });
            Body::Streamed
        }
        Framing::Chunked => Body::Streamed,
    };
    let exact = ExactRequest {
        scheme: target.scheme,
        method: head.method.clone(),
        host: target.host,
        port: target.port,
        path: target.path,
        query,
        headers: fields,
        trailers: Vec::new(),
        body: commitment(&body),
        credential: if account.is_site() { None } else { credential },
        account_digest: account.digest(),
    };
    let submission = submission(run, id, head, &account, kind, &exact, &body)?;
    let permit = ask(run, agent, head, submission).await?;
    let release = run.port.redeem(permit, &exact).await.map_err(No::Recorded)?;
    if expects_continue && matches!(body, Body::Streamed) {
        agent.writer.send(CONTINUE).await.map_err(|_| No::HungUp)?;
    }
    Ok(Judged { exact, body, release, account })
}

/// What is refused whatever the account. Says whether the agent waits for
/// `100 Continue`.
fn supported(head: &Head) -> Result<bool, No> {
    if head.first("upgrade").is_some() || head.first("http2-settings").is_some() {
        return Err(No::unsupported("Changing the protocol of a connection (WebSocket, h2c) is not supported here. Use plain HTTP requests."));
    }
    match (head.method.as_str(), head.first("expect")) {
        ("TRACE" | "CONNECT", _) => Err(No::unsupported("This method is not supported here: its reply would show what the agent may not see.")),
        (_, None) => Ok(false),
        (_, Some(value)) if value.eq_ignore_ascii_case(b"100-continue") => Ok(head.http_11),
        (_, Some(_)) => Err(No::unsupported("Only the expectation 100-continue is supported.")),
    }
}

fn not_read(why: NotRead) -> No {
    match why {
        NotRead::Ended(NoBody::HungUp) => No::ours(ReasonCode::Withdrawn),
        NotRead::Ended(NoBody::Idle) => No::because(ReasonCode::Limit, "The body of the request paused too long. Send it again without pausing."),
        NotRead::Ended(NoBody::Malformed) => No::malformed("its chunked coding is broken"),
        NotRead::TooLong => No::because(ReasonCode::Limit, "The body is larger than what can be judged here. Send less at once."),
        NotRead::NoMemory => No::because(ReasonCode::Limit, "Too many request bodies are waiting to be judged. Send fewer at once."),
    }
}

/// Whether a provider of one of these accounts mints access tokens here. The
/// run's placeholder is no credential, and no minted one may reach it (G1).
fn is_token_endpoint(views: &[AccountView], target: &Target) -> bool {
    views
        .iter()
        .filter_map(|view| countersign_catalogue::kind(&view.account.provider.0))
        .flat_map(|kind| kind.token_endpoints)
        .any(|&(host, path)| host == target.host && path == target.path && target.port == 443)
}

/// The account that has the host: an exact name before a wildcard, a longer
/// wildcard before a shorter. Two of the same rank are told apart by the agent,
/// in a `Countersign-Account` header.
fn account_for(views: Vec<AccountView>, head: &Head, target: &Target) -> Result<AccountView, No> {
    let named = head.first("countersign-account");
    let rank = |view: &AccountView| {
        let fits = view.account.hosts.iter().filter(|p| p.matches(&target.host));
        fits.map(|p| p.wildcard_base().map_or(usize::MAX, str::len)).max()
    };
    let mut fit: Vec<(usize, AccountView)> = views
        .into_iter()
        .filter(|view| named.is_none_or(|name| name == view.account.id.as_str().as_bytes()))
        .filter_map(|view| Some((rank(&view)?, view)))
        .collect();
    let best = fit.iter().map(|(rank, _)| *rank).max().ok_or(No::ours(ReasonCode::NotAssigned))?;
    fit.retain(|(rank, _)| *rank == best);
    let on_port = fit.iter().filter(|(_, view)| view.account.port == target.port).count();
    fit.retain(|(_, view)| on_port == 0 || view.account.port == target.port);
    let (Some((_, view)), 0) = (fit.pop(), fit.len()) else {
        return Err(No::malformed("several accounts have this host; name one in a Countersign-Account header"));
    };
    if view.account.port != target.port {
        return Err(No::because(ReasonCode::NotAssigned, "This port of the host is not among the accounts of this agent. Ask the user to add it."));
    }
    if target.scheme == Scheme::Http && !view.account.plaintext {
        return Err(No::unsupported("Plain http is not allowed for this account. Use https."));
    }
    Ok(view)
}

fn commitment(body: &Body) -> BodyCommitment {
    match body {
        Body::None => BodyCommitment::None,
        Body::Streamed => BodyCommitment::Streamed,
        Body::Whole(whole) => BodyCommitment::Exact { digest: Digest::of(&whole.bytes), length: whole.bytes.len() as u64 },
    }
}

/// What the broker judges: the exact request, and what the catalogue says it does.
fn submission<C: Countersigner>(
    run: &Run<C>,
    id: &RequestId,
    head: &Head,
    account: &Account,
    kind: Option<&Kind>,
    exact: &ExactRequest,
    body: &Body,
) -> Result<Submission, No> {
    let plain;
    let view = match body {
        Body::None => BodyView::None,
        Body::Streamed => BodyView::Streaming,
        Body::Whole(whole) if whole.bytes.is_empty() => BodyView::None,
        Body::Whole(whole) => match body::decode(head.first("content-encoding"), &whole.bytes, run.limits.judged_body) {
            Decoded::Plain => BodyView::Whole(&whole.bytes),
            Decoded::Bytes(bytes) => {
                plain = bytes;
                BodyView::Whole(&plain)
            }
            Decoded::Opaque => BodyView::Encoded,
            Decoded::TooLong => return Err(not_read(NotRead::TooLong)),
        },
    };
    let known = countersign_catalogue::recognise(account, &RequestView {
        method: &exact.method,
        host: &exact.host,
        path: &exact.path,
        query: exact.query.as_deref(),
        headers: &exact.headers,
        body: view,
    });
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
    Ok(Submission {
        request: id.clone(),
        run: run.id.clone(),
        account: account.id.clone(),
        action,
        exact: exact.clone(),
        preview: known.preview,
        same: headers::same(exact, kind),
    })
}

/// Waits for the decision; meanwhile keeps clients awake that can bear it, and
/// notices when the agent is gone.
async fn ask<C: Countersigner>(run: &Run<C>, agent: &mut Agent, head: &Head, submission: Submission) -> Result<C::Permit, No> {
    /// Clients that take any number of `100 Continue`. Node's fetch does not.
    const BEAR_IT: [&[u8]; 6] = [b"python-requests/", b"python-urllib3/", b"python-httpx/", b"aiohttp", b"python-urllib/", b"boto3/"];
    let mut deciding = pin!(run.port.decide(submission));
    let client = head.first("user-agent").unwrap_or_default().to_ascii_lowercase();
    let awake = head.http_11 && BEAR_IT.iter().any(|name| memchr::memmem::find(&client, name).is_some());
    let mut beat = interval_at(Instant::now() + run.limits.keep_awake, run.limits.keep_awake);
    let Agent { reader, writer } = agent;
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

/// From leave to send to the record after.
async fn carry<C: Countersigner>(run: &Run<C>, agent: &mut Agent, head: &Head, judged: Judged, stop: &CancellationToken) -> After {
    let progress = Progress::default();
    let mut after = Afterwards::new(&*run.port, judged.release.request.clone(), &progress);
    let cut = judged.release.cut.clone();
    let id = judged.release.request.clone();
    if stop.is_cancelled() || cut.is_cancelled() {
        let reason = if stop.is_cancelled() { ReasonCode::Stopped } else { ReasonCode::Changed };
        after.never_sent(reason);
        return tell(agent, head, &Problem::new(Some(id), reason)).await;
    }
    let ended = tokio::select! { biased;
        () = stop.cancelled() => Err(Failed::Cut),
        () = cut.cancelled() => Err(Failed::Cut),
        ended = transfer(run, agent, head, judged, &progress) => ended,
    };
    after.settle(ended);
    match ended {
        Ok(true) if agent.reader.body_is_done() => After::Keep,
        Ok(_) => After::Close,
        Err(_) if progress.replied.load(Ordering::Relaxed) => After::Abort,
        Err(failed) => {
            let reason = match failed {
                Failed::Cut if stop.is_cancelled() => ReasonCode::Stopped,
                Failed::Cut => ReasonCode::Changed,
                Failed::HeldCredential => ReasonCode::ReplyHeldCredential,
                Failed::NotSent(_) | Failed::Unknown(_) | Failed::AgentGone => ReasonCode::Upstream,
            };
            let mut problem = Problem::new(Some(id), reason);
            if let Failed::NotSent(why) | Failed::Unknown(why) = failed {
                problem.detail = why.to_owned();
            }
            tell(agent, head, &problem).await
        }
    }
}

/// Sends the request once and passes the reply on.
async fn transfer<C: Countersigner>(run: &Run<C>, agent: &mut Agent, head: &Head, judged: Judged, progress: &Progress) -> Result<bool, Failed> {
    let Judged { exact, body, release, account } = judged;
    let Agent { reader, writer } = agent;
    let (up_body, pump) = match &body {
        Body::None => (UpBody::Empty, None),
        Body::Whole(whole) => {
            progress.sent.store(whole.bytes.len() as u64, Ordering::Relaxed);
            (UpBody::Whole(Some(whole.bytes.clone())), None)
        }
        Body::Streamed => {
            let (to, from) = mpsc::channel(1);
            (UpBody::Streamed(from), Some(to))
        }
    };
    let reply = exchange(run, writer, head, &exact, &release, &account, up_body, progress);
    let Some(to) = pump else { return reply.await };
    let mut reply = pin!(reply);
    let idle = run.limits.idle_request;
    let reader: &mut Reader = reader;
    tokio::select! { biased;
        ended = &mut reply => return ended,
        () = body::pump(reader, to, idle, progress) => {}
    }
    reply.await
}

#[allow(clippy::too_many_arguments)]
async fn exchange<C: Countersigner>(
    run: &Run<C>,
    writer: &mut Writer,
    head: &Head,
    exact: &ExactRequest,
    release: &Release,
    account: &Account,
    body: UpBody,
    progress: &Progress,
) -> Result<bool, Failed> {
    let version = exact.credential.as_ref().map_or(0, |c| c.version);
    let https = exact.scheme == Scheme::Https;
    let place = cookies::Place { account: &account.id, version, host: &exact.host, path: &exact.path, https };
    let has_cookies = account.credential != CredentialKind::None;
    let cookie = if has_cookies { run.jars.header(place) } else { None };
    let request = outgoing(exact, &release.presented, cookie, body)?;
    let route = Route { account: exact.account_digest, credential: version, scheme: exact.scheme, host: exact.host.clone(), port: exact.port };
    let (reply, mut up) = run.upstreams.send(&route, account, request, &run.limits, progress).await?;
    let mut needles = Vec::new();
    if has_cookies {
        run.jars.store(place, reply.headers().get_all(header::SET_COOKIE).iter().map(HeaderValue::as_bytes));
        needles = run.jars.needles(&account.id, version);
    }
    needles.extend(release.presented.needles.iter().cloned());
    let side = Side {
        is_head: exact.method == "HEAD",
        http_11: head.http_11,
        keep_alive: head.keep_alive,
        request: release.request.as_str(),
        idle: run.limits.idle_reply,
    };
    let keep = reply::deliver(reply, &mut up, &Needles::of(&needles), writer, side, progress).await?;
    run.upstreams.put_back(route, up).await;
    Ok(keep)
}

/// The upstream request: everything in it comes from the exact request that was
/// judged, but for the credential in its place and the account's cookies. This
/// is the only place where one is made.
fn outgoing(exact: &ExactRequest, presented: &Presented, cookie: Option<Zeroizing<String>>, body: UpBody) -> Result<Request<UpBody>, Failed> {
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
    *request.uri_mut() = http::uri::PathAndQuery::try_from(target.as_str()).map_err(|_| CANNOT)?.into();
    let fields = request.headers_mut();
    let host = if exact.port == exact.scheme.default_port() { exact.host.clone() } else { format!("{}:{}", exact.host, exact.port) };
    fields.insert(header::HOST, HeaderValue::try_from(host).map_err(|_| CANNOT)?);
    for field in &exact.headers {
        let name = HeaderName::try_from(field.name.as_str()).map_err(|_| CANNOT)?;
        fields.append(name, HeaderValue::from_bytes(&field.value).map_err(|_| CANNOT)?);
    }
    match exact.body {
        BodyCommitment::None => {}
        BodyCommitment::Exact { length, .. } => {
            fields.insert(header::CONTENT_LENGTH, length.into());
        }
        BodyCommitment::Streamed if fields.contains_key(header::CONTENT_LENGTH) => {}
        BodyCommitment::Streamed => {
            fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
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
    if let Place::Header { name, value } = &presented.place {
        fields.insert(HeaderName::try_from(name.as_str()).map_err(|_| CANNOT)?, secret(value.expose())?);
    }
    Ok(request)
}
