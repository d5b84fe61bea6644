//! Upstreams: real HTTPS servers on loopback that know what they saw.
//!
//! Each has a CA of its own (an account names it with `ca`), runs on a thread
//! of its own and ends when dropped. What a request must carry, and what it
//! changes, is checked here, on the far side of the product.

mod forum;
mod mailbox;
mod server;

pub use forum::{Forum, Post};
pub use mailbox::{Mailbox, Message};
pub use server::{Ending, Reply, Seen, Upstream};
