//! What waits for the writer.

use crate::receipt::Receipt;
use crate::{Durability, LedgerError, canonical};
use countersign_model::{AuditRecord, Digest, Timestamp};
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How many jobs may wait. Far more than callers can wait at once, and little
/// enough that what waits fits into memory.
pub(crate) const CAPACITY: usize = 16 * 1024;
/// How long a record that nobody waits for may wait for company, so that it
/// lands within 20 ms together with the commit itself.
const COMPANY: Duration = Duration::from_millis(12);

/// How much room for text is kept, in bytes.
const MOST_KEPT: usize = 1 << 20;
/// How many jobs a caller may commit on its own thread: a few milliseconds.
const QUICK: usize = 256;

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

/// A record that waits. Its canonical JSON lies in the [`Batch`] that it is of.
pub(crate) struct Entry {
    pub(crate) record: AuditRecord,
    pub(crate) canonical: Range<usize>,
    pub(crate) leaf: Digest,
}

/// What became of a record, and the record itself where nobody else wants it:
/// memory is quickest given back by the thread that took it.
pub(crate) type Answer = (Result<Receipt, LedgerError>, Option<AuditRecord>);

/// Who waits for an answer. Dropping the other end is harmless.
pub(crate) enum Reply {
    /// A future.
    Task(oneshot::Sender<Answer>),
    /// A thread.
    Thread(mpsc::SyncSender<Answer>),
}

impl Reply {
    pub(crate) fn send(self, answer: Answer) {
        // Whoever asked may have gone; what was recorded stays recorded.
        match self {
            Self::Task(sender) => drop(sender.send(answer)),
            Self::Thread(sender) => drop(sender.send(answer)),
        }
    }
}

/// Something for the writer to do, in this order.
pub(crate) enum Job {
    /// Append, and say so.
    Append(Entry, Durability, Reply),
    /// Append with the next commit; nobody waits.
    Later(Entry),
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
            Self::Append(entry, _, reply) => reply.send((Err(why), Some(entry.record))),
            Self::Later(_) => {}
            Self::Checkpoint(reply) => drop(reply.send(Err(why))),
            Self::Close(_, reply) => drop(reply.send(Err(why))),
        }
    }
}

/// Jobs, and the canonical JSON of their records, one after the other.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) jobs: Vec<Job>,
    pub(crate) text: String,
}

impl Batch {
    fn add(&mut self, prepared: Prepared) -> Entry {
        let from = self.text.len();
        self.text.push_str(&prepared.canonical);
        Entry {
            record: prepared.record,
            canonical: from..self.text.len(),
            leaf: prepared.leaf,
        }
    }
}

#[derive(Default)]
struct Waiting {
    batch: Batch,
    /// An empty one with room, for the next.
    spare: Option<Batch>,
    /// When the writer's thread must begin, if nobody was quicker. Left as it is
    /// when somebody was: the thread then looks once in vain, which costs less
    /// than to wake it for each record.
    due: Option<Instant>,
    /// Somebody wanted the writer and did not get it.
    wanted: bool,
    closed: bool,
}

impl Waiting {
    fn is_wanted(&self) -> bool {
        self.wanted && !self.batch.jobs.is_empty()
    }

    fn take(&mut self) -> Batch {
        self.wanted = false;
        let next = self.spare.take().unwrap_or_default();
        std::mem::replace(&mut self.batch, next)
    }
}

/// What to push.
pub(crate) enum Push {
    /// A record that somebody waits for.
    Append(Prepared, Durability, Reply),
    /// One that nobody waits for.
    Later(Prepared),
    /// Anything else.
    Other(Job),
}

/// When the writer's thread is to see to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// At once.
    Now,
    /// Within [`COMPANY`].
    Soon,
    /// Whoever pushed it sees to it, or calls [`Queue::hurry`].
    Seen,
}

/// The queue between callers and the one writer. A lock and a condition
/// variable, because all that waits is taken at once, and the thread is woken
/// only for what nobody else sees to.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

impl Queue {
    /// # Errors
    /// [`LedgerError::Closed`] and [`LedgerError::Overloaded`].
    pub(crate) fn push(&self, what: Push, due: Due) -> Result<(), LedgerError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(LedgerError::Closed);
        }
        if waiting.batch.jobs.len() >= CAPACITY {
            return Err(LedgerError::Overloaded);
        }
        let job = match what {
            Push::Append(prepared, durability, reply) => {
                Job::Append(waiting.batch.add(prepared), durability, reply)
            }
            Push::Later(prepared) => Job::Later(waiting.batch.add(prepared)),
            Push::Other(job) => job,
        };
        waiting.closed = matches!(job, Job::Close(..));
        waiting.batch.jobs.push(job);
        match due {
            Due::Now => self.see_to(waiting, Instant::now()),
            Due::Soon => self.see_to(waiting, Instant::now() + COMPANY),
            Due::Seen => {}
        }
        Ok(())
    }

    /// What waits is due now: whoever saw to it does not any more.
    pub(crate) fn hurry(&self) {
        let waiting = self.lock();
        if !waiting.batch.jobs.is_empty() {
            self.see_to(waiting, Instant::now());
        }
    }

    /// Wakes the thread if it would sleep longer than this.
    fn see_to(&self, mut waiting: MutexGuard<'_, Waiting>, due: Instant) {
        if waiting.due.is_none_or(|earlier| due < earlier) {
            waiting.due = Some(due);
            drop(waiting);
            self.wake.notify_one();
        }
    }

    /// Says to whoever has the writer that more is wanted of it. Wakes nobody.
    pub(crate) fn want(&self) {
        self.lock().wanted = true;
    }

    /// Whether somebody said so since something was last taken.
    pub(crate) fn is_wanted(&self) -> bool {
        self.lock().is_wanted()
    }

    /// All that waits, if it is something, little, and nothing that must survive
    /// loss of power: the rest is the thread's.
    pub(crate) fn take_quick(&self) -> Option<Batch> {
        let mut waiting = self.lock();
        let jobs = &waiting.batch.jobs;
        let little = (1..=QUICK).contains(&jobs.len()) && !jobs.iter().any(Job::is_full);
        (little && !waiting.closed).then(|| waiting.take())
    }

    /// All that waits.
    pub(crate) fn take(&self) -> Batch {
        let mut waiting = self.lock();
        waiting.due = None;
        waiting.take()
    }

    /// Gives the room of a batch back, unless it is uncommonly large.
    pub(crate) fn give_back(&self, mut batch: Batch) {
        if batch.text.capacity() <= MOST_KEPT {
            batch.jobs.clear();
            batch.text.clear();
            self.lock().spare = Some(batch);
        }
    }

    /// Waits until something is due. `false` when the queue is closed and empty.
    pub(crate) fn wait(&self) -> bool {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return !waiting.batch.jobs.is_empty();
            }
            if waiting.is_wanted() {
                return true;
            }
            waiting = match waiting.due {
                None => self
                    .wake
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let left = due.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return true;
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
            std::mem::take(&mut waiting.batch.jobs)
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
