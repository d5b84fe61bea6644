//! `judge(policies, agent, account, action) -> Verdict`, in Cedar.
//!
//! Pure: no I/O, no clock, no randomness; the same input has the same judgement.
//!
//! - `schema.cedarschema` says what a rule can speak about;
//! - `policies/*.cedar` are the defaults, one rule a file ([`DEFAULTS`]);
//! - [`Policies::parse`] loads files and refuses what does not fit the schema;
//! - [`Policies::judge`] climbs the ladder of approvals and says how strong a
//!   human's yes must be.
//!
//! Invariants: nothing is allowed without a `permit` that applies; a `forbid`
//! beats every `permit`; an evaluation that fails denies, whatever else would
//! permit; the agent's own words never reach an evaluation.

mod context;
mod defaults;
mod judge;
mod kept;
mod ladder;
mod load;
mod nesting;
mod problem;
mod slice;

pub use context::Recent;
pub use defaults::DEFAULTS;
pub use judge::{Judgement, Policies};
pub use load::Limits;
pub use problem::PolicyProblem;
