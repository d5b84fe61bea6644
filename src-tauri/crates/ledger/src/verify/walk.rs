//! Builds the tree anew, beside the stored one and the signed heads.

use super::rows::{self, Chunk, End};
use super::source::Source;
use super::{Fault, Report, Tampering};
use crate::schema;
use crate::tree::{Peaks, Stored};
use countersign_model::Digest;
use rusqlite::{Connection, OptionalExtension as _, Rows};
use std::ops::ControlFlow;
use tlog_tiles::{Hash, split_stored_hash_index, stored_hash_index};

/// The head that the tree must have at a size.
pub(super) struct Expected {
    pub(super) size: u64,
    pub(super) root: Hash,
    /// Kept elsewhere and given, not stored in the ledger.
    pub(super) given: bool,
}

pub(super) struct Walk<'a> {
    db: &'a Connection,
    /// Sorted by size.
    expected: &'a [Expected],
    size: u64,
    peaks: Peaks,
    /// How many of `expected` were met.
    met: usize,
    signed: u64,
    witnessed: u64,
}

impl<'a> Walk<'a> {
    /// From a connection inside a read transaction.
    pub(super) fn new(db: &'a Connection, expected: &'a [Expected]) -> rusqlite::Result<Self> {
        let size = schema::record_count(db)?;
        Ok(Self {
            db,
            expected,
            size,
            peaks: Peaks::default(),
            met: 0,
            signed: 0,
            witnessed: 0,
        })
    }

    pub(super) fn run(mut self, source: &Source) -> rusqlite::Result<Report> {
        let db = self.db;
        let mut select = db.prepare("SELECT idx, hash FROM hashes ORDER BY idx")?;
        let mut hashes = select.query([])?;
        let mut found = self.before_the_first()?.map(Ok);
        if found.is_none() {
            rows::in_order(source, self.size, |chunk| {
                match self.take(chunk, &mut hashes) {
                    Ok(None) => ControlFlow::Continue(()),
                    Ok(Some(fault)) => {
                        found = Some(Ok(fault));
                        ControlFlow::Break(())
                    }
                    Err(error) => {
                        found = Some(Err(error));
                        ControlFlow::Break(())
                    }
                }
            });
        }
        let fault = match found {
            Some(found) => Some(found?),
            None => self.after_the_last(&mut hashes)?,
        };
        let root = self.peaks.root().unwrap_or(tlog_tiles::EMPTY_HASH);
        Ok(Report {
            records: self.peaks.size(),
            root: Digest::from_bytes(root.0),
            signed: self.signed,
            witnessed: self.witnessed,
            fault,
        })
    }

    fn before_the_first(&mut self) -> rusqlite::Result<Option<Fault>> {
        let before: bool = self.db.query_row(
            "SELECT exists(SELECT 1 FROM records WHERE idx < 0) OR exists(SELECT 1 FROM hashes WHERE idx < 0)",
            [],
            |row| row.get(0),
        )?;
        if before {
            let words = "A record or hash stands before the first one.";
            return Ok(Some(Fault::new(Tampering::Inserted, None, words)));
        }
        Ok(self.meet_heads())
    }

    fn take(&mut self, chunk: Chunk, hashes: &mut Rows<'_>) -> rusqlite::Result<Option<Fault>> {
        let last = chunk.leaves.len().saturating_sub(1);
        for (n, &leaf) in chunk.leaves.iter().enumerate() {
            let index = self.peaks.size();
            // Where the tree has another hash, `push` can say more than the row.
            if n == last
                && let End::Untrue(what) = &chunk.end
                && self.stored_leaf(index)? == Some(leaf)
            {
                let words = format!("Record {index} was changed: {what}.");
                return Ok(Some(Fault::new(Tampering::Changed, index, words)));
            }
            if let Some(fault) = self.push(leaf, hashes)? {
                return Ok(Some(fault));
            }
        }
        let index = self.peaks.size();
        match chunk.end {
            End::Whole | End::Untrue(_) => Ok(None),
            End::Missing => self.displaced(index, None).map(Some),
            End::Unreadable(what) => {
                let words = format!("Record {index} cannot be read: {what}.");
                Ok(Some(Fault::new(Tampering::Damaged, index, words)))
            }
        }
    }

    /// One more record: its hashes must be the stored ones, and the heads signed
    /// at this size those of the tree.
    fn push(&mut self, leaf: Hash, hashes: &mut Rows<'_>) -> rusqlite::Result<Option<Fault>> {
        let index = self.peaks.size();
        let before = self.peaks.clone();
        let (first, new) = match self.peaks.push(leaf) {
            Ok(pushed) => pushed,
            Err(error) => {
                return Ok(Some(Fault::new(
                    Tampering::Damaged,
                    index,
                    error.to_string(),
                )));
            }
        };
        for (level, (at, hash)) in (first..).zip(new).enumerate() {
            let stored = match hashes.next()? {
                Some(row) => (row.get::<_, i64>(0)?.cast_unsigned(), Hash(row.get(1)?)),
                None => (u64::MAX, Hash::default()),
            };
            if stored == (at, hash) {
                continue;
            }
            self.peaks = before;
            if stored.0 != at {
                let words = format!("A hash of the stored tree is missing for record {index}.");
                return Ok(Some(Fault::new(Tampering::Removed, index, words)));
            }
            if level == 0 {
                return self.displaced(index, Some(leaf)).map(Some);
            }
            let covered = (index >> level) << level;
            let words = format!(
                "The stored tree does not fit records {covered} to {index}: one of them, or the hash over them, was changed."
            );
            return Ok(Some(Fault::new(Tampering::Changed, covered, words)));
        }
        Ok(self.meet_heads())
    }

