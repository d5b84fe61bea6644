//! The way of a request: normalise, recognise, decide, redeem, send once, pass
//! the reply on, settle. Read this file first.

use crate::agent::{After, Agent};
use crate::ask;
use crate::assign;
use crate::aws;
use crate::body::{self, NotRead, Progress, Read, Source, Whole};
use crate::head::{Framing, Head};
use crate::headers::{self, Reply};
use crate::normalise::{self, Via};
use crate::problem::Problem;
use crate::refuse::{No, tell, tell_no};
use crate::run::Run;
use crate::send::{self, Body, Judged};
use crate::settle::Afterwards;
use crate::upstream::Failed;
use crate::websocket;
use crate::wire::NoBody;
use countersign_broker::{AccountView, Countersigner, Submission};
use countersign_model::{
    CredentialKind, ExactRequest, HeaderField, ReasonCode, Refusal, RequestId,
};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long the broker has to say itself that it stopped a request.
const GRACE: Duration = Duration::from_millis(200);

/// Answers one request whose head was read.
pub(crate) async fn one<C: Countersigner>(
    run: &Run<C>,
    agent: &mut Agent<'_>,
    head: &Head,
    via: &Via,
) -> After {
    // Before anything else, so that no stop slips between.
    let stop = run.port.cut(&run.id);
    let id = match run.port.new_request(&run.id) {
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
async fn judge<C: Countersigner>(
    run: &Run<C>,
    id: &RequestId,
    agent: &mut Agent<'_>,
    head: &Head,
    via: &Via,
) -> Result<Judged, No> {
    let target = normalise::target(head, via).map_err(No::malformed)?;
    let wish = supported(head)?;
    let (expects_continue, upgrades) = (wish == Wish::Continue, wish == Wish::Upgrade);
    let views = run.port.accounts(&run.id);
    if head.method == "POST" && assign::is_token_endpoint(&views, &target) {
        return Err(No::Placeholder);
    }
    let AccountView {
        account,
        digest,
        credential,
    } = assign::account_for(views, head, &target)?;
    let kind = countersign_catalogue::kind(&account.provider.0);
    let reply = if account.is_site() {
        Reply::AsItIs
    } else {
        Reply::Searched
    };
    let mut fields = headers::forwarded(head, &account, kind, reply);
    if headers::dropped_override(head, &fields) {
        return Err(No::unsupported(
            "Overriding the method or path by a header is not supported here; send the real one.",
        ));
    }
    if upgrades {
        fields.extend(websocket::headers(head));
    }
    let aws = match &account.credential {
        CredentialKind::Aws(settings) => {
            let claim = aws::Claim::read(head, &target, &run.placeholder)?;
            claim.adapt(&mut fields, head, settings, &target.host);
            Some(claim)
        }
        _ => None,
    };
    let query = headers::without_credentials(target.query.as_deref(), &account);
    let needs_body = countersign_catalogue::needs_body(
        &account,
        &head.method,
        &target.host,
        &target.path,
        query.as_deref(),
        &fields,
    );
    let body = match head.framing {
        Framing::None => Body::None,
        Framing::Length(0) => Body::Whole(Whole::default()),
        // Of AWS: what is signed is known before it is judged.
        _ if needs_body || aws.is_some() => {
            if expects_continue {
                agent
                    .writer()
                    .carry_on()
                    .await
                    .map_err(|_| No::ours(ReasonCode::Withdrawn))?;
            }
            let pieces = aws.as_ref().and_then(|aws| aws.decoder(&run.placeholder));
            let mut source = Source::new(agent.reader(), pieces);
            let body = match body::read_whole(&mut source, head, run).await {
                Ok(Read::Whole(whole)) => Body::Whole(whole),
                Ok(Read::Spooled(spooled)) => Body::Spooled(spooled),
                Err(why) => return Err(not_read(why)),
            };
            fields.extend(source.into_trailers());
            body
        }
        Framing::Length(length) => {
            fields.push(HeaderField {
                name: "content-length".into(),
                value: length.to_string().into_bytes(),
            });
            Body::Streamed
        }
        Framing::Chunked => Body::Streamed,
    };
    if let Some(aws) = aws {
        aws.check(&run.placeholder, body.digest())?;
        aws::said_once(&fields)?;
    }
    let exact = ExactRequest {
        scheme: target.scheme,
        method: head.method.clone(),
        host: target.host,
        port: target.port,
        path: target.path,
        query,
        headers: fields,
        trailers: Vec::new(),
        body: body.commitment(),
        credential: if account.is_site() { None } else { credential },
        account_digest: digest,
    };
    let mut submission = ask::submission(run, id, head, &account, kind, &exact, &body);
    if upgrades {
        let Submission {
            action, preview, ..
        } = &mut submission;
        websocket::describe(action, preview, &exact.host, &exact.path);
    }
    let permit = ask::ask(run, agent, head, submission).await?;
    let release = run
        .port
        .redeem(permit, &exact)
        .await
        .map_err(No::Recorded)?;
    let wants_continue = expects_continue && matches!(body, Body::Streamed);
    Ok(Judged {
        exact,
        body,
        wants_continue,
        upgrades,
        release,
        account,
    })
}

/// What a request wishes of the connection itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Nothing,
    /// `100 Continue` before it sends its body.
    Continue,
    /// To become a WebSocket.
    Upgrade,
}

/// What is refused whatever the account.
fn supported(head: &Head) -> Result<Wish, No> {
    if head.first("upgrade").is_some() || head.first("http2-settings").is_some() {
        if websocket::is_asked(head) && head.first("expect").is_none() {
            return Ok(Wish::Upgrade);
        }
        return Err(No::unsupported(
            "Of changes of a connection's protocol, only a WebSocket of version 13 is supported here. Use plain HTTP requests.",
        ));
    }
    match (head.method.as_str(), head.first("expect")) {
        ("TRACE" | "CONNECT", _) => Err(No::unsupported(
            "This method is not supported here: its reply would show what the agent may not see.",
        )),
        (_, None) => Ok(Wish::Nothing),
        (_, Some(value)) if value.eq_ignore_ascii_case(b"100-continue") => Ok(if head.http_11 {
            Wish::Continue
        } else {
            Wish::Nothing
        }),
        (_, Some(_)) => Err(No::unsupported(
            "Only the expectation 100-continue is supported.",
        )),
    }
}

fn not_read(why: NotRead) -> No {
    match why {
        NotRead::Ended(NoBody::HungUp) => No::ours(ReasonCode::Withdrawn),
        NotRead::Ended(NoBody::Idle) => No::because(
            ReasonCode::Limit,
            "The body of the request paused too long. Send it again without pausing.",
        ),
        NotRead::Ended(NoBody::Malformed) => No::malformed("its chunked coding is broken"),
        NotRead::Ended(NoBody::Lost) => No::ours(ReasonCode::Internal),
        NotRead::TooLong => No::because(
            ReasonCode::Limit,
            "The body is larger than what can be held here while the user is asked. Send less at once.",
        ),
        NotRead::NoRoom => No::because(
            ReasonCode::Limit,
            "There is no room on disk to hold the body while the user is asked. Send less at once.",
        ),
        NotRead::NoMemory => No::because(
            ReasonCode::Limit,
            "Too many request bodies are waiting to be judged. Send fewer at once.",
        ),
    }
}

/// From leave to send to the record after.
async fn carry<C: Countersigner>(
    run: &Run<C>,
    agent: &mut Agent<'_>,
    head: &Head,
    judged: Judged,
    stop: &CancellationToken,
) -> After {
    let progress = Progress::default();
    let mut after = Afterwards::new(&*run.port, judged.release.request.clone(), &progress);
    let cut = judged.release.cut.clone();
    let id = judged.release.request.clone();
    if stop.is_cancelled() || cut.is_cancelled() {
        let reason = if stop.is_cancelled() {
            ReasonCode::Stopped
        } else {
            ReasonCode::Changed
        };
        after.never_sent(reason);
        return tell(agent, head, &Problem::new(Some(id), reason)).await;
    }
    let ended = tokio::select! { biased;
        () = stop.cancelled() => Err(match run.port.cut_reason(&run.id) {
            ReasonCode::Stopped => Failed::Cut,
            _ => Failed::Unknown("the run ended before the reply did"),
        }),
        () = cut.cancelled() => Err(Failed::Cut),
        ended = send::transfer(run, agent, head, judged, &progress) => ended,
    };
    after.settle(ended);
    match ended {
        Ok(true) if agent.reader().body_is_done() => After::Keep,
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
