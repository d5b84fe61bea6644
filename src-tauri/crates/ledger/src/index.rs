//! What records are found by: a file of its own beside the ledger's.
//!
//! It repeats what the records say and no more, so that it can be made anew from
//! them, and is whenever it is not there or does not fit. No commit waits for it:
//! it is brought up to date by whoever reads, or by the keeper once it is
//! [`LAG`] behind. Until then the requests among the latest records stand in
//! memory.
//!
//! Somebody who may write the user's files may write it, so that nothing is left
//! out on its word: where the records of a request stand is a hint, and whoever
//! follows it looks at the records; what blocks of records are like is sealed.

use crate::LedgerError;
use crate::columns::Columns;
use crate::error::{is_damage, words};
use crate::open::{beside, file_for_the_owner};
use crate::recovery::request_of;
use crate::row::{COLUMNS, Row};
use crate::schema;
use crate::summary::{BLOCK, Block, SealKey, Summary};
use countersign_model::{AuditRecord, Decision, Event, RequestId};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The keeper brings the index up to date once it is so many records behind. A
/// reader then waits a tenth of a second at most.
pub(crate) const LAG: u64 = 16 * 1024;
/// How many records one transaction of the index holds.
const BATCH: u64 = 16 * BLOCK;

/// For how many requests there is always room in memory.
const COMMONLY: usize = 1024;

const FORM: i64 = 2;
/// `PRAGMA application_id`: "Csix".
const APPLICATION: i64 = 0x4373_6978;

/// `covered` has one row: the index covers the records before `size`, whole
/// blocks, the last of which has this `leaf`. `entries` are the records of
/// requests; `summaries` say what block `n` is like.
const TABLES: &str = "
CREATE TABLE covered (size INTEGER NOT NULL, leaf BLOB NOT NULL) STRICT;
CREATE TABLE entries (idx INTEGER PRIMARY KEY, request TEXT NOT NULL, is_after INTEGER NOT NULL) STRICT;
CREATE INDEX by_request ON entries(request);
CREATE TABLE summaries (n INTEGER PRIMARY KEY, text TEXT NOT NULL, seal BLOB NOT NULL) STRICT;
";

/// Where the records before and after of a request stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Places {
    pub(crate) before: Option<u64>,
    pub(crate) after: Option<u64>,
}

/// What memory knows of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Known {
    pub(crate) places: Places,
    /// It is open: there is no record after yet.
    pub(crate) is_open: bool,
}

impl Known {
    /// Whether the index, which covers so many records, knows all of it.
    fn is_covered_by(self, size: u64) -> bool {
        let is_before = |place: Option<u64>| place.is_none_or(|at| at < size);
        !self.is_open && is_before(self.places.before) && is_before(self.places.after)
    }
}

/// The index, and what it does not cover yet.
pub(crate) struct Index {
    path: PathBuf,
    key: SealKey,
    covered: AtomicU64,
    /// The only connection that writes. `None` once the ledger is closed.
    writing: Mutex<Option<Connection>>,
    /// Every request of a record that is not covered, every one that is open, and
    /// now and then others.
    recent: Mutex<HashMap<RequestId, Known>>,
    doubted: AtomicBool,
    told: AtomicBool,
}

impl Index {
    /// The index of a ledger of `size` records, brought up to date; made anew
    /// where there is none or it is another ledger's, or another state's.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`]; [`LedgerError::Corrupt`] when a record is no
    /// longer one.
    pub(crate) fn open(
        ledger_path: &Path,
        ledger: &Connection,
        size: u64,
        key: SealKey,
    ) -> Result<Self, LedgerError> {
        let path = beside(ledger_path, ".index");
        let (db, covered) = match existing(&path, ledger) {
            Ok(Some(found)) => found,
            Ok(None) | Err(_) => {
                let failed = |e: &dyn std::fmt::Display| LedgerError::unavailable(&path, &e);
                remove(&path).map_err(|e| failed(&e))?;
                make(&path).map_err(|e| failed(&e))?;
                (connect(&path).map_err(|e| failed(&words(&e)))?, 0)
            }
        };
        let index = Self {
            path,
            key,
            covered: AtomicU64::new(covered),
            writing: Mutex::new(Some(db)),
            recent: Mutex::default(),
            doubted: AtomicBool::new(false),
            told: AtomicBool::new(false),
        };
        let recalled = index
            .catch_up(ledger, size)
            .and_then(|()| index.recall(ledger).map_err(|e| index.failed(e)));
        recalled.map_err(|error| match error {
            LedgerError::Unreadable(what) => LedgerError::corrupt(ledger_path, what),
            other => other,
        })?;
        Ok(index)
    }

