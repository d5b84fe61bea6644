//! `countersign.toml`: what it says, where it is wrong, how it changes, and
//! the seal over what the human accepted.
//!
//! Everything here is pure: no I/O, no clock, no randomness. Files that the
//! configuration names (`ca = "…"`) are read by a function of the caller's.
//!
//! - [`parse`] turns text into a [`Config`], or into every [`Problem`] it has;
//! - [`edit`] changes the text and keeps comments and layout;
//! - [`diff`] and [`summary`] say what a change means, for the human who
//!   accepts it;
//! - [`Accepted`] is what was accepted, [`Sealed`] binds it to this
//!   installation and to a counter, so that an older state is noticed.

mod account;
mod agent;
mod config;
mod diff;
pub mod edit;
mod hosts;
mod overlap;
mod parse;
mod passages;
mod paths;
mod problem;
mod seal;
mod section;
mod settings;
mod summary;
mod values;

pub use config::{Approvals, Config, GatewaySettings, Hotkey, KindDefaults, VaultChoice};
pub use diff::{DiffLine, diff};
pub use parse::{Kinds, Limits, ReadFile, parse};
pub use problem::Problem;
pub use seal::{Accepted, SealError, SealKey, Sealed};
pub use summary::summary;
