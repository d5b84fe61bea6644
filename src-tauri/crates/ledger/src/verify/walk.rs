//! Builds the tree anew, beside the stored one and the signed heads.

use super::rows::{self, Chunk, End};
use super::source::Sources;
use super::{Fault, Report, Tampering};
use crate::schema;
use crate::tree::{Stored, Tree, WIDTH, below, hash_at};
use countersign_model::Digest;
use rusqlite::{Connection, OptionalExtension as _};
use std::ops::ControlFlow;
use tlog_tiles::{HASH_SIZE, Hash};

/// Whose word a head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// A checkpoint that is stored in the ledger.
    Stored,
    /// A checkpoint that was kept elsewhere, and given.
    Given,
    /// What the last transaction wrote down, unsigned.
    Committed,
}

/// The head that the tree must have at a size.
pub(super) struct Expected {
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) whose: Whose,
}

pub(super) struct Walk<'a> {
    db: &'a Connection,
    /// Sorted by size.
    expected: &'a [Expected],
    size: u64,
    /// How many records the newest stored checkpoint covers: so far the tree must
    /// be stored, whether or not its tiles are whole.
    laid_down: u64,
    tree: Tree,
    /// The stored tile that was read last, of each level.
    tiles: Vec<Option<(u64, Vec<u8>)>>,
    /// How many of `expected` were met.
    met: usize,
    signed: u64,
    witnessed: u64,
    index_altered: Option<u64>,
}

impl<'a> Walk<'a> {
    /// From a connection inside a read transaction.
    pub(super) fn new(db: &'a Connection, expected: &'a [Expected]) -> rusqlite::Result<Self> {
        let size = schema::record_count(db)?;
        let stored = expected
            .iter()
            .filter(|head| head.whose == Whose::Stored && head.size <= size);
        Ok(Self {
            db,
            expected,
            size,
            laid_down: stored.map(|head| head.size).max().unwrap_or(0),
            tree: Tree::default(),
            tiles: Vec::new(),
            met: 0,
            signed: 0,
            witnessed: 0,
            index_altered: None,
        })
    }

    pub(super) fn run(mut self, sources: &Sources) -> rusqlite::Result<Report> {
        let mut found = self.before_the_first()?.map(Ok);
        if found.is_none() {
            rows::in_order(sources, self.size, |chunk| match self.take(chunk) {
                Ok(None) => ControlFlow::Continue(()),
                Ok(Some(fault)) => {
                    found = Some(Ok(fault));
                    ControlFlow::Break(())
                }
                Err(error) => {
                    found = Some(Err(error));
                    ControlFlow::Break(())
                }
            });
        }
        let fault = match found {
            Some(found) => Some(found?),
            None => self.after_the_last()?,
        };
        Ok(Report {
            records: self.tree.size(),
            root: Digest::from_bytes(self.tree.root().0),
            signed: self.signed,
            witnessed: self.witnessed,
            index_altered: self.index_altered,
            fault,
        })
    }

    fn before_the_first(&mut self) -> rusqlite::Result<Option<Fault>> {
        let before: bool = self.db.query_row(
            "SELECT exists(SELECT 1 FROM records WHERE idx < 0)
                OR exists(SELECT 1 FROM tiles WHERE n < 0 OR level < 0 OR length(hashes) > ?1)",
            [WIDTH.cast_signed() * HASH_SIZE as i64],
            |row| row.get(0),
        )?;
        if before {
            let words = "A record or hash stands before the first one, or in no place of the tree.";
            return Ok(Some(Fault::new(Tampering::Inserted, None, words)));
        }
        Ok(self.meet_heads())
    }

