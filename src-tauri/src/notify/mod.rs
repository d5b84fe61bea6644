//! Native notifications: a trait, and one adapter for each kind of system.
//!
//! # Forged approvals
//!
//! On Linux any program on the session bus can send the signal that says "the
//! user clicked Approve", and the usual crate, notify-rust, takes it from
//! anyone. So there the adapter speaks D-Bus itself ([`linux`]) and takes a
//! click only from the connection that owns the notification service *and*
//! gave the notification its number. On macOS and Windows a click comes from
//! the system, not from a bus, and notify-rust is used (`native`).

#[cfg(target_os = "linux")]
pub(crate) mod linux;
#[cfg(not(target_os = "linux"))]
mod native;

use crate::cards::Card;
use crate::desk::Event;

/// Shows cards. What comes of them is told to the function given at the start.
pub(crate) trait Notifier: Send + Sync {
    /// Brings what is up in line with this list. Never waits.
    fn show(&self, cards: Vec<Card>);
    /// Takes everything down; when something went wrong, says so last.
    fn end(&self, unexpected: bool);
}

/// What is said when the authority died.
const DIED: (&str, &str) = (
    "Countersign ended unexpectedly",
    "Nothing is released to any agent until it is started again.",
);

#[cfg(target_os = "linux")]
pub(crate) fn start(says: impl Fn(Event) + Send + Sync + 'static) -> Box<dyn Notifier> {
    Box::new(linux::Bus::start(says))
}
#[cfg(target_os = "linux")]
pub(crate) use linux::tray_host;

#[cfg(not(target_os = "linux"))]
pub(crate) fn start(says: impl Fn(Event) + Send + Sync + 'static) -> Box<dyn Notifier> {
    Box::new(native::Native::start(says))
}
