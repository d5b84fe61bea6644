//! Where gateways run: threads of their own, each with an event loop, so that
//! whatever agents do never keeps the control socket and the surfaces waiting.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tokio::runtime::{Builder, Handle};

/// So many at most: agents wait for services and humans, not for us.
const MOST: usize = 4;

/// The threads, at least one. They end with the process.
#[derive(Debug)]
pub(crate) struct Lanes {
    all: Vec<Handle>,
    next: AtomicUsize,
}

impl Lanes {
    /// As many as there are processors, within reason.
    ///
    /// # Errors
    /// When a thread cannot be had.
    pub(super) fn open() -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, |n| n.get().min(MOST));
        Ok(Self {
            all: (0..count).map(lane).collect::<io::Result<_>>()?,
            next: AtomicUsize::new(0),
        })
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Handle> {
        self.all.clone()
    }

    /// Where the next run's connections are accepted: each in turn.
    pub(super) fn next(&self) -> Handle {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.all[turn % self.all.len()].clone()
    }
}

fn lane(number: usize) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name(format!("gateway-{number}"))
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}
