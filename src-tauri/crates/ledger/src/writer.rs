//! The one writer. Its thread has it, or whoever commits a routine record on a
//! thread of their own: see [`Shared::commit_here`].

use crate::error::{LedgerError, words};
use crate::keeper::Keeper;
use crate::note::HeadSigner;
use crate::queue::{Batch, Entry, Job, Prepared};
use crate::receipt::Receipt;
use crate::recovery::{self, request_of};
use crate::schema;
use crate::shared::Shared;
use crate::state::State;
use crate::tree::{Tile, Tree};
use countersign_model::{AuditRecord, Digest, Event, Recorded, RequestId};
use rusqlite::{Connection, params};
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tlog_tiles::Hash;

/// How many jobs one transaction holds at most.
const LARGEST_BATCH: usize = 2048;
/// After so many records the head is signed again.
const CHECKPOINT_EVERY: u64 = 1000;

/// What only one thread at a time has. Nothing else writes to the database.
pub(crate) struct Writer {
    pub(crate) db: Connection,
    /// Reads what requests are found by.
    pub(crate) known: Connection,
    pub(crate) tree: Tree,
    pub(crate) state: State,
    pub(crate) signer: HeadSigner,
    /// Size and text of the newest checkpoint.
    pub(crate) newest: (u64, String),
    /// Whether the connection syncs at each commit now.
    pub(crate) full: bool,
    pub(crate) shared: Arc<Shared>,
    pub(crate) keeper: Keeper,
    /// Held until everything else is closed.
    pub(crate) lock: File,
}

/// Whether a transaction was begun already, by whoever has the turn, and whether
/// it must survive loss of power.
#[derive(Debug, Clone, Copy)]
enum Begun {
    Already,
    Not { full: bool },
}

/// What became of a job in a transaction that was committed.
enum Fate {
    /// It is the record of this index.
    Recorded(u64),
    /// It alone was refused.
    Refused(LedgerError),
    /// The head was signed.
    Signed(String),
    /// The ledger is ended.
    Closed,
}

/// A committed transaction: a fate for each job, and the records that the writer
/// added by itself.
type Committed = (Vec<Fate>, Vec<News>);

/// A record that was committed, with its place and leaf hash.
type News = (u64, Digest, AuditRecord);

/// Why a transaction could not be committed, in words. Latches.
type Broken = String;

impl Writer {
    /// The writer's thread: writes what nobody else does, until the queue is
    /// closed and empty.
    pub(crate) fn run(shared: &Arc<Shared>) {
        let _last_words = LastWords(Arc::clone(shared));
        while shared.queue.wait() {
            let mut writer = shared.writer();
            let Some(writer) = writer.as_mut() else {
                break;
            };
            // Taken with the writer in hand, so that records keep their order.
            writer.write(shared.queue.take());
        }
        let writer = shared.writer().take();
        if let Some(writer) = writer {
            writer.end();
        }
    }

    /// Closes the files, then lets another authority in.
    pub(crate) fn end(self) {
        let Self {
            db,
            known,
            keeper,
            lock,
            shared,
            ..
        } = self;
        shared.readers.close();
        drop((db, known));
        keeper.end();
        shared.index.close();
        drop(lock);
    }

    /// All of it, in order; then the checkpoint that is due now and then.
    fn write(&mut self, mut batch: Batch) {
        let Batch { jobs, text } = &mut batch;
        while jobs.len() > LARGEST_BATCH {
            let rest = jobs.split_off(LARGEST_BATCH);
            self.write_some(jobs, text);
            *jobs = rest;
        }
        self.write_some(jobs, text);
        self.shared.queue.give_back(batch);
        if self.tree.size() / CHECKPOINT_EVERY > self.newest.0 / CHECKPOINT_EVERY {
            self.commit_checkpoint();
        }
    }

    /// What a caller commits on its own thread, whose turn it is: without a wait
    /// for another program, and without the checkpoint. `false` when that is not
    /// possible now, or nothing waits.
    pub(crate) fn write_quickly(&mut self) -> bool {
        if self.shared.failure().is_some() || !self.begin_at_once() {
            return false;
        }
        let Some(mut batch) = self.shared.queue.take_quick() else {
            // Nothing was written; should this fail, the next transaction does.
            drop(self.run_cached("ROLLBACK"));
            return false;
        };
        let Batch { jobs, text } = &mut batch;
        self.commit(jobs, text, Begun::Already);
        self.shared.queue.give_back(batch);
        true
    }

    /// Begins a transaction unless somebody would have to be waited for. What
    /// else is wrong shows when the thread tries.
    fn begin_at_once(&mut self) -> bool {
        let begun = self.db.busy_timeout(Duration::ZERO).is_ok()
            && self.sync_at_commit(false).is_ok()
            && self.run_cached("BEGIN IMMEDIATE").is_ok();
        self.db.busy_timeout(schema::PATIENCE).is_ok() && begun
    }

