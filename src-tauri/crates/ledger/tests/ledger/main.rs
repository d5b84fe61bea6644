//! The ledger from outside: real files, real threads, real crashes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod append;
mod crash;
mod disk_full;
mod former;
mod given;
mod index;
mod opening;
mod original;
mod tampering;
mod timeline;
