//! Whether a ledger is what was recorded: offline, on the file or a copy of it.
//!
//! Every record is hashed anew from its text, which must be canonical JSON; their
//! numbers must have no gap; the stored tree must be the tree of these hashes;
//! what records are found by must repeat them; and every checkpoint, stored or kept elsewhere,
//! must be the head of that tree at its size. Without a checkpoint kept elsewhere
//! nobody can tell that a whole ledger was rolled back to an older state of itself.

mod rows;
mod source;
mod walk;

use crate::error::{is_damage, words};
use crate::note::Head;
use crate::schema::{self, APPLICATION, FORM};
use crate::summary::BLOCK;
use countersign_model::Digest;
use rusqlite::Connection;
use source::{Source, Sources};
use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;
use walk::{Expected, Walk, Whose};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many records are true to themselves and to the stored tree, from the
    /// first on.
    pub records: u64,
    /// Root of the tree over these.
    pub root: Digest,
    /// How many of them a checkpoint stored in the ledger covers.
    pub signed: u64,
    /// How many of them a given checkpoint covers. Only these are beyond the reach
    /// of somebody who holds both the file and the key.
    pub witnessed: u64,
    /// The last record that says that what records are found by was found altered.
    /// That file is made anew, so that it tells nothing any more.
    pub index_altered: Option<u64>,
    /// The first thing that is wrong; `None` when nothing is.
    pub fault: Option<Fault>,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What was done.
    pub tampering: Tampering,
    /// The first record that it was done to, where one can be named.
    pub record: Option<u64>,
    /// The whole of it in one sentence.
    pub words: String,
}

/// What was done to a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tampering {
    /// A record, a column that repeats it, a hash or a checkpoint is another.
    Changed,
    /// A record is gone from between others.
    Removed,
    /// A record stands there that was never recorded.
    Inserted,
    /// A record stands in the place of another.
    Reordered,
    /// The last records are gone.
    Truncated,
    /// The ledger is good but shorter than a given checkpoint says.
    RolledBack,
    /// The ledger is another one than a checkpoint was signed over.
    Forked,
    /// The file is damaged, or its tables are not the ledger's own.
    Damaged,
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::Truncated => "truncated",
            Self::RolledBack => "rolled back",
            Self::Forked => "forked",
            Self::Damaged => "damaged",
        })
    }
}

impl Fault {
    fn new(tampering: Tampering, record: impl Into<Option<u64>>, words: impl Into<String>) -> Self {
        Self {
            tampering,
            record: record.into(),
            words: words.into(),
        }
    }
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_intact(&self) -> bool {
        self.fault.is_none()
    }
}

