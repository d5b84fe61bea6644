//! Messages between the authority and those who talk to it.
//!
//! - [`surface`]: the authority asks, a surface shows and answers; over an
//!   inherited socket pair. A surface holds no secret and decides nothing.
//! - [`control`]: the command asks, the authority answers; over the control
//!   socket. Secrets never travel in a message: they follow one as raw bytes.
//! - [`health`]: what `countersign doctor` found.
//! - [`frame`]: both as length-prefixed JSON with a limit.

pub mod control;
pub mod frame;
pub mod health;
pub mod surface;
