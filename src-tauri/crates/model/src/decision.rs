use crate::{Digest, QuestionId, RequestId, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How strong a human's yes must be. Ordered: each is stronger than the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Assurance {
    /// A click in a notification.
    Notification,
    /// Read in full in a window, then a held button.
    Window,
    /// The human authenticates.
    Presence,
}

impl Assurance {
    /// From weakest to strongest.
    pub const ALL: [Self; 3] = [Self::Notification, Self::Window, Self::Presence];

    /// The number that policies see as `context.approval`; 0 is nobody asked.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::Notification => 1,
            Self::Window => 2,
            Self::Presence => 3,
        }
    }
    /// The word of the design.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Notification => "notification",
            Self::Window => "window",
            Self::Presence => "presence",
        }
    }
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What policy says of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may go alone.
    Allow,
    /// A human must say yes, at least this strongly.
    Ask(Assurance),
    /// It may not.
    Deny,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Ask(assurance) => write!(f, "ask ({assurance})"),
            Self::Deny => f.write_str("deny"),
        }
    }
}

/// What a human can say. There is no other pair of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Yes, this once.
    Approve,
    /// No.
    Deny,
}

/// Where a human answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SurfaceKind {
    /// A native notification.
    Notification,
    /// A window of ours.
    Window,
    /// The terminal of `serve`.
    Terminal,
    /// `countersign deny ID`.
    Command,
}

impl fmt::Display for SurfaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Notification => "notification",
            Self::Window => "window",
            Self::Terminal => "terminal",
            Self::Command => "command",
        })
    }
}

/// A human's answer to one question, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The question that was answered.
    pub question: QuestionId,
    /// What was said.
    pub answer: Answer,
    /// Digest of what was shown.
    pub shown: Digest,
    /// Where it was answered.
    pub surface: SurfaceKind,
    /// How strong the answer was.
    pub assurance: Assurance,
    /// When it was answered.
    pub at: Timestamp,
    /// How long the human took, in milliseconds.
    pub latency_ms: u64,
    /// How many identical requests the question stood for when it was shown.
    pub times: u32,
}

/// Allow or Deny: what became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It went ahead.
    Allow,
    /// It did not.
    Deny,
}

/// Why a request was refused. Each is the truth and only the truth: no record
/// claims a human decision that no human made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonCode {
    /// A human read it and said no.
    DeniedByHuman,
    /// Three denials in a row: denied without asking again.
    DeniedRepeatedly,
    /// Policy denies it, whoever is asked.
    Policy,
    /// Policy could not be evaluated.
    PolicyError,
    /// Nobody answered in time.
    TimedOut,
    /// Still being asked; repeat the identical request to keep waiting.
    Waiting,
    /// The agent withdrew it (it hung up, or its run ended).
    Withdrawn,
    /// The emergency stop is engaged.
    Stopped,
    /// The keyring is locked.
    Locked,
    /// There is no keyring to ask.
    NoKeyring,
    /// The account has no credential yet.
    NoCredential,
    /// No surface is there to ask a human.
    NoSurface,
    /// The ledger cannot be written.
    LedgerFailed,
    /// The host is no account or site of this agent.
    NotAssigned,
    /// The request cannot be read without doubt.
    Malformed,
    /// A kind of request that is not supported.
    Unsupported,
    /// A limit of the run is reached.
    Limit,
    /// The configuration has no accepted state.
    NotAccepted,
    /// What would be sent is not what was judged.
    Changed,
    /// The permit's time is over.
    Expired,
    /// Nothing says what it would do.
    NoEffects,
    /// The upstream cannot be reached, or is not who it should be.
    Upstream,
    /// The reply held the credential and was cut.
    ReplyHeldCredential,
    /// Something of ours failed.
    Internal,
}

impl ReasonCode {
    /// The code as it stands in `reason` of the problem document.
    #[must_use]
    pub fn code(self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_else(|| "internal".to_owned())
    }

    /// One sentence for the agent: what happened, and what to do now.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::DeniedByHuman => "The user denied this. Do not retry; ask them.",
            Self::DeniedRepeatedly => {
                "The user denied this kind of request three times; it is denied without asking. Stop and ask them."
            }
            Self::Policy => "The user's policy denies this. Do not retry; ask them.",
            Self::PolicyError => {
                "The policy could not be evaluated, so this is denied. Tell the user."
            }
            Self::TimedOut => {
                "Nobody answered in time, so this is denied. Tell the user before you try again."
            }
            Self::Waiting => {
                "Still waiting for the user. Repeat the identical request to keep waiting, or do other work."
            }
            Self::Withdrawn => "The request was withdrawn before it was answered.",
            Self::Stopped => "The user stopped all agents. Do nothing more.",
            Self::Locked => {
                "The user's keyring is locked, so this is denied. Ask them to unlock it."
            }
            Self::NoKeyring => "There is no keyring, so no credential can be used. Tell the user.",
            Self::NoCredential => "This account has no credential yet. Ask the user to set one.",
            Self::NoSurface => "Nobody can be asked right now, so this is denied. Tell the user.",
            Self::LedgerFailed => {
                "The audit trail cannot be written, so nothing is released. Tell the user."
            }
            Self::NotAssigned => {
                "This host is not among the accounts of this agent. Ask the user to add it."
            }
            Self::Malformed => {
                "The request is ambiguous and was refused. Send it in its plain form."
            }
            Self::Unsupported => "This kind of request is not supported here.",
            Self::Limit => "A limit of this run is reached. Do less at once.",
            Self::NotAccepted => "The user has not accepted the configuration yet. Ask them.",
            Self::Changed => "What would be sent is not what was judged, so it was refused.",
            Self::Expired => "The permission was not used in time. Send the request again.",
            Self::NoEffects => {
                "Nothing says what this request would do, so it is denied. Ask the user."
            }
            Self::Upstream => "The service could not be reached safely.",
            Self::ReplyHeldCredential => "The reply held a credential and was cut.",
            Self::Internal => {
                "Something failed on the user's side, so this is denied. Tell the user."
            }
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code())
    }
}

/// A request that was refused: the code, and what there is to add to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{reason}: {detail}")]
pub struct Refusal {
    /// The request; its id is in the timeline.
    pub request: RequestId,
    /// Why.
    pub reason: ReasonCode,
    /// One sentence for the agent: [`ReasonCode::advice`], or a fuller one of
    /// ours. Never foreign text.
    pub detail: String,
}

impl Refusal {
    /// A refusal with the reason's own advice.
    #[must_use]
    pub fn new(request: RequestId, reason: ReasonCode) -> Self {
        Self {
            request,
            reason,
            detail: reason.advice().to_owned(),
        }
    }
    /// A refusal with a sentence of its own.
    #[must_use]
    pub fn with(request: RequestId, reason: ReasonCode, detail: impl Into<String>) -> Self {
        Self {
            request,
            reason,
            detail: detail.into(),
        }
    }
}
