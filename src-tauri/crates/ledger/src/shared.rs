use crate::LedgerError;
use crate::queue::Queue;
use crate::read::Readers;
use crate::writer::Writer;
use countersign_model::Recorded;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use tokio::sync::broadcast;

/// How many records a slow listener may fall behind before it misses some.
const NEWS: usize = 4096;

/// Why nothing is recorded after a panic in the middle of a transaction.
const BROKEN_OFF: &str = "a transaction ended unexpectedly";

/// What the callers, the writer and the keeper have in common.
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    pub(crate) readers: Readers,
    pub(crate) recorded: broadcast::Sender<Arc<Recorded>>,
    failed: OnceLock<String>,
    size: AtomicU64,
    turn: Mutex<()>,
    /// Whoever has it commits. `None` before the ledger is open, and once it is
    /// closed.
    writer: Mutex<Option<Writer>>,
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
            writer: Mutex::new(None),
        }
    }

    /// The one writer. Waits for whoever has it.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(|poisoned| {
            self.fail(BROKEN_OFF.to_owned());
            poisoned.into_inner()
        })
    }

    /// The writer, if nobody has it and the keeper does not fold.
    fn free_writer(&self) -> Option<MutexGuard<'_, Option<Writer>>> {
        match self.writer.try_lock() {
            Ok(writer) => Some(writer),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(poisoned)) => {
                self.fail(BROKEN_OFF.to_owned());
                Some(poisoned.into_inner())
            }
        }
    }

    /// Commits what waits on the caller's own thread: to wake another takes
    /// longer than the commit. What must survive loss of power is left to the
    /// writer's thread, and everything while somebody else is at it: whoever has
    /// the writer looks again, once it is free, whether more is wanted.
    pub(crate) fn commit_here(&self) {
        let mut said = false;
        loop {
            {
                let Some(mut writer) = self.free_writer() else {
                    if said {
                        return;
                    }
                    // Once more after that: it may have been free before it was said.
                    self.queue.want();
                    said = true;
                    continue;
                };
                let folding = matches!(self.turn.try_lock(), Err(TryLockError::WouldBlock));
                let jobs = if folding {
                    Vec::new()
                } else {
                    self.queue.take_quick()
                };
                match writer.as_mut() {
                    Some(writer) if !jobs.is_empty() => writer.write(jobs),
                    _ => return self.queue.hurry(),
                }
            }
            if !self.queue.is_wanted() {
                return;
            }
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
