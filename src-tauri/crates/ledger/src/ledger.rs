use crate::error::LedgerError;
use crate::open::{self, OpenOptions, Opening};
use crate::queue::{Answer, Due, Job, Prepared, Push, Reply};
use crate::read::{Filter, Trail};
use crate::receipt::Receipt;
use crate::recovery;
use crate::shared::Shared;
use countersign_model::{AuditRecord, Recorded, RequestId, Timestamp};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{broadcast, oneshot};

/// What a record must survive before its receipt is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the program: enough for a routine read.
    Routine,
    /// Loss of power.
    Full,
}

/// The append-only audit trail. Clones are the same ledger.
///
/// Callers serialise and hash; one of them, or a thread, writes for all who wait,
/// many records to a transaction.
/// When the last clone goes without [`Ledger::close`], what waits is still
/// written, and the next opening finds an end that was not orderly.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    public_key: [u8; 32],
}

impl Ledger {
    /// Opens the ledger, or makes it where there is none. Blocks for some
    /// milliseconds; longer when thousands of records follow the last checkpoint.
    ///
    /// Checks that the end of the ledger is what the key signed; appends what a
    /// bad end left unsaid; then an `opened` record, durably.
    ///
    /// # Errors
    /// [`LedgerError::InUse`], [`LedgerError::Corrupt`] (the file is left as it
    /// is, and nothing is made in its place), [`LedgerError::Newer`],
    /// [`LedgerError::Unavailable`].
    pub fn open(options: OpenOptions) -> Result<(Self, Opening), LedgerError> {
        open::open(options)
    }

    pub(crate) fn new(shared: Arc<Shared>, writer: JoinHandle<()>, public_key: [u8; 32]) -> Self {
        let writer = Mutex::new(Some(writer));
        Self {
            inner: Arc::new(Inner {
                shared,
                writer,
                public_key,
            }),
        }
    }