/// Why nothing can be said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The file cannot be read.
    #[error("{} cannot be read: {what}", path.display())]
    Unreadable {
        /// The database.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// The file is no ledger.
    #[error("{} is no ledger: {what}", path.display())]
    NotALedger {
        /// The database.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A given checkpoint proves nothing.
    #[error("checkpoint {number} proves nothing: {what}")]
    Checkpoint {
        /// Which of those given, from 1.
        number: usize,
        /// Why.
        what: String,
    },
}

/// Verifies the ledger at `path` (the file itself, in use or not, or a copy with
/// or without its `-wal`) with the public key that signs its checkpoints, against
/// `checkpoints` that were kept elsewhere. Changes neither database nor log (SQLite
/// may lay a `-shm` beside a log).
///
/// # Errors
/// When there is nothing to verify, or nothing to verify it with. What is wrong
/// *in* a ledger is not an error but the [`Report::fault`].
pub fn verify(
    path: &Path,
    public_key: &[u8; 32],
    checkpoints: &[String],
) -> Result<Report, VerifyError> {
    let mut expected = Vec::new();
    for (at, text) in checkpoints.iter().enumerate() {
        let head = Head::open(text, public_key).map_err(|what| VerifyError::Checkpoint {
            number: at + 1,
            what,
        })?;
        expected.push(Expected {
            size: head.size,
            root: head.root,
            whose: Whose::Given,
        });
    }
    let (source, db) = Source::find(path)?;
    let declared = match schema::declared(&db) {
        Ok(declared) => declared,
        Err(error) if is_damage(&error) => {
            return Err(VerifyError::NotALedger {
                path: path.to_owned(),
                what: words(&error),
            });
        }
        Err(error) => {
            return Err(VerifyError::Unreadable {
                path: path.to_owned(),
                what: words(&error),
            });
        }
    };
    if declared.application != APPLICATION || declared.form != FORM {
        let what = format!(
            "it calls itself {:#x}, form {}",
            declared.application, declared.form
        );
        return Err(VerifyError::NotALedger {
            path: path.to_owned(),
            what,
        });
    }
    if !declared.schema_is_ours {
        let fault = Fault::new(
            Tampering::Damaged,
            None,
            "Its tables or indexes are not the ledger's own.",
        );
        return Ok(nothing_but(fault));
    }
    let (sources, bad_index) = Sources::find(source, path, &db);
    let mut report = examine(&sources, &db, public_key, expected);
    report.fault = report.fault.or_else(|| {
        let words = format!("What records are found by is damaged: {}.", bad_index?);
        Some(Fault::new(Tampering::Damaged, None, words))
    });
    Ok(report)
}

fn nothing_but(fault: Fault) -> Report {
    Report {
        records: 0,
        root: no_root(),
        signed: 0,
        witnessed: 0,
        index_altered: None,
        fault: Some(fault),
    }
}

fn examine(
    sources: &Sources,
    db: &Connection,
    public_key: &[u8; 32],
    mut expected: Vec<Expected>,
) -> Report {
    let (walked, file) = thread::scope(|scope| {
        // SQLite's own check of pages and indexes, beside ours of their meaning.
        let file = scope.spawn(|| check_files(sources));
        let walked = db
            // One state of the ledger: what is appended meanwhile is for the next time.
            .execute_batch("BEGIN")
            .and_then(|()| stored_heads(db, public_key, &mut expected))
            .and_then(|bad_head| {
                expected.sort_by_key(|head| (head.size, head.whose));
                Walk::new(db, &expected)
                    .and_then(|walk| walk.run(sources))
                    .map(|walked| (walked, bad_head))
            });
        (
            walked,
            file.join()
                .unwrap_or_else(|_| Some("the check of the file ended unexpectedly".to_owned())),
        )
    });
    let (mut report, later) = match walked {
        Ok((report, bad_head)) => (report, bad_head),
        Err(error) => {
            let words = format!("The file cannot be read: {}.", words(&error));
            return nothing_but(Fault::new(Tampering::Damaged, None, words));
        }
    };
    report.fault = report.fault.or(later).or_else(|| {
        file.map(|what| {
            Fault::new(
                Tampering::Damaged,
                None,
                format!("The file is damaged: {what}."),
            )
        })
    });
    report
}

/// Adds the stored checkpoints and the head to what is expected. Those that prove
/// nothing are a fault of their own, named after those of records.
fn stored_heads(
    db: &Connection,
    public_key: &[u8; 32],
    expected: &mut Vec<Expected>,
) -> rusqlite::Result<Option<Fault>> {
    let mut bad = None;
    let mut select = db.prepare("SELECT size, note FROM checkpoints ORDER BY size")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let size = row.get::<_, i64>(0)?.cast_unsigned();
        match Head::open(&row.get::<_, String>(1)?, public_key) {
            Ok(head) if head.size == size => {
                expected.push(Expected {
                    size,
                    root: head.root,
                    whose: Whose::Stored,
                });
            }
            Ok(head) => {
                let words = format!(
                    "The stored checkpoint over {size} records is one over {}.",
                    head.size
                );
                bad.get_or_insert(Fault::new(Tampering::Changed, None, words));
            }
            Err(what) => {
                let words =
                    format!("The stored checkpoint over {size} records proves nothing: {what}.");
                bad.get_or_insert(Fault::new(Tampering::Changed, None, words));
            }
        }
    }
    match schema::committed_head(db)? {
        Some((size, root)) => expected.push(Expected {
            size,
            root,
            whose: Whose::Committed,
        }),
        None => {
            let words = "The head that was committed last is gone.";
            bad.get_or_insert(Fault::new(Tampering::Changed, None, words));
        }
    }
    let has_own = expected.iter().any(|head| head.whose == Whose::Stored);
    if !has_own && bad.is_none() && schema::record_count(db)? > 0 {
        bad = Some(Fault::new(
            Tampering::Changed,
            None,
            "The stored checkpoints are gone.",
        ));
    }
    Ok(bad)
}

fn check_files(sources: &Sources) -> Option<String> {
    let (ledger, index) = match sources.connect() {
        Ok(both) => both,
        Err(error) => return Some(words(&error)),
    };
    check_file(&ledger).or_else(|| {
        let (index, _) = index?;
        check_file(&index)
            .or_else(|| check_extent(&index))
            .map(|what| format!("what records are found by: {what}"))
    })
}

/// Whether the index speaks of nothing but the records that it covers.
fn check_extent(index: &Connection) -> Option<String> {
    let beside = format!(
        "WITH whole AS (SELECT ifnull(max(size), 0) AS size FROM covered)
         SELECT (SELECT count(*) FROM entries, whole WHERE idx < 0 OR idx >= size)
              + (SELECT count(*) FROM summaries, whole WHERE n < 0 OR n >= size / {BLOCK})"
    );
    match index.query_row(&beside, [], |row| row.get::<_, i64>(0)) {
        Ok(0) => None,
        Ok(more) => Some(format!("it has {more} entries more than records")),
        Err(error) => Some(words(&error)),
    }
}

fn check_file(db: &Connection) -> Option<String> {
    match db.query_row("PRAGMA integrity_check(1)", [], |row| {
        row.get::<_, String>(0)
    }) {
        Ok(text) if text == "ok" => None,
        Ok(text) => Some(text),
        Err(error) => Some(words(&error)),
    }
}

/// The root of no records: RFC 6962 section 2.1.
fn no_root() -> Digest {
    Digest::from_bytes(tlog_tiles::EMPTY_HASH.0)
}
