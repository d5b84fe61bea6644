//! What records are found by: a file of its own beside the ledger's.
//!
//! It repeats what the records say and no more, so that it can be made anew from
//! them, and is whenever it is not there or does not fit. No commit waits for it:
//! it is brought up to date by whoever reads, or by the keeper once it is
//! [`LAG`] behind. Until then the requests among the latest records stand in
//! memory. What is found by it is read from the ledger, and checked.

use crate::LedgerError;
use crate::columns::{Columns, NAMES};
use crate::error::{is_damage, words};
use crate::open::{beside, file_for_the_owner};
use crate::row::{COLUMNS, Row};
use crate::schema;
use countersign_model::RequestId;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The keeper brings the index up to date once it is so many records behind. A
/// reader then waits a tenth of a second at most.
pub(crate) const LAG: u64 = 16 * 1024;
/// How many records one transaction of the index holds.
const BATCH: u64 = 4096;

/// For how many requests there is always room in memory.
const COMMONLY: usize = 1024;

const FORM: i64 = 1;
/// `PRAGMA application_id`: "Csix".
const APPLICATION: i64 = 0x4373_6978;

/// `covered` has one row: the index covers the records before `size`, the last of
/// which has this `leaf`.
const TABLES: &str = "
CREATE TABLE covered (size INTEGER NOT NULL, leaf BLOB NOT NULL) STRICT;
CREATE TABLE entries (
  idx INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  request TEXT,
  run TEXT,
  agent TEXT,
  account TEXT,
  decision TEXT,
  effects INTEGER
) STRICT;
CREATE INDEX by_request ON entries(request) WHERE request IS NOT NULL;
CREATE INDEX by_run ON entries(run) WHERE run IS NOT NULL;
CREATE INDEX by_agent ON entries(agent) WHERE agent IS NOT NULL;
CREATE INDEX by_account ON entries(account) WHERE account IS NOT NULL;
CREATE INDEX denied ON entries(idx) WHERE decision = 'deny';
CREATE INDEX more_than_reads ON entries(idx) WHERE effects > 1;
CREATE INDEX events ON entries(idx) WHERE request IS NULL;
";

/// Where the records before and after of a request stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Places {
    pub(crate) before: Option<u64>,
    pub(crate) after: Option<u64>,
}

impl Places {
    fn or(self, other: Self) -> Self {
        Self {
            before: self.before.or(other.before),
            after: self.after.or(other.after),
        }
    }
    fn end_before(self, index: u64) -> bool {
        self.before.is_none_or(|before| before < index)
            && self.after.is_none_or(|after| after < index)
    }
}

