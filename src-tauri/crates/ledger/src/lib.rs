//! The append-only audit trail; the only crate that names SQLite.
//!
//! A record is written as canonical JSON (RFC 8785); its hash is a leaf of a
//! Merkle tree (RFC 6962); the head of the tree is signed as a checkpoint (C2SP
//! `tlog-checkpoint`). An append returns a [`Receipt`] once the record is durable,
//! and there is no other way to get one (guarantee G2). [`verify`] finds every
//! change against a checkpoint that is kept elsewhere (guarantee G8).
//!
//! From the caller to the disk:
//!
//! - [`Ledger`] serialises and hashes, in the caller's thread, and queues;
//! - `queue` holds what waits, and wakes the writer's thread when something is due;
//! - `shared` lets a caller commit what is routine, where nobody else does;
//! - `writer` inserts and commits, many records to a transaction;
//! - `keeper` folds SQLite's write-ahead log into the database beside it;
//! - `index` is what records are found by, made from them when somebody reads;
//! - `head` and `recovery` decide at opening what can be believed of the past.
//!
//! A failed write latches: every later append is refused until a restart.

#[cfg(test)]
mod any_record;
mod canonical;
mod columns;
mod error;
mod former;
mod head;
mod index;
mod keeper;
mod kind;
mod ledger;
mod note;
mod open;
mod queue;
mod read;
mod receipt;
mod recovery;
mod row;
mod schema;
mod shared;
mod sorted;
mod state;
mod straight;
mod summary;
mod tree;
pub mod verify;
mod writer;

pub use error::LedgerError;
pub use kind::Kind;
pub use ledger::{Durability, Ledger};
pub use open::{OpenOptions, Opening};
pub use read::Filter;
pub use receipt::{Receipt, RequestedProof};
