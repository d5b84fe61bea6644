//! Hostile agents against the real thing: each a small program in `agents/`,
//! named for its attack, started by `countersign run`. It says `REACHED` and what,
//! once it got somewhere, and `TRIED` at its end.
//!
//! The table in SECURITY.md lists them all.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

mod alone;
mod caches;
mod clicks;
mod control;
mod others;
mod range;
mod replies;
mod traps;
