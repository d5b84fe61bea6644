//! Agents that tests and the demo let loose, as Python files that need nothing
//! but the standard library. They follow the proxy and CA variables of their
//! environment, as real ones do, and print what they saw as JSON lines.

/// Told to clean up an inbox: lists every message, deletes them all at once,
/// and when refused goes on one by one, in several processes that are deaf to
/// signals, detach themselves and fork anew after every request.
pub const INBOX: &str = include_str!("../agents/inbox_agent.py");

/// Told to look into a question: posts an answer to a forum, unasked.
pub const FORUM: &str = include_str!("../agents/forum_agent.py");

/// Asks for many things at once, each of them once and by a path of its own.
pub const LOAD: &str = include_str!("../agents/load_agent.py");