    /// Those that come first and can do with less do not wait for the disk on
    /// behalf of those behind them.
    fn write_some(&mut self, jobs: &mut Vec<Job>, text: &str) {
        let first_full = jobs.iter().position(Job::is_full);
        match first_full {
            None if jobs.is_empty() => {}
            None => self.commit(jobs, text, Begun::Not { full: false }),
            Some(first) if jobs[..first].iter().any(Job::is_awaited) => {
                let mut full = jobs.split_off(first);
                self.commit(jobs, text, Begun::Not { full: false });
                self.commit(&mut full, text, Begun::Not { full: true });
            }
            Some(_) => self.commit(jobs, text, Begun::Not { full: true }),
        }
    }

    /// One transaction for all of them, then their answers, then the news.
    fn commit(&mut self, jobs: &mut Vec<Job>, text: &str, begun: Begun) {
        let began = Instant::now();
        let committed = match self.shared.failure() {
            Some(error) => Err(error),
            None => self
                .transact(jobs, text, begun)
                .map_err(|why| self.break_off(why)),
        };
        if !matches!(begun, Begun::Not { full: true }) {
            self.shared.took(began.elapsed());
        }
        let (fates, mut news) = match committed {
            Ok(committed) => committed,
            Err(error) => return jobs.drain(..).for_each(|job| job.refuse(error.clone())),
        };
        self.shared.set_size(self.tree.size());
        self.keeper.wrote(jobs.len());
        let heard = self.shared.recorded.receiver_count() > 0;
        for (job, fate) in jobs.drain(..).zip(fates) {
            match (job, fate) {
                (Job::Append(entry, _, reply), Fate::Recorded(index)) => {
                    let receipt = Receipt::new(index, entry.leaf, &entry.record);
                    if heard {
                        reply.send((Ok(receipt), None));
                        news.push((index, entry.leaf, entry.record));
                    } else {
                        reply.send((Ok(receipt), Some(entry.record)));
                    }
                }
                (Job::Later(entry), Fate::Recorded(index)) if heard => {
                    news.push((index, entry.leaf, entry.record));
                }
                (Job::Later(_), Fate::Recorded(_)) => {}
                (Job::Checkpoint(reply), Fate::Signed(note)) => drop(reply.send(Ok(note))),
                (Job::Close(_, reply), Fate::Closed) => drop(reply.send(Ok(()))),
                (job, Fate::Refused(error)) => job.refuse(error),
                (job, _) => job.refuse(LedgerError::Failed("a job met another's fate".to_owned())),
            }
        }
        self.announce(news);
    }

    /// A failed write, fsync or commit: nothing more is recorded until restart.
    fn break_off(&self, why: Broken) -> LedgerError {
        let error = self.shared.fail(why);
        // What may have reached the file was never acknowledged. Should this fail
        // as well, the next opening rolls it back.
        drop(self.db.execute_batch("ROLLBACK"));
        error
    }

    fn transact(&mut self, jobs: &[Job], text: &str, begun: Begun) -> Result<Committed, Broken> {
        let shared = Arc::clone(&self.shared);
        let _turn = match begun {
            Begun::Already => None,
            Begun::Not { full } => {
                let turn = shared.turn();
                self.sync_at_commit(full)?;
                self.run_cached("BEGIN IMMEDIATE")?;
                Some(turn)
            }
        };
        let mut fates = Vec::with_capacity(jobs.len());
        let mut added = Vec::new();
        for job in jobs {
            fates.push(match job {
                Job::Append(entry, ..) => match self.place_entry(entry, text)? {
                    Ok(index) => Fate::Recorded(index),
                    Err(refused) => Fate::Refused(refused),
                },
                Job::Later(entry) => match self.place_entry(entry, text)? {
                    Ok(index) => Fate::Recorded(index),
                    Err(refused) => {
                        // Nobody waits who could be told: the trail says so.
                        self.add(&recovery::refused(&entry.record, &refused), &mut added)?;
                        Fate::Refused(refused)
                    }
                },
                Job::Checkpoint(_) => Fate::Signed(self.sign()?),
                Job::Close(at, _) => {
                    for record in recovery::outcomes_unknown(&self.state, *at) {
                        self.add(&record, &mut added)?;
                    }
                    self.add(
                        &AuditRecord {
                            version: 1,
                            at: *at,
                            event: Event::Closed {},
                        },
                        &mut added,
                    )?;
                    self.sign()?;
                    Fate::Closed
                }
            });
        }
        self.commit_head()?;
        Ok((fates, added))
    }

    fn place_entry(
        &mut self,
        entry: &Entry,
        text: &str,
    ) -> Result<Result<u64, LedgerError>, Broken> {
        let canonical = text
            .get(entry.canonical.clone())
            .ok_or("a record is not in its batch")?;
        self.place(&entry.record, canonical, entry.leaf)
    }