    /// How many records it covers.
    pub(crate) fn covered(&self) -> u64 {
        self.covered.load(Ordering::Acquire)
    }

    /// Covers the whole blocks among the first `size` records of the ledger, at
    /// least. Blocks.
    ///
    /// # Errors
    /// [`LedgerError::Unreadable`], [`LedgerError::Closed`].
    pub(crate) fn catch_up(&self, ledger: &Connection, size: u64) -> Result<(), LedgerError> {
        let size = size / BLOCK * BLOCK;
        if self.covered() >= size {
            return Ok(());
        }
        let mut db = self.writing();
        let db = db.as_mut().ok_or(LedgerError::Closed)?;
        loop {
            let from = self.covered();
            if from >= size {
                break;
            }
            let to = size.min(from + BATCH);
            self.cover(db, ledger, from, to)
                .map_err(|e| self.failed(e))?;
            self.covered.store(to, Ordering::Release);
            self.recent().retain(|_, known| !known.is_covered_by(to));
        }
        self.recent().shrink_to(COMMONLY);
        // What a long way takes is not needed again soon.
        let _ = db.execute_batch("PRAGMA shrink_memory");
        Ok(())
    }

    fn cover(
        &self,
        db: &mut Connection,
        ledger: &Connection,
        from: u64,
        to: u64,
    ) -> Result<(), NotCovered> {
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut select = ledger.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM records WHERE idx >= ?1 AND idx < ?2 ORDER BY idx"
        ))?;
        let mut rows = select.query([from.cast_signed(), to.cast_signed()])?;
        let mut entry =
            transaction.prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3)")?;
        let mut sealed =
            transaction.prepare_cached("INSERT OR REPLACE INTO summaries VALUES (?1, ?2, ?3)")?;
        let mut summary = Summary::default();
        let mut last = Vec::new();
        for expected in from..to {
            let wrong = |what: String| NotCovered::Record(expected, what);
            let row = rows.next()?.map(Row::read).transpose()?;
            let row = row
                .filter(|row| row.index == expected)
                .ok_or_else(|| wrong("it is missing".to_owned()))?;
            let columns = row.columns().map_err(wrong)?;
            if let Some(request) = &columns.request {
                entry.execute((expected.cast_signed(), request, is_after(&columns)))?;
            }
            summary.add(columns);
            if (expected + 1).is_multiple_of(BLOCK) {
                last = row.stored_leaf().to_vec();
                let text = std::mem::take(&mut summary).text();
                let text = text.map_err(|e| wrong(e.to_string()))?;
                let n = expected / BLOCK;
                let block = Block {
                    n,
                    last_leaf: &last,
                };
                sealed.execute((n.cast_signed(), &text, self.key.seal(block, &text)))?;
            }
        }
        drop((entry, sealed));
        transaction.execute("DELETE FROM covered", [])?;
        transaction.execute(
            "INSERT INTO covered VALUES (?1, ?2)",
            (to.cast_signed(), last),
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Remembers the records that are not covered.
    fn recall(&self, ledger: &Connection) -> Result<(), NotCovered> {
        let mut select = ledger.prepare(&format!(
            "SELECT {COLUMNS} FROM records WHERE idx >= ?1 ORDER BY idx"
        ))?;
        let mut rows = select.query([self.covered().cast_signed()])?;
        while let Some(row) = rows.next()? {
            let row = Row::read(row)?;
            let recorded = row
                .recorded()
                .map_err(|what| NotCovered::Record(row.index, what))?;
            self.remember(&recorded.record, recorded.index);
        }
        Ok(())
    }

    /// Remembers where a record is about to stand, if it is one of a request.
    pub(crate) fn remember(&self, record: &AuditRecord, index: u64) {
        let Some((request, is_after)) = request_of(record) else {
            return;
        };
        let mut recent = self.recent();
        let known = recent.entry(request.clone()).or_default();
        if is_after {
            known.places.after = Some(index);
        } else {
            known.places.before = Some(index);
        }
        known.is_open = known.places.after.is_none() && is_allowed(record);
    }

    /// What memory knows of a request.
    pub(crate) fn known(&self, request: &RequestId) -> Known {
        self.recent().get(request).copied().unwrap_or_default()
    }

    /// Where the records of a request stand, covered or not. `found` is a
    /// connection to the index alone. What is covered is a hint.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn places(
        &self,
        found: &Connection,
        request: &RequestId,
    ) -> Result<Places, LedgerError> {
        // In this order: what is covered goes from memory only afterwards.
        let Places { before, after } = self.known(request).places;
        if before.is_some() && after.is_some() {
            return Ok(Places { before, after });
        }
        let covered = covered_places(found, request).map_err(|e| self.failed(e.into()))?;
        Ok(Places {
            before: before.or(covered.before),
            after: after.or(covered.after),
        })
    }

    /// Where a request's records stand, of those that are covered: a hint.
    pub(crate) fn hint(&self, found: Option<&Connection>, request: &RequestId) -> Places {
        let hint = found.map(|found| covered_places(found, request));
        match hint.transpose() {
            Ok(hint) => hint.unwrap_or_default(),
            Err(error) => {
                self.look_into(&error);
                Places::default()
            }
        }
    }

    /// What the records of a whole block are like, where the index says it and is
    /// to be believed. `None`: the records are to be read.
    pub(crate) fn like(
        &self,
        found: Option<&Connection>,
        ledger: &Connection,
        n: u64,
    ) -> Option<Vec<Columns<'static>>> {
        if (n + 1) * BLOCK > self.covered() {
            return None;
        }
        let last: Vec<u8> = ledger
            .prepare_cached("SELECT leaf FROM records WHERE idx = ?1")
            .and_then(|mut select| {
                select.query_row([((n + 1) * BLOCK - 1).cast_signed()], |row| row.get(0))
            })
            .ok()?;
        let block = Block {
            n,
            last_leaf: &last,
        };
        let opened = summary_of(found?, n).map(|there| {
            let (text, seal) = there?;
            self.key.open(block, &text, &seal)
        });
        match opened {
            Ok(None) => self.doubt(),
            Err(error) => self.look_into(&error),
            Ok(like) => return like,
        }
        None
    }

    /// A connection to the index alone, which cannot write.
    ///
    /// # Errors
    /// [`LedgerError::Unreadable`].
    pub(crate) fn reader(&self) -> Result<Connection, LedgerError> {
        schema::reader(&self.path).map_err(|e| LedgerError::Unreadable(words(&e)))
    }

    /// The same, where there is one to be had.
    pub(crate) fn reader_if_any(&self) -> Option<Connection> {
        if !self.path.is_file() {
            self.doubt();
            return None;
        }
        self.reader().ok()
    }

    /// It does not fit the records: it is made anew the next time, for it is not
    /// there then.
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
        // Should this fail, it is found out again.
        let _ = remove(&self.path);
    }

    /// Whether that is so, and was not said yet.
    pub(crate) fn is_doubt_to_be_told(&self) -> bool {
        self.doubted.load(Ordering::Relaxed) && !self.told.swap(true, Ordering::Relaxed)
    }

    fn look_into(&self, error: &rusqlite::Error) {
        // Unknown is what a table is that is not there.
        let is_unknown = error.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown);
        if is_unknown || is_damage(error) {
            self.doubt();
        }
    }

    fn failed(&self, error: NotCovered) -> LedgerError {
        match error {
            NotCovered::Sqlite(error) => {
                self.look_into(&error);
                LedgerError::Unreadable(format!("what records are found by: {}", words(&error)))
            }
            NotCovered::Record(index, what) => {
                LedgerError::Unreadable(format!("record {index} is not what was recorded: {what}"))
            }
        }
    }

    /// Closes the file.
    pub(crate) fn close(&self) {
        *self.writing() = None;
    }

    fn writing(&self) -> MutexGuard<'_, Option<Connection>> {
        // A transaction that a panic broke off is rolled back when it is dropped.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, HashMap<RequestId, Known>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why records are not covered.
