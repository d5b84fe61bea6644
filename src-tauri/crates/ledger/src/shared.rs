use crate::LedgerError;
use crate::queue::Queue;
use crate::read::Readers;
use countersign_model::Recorded;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::broadcast;

/// How many records a slow listener may fall behind before it misses some.
const NEWS: usize = 4096;

/// What the callers, the writer and the keeper have in common.
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    pub(crate) readers: Readers,
    pub(crate) recorded: broadcast::Sender<Arc<Recorded>>,
    failed: OnceLock<String>,
    size: AtomicU64,
    turn: Mutex<()>,
}

impl Shared {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            queue: Queue::default(),
            readers: Readers::new(path),
            recorded: broadcast::channel(NEWS).0,
            failed: OnceLock::new(),
            size: AtomicU64::new(0),
            turn: Mutex::new(()),
        }
    }

    /// Latches; the first reason stays.
    pub(crate) fn fail(&self, why: String) -> LedgerError {
        LedgerError::Failed(self.failed.get_or_init(|| why).clone())
    }

    pub(crate) fn failure(&self) -> Option<LedgerError> {
        self.failed
            .get()
            .map(|why| LedgerError::Failed(why.clone()))
    }

    pub(crate) fn why_failed(&self) -> Option<String> {
        self.failed.get().cloned()
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(crate) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    /// Writer and keeper take turns, so that neither ever meets the other's lock
    /// inside SQLite, where waiting means sleeping.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
