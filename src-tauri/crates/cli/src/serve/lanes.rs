//! Where gateways run: threads of their own, each with an event loop, so that
//! whatever agents do never keeps the control socket and the surfaces waiting.

use countersign_gateway_http::Gateway;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use tokio::runtime::{Builder, Handle};

/// So many at most: agents wait for services and humans, not for us.
const MOST: usize = 4;

/// The gateway and its threads, from the first run on; until then there are
/// none. They end with the process.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    open: Mutex<Option<(Gateway, Vec<Handle>)>>,
    next: AtomicUsize,
}

impl Lanes {
    /// For the next run: the gateway, and where the run's connections are
    /// accepted.
    ///
    /// # Errors
    /// When a thread cannot be had.
    pub(super) fn next(&self) -> io::Result<(Gateway, Handle)> {
        let (gateway, lanes) = self.open()?;
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        // There is one at least.
        let lane = lanes[turn % lanes.len()].clone();
        Ok((gateway, lane))
    }

    /// All of them.
    ///
    /// # Errors
    /// As [`Lanes::next`].
    pub(super) fn all(&self) -> io::Result<Vec<Handle>> {
        Ok(self.open()?.1)
    }

    fn open(&self) -> io::Result<(Gateway, Vec<Handle>)> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (gateway, lanes) = match &mut *open {
            Some(open) => open,
            None => {
                let count = thread::available_parallelism().map_or(1, |n| n.get().min(MOST));
                let lanes: Vec<Handle> = (0..count).map(lane).collect::<io::Result<_>>()?;
                open.insert((Gateway::on(lanes.clone()), lanes))
            }
        };
        Ok((gateway.clone(), lanes.clone()))
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