enum NotCovered {
    Sqlite(rusqlite::Error),
    Record(u64, String),
}

impl From<rusqlite::Error> for NotCovered {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// A record of a request is the one before it, or the one after.
pub(crate) fn is_after(columns: &Columns<'_>) -> bool {
    columns.kind != "requested"
}

/// Whether it says that a request was allowed, so that there will be a record
/// after.
pub(crate) fn is_allowed(record: &AuditRecord) -> bool {
    matches!(&record.event, Event::Requested(requested) if requested.decision == Decision::Allow)
}

/// Text and seal of the summary of a block.
pub(crate) fn summary_of(
    index: &Connection,
    n: u64,
) -> rusqlite::Result<Option<(String, Vec<u8>)>> {
    index
        .prepare_cached("SELECT text, seal FROM summaries WHERE n = ?1")?
        .query_row([n.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

fn covered_places(found: &Connection, request: &RequestId) -> rusqlite::Result<Places> {
    let mut select =
        found.prepare_cached("SELECT idx, is_after FROM entries WHERE request = ?1")?;
    let mut rows = select.query([request.as_str()])?;
    let mut places = Places::default();
    while let Some(row) = rows.next()? {
        let index = row.get::<_, i64>(0)?.cast_unsigned();
        if row.get(1)? {
            places.after = Some(index);
        } else {
            places.before = Some(index);
        }
    }
    Ok(places)
}

/// How many records an index covers, if it is one of this ledger in its state.
pub(crate) fn fitting(index: &Connection, ledger: &Connection) -> rusqlite::Result<Option<u64>> {
    let declared = schema::declared_as(index, TABLES)?;
    if declared.application != APPLICATION || declared.form != FORM || !declared.schema_is_ours {
        return Ok(None);
    }
    let covered: Option<(i64, Vec<u8>)> = index
        .query_row("SELECT size, leaf FROM covered", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((size, leaf)) = covered else {
        return Ok(None);
    };
    if size == 0 {
        return Ok(Some(0));
    }
    let there: Option<Vec<u8>> = ledger
        .query_row(
            "SELECT leaf FROM records WHERE idx = ?1",
            [size - 1],
            |row| row.get(0),
        )
        .optional()?;
    let fits = there == Some(leaf) && size.cast_unsigned().is_multiple_of(BLOCK);
    Ok(fits.then_some(size.cast_unsigned()))
}

fn existing(path: &Path, ledger: &Connection) -> rusqlite::Result<Option<(Connection, u64)>> {
    if !path.is_file() {
        return Ok(None);
    }
    let db = connect(path)?;
    Ok(fitting(&db, ledger)?.map(|covered| (db, covered)))
}

/// Makes an empty index where there is none: whole, so that nobody who looks at
/// it meanwhile sees a half-made one.
fn make(path: &Path) -> Result<(), String> {
    let aside = beside(path, ".new");
    let failed = |e: io::Error| e.to_string();
    remove(&aside).map_err(failed)?;
    file_for_the_owner(&aside).map_err(failed)?;
    make_tables(&aside).map_err(|e| words(&e))?;
    std::fs::rename(&aside, path).map_err(failed)
}

fn make_tables(path: &Path) -> rusqlite::Result<()> {
    let db = connect(path)?;
    db.execute_batch(&format!(
        "BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORM}; {TABLES}
         INSERT INTO covered VALUES (0, x''); COMMIT;"
    ))?;
    db.close().map_err(|(_, error)| error)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    schema::careful(&db)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    // Loss of power may take its latest transactions: they are made again.
    db.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(db)
}

/// Removes the index with what SQLite keeps beside it.
fn remove(path: &Path) -> io::Result<()> {
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        match std::fs::remove_file(file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}
