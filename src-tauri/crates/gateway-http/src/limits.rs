//! What one run may use of this gateway.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limits of one run. The defaults are those of the design; tests shorten
/// them.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once; one more is answered `limit` and closed.
    pub connections: usize,
    /// Bytes of request bodies held for judging, in all.
    pub buffered: usize,
    /// Bytes of one body that is judged, as sent and after decoding.
    pub judged_body: usize,
    /// Bytes of larger bodies that lie on disk while a human is asked, in all.
    pub spooled: usize,
    /// Bytes of a request's head.
    pub head: usize,
    /// From a head's first byte to its last, and for a TLS handshake.
    pub head_time: Duration,
    /// How long a connection may wait for its next request.
    pub idle_connection: Duration,
    /// How long a request body may pause.
    pub idle_request: Duration,
    /// For name resolution, TCP and TLS together.
    pub connect: Duration,
    /// From the last byte of a request to the head of its reply.
    pub reply_head: Duration,
    /// How long a reply body may pause.
    pub idle_reply: Duration,
    /// Between two `100 Continue` while a human is asked.
    pub keep_awake: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            buffered: 64 << 20,
            judged_body: 8 << 20,
            spooled: 1 << 30,
            head: 64 << 10,
            head_time: Duration::from_secs(15),
            idle_connection: Duration::from_secs(120),
            idle_request: Duration::from_secs(60),
            connect: Duration::from_secs(10),
            reply_head: Duration::from_secs(100),
            idle_reply: Duration::from_secs(120),
            keep_awake: Duration::from_secs(4),
        }
    }
}

/// The memory (or disk) that a run's bodies may take, in KiB, so that a semaphore's
/// counter holds it on every platform.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.div_ceil(1024))))
    }

    /// Adds `bytes` to what `held` stands for. `false` when the run has used
    /// its memory up: nothing waits for it, because what is held is held until
    /// a human answers.
    pub(crate) fn take(&self, bytes: usize, held: &mut Option<OwnedSemaphorePermit>) -> bool {
        let Ok(kib) = u32::try_from(bytes.div_ceil(1024)) else {
            return false;
        };
        match Arc::clone(&self.0).try_acquire_many_owned(kib) {
            Ok(more) => {
                match held {
                    Some(permit) => permit.merge(more),
                    None => *held = Some(more),
                }
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_the_request_is_over() {
        let budget = Budget::new(4096);
        let mut held = None;
        assert!(budget.take(1, &mut held) && budget.take(3072, &mut held));
        assert!(!budget.take(1, &mut held));
        drop(held);
        assert!(budget.take(4096, &mut None));
    }
}
