//! What a request would do: request → operation, effects, objects, words.
//!
//! Everything here is pure: no I/O, no clock, no randomness. A gateway hands
//! over a normalised [`RequestView`] and gets back a [`Recognised`], which is
//! what policy judges and what a human reads.
//!
//! # How it is judged
//!
//! Knowledge comes in *layers*, and the most severe one wins: their effects are
//! united, and one doubt is enough to end `routine`.
//!
//! 1. `table`: operations of a provider, by method and path template, made by
//!    hand; `generated`: those that the providers' own descriptions list, for
//!    what no table holds; `plain`: methods, where neither describes the host.
//! 2. `inspect`: what a body adds to its operation (a force flag, the ids of a
//!    bulk deletion, the recipients of a mail).
//! 3. `verbs`: what the name of an unknown operation suggests.
//! 4. `rules`: the account's `effects`, which the human accepted. They alone
//!    may lower what the layers above say.
//! 5. `smuggled`: overridden methods and paths, and credentials of the agent's
//!    own. No rule lowers these.
//!
//! `bulk` is an operation that acts on two or more objects at once, or on a
//! number that nobody can tell, at an endpoint made for that. An operation on
//! one object is never `bulk`, however much the object holds; a mail to many is
//! one mail, and its recipients are counted.
//!
//! # Invariants
//!
//! - The result's effects are never empty.
//! - `routine` means: every layer was sure, the effects are exactly `read`, and
//!   nothing in the request can be read in two ways.
//! - What could not be read counts as the worst that it could have said.
//! - Foreign values reach [`Recognised::words`] only as foreign spans.
//! - No input panics, and no input takes more than linear time and memory.

mod aws;
mod aws_headers;
mod aws_hosts;
mod aws_sts;
mod body;
mod generated;
mod github;
mod gmail;
mod inspect;
mod judgement;
mod kind;
mod known;
mod kubernetes;
mod models;
mod path;
mod plain;
mod preview;
mod recognise;
mod request;
mod rules;
mod slack;
mod smuggled;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod verbs;
mod words;

pub use aws_hosts::aws_scope;
pub use kind::{
    Kind, Placeholder, PlaceholderFile, Presentation, REGION, VOLATILE_HEADERS, kind, kinds,
};
/// The generated catalogue's embedded form, for the tool that writes it and for
/// tests over all that it holds.
pub mod embedded {
    pub use crate::generated::EMBEDDED;
    pub use crate::generated::form::{
        Class, Form, Level, MAGIC, MANY, ONE, Operation, Service, Traits, WORDS_AN_OFFSET, Want,
        effects_of,
    };
    pub use crate::generated::is_known;
    pub use crate::generated::listing::Listed;
}

pub use recognise::{Explanation, Recognised, explain, id, needs_body, recognise};
pub use request::{BodyView, RequestView};