/// The index, and what it does not cover yet.
pub(crate) struct Index {
    path: PathBuf,
    covered: AtomicU64,
    /// The only connection that writes. `None` once the ledger is closed.
    writing: Mutex<Option<Connection>>,
    /// Every request of a record that is not covered, and now and then others.
    recent: Mutex<HashMap<RequestId, Places>>,
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
    ) -> Result<Self, LedgerError> {
        let path = beside(ledger_path, ".index");
        let (db, covered) = match existing(&path, ledger) {
            Ok(Some(found)) => found,
            Ok(None) | Err(_) => {
                let failed = |e: &dyn std::fmt::Display| LedgerError::unavailable(&path, &e);
                remove(&path).map_err(|e| failed(&e))?;
                file_for_the_owner(&path).map_err(|e| failed(&e))?;
                (make(&path).map_err(|e| failed(&words(&e)))?, 0)
            }
        };
        let index = Self {
            path,
            covered: AtomicU64::new(covered),
            writing: Mutex::new(Some(db)),
            recent: Mutex::default(),
        };
        index.catch_up(ledger, size).map_err(|error| match error {
            LedgerError::Unreadable(what) => LedgerError::corrupt(ledger_path, what),
            other => other,
        })?;
        Ok(index)
    }

    /// How many records it covers.
    pub(crate) fn covered(&self) -> u64 {
        self.covered.load(Ordering::Acquire)
    }

    /// Covers the first `size` records of the ledger, at least. Blocks.
    ///
    /// # Errors
    /// [`LedgerError::Unreadable`], [`LedgerError::Closed`].
    pub(crate) fn catch_up(&self, ledger: &Connection, size: u64) -> Result<(), LedgerError> {
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
            cover(db, ledger, from, to).map_err(|e| self.failed(e))?;
            self.covered.store(to, Ordering::Release);
            self.recent().retain(|_, places| !places.end_before(to));
        }
        self.recent().shrink_to(COMMONLY);
        // What a long way takes is not needed again soon.
        let _ = db.execute_batch("PRAGMA shrink_memory");
        Ok(())
    }

    /// Remembers where a record of a request is about to stand.
    pub(crate) fn remember(&self, request: &RequestId, is_after: bool, index: u64) {
        let mut recent = self.recent();
        let places = recent.entry(request.clone()).or_default();
        if is_after {
            places.after = Some(index);
        } else {
            places.before = Some(index);
        }
    }

    /// Where the records of a request stand, covered or not. `found` is a
    /// connection to the index alone.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn places(
        &self,
        found: &Connection,
        request: &RequestId,
    ) -> Result<Places, LedgerError> {
        // In this order: what is covered goes from memory only afterwards.
        let recent = self.recent().get(request).copied().unwrap_or_default();
        if let Places {
            before: Some(_),
            after: Some(_),
        } = recent
        {
            return Ok(recent);
        }
        let covered = covered_places(found, request).map_err(|e| self.failed(e.into()))?;
        Ok(recent.or(covered))
    }

    /// A connection to the index alone, which cannot write.
    ///
    /// # Errors
    /// [`LedgerError::Unreadable`].
    pub(crate) fn reader(&self) -> Result<Connection, LedgerError> {
        schema::reader(&self.path).map_err(|e| LedgerError::Unreadable(words(&e)))
    }

    /// Gives a reader of the ledger the index as well, under the name `found`.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn attach(&self, ledger: &Connection) -> rusqlite::Result<()> {
        let path = self.path.to_string_lossy();
        ledger
            .execute("ATTACH DATABASE ?1 AS found", [path])
            .map(drop)
    }

    /// A damaged index is made anew the next time.
    pub(crate) fn doubt(&self, error: &rusqlite::Error) {
        if is_damage(error) {
            self.discard();
        }
    }

    /// An index that lies is made anew the next time: it is not there then.
    pub(crate) fn discard(&self) {
        // Should this fail, it is found out again.
        let _ = remove(&self.path);
    }

    fn failed(&self, error: NotCovered) -> LedgerError {
        match error {
            NotCovered::Sqlite(error) => {
                self.doubt(&error);
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

    fn recent(&self) -> MutexGuard<'_, HashMap<RequestId, Places>> {
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

fn cover(db: &mut Connection, ledger: &Connection, from: u64, to: u64) -> Result<(), NotCovered> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut select = ledger.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM records WHERE idx >= ?1 AND idx < ?2 ORDER BY idx"
    ))?;
    let mut rows = select.query([from.cast_signed(), to.cast_signed()])?;
    let mut insert = transaction.prepare_cached(&format!(
        "INSERT INTO entries (idx, {NAMES}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    ))?;
    let mut last = Vec::new();
    for expected in from..to {
        let row = match rows.next()? {
            Some(row) => Row::read(row)?,
            None => return Err(NotCovered::Record(expected, "it is missing".to_owned())),
        };
        if row.index != expected {
            return Err(NotCovered::Record(expected, "it is missing".to_owned()));
        }
        let columns = Columns::of_canonical(row.canonical())
            .map_err(|what| NotCovered::Record(expected, what.to_owned()))?;
        insert.execute(params![
            expected.cast_signed(),
            columns.at_ms,
            columns.kind,
            columns.request,
            columns.run,
            columns.agent,
            columns.account,
            columns.decision,
            columns.effects,
        ])?;
        if expected + 1 == to {
            last = row.stored_leaf().to_vec();
        }
    }
    drop(insert);
    transaction.execute("DELETE FROM covered", [])?;
    transaction.execute(
        "INSERT INTO covered VALUES (?1, ?2)",
        (to.cast_signed(), last),
    )?;
    transaction.commit()?;
    Ok(())
}

fn covered_places(found: &Connection, request: &RequestId) -> rusqlite::Result<Places> {
    let mut select =
        found.prepare_cached("SELECT idx, kind = 'requested' FROM entries WHERE request = ?1")?;
    let mut rows = select.query([request.as_str()])?;
    let mut places = Places::default();
    while let Some(row) = rows.next()? {
        let index = row.get::<_, i64>(0)?.cast_unsigned();
        if row.get(1)? {
            places.before = Some(index);
        } else {
            places.after = Some(index);
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
    let there: Option<Vec<u8>> = ledger
        .query_row(
            "SELECT leaf FROM records WHERE idx = ?1",
            [size - 1],
            |row| row.get(0),
        )
        .optional()?;
    Ok((there == Some(leaf)).then_some(size.cast_unsigned()))
}

fn existing(path: &Path, ledger: &Connection) -> rusqlite::Result<Option<(Connection, u64)>> {
    if !path.is_file() {
        return Ok(None);
    }
    let db = connect(path)?;
    Ok(fitting(&db, ledger)?.map(|covered| (db, covered)))
}

fn make(path: &Path) -> rusqlite::Result<Connection> {
    let db = connect(path)?;
    db.execute_batch(&format!(
        "BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORM}; {TABLES} COMMIT;"
    ))?;
    Ok(db)
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
