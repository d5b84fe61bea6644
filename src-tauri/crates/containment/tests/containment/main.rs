//! Real runs, attacked from inside. The programs run as an ordinary user: as
//! root, the tests hand a throw-away user id to the launcher; otherwise they
//! use their own.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod commands;
mod later;
mod network;
mod secrets;
mod stage;
mod stop;
mod terminals;
mod tools;
mod uncontained;