    /// Inserts a record and what it makes whole of the tree. The inner error refuses this one alone;
    /// the outer one breaks the transaction.
    fn place(
        &mut self,
        record: &AuditRecord,
        canonical: &str,
        leaf: Digest,
    ) -> Result<Result<u64, LedgerError>, Broken> {
        if let Some((request, is_after)) = request_of(record) {
            if self.has(request, is_after).map_err(|e| e.to_string())? {
                return Ok(Err(recovery::duplicate(record)));
            }
            self.shared.index.remember(record, self.tree.size());
        }
        let index = self.tree.size();
        self.db
            .prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3)")
            .and_then(|mut insert| {
                insert.execute(params![index.cast_signed(), leaf.as_bytes(), canonical])
            })
            .map_err(|e| words(&e))?;
        for tile in self.tree.push(Hash(*leaf.as_bytes())) {
            self.lay_down(&tile)?;
        }
        self.state.apply(record);
        Ok(Ok(index))
    }

    /// Whether a request has such a record already.
    fn has(&self, request: &RequestId, is_after: bool) -> Result<bool, LedgerError> {
        if is_after && self.state.open.contains(request) {
            return Ok(false);
        }
        let places = self.shared.index.places(&self.known, request)?;
        Ok(if is_after {
            places.after.is_some()
        } else {
            places.before.is_some()
        })
    }

    /// Stores a tile in the place of the one that was not whole.
    fn lay_down(&self, tile: &Tile) -> Result<(), Broken> {
        self.db
            .prepare_cached("INSERT OR REPLACE INTO tiles VALUES (?1, ?2, ?3)")
            .and_then(|mut insert| {
                insert.execute(params![tile.level, tile.n.cast_signed(), tile.hashes])
            })
            .map(drop)
            .map_err(|e| words(&e))
    }

    /// Places a record of the writer's own.
    fn add(&mut self, record: &AuditRecord, added: &mut Vec<News>) -> Result<(), Broken> {
        let Prepared {
            record,
            canonical,
            leaf,
        } = Prepared::new(record.clone()).map_err(|e| e.to_string())?;
        let placed = self.place(&record, &canonical, leaf)?;
        let index = placed.map_err(|e| e.to_string())?;
        added.push((index, leaf, record));
        Ok(())
    }

    /// Signs the head as it is now, unless that was done.
    fn sign(&mut self) -> Result<String, Broken> {
        let size = self.tree.size();
        if self.newest.0 != size {
            let note = self.signer.sign(size, self.tree.root(), &self.state)?;
            for tile in self.tree.edge() {
                self.lay_down(&tile)?;
            }
            self.db
                .prepare_cached("INSERT INTO checkpoints VALUES (?1, ?2)")
                .and_then(|mut insert| insert.execute(params![size.cast_signed(), note]))
                .map_err(|e| words(&e))?;
            self.newest = (size, note);
        }
        Ok(self.newest.1.clone())
    }

    /// The checkpoint that is due now and then, once everybody has their answer.
    fn commit_checkpoint(&mut self) {
        if self.shared.failure().is_some() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let _turn = shared.turn();
        let done = self
            .sync_at_commit(false)
            .and_then(|()| self.run_cached("BEGIN IMMEDIATE"))
            .and_then(|()| self.sign())
            .and_then(|_| self.run_cached("COMMIT"));
        if let Err(why) = done {
            self.break_off(why);
        }
    }

    /// Appends what an opening has to say, and signs the head: one transaction
    /// that survives loss of power.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn append_opening(&mut self, records: &[AuditRecord]) -> Result<(), Broken> {
        self.sync_at_commit(true)?;
        self.run_cached("BEGIN IMMEDIATE")?;
        let mut added = Vec::new();
        records
            .iter()
            .try_for_each(|record| self.add(record, &mut added))?;
        self.sign()?;
        self.commit_head()?;
        self.shared.set_size(self.tree.size());
        Ok(())
    }

    /// Ends a transaction that added records.
    fn commit_head(&self) -> Result<(), Broken> {
        schema::commit_to(&self.db, &self.tree).map_err(|e| words(&e))?;
        self.run_cached("COMMIT")
    }

    fn sync_at_commit(&mut self, full: bool) -> Result<(), Broken> {
        if self.full != full {
            let level = if full { "FULL" } else { "NORMAL" };
            self.db
                .pragma_update(None, "synchronous", level)
                .map_err(|e| words(&e))?;
            self.full = full;
        }
        Ok(())
    }

    fn run_cached(&self, sql: &str) -> Result<(), Broken> {
        self.db
            .prepare_cached(sql)
            .and_then(|mut s| s.execute([]))
            .map(drop)
            .map_err(|e| words(&e))
    }

    /// Tells whoever listens, in the order of the ledger.
    fn announce(&self, mut news: Vec<News>) {
        news.sort_unstable_by_key(|&(index, ..)| index);
        for (index, leaf, record) in news {
            let recorded = Recorded {
                index,
                leaf,
                record,
            };
            // An error means that the last listener has just left.
            drop(self.shared.recorded.send(Arc::new(recorded)));
        }
    }
}

/// Should the thread panic, nobody may wait for ever, and nothing be accepted.
struct LastWords(Arc<Shared>);

impl Drop for LastWords {
    fn drop(&mut self) {
        let error = if std::thread::panicking() {
            let error = self
                .0
                .fail("the thread that writes ended unexpectedly".to_owned());
            drop(self.0.writer().take());
            error
        } else {
            LedgerError::Closed
        };
        self.0.queue.abandon(&error);
    }
}
