//! Reads records on several threads; hands them on in their order.

use super::source::Sources;
use crate::Kind;
use crate::columns::Columns;
use crate::error::words;
use crate::index::{is_after, summary_of};
use crate::row::{COLUMNS, Row};
use crate::summary::{BLOCK, Summary};
use rusqlite::{Connection, Rows};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use tlog_tiles::Hash;

/// How many records a thread reads at a time: whole blocks.
const CHUNK: u64 = 8 * BLOCK;
/// More threads than this wait for the disk, or for the one that walks the tree.
const MOST_THREADS: usize = 8;

/// Records that follow one another.
pub(super) struct Chunk {
    /// The hash of each, computed anew.
    pub(super) leaves: Vec<Hash>,
    /// The last of them that says that what records are found by was altered.
    pub(super) index_altered: Option<u64>,
    pub(super) end: End,
}

/// Why a chunk ends where it does.
pub(super) enum End {
    /// All of its records are true to themselves.
    Whole,
    /// The last one is not, as the words say.
    Untrue(String),
    /// The next one is missing.
    Missing,
    /// The next one cannot be read.
    Unreadable(String),
}

/// Calls `each` with chunk after chunk of the first `size` records, in order,
/// until it breaks.
pub(super) fn in_order(
    sources: &Sources,
    size: u64,
    mut each: impl FnMut(Chunk) -> ControlFlow<()>,
) {
    let chunks = size.div_ceil(CHUNK);
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MOST_THREADS);
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(2 * threads);
        for _ in 0..threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                let connection = sources.connect();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= chunks {
                        return;
                    }
                    let range = (number * CHUNK, size.min((number + 1) * CHUNK));
                    let mut chunk = Chunk {
                        leaves: Vec::new(),
                        index_altered: None,
                        end: End::Whole,
                    };
                    chunk.end = match &connection {
                        Ok((db, index)) => read(db, index.as_ref(), range, &mut chunk)
                            .unwrap_or_else(|e| End::Unreadable(words(&e))),
                        Err(error) => End::Unreadable(words(error)),
                    };
                    // Nobody listens once something was found.
                    if sender.send((number, chunk)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        for wanted in 0..chunks {
            let chunk = loop {
                if let Some(chunk) = early.remove(&wanted) {
                    break chunk;
                }
                match receiver.recv() {
                    Ok((number, chunk)) => early.insert(number, chunk),
                    // A thread panicked; the scope passes that on.
                    Err(_) => return,
                };
            };
            if each(chunk).is_break() {
                return;
            }
        }
    });
}

fn read(
    db: &Connection,
    index: Option<&(Connection, u64)>,
    (from, to): (u64, u64),
    chunk: &mut Chunk,
) -> rusqlite::Result<End> {
    let range = [from.cast_signed(), to.cast_signed()];
    let sql = format!("SELECT {COLUMNS} FROM records WHERE idx >= ?1 AND idx < ?2 ORDER BY idx");
    let mut select = db.prepare_cached(&sql)?;
    let mut rows = select.query(range)?;
    let sql =
        "SELECT idx, request, is_after FROM entries WHERE idx >= ?1 AND idx < ?2 ORDER BY idx";
    let mut select = index.map(|(db, _)| db.prepare_cached(sql)).transpose()?;
    let mut entries = select.as_mut().map(|s| s.query(range)).transpose()?;
    let mut found = match (&mut entries, index) {
        (Some(entries), Some((index, covered))) => Some(Found::new(index, *covered, entries)?),
        _ => None,
    };
    for expected in from..to {
        let row = match rows.next()? {
            Some(row) => Row::read(row)?,
            None => return Ok(End::Missing),
        };
        if row.index != expected {
            return Ok(End::Missing);
        }
        let leaf = row.leaf();
        chunk.leaves.push(Hash(*leaf.as_bytes()));
        if let Err(what) = row.check(leaf) {
            return Ok(End::Untrue(what));
        }
        if let Some(found) = &mut found
            && let Err(what) = found.repeats(&row)?
        {
            return Ok(End::Untrue(what));
        }
        if says_index_altered(row.canonical()) {
            chunk.index_altered = Some(expected);
        }
    }
    Ok(End::Whole)
}

/// Whether a record says so. It says nothing else, and so is none of those that are
/// long.
fn says_index_altered(canonical: &[u8]) -> bool {
    const LONGEST: usize = 80;
    let is = |columns: Columns<'_>| columns.kind == Kind::IndexAltered.word();
    canonical.len() <= LONGEST && Columns::of_canonical(canonical).is_ok_and(is)
}

/// What the records of a chunk are found by.
struct Found<'a, 'e> {
    index: &'a Connection,
    covered: u64,
    entries: &'e mut Rows<'a>,
    /// The next one of them.
    next: Option<(i64, String, bool)>,
    /// Of the block so far.
    summary: Summary,
}

impl<'a, 'e> Found<'a, 'e> {
    fn new(
        index: &'a Connection,
        covered: u64,
        entries: &'e mut Rows<'a>,
    ) -> rusqlite::Result<Self> {
        let mut found = Self {
            index,
            covered,
            entries,
            next: None,
            summary: Summary::default(),
        };
        found.advance()?;
        Ok(found)
    }

    fn advance(&mut self) -> rusqlite::Result<()> {
        self.next = match self.entries.next()? {
            Some(row) => Some((row.get(0)?, row.get(1)?, row.get(2)?)),
            None => None,
        };
        Ok(())
    }

    /// Whether the index repeats a record, and with the last one of a block what
    /// all of it is like.
    fn repeats(&mut self, row: &Row<'_>) -> rusqlite::Result<Result<(), String>> {
        if row.index >= self.covered {
            return Ok(Ok(()));
        }
        let columns = match Columns::of_canonical(row.canonical()) {
            Ok(columns) => columns,
            Err(what) => return Ok(Err(format!("its text was changed: {what}"))),
        };
        let entry = self
            .next
            .as_ref()
            .filter(|(at, ..)| at.cast_unsigned() <= row.index)
            .map(|(at, request, after)| (at.cast_unsigned(), request.as_str(), *after));
        let expected = columns.request.as_deref();
        if entry != expected.map(|request| (row.index, request, is_after(&columns))) {
            return Ok(Err("what it is found by does not repeat it".to_owned()));
        }
        if entry.is_some() {
            self.advance()?;
        }
        self.summary.add(columns);
        if !(row.index + 1).is_multiple_of(BLOCK) {
            return Ok(Ok(()));
        }
        let n = row.index / BLOCK;
        let summary = std::mem::take(&mut self.summary);
        let there = summary_of(self.index, n)?.map(|(text, _)| text);
        if summary.text().ok() == there {
            return Ok(Ok(()));
        }
        Ok(Err(format!(
            "what records {} to {} are found by does not repeat them",
            n * BLOCK,
            row.index
        )))
    }
}