    /// The heads that were signed at this size.
    fn meet_heads(&mut self) -> Option<Fault> {
        let size = self.peaks.size();
        while let Some(head) = self.expected.get(self.met).filter(|head| head.size == size) {
            if self.peaks.root().ok() != Some(head.root) {
                let agreed = self.signed.max(self.witnessed);
                let whose = if head.given {
                    "the given checkpoint"
                } else {
                    "its own checkpoint"
                };
                let words = format!(
                    "The ledger was forked: {whose} over {size} records was signed over others, which differ from record {agreed} on or later."
                );
                return Some(Fault::new(Tampering::Forked, agreed, words));
            }
            self.met += 1;
            *(if head.given {
                &mut self.witnessed
            } else {
                &mut self.signed
            }) = size;
        }
        None
    }

    /// What happened to the record that the stored tree has at `index`, when
    /// another stands there (or none).
    fn displaced(&self, index: u64, stands_there: Option<Hash>) -> rusqlite::Result<Fault> {
        let belongs = self.stored_leaf(index)?;
        let went_to = match belongs {
            Some(hash) => self.record_with(hash, index)?,
            None => None,
        };
        let came_from = match stands_there {
            Some(hash) => self.recorded_at(hash)?,
            None => None,
        };
        Ok(match (came_from, went_to, stands_there) {
            (_, Some(to), None) => Fault::new(
                Tampering::Reordered,
                index,
                format!("Record {index} is missing from its place and stands at {to}."),
            ),
            (None, None, None) => Fault::new(
                Tampering::Removed,
                index,
                format!("Record {index} was removed."),
            ),
            (Some(from), Some(to), _) => Fault::new(
                Tampering::Reordered,
                index,
                format!(
                    "Records were reordered: at {index} stands record {from}, and record {index} stands at {to}."
                ),
            ),
            (Some(from), None, _) => Fault::new(
                Tampering::Removed,
                index,
                format!("Record {index} was removed, and record {from} stands in its place."),
            ),
            (None, Some(to), Some(_)) => Fault::new(
                Tampering::Inserted,
                index,
                format!("A record was inserted at {index}, and record {index} stands at {to}."),
            ),
            (None, None, Some(_)) => Fault::new(
                Tampering::Changed,
                index,
                format!("Record {index} was changed: its hash is not the one in the tree."),
            ),
        })
    }

    fn after_the_last(&self, hashes: &mut Rows<'_>) -> rusqlite::Result<Option<Fault>> {
        let size = self.size;
        let truncated = |by: String| {
            Fault::new(
                Tampering::Truncated,
                size,
                format!("The ledger was truncated: {by} and {size} are left."),
            )
        };
        if hashes.next()?.is_some() {
            return Ok(Some(truncated(
                "its tree has hashes of more records".to_owned(),
            )));
        }
        let beyond = &self.expected[self.met..];
        if let Some(head) = beyond.iter().find(|head| !head.given) {
            return Ok(Some(truncated(format!(
                "its own checkpoint is over {} records",
                head.size
            ))));
        }
        Ok(beyond.last().map(|head| {
            let words = format!(
                "The ledger was rolled back: the given checkpoint is over {} records, and {size} are here.",
                head.size
            );
            Fault::new(Tampering::RolledBack, size, words)
        }))
    }

    fn stored_leaf(&self, index: u64) -> rusqlite::Result<Option<Hash>> {
        Stored(self.db).hash(stored_hash_index(0, index))
    }

    /// Another record with this hash. Reads the whole table; it is done once.
    fn record_with(&self, leaf: Hash, not: u64) -> rusqlite::Result<Option<u64>> {
        self.db
            .query_row(
                "SELECT idx FROM records WHERE leaf = ?1 AND idx <> ?2 LIMIT 1",
                (leaf.0, not.cast_signed()),
                |row| row.get::<_, i64>(0).map(i64::cast_unsigned),
            )
            .optional()
    }

    /// Where the stored tree has this leaf. Reads the whole table; it is done once.
    fn recorded_at(&self, leaf: Hash) -> rusqlite::Result<Option<u64>> {
        let mut select = self
            .db
            .prepare("SELECT idx FROM hashes WHERE hash = ?1 AND idx >= 0")?;
        let mut rows = select.query([leaf.0])?;
        while let Some(row) = rows.next()? {
            let (level, n) = split_stored_hash_index(row.get::<_, i64>(0)?.cast_unsigned());
            if level == 0 {
                return Ok(Some(n));
            }
        }
        Ok(None)
    }
}