    /// Appends a record and waits until it is as durable as asked. Dropping the
    /// future takes nothing back: the record is appended, and its receipt lost.
    ///
    /// # Errors
    /// [`LedgerError::Duplicate`], [`LedgerError::Unfit`] and
    /// [`LedgerError::Overloaded`] concern this record alone;
    /// [`LedgerError::Failed`] and [`LedgerError::Closed`] all that follow.
    pub async fn append(
        &self,
        record: AuditRecord,
        durability: Durability,
    ) -> Result<Receipt, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let append = Push::Append(Prepared::new(record)?, durability, Reply::Task(reply));
        match durability {
            Durability::Full => self.push(append, Due::Now)?,
            Durability::Routine => {
                self.push(append, Due::Seen)?;
                let mut left = Left {
                    shared: &self.inner.shared,
                    alone: true,
                };
                after_the_ready().await;
                left.alone = false;
                self.inner.shared.commit_here();
            }
        }
        self.hear(answer).await
    }

    /// [`Ledger::append`] of a routine record for a caller that must not be held
    /// by a disk that hangs: the writer's thread commits it.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub async fn append_aside(&self, record: AuditRecord) -> Result<Receipt, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let append = Push::Append(
            Prepared::new(record)?,
            Durability::Routine,
            Reply::Task(reply),
        );
        self.push(append, Due::Now)?;
        self.hear(answer).await
    }

    async fn hear(&self, answer: oneshot::Receiver<Answer>) -> Result<Receipt, LedgerError> {
        match answer.await {
            Ok((receipt, _)) => receipt,
            Err(_) => Err(self.writer_is_gone()),
        }
    }

    /// [`Ledger::append`] for a thread without a runtime.
    ///
    /// # Errors
    /// As [`Ledger::append`].
    pub fn append_blocking(
        &self,
        record: AuditRecord,
        durability: Durability,
    ) -> Result<Receipt, LedgerError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let append = Push::Append(Prepared::new(record)?, durability, Reply::Thread(reply));
        self.push(append, Due::Now)?;
        match answer.recv() {
            Ok((receipt, _)) => receipt,
            Err(_) => Err(self.writer_is_gone()),
        }
    }

    /// Appends a record that nobody waits for (an outcome) with the next commit,
    /// at most 20 ms later. Never blocks. If it cannot be taken, the trail would
    /// have a hole: the ledger latches as failed. One that repeats another is
    /// replaced by a note that says so.
    pub fn append_later(&self, record: AuditRecord) {
        let taken =
            Prepared::new(record).and_then(|prepared| self.push(Push::Later(prepared), Due::Soon));
        match taken {
            Ok(()) | Err(LedgerError::Closed | LedgerError::Failed(_)) => {}
            Err(why) => drop(
                self.inner
                    .shared
                    .fail(format!("an outcome could not be recorded: {why}")),
            ),
        }
    }

    /// Every record from now on, in order, once it is as durable as its append
    /// asked for. A listener that falls 4096 behind misses the oldest of them and
    /// is told how many.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Recorded>> {
        self.inner.shared.recorded.subscribe()
    }

    /// The records that fit the filter. Blocks on the disk: call it from a thread
    /// that may wait. Every record is checked against its own hash, and none that
    /// fits is left out: 256 records are passed by only where a seal of this
    /// authority's says that none of them does, else they are read, which takes
    /// some microseconds each. Where the index does not fit the records, the
    /// ledger records that too.
    ///
    /// # Errors
    /// [`LedgerError::Unreadable`], also when a record is not what was recorded.
    pub fn timeline(&self, filter: &Filter) -> Result<Vec<Recorded>, LedgerError> {
        self.read(|trail| trail.timeline(filter))
    }

    /// The records before and after of a request. Blocks on the disk; reads every
    /// record when there is none before.
    ///
    /// # Errors
    /// As [`Ledger::timeline`].
    pub fn record_of(
        &self,
        request: &RequestId,
    ) -> Result<(Option<Recorded>, Option<Recorded>), LedgerError> {
        self.read(|trail| trail.record_of(request))
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Trail<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let Shared { readers, index, .. } = &*self.inner.shared;
        let result = readers.with(index, self.size(), read);
        if index.is_doubt_to_be_told() {
            self.append_later(recovery::doubted(now()));
        }
        result
    }

    /// Why nothing is recorded any more, once that is so.
    #[must_use]
    pub fn has_failed(&self) -> Option<String> {
        self.inner.shared.why_failed()
    }

    /// How many records there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.inner.shared.size()
    }

    /// The Ed25519 key that checkpoints are checked with.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.inner.public_key
    }

    /// Signs the head over every record appended so far: a C2SP signed note, to
    /// be kept elsewhere. What it covers survives loss of power first.
    ///
    /// # Errors
    /// [`LedgerError::Failed`], [`LedgerError::Closed`].
    pub async fn checkpoint(&self) -> Result<String, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.push(Push::Other(Job::Checkpoint(reply)), Due::Now)?;
        answer.await.unwrap_or_else(|_| Err(self.writer_is_gone()))
    }

    /// Ends in order: settles what is open as unknown, appends `closed`, signs the
    /// head, all durably; closes the files. Other clones then say
    /// [`LedgerError::Closed`].
    ///
    /// # Errors
    /// [`LedgerError::Failed`], [`LedgerError::Closed`].
    pub async fn close(self) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.push(Push::Other(Job::Close(now(), reply)), Due::Now)?;
        let closed = answer.await.unwrap_or_else(|_| Err(self.writer_is_gone()));
        // The writer is about to end; folding its log takes milliseconds.
        let joined = tokio::task::spawn_blocking(move || self.inner.join()).await;
        closed.and(joined.map_err(|e| LedgerError::Failed(e.to_string())))
    }

    fn push(&self, what: Push, due: Due) -> Result<(), LedgerError> {
        if let Some(failure) = self.inner.shared.failure() {
            return Err(failure);
        }
        self.inner.shared.queue.push(what, due)
    }

    fn writer_is_gone(&self) -> LedgerError {
        self.inner.shared.failure().unwrap_or(LedgerError::Closed)
    }
}

/// A record in the queue that its caller sees to. When it is dropped instead, the
/// writer's thread does.
struct Left<'a> {
    shared: &'a Shared,
    alone: bool,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        if self.alone {
            self.shared.queue.hurry();
        }
    }
}

impl Inner {
    /// Waits for the end of a writer whose queue is closed.
    fn join(&self) {
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            // If it panicked, it latched that itself.
            drop(writer.join());
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.close();
        self.join();
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("size", &self.size())
            .field("failed", &self.has_failed())
            .finish()
    }
}

/// Lets those come first who are ready, so that one commit is for all. Unlike
/// `tokio::task::yield_now` it does not ask the system for more of them, which
/// takes two calls.
async fn after_the_ready() {
    let mut came = false;
    poll_fn(|cx| {
        if came {
            return Poll::Ready(());
        }
        came = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
