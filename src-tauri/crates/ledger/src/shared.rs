use crate::LedgerError;
use crate::index::Index;
use crate::queue::Queue;
use crate::read::Readers;
use crate::writer::Writer;
use countersign_model::Recorded;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;
use tokio::sync::broadcast;

/// How many records a slow listener may fall behind before it misses some.
const NEWS: usize = 4096;

/// A commit that takes longer is not for a thread that has other things to do.
const QUICKLY: Duration = Duration::from_millis(20);
/// How many commits a caller makes at most, for itself and those who came
/// meanwhile.
const ROUNDS: usize = 4;
/// Why nothing is recorded after a panic in the middle of a transaction.
const BROKEN_OFF: &str = "a transaction ended unexpectedly";

/// What the callers, the writer and the keeper have in common.
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    pub(crate) index: Index,
    pub(crate) readers: Readers,
    pub(crate) recorded: broadcast::Sender<Arc<Recorded>>,
    failed: OnceLock<String>,
    size: AtomicU64,
    turn: Mutex<()>,
    /// Whoever has it commits. `None` before the ledger is open, and once it is
    /// closed.
    writer: Mutex<Option<Writer>>,
    slow: AtomicBool,
}

/// What became of a caller's attempt to commit.
enum Round {
    /// Somebody else has the writer.
    Taken,
    /// It is for the writer's thread, or there is nothing to do.
    Left,
    /// What waited is committed.
    Done,
}

/// Should a caller panic in the middle of a commit, nobody may wait for ever.
/// Dropped last, when the writer is free, and poisoned.
struct IfPanicking<'a>(&'a Shared);

impl Drop for IfPanicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(BROKEN_OFF.to_owned());
            self.0.queue.hurry();
        }
    }
}

impl Shared {
    pub(crate) fn new(path: PathBuf, index: Index) -> Self {
        Self {
            queue: Queue::default(),
            index,
            readers: Readers::new(path),
            recorded: broadcast::channel(NEWS).0,
            failed: OnceLock::new(),
            size: AtomicU64::new(0),
            turn: Mutex::new(()),
            writer: Mutex::new(None),
            slow: AtomicBool::new(false),
        }
    }

    /// The one writer. Waits for whoever has it.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(|poisoned| {
            self.fail(BROKEN_OFF.to_owned());
            poisoned.into_inner()
        })
    }

    /// The writer, if nobody has it.
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
    /// writer's thread, and so is everything while the disk is slow, another
    /// program is in the way, or the keeper folds.
    ///
    /// While somebody else has the writer, a note is left, and whoever has it looks
    /// for one once it is free: nothing is left behind. In a few rounds, so that
    /// no caller becomes the writer of all others.
    pub(crate) fn commit_here(&self) {
        let mut noted = false;
        for _ in 0..ROUNDS {
            match self.one_round() {
                Round::Taken if noted => return,
                Round::Taken => {
                    // Once more after that: it may have been free before.
                    self.queue.want();
                    noted = true;
                }
                Round::Left => break,
                Round::Done if self.queue.is_wanted() => {}
                Round::Done => return,
            }
        }
        self.queue.hurry();
    }

    fn one_round(&self) -> Round {
        let _panicking = IfPanicking(self);
        let Some(mut writer) = self.free_writer() else {
            return Round::Taken;
        };
        let turn = self.free_turn();
        match writer.as_mut() {
            Some(writer) if turn.is_some() && !self.is_slow() => {
                if writer.write_quickly() {
                    Round::Done
                } else {
                    Round::Left
                }
            }
            _ => Round::Left,
        }
    }

    /// Whether the last commit took so long that no caller should be held by the
    /// next.
    fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// Remembers how long a commit took.
    pub(crate) fn took(&self, time: Duration) {
        self.slow.store(time > QUICKLY, Ordering::Relaxed);
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

    /// The turn, if the keeper has it not.
    fn free_turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
