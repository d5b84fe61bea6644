//! How a refusal reaches the record and the agent.

use crate::agent::{After, Agent, Whole};
use crate::head::Head;
use crate::normalise::{Doubt, Via};
use crate::problem::Problem;
use crate::run::Run;

use bytes::Bytes;
use countersign_broker::{Countersigner, Rejected};
use countersign_model::{Foreign, ReasonCode, Refusal, RequestId};
use http::{HeaderMap, HeaderValue, StatusCode};

/// Why a request is not sent.
#[derive(Debug)]
pub(crate) enum No {
    /// The gateway refuses, and records it.
    Ours { reason: ReasonCode, detail: String },
    /// The broker refused, and has recorded it.
    Recorded(Refusal),
    /// Nobody is there to be told.
    HungUp,
    /// A token endpoint: answered with a placeholder.
    Placeholder,
}

impl No {
    pub(crate) fn ours(reason: ReasonCode) -> Self {
        Self::because(reason, reason.advice())
    }
    pub(crate) fn because(reason: ReasonCode, detail: &str) -> Self {
        Self::Ours {
            reason,
            detail: detail.to_owned(),
        }
    }
    pub(crate) fn unsupported(detail: &str) -> Self {
        Self::because(ReasonCode::Unsupported, detail)
    }
    pub(crate) fn malformed(doubt: Doubt) -> Self {
        let detail = format!("The request was refused because {doubt}. Send it in its plain form.");
        Self::Ours {
            reason: ReasonCode::Malformed,
            detail,
        }
    }
}

/// How much of a refused target is recorded, in bytes.
const MOST_TARGET: usize = 2048;

/// What a token endpoint of a known kind gives a run (G1).
const PLACEHOLDER: &str =
    r#"{"access_token":"countersign-placeholder","token_type":"Bearer","expires_in":3600}"#;

/// Records what is ours to record, and answers.
pub(crate) async fn tell_no<C: Countersigner>(
    run: &Run<C>,
    agent: &mut Agent<'_>,
    head: &Head,
    via: &Via,
    id: &RequestId,
    no: No,
) -> After {
    match no {
        No::Ours { reason, detail } => {
            reject(run, id, target_text(head, via), reason, &detail).await;
            tell(
                agent,
                head,
                &Problem {
                    request: Some(id.clone()),
                    reason,
                    detail,
                },
            )
            .await
        }
        No::Recorded(refusal) => tell(agent, head, &Problem::from(refusal)).await,
        No::HungUp => After::Abort,
        No::Placeholder => {
            let keep = head.keep_alive && agent.discard_small_body().await;
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static("application/json"));
            headers.insert("cache-control", HeaderValue::from_static("no-store"));
            if let Ok(value) = HeaderValue::from_str(id.as_str()) {
                headers.insert("countersign-request", value);
            }
            let reply = Whole {
                status: StatusCode::OK,
                headers,
                body: Bytes::from_static(PLACEHOLDER.as_bytes()),
            };
            after(
                agent.writer().answer(&reply, true, keep).await.is_ok(),
                keep,
            )
        }
    }
}

/// Answers a request that was refused and recorded.
pub(crate) async fn tell(agent: &mut Agent<'_>, head: &Head, problem: &Problem) -> After {
    let may_keep =
        head.keep_alive && problem.reason != ReasonCode::Stopped && head.first("expect").is_none();
    let keep = may_keep && agent.discard_small_body().await;
    let with_body = head.method != "HEAD";
    let sent = agent
        .writer()
        .answer(&problem.answer_to(head), with_body, keep)
        .await;
    after(sent.is_ok(), keep)
}

const fn after(sent: bool, keep: bool) -> After {
    match (sent, keep) {
        (true, true) => After::Keep,
        (true, false) => After::Close,
        (false, _) => After::Abort,
    }
}

pub(crate) async fn reject<C: Countersigner>(
    run: &Run<C>,
    id: &RequestId,
    target: Foreign,
    reason: ReasonCode,
    detail: &str,
) {
    let rejected = Rejected {
        request: id.clone(),
        run: run.id.clone(),
        target,
        reason,
        detail: (detail != reason.advice()).then(|| Foreign::new(detail)),
    };
    run.port.reject(rejected).await;
}

/// Method and target for the record. Without the query, in which an agent may
/// have put what it takes for a credential.
fn target_text(head: &Head, via: &Via) -> Foreign {
    let path = head.target.split(['?', '#']).next().unwrap_or_default();
    let path = path.rsplit_once('@').map_or(path, |(_, rest)| rest);
    // It was refused: its beginning is enough.
    let path = path.get(..MOST_TARGET).unwrap_or(path);
    Foreign::new(match via {
        Via::Host { scheme, host, port } if path.starts_with('/') => {
            format!("{} {}://{host}:{port}{path}", head.method, scheme.word())
        }
        _ => format!("{} {path}", head.method),
    })
}
