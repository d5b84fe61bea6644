//! The gateway of a run in a process of its own.
//!
//! A gateway parses what is hostile, so it lives where nothing is to be had: a
//! process per run, without files, network, keyring or environment, under a filter
//! of system calls. It holds the run's sockets and CA, and whatever credential
//! the request at hand was released; everything else it asks of the authority.
//! When it crashes, its requests end, and another takes its place.
//!
//! | file | idea |
//! |---|---|
//! | `message` | what the two say to each other |
//! | `frame` | how: a stream for requests, one message after the other |
//! | `datagram` | how: what carries descriptors |
//! | `host` | the authority's side: begins the process, and serves it |
//! | `lane` | the authority's side of one stream of requests |
//! | `process` | the process |
//! | `client` | the broker, as the gateway sees it from there |
//! | `filter` | the system calls that are left to it |
//!
//! Invariants:
//! - what was decided is redeemed at once, for the very request that was decided;
//!   the gateway compares what it sends with that once more;
//! - a secret crosses as raw bytes beside a message, never in it (G9);
//! - whatever breaks the protocol ends the process, and with it its requests.

mod client;
mod datagram;
mod filter;
mod frame;
mod host;
mod lane;
mod message;
mod process;

pub(crate) use host::{Apart, Parts};
pub(crate) use process::{SUBCOMMAND, main};
