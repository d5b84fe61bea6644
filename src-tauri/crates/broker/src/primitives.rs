//! What threads meet at, for the files in which the order of each step counts.
//! `tests/loom.rs` puts others in their place, to try every order.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard, RwLock};
pub(crate) use tokio_util::sync::CancellationToken as Token;
