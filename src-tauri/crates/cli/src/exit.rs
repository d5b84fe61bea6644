//! The command's exit codes.

/// Failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage.
pub(crate) const USAGE: u8 = 2;
/// Denied by the human.
pub(crate) const DENIED_BY_HUMAN: u8 = 4;
/// Nobody answered.
pub(crate) const NOBODY_ANSWERED: u8 = 5;
/// Stopped.
pub(crate) const STOPPED: u8 = 6;
/// No authority is running.
pub(crate) const NO_AUTHORITY: u8 = 7;