    fn take(&mut self, chunk: Chunk) -> rusqlite::Result<Option<Fault>> {
        self.index_altered = chunk.index_altered.or(self.index_altered);
        let last = chunk.leaves.len().saturating_sub(1);
        for (n, &leaf) in chunk.leaves.iter().enumerate() {
            let index = self.tree.size();
            // Where the tree has another hash, `push` can say more than the row.
            if n == last
                && let End::Untrue(what) = &chunk.end
                && self.stored(0, index)?.is_none_or(|stored| stored == leaf)
            {
                let words = format!("Record {index} was changed: {what}.");
                return Ok(Some(Fault::new(Tampering::Changed, index, words)));
            }
            if let Some(fault) = self.push(leaf)? {
                return Ok(Some(fault));
            }
        }
        let index = self.tree.size();
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
    fn push(&mut self, leaf: Hash) -> rusqlite::Result<Option<Fault>> {
        let index = self.tree.size();
        let missing = |_| {
            let words = format!("A hash of the stored tree is missing for record {index}.");
            Some(Fault::new(Tampering::Removed, index, words))
        };
        match self.stored(0, index)? {
            Some(stored) if stored != leaf => return self.displaced(index, Some(leaf)).map(Some),
            None if self.is_laid_down(0, index) => return Ok(missing(())),
            _ => {}
        }
        // What stands above is only looked at where it is made: once a tile is whole.
        let before = (index % WIDTH == WIDTH - 1).then(|| self.tree.clone());
        for tile in self.tree.push(leaf) {
            let level = tile.level + 1;
            let fault = match self.stored(level, tile.n)? {
                stored @ Some(_) if stored != tile.root => {
                    let covered = tile.n << below(level);
                    let words = format!(
                        "The stored tree does not fit records {covered} to {index}: one of them, or the hash over them, was changed."
                    );
                    Some(Fault::new(Tampering::Changed, covered, words))
                }
                None if self.is_laid_down(level, tile.n) => missing(()),
                _ => None,
            };
            if fault.is_some() {
                self.tree = before.unwrap_or_default();
                return Ok(fault);
            }
        }
        Ok(self.meet_heads())
    }

    /// Whether the stored tree must have this hash: its tile is whole, or a
    /// stored checkpoint covers it.
    fn is_laid_down(&self, level: u32, at: u64) -> bool {
        let ends_by = |hashes: u64, level: u32, size: u64| {
            size.checked_shr(below(level)).unwrap_or(0) >= hashes
        };
        ends_by(at + 1, level, self.laid_down) || ends_by(at / WIDTH + 1, level + 1, self.size)
    }

    /// The heads that were signed at this size.
    fn meet_heads(&mut self) -> Option<Fault> {
        let size = self.tree.size();
        while let Some(head) = self.expected.get(self.met).filter(|head| head.size == size) {
            if self.tree.root() != head.root {
                let agreed = self.signed.max(self.witnessed);
                let whose = match head.whose {
                    Whose::Given => "the given checkpoint",
                    Whose::Stored => "its own checkpoint",
                    Whose::Committed => {
                        let words = format!(
                            "One of the records from {agreed} on, or the head that was committed with them, was changed."
                        );
                        return Some(Fault::new(Tampering::Changed, agreed, words));
                    }
                };
                let words = format!(
                    "The ledger was forked: {whose} over {size} records was signed over others, which differ from record {agreed} on or later."
                );
                return Some(Fault::new(Tampering::Forked, agreed, words));
            }
            self.met += 1;
            match head.whose {
                Whose::Given => self.witnessed = size,
                Whose::Stored => self.signed = size,
                Whose::Committed => {}
            }
        }
        None
    }

    /// What happened to the record that the stored tree has at `index`, when
    /// another stands there (or none).
    fn displaced(&mut self, index: u64, stands_there: Option<Hash>) -> rusqlite::Result<Fault> {
        let belongs = self.stored(0, index)?;
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

    fn after_the_last(&self) -> rusqlite::Result<Option<Fault>> {
        let size = self.size;
        let truncated = |by: String| {
            Fault::new(
                Tampering::Truncated,
                size,
                format!("The ledger was truncated: {by} and {size} are left."),
            )
        };
        let ends = Stored(self.db).ends()?;
        let is_beyond = |&(level, n, count): &(u32, u64, u64)| {
            n * WIDTH + count > size.checked_shr(below(level)).unwrap_or(0)
        };
        if ends.iter().any(is_beyond) {
            return Ok(Some(truncated(
                "its tree has hashes of more records".to_owned(),
            )));
        }
        let beyond = &self.expected[self.met..];
        if let Some(head) = beyond.iter().find(|head| head.whose != Whose::Given) {
            return Ok(Some(truncated(format!(
                "it had {} records at least",
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

    /// A hash of the stored tree.
    fn stored(&mut self, level: u32, at: u64) -> rusqlite::Result<Option<Hash>> {
        let place = level as usize;
        if self.tiles.len() <= place {
            self.tiles.resize(place + 1, None);
        }
        let n = at / WIDTH;
        let tile = match &mut self.tiles[place] {
            Some((read, tile)) if *read == n => tile,
            other => {
                let tile = Stored(self.db).tile(level, n)?.unwrap_or_default();
                &mut other.insert((n, tile)).1
            }
        };
        Ok(hash_at(tile, at % WIDTH))
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

    /// Where the stored tree has this leaf. Reads all of them; it is done once.
    fn recorded_at(&self, leaf: Hash) -> rusqlite::Result<Option<u64>> {
        let mut select = self
            .db
            .prepare("SELECT n, hashes FROM tiles WHERE level = 0 ORDER BY n")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let n = row.get::<_, i64>(0)?.cast_unsigned();
            let tile: Vec<u8> = row.get(1)?;
            let found = (0..WIDTH).find(|&at| hash_at(&tile, at) == Some(leaf));
            if let Some(at) = found {
                return Ok(Some(n * WIDTH + at));
            }
        }
        Ok(None)
    }
}
