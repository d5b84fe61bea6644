//! What waits for the writer.

use crate::receipt::Receipt;
use crate::{Durability, LedgerError, canonical};
use countersign_model::{AuditRecord, Digest, Timestamp};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How many jobs may wait. Far more than callers can wait at once, and little
/// enough that what waits fits into memory.
pub(crate) const CAPACITY: usize = 16 * 1024;
/// How long a record that nobody waits for may wait for company, so that it
/// lands within 20 ms together with the commit itself.
const COMPANY: Duration = Duration::from_millis(12);

/// A record, serialised and hashed by its caller.
pub(crate) struct Prepared {
    pub(crate) record: AuditRecord,
    pub(crate) canonical: String,
    pub(crate) leaf: Digest,
}

impl Prepared {
    pub(crate) fn new(record: AuditRecord) -> Result<Self, LedgerError> {
        let canonical = canonical::canonical(&record)?;
        Ok(Self {
            leaf: canonical::leaf(canonical.as_bytes()),
            canonical,
            record,
        })
    }
}

/// Who waits for an answer. Dropping the other end is harmless.
pub(crate) enum Reply<T> {
    /// A future.
    Task(oneshot::Sender<Result<T, LedgerError>>),
    /// A thread.
    Thread(mpsc::SyncSender<Result<T, LedgerError>>),
}

impl<T> Reply<T> {
    pub(crate) fn send(self, result: Result<T, LedgerError>) {
        // Whoever asked may have gone; what was recorded stays recorded.
        match self {
            Self::Task(sender) => drop(sender.send(result)),
            Self::Thread(sender) => drop(sender.send(result)),
        }
    }
}

/// Something for the writer to do, in this order.
pub(crate) enum Job {
    /// Append, and say so.
    Append(Prepared, Durability, Reply<Receipt>),
    /// Append with the next commit; nobody waits.
    Later(Prepared),
    /// Sign the head.
    Checkpoint(oneshot::Sender<Result<String, LedgerError>>),
    /// End in order.
    Close(Timestamp, oneshot::Sender<Result<(), LedgerError>>),
}

impl Job {
    /// Whether it must survive loss of power.
    pub(crate) const fn is_full(&self) -> bool {
        // A checkpoint that is kept elsewhere must never be ahead of the disk.
        matches!(
            self,
            Self::Append(_, Durability::Full, _) | Self::Checkpoint(_) | Self::Close(..)
        )
    }
    /// Whether somebody waits for it.
    pub(crate) const fn is_awaited(&self) -> bool {
        !matches!(self, Self::Later(_))
    }
    /// Answers that it was not done.
    pub(crate) fn refuse(self, why: LedgerError) {
        match self {
            Self::Append(_, _, reply) => reply.send(Err(why)),
            Self::Later(_) => {}
            Self::Checkpoint(reply) => drop(reply.send(Err(why))),
            Self::Close(_, reply) => drop(reply.send(Err(why))),
        }
    }
}

#[derive(Default)]
struct Waiting {
    jobs: Vec<Job>,
    /// When the writer must begin, if nobody waits before.
    due: Option<Instant>,
    closed: bool,
}

/// The queue between callers and the one writer. A lock and a condition
/// variable, because the writer takes all that waits at once, and is woken only
/// by what somebody waits for.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

impl Queue {
    /// # Errors
    /// [`LedgerError::Closed`] and [`LedgerError::Overloaded`].
    pub(crate) fn push(&self, job: Job) -> Result<(), LedgerError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(LedgerError::Closed);
        }
        if waiting.jobs.len() >= CAPACITY {
            return Err(LedgerError::Overloaded);
        }
        let now = Instant::now();
        let due = if job.is_awaited() { now } else { now + COMPANY };
        waiting.closed = matches!(job, Job::Close(..));
        waiting.jobs.push(job);
        if waiting.due.is_none_or(|earlier| due < earlier) {
            waiting.due = Some(due);
            drop(waiting);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// All that waits, once something is due. `None` when the queue is closed
    /// and empty.
    pub(crate) fn take(&self) -> Option<Vec<Job>> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return (!waiting.jobs.is_empty()).then(|| std::mem::take(&mut waiting.jobs));
            }
            waiting = match waiting.due {
                None => self
                    .wake
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let left = due.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        waiting.due = None;
                        return Some(std::mem::take(&mut waiting.jobs));
                    }
                    self.wake
                        .wait_timeout(waiting, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    /// Takes nothing more; what waits is still done.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Nobody will take anything any more.
    pub(crate) fn abandon(&self, why: &LedgerError) {
        let jobs = {
            let mut waiting = self.lock();
            waiting.closed = true;
            std::mem::take(&mut waiting.jobs)
        };
        for job in jobs {
            job.refuse(why.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic elsewhere leaves the list whole: every change is one push or take.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
