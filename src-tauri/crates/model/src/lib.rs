//! The words of Countersign as types.
//!
//! Everything here is pure: no I/O, no clock, no randomness. Times come in as
//! [`Timestamp`] values, random ids as bytes that the caller drew.
//!
//! Invariants held by construction:
//! - an [`Effects`] set that is empty is never allowed by anyone who judges it;
//! - text from agents, upstreams and imports is a [`Foreign`], and the only way
//!   to show a `Foreign` is neutralised;
//! - an [`ExactRequest`] has one digest, over everything that will be sent.

mod account;
mod action;
mod decision;
mod effects;
mod exact;
mod hotkey;
mod ids;
mod recipe;
mod record;
mod text;
mod time;

pub use account::{
    Account, Agent, AwsScope, AwsSettings, BadHostPattern, CredentialKind, EffectsRule,
    Environment, HostPattern, Provider,
};
pub use action::{Action, DataPreview, Field, Objects};
pub use decision::{
    Answer, Approval, Assurance, Decision, ReasonCode, Refusal, SurfaceKind, Verdict,
};
pub use effects::{Effect, Effects};
pub use exact::{BodyCommitment, CredentialVersion, Digest, ExactRequest, HeaderField, Scheme};
pub use hotkey::{BadHotkey, Hotkey, Key, NamedKey};
pub use ids::{AccountId, AgentId, BadId, CredentialId, InstallId, QuestionId, RequestId, RunId};
pub use recipe::Recipe;
pub use record::{
    AuditRecord, Event, Outcome, PassageTo, Passed, Recorded, Requested, RunFacts, Settled,
    StopMeans, StopTrigger, Tokens,
};
pub use text::{Foreign, Span, Words};
pub use time::Timestamp;
