//! Whether the end of a ledger can be believed, when it is opened.

use crate::LedgerError;
use crate::note::Head;
use crate::row::{COLUMNS, Row};
use crate::schema::{self, APPLICATION, FORM};
use crate::state::State;
use crate::tree::{Stored, Tree, WIDTH, below};
use rusqlite::{Connection, OptionalExtension as _};
use std::path::Path;
use tlog_tiles::Hash;

/// The end of a ledger, proved from its newest signed checkpoint on.
pub(crate) struct Proved {
    pub(crate) tree: Tree,
    pub(crate) state: State,
    /// Size and text of the newest checkpoint; size 0 when there is none yet.
    pub(crate) newest: (u64, String),
}

/// Believes the newest checkpoint if the key signed it, and the records after it
/// if each is true to its own text and the stored tree. Costs some thousand
/// hashes, however long the ledger is; `verify` reads all of it.
///
/// # Errors
/// [`LedgerError::Corrupt`] with what was found.
pub(crate) fn prove(
    db: &Connection,
    path: &Path,
    public_key: &[u8; 32],
) -> Result<Proved, LedgerError> {
    let sqlite = |e: rusqlite::Error| LedgerError::opening(path, &e);
    let corrupt = |what: String| LedgerError::corrupt(path, what);

    let declared = schema::declared(db).map_err(sqlite)?;
    if declared.application != APPLICATION {
        return Err(corrupt("it is not a ledger".to_owned()));
    }
    if declared.form != FORM {
        return Err(LedgerError::Newer {
            path: path.to_owned(),
            form: declared.form,
        });
    }
    if !declared.schema_is_ours {
        return Err(corrupt(schema::NOT_OURS.to_owned()));
    }

    let size = schema::record_count(db).map_err(sqlite)?;
    let newest: Option<(i64, String)> = db
        .query_row(
            "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(sqlite)?;
    let (mut tree, mut state, newest) = match newest {
        // The first record and the first checkpoint are one transaction.
        None if size == 0 => (Tree::default(), State::default(), (0, String::new())),
        None => return Err(corrupt("its checkpoints are gone".to_owned())),
        Some((at, note)) => {
            let head = Head::open(&note, public_key)
                .map_err(|what| corrupt(format!("its newest checkpoint is no proof: {what}")))?;
            if head.size != at.cast_unsigned() || head.size > size {
                return Err(corrupt(format!(
                    "its newest checkpoint is over {} records, and {size} are left",
                    head.size
                )));
            }
            let tree = Tree::load(head.size, &Stored(db))
                .map_err(sqlite)?
                .ok_or_else(|| corrupt("hashes of its tree are missing".to_owned()))?;
            if tree.root() != head.root {
                return Err(corrupt(
                    "its tree is not the one that was signed".to_owned(),
                ));
            }
            (tree, head.state, (head.size, note))
        }
    };
    replay(db, &mut tree, &mut state).map_err(|found| match found {
        Found::Unreadable(error) => sqlite(error),
        Found::Wrong(index, what) => corrupt(format!("record {index}: {what}")),
    })?;
    if tree.size() != size {
        return Err(corrupt(format!("record {} is missing", tree.size())));
    }
    if schema::committed_head(db).map_err(sqlite)? != Some((size, tree.root())) {
        return Err(corrupt(
            "its records are not those that were committed".to_owned(),
        ));
    }
    for (level, n, count) in Stored(db).ends().map_err(sqlite)? {
        if n * WIDTH + count != stored_hashes(level, size, newest.0) {
            return Err(corrupt(
                "its tree has hashes of records that are missing, or too few".to_owned(),
            ));
        }
    }
    Ok(Proved {
        tree,
        state,
        newest,
    })
}

/// How many hashes a level of tiles holds: those of whole tiles, and those that
/// the newest checkpoint covers.
fn stored_hashes(level: u32, size: u64, signed: u64) -> u64 {
    let there = |size: u64| size.checked_shr(below(level)).unwrap_or(0);
    (there(size) / WIDTH * WIDTH).max(there(signed))
}

enum Found {
    Unreadable(rusqlite::Error),
    Wrong(u64, String),
}

/// Reads the records after the checkpoint, checking each.
fn replay(db: &Connection, tree: &mut Tree, state: &mut State) -> Result<(), Found> {
    let stored = Stored(db);
    let mut select = db
        .prepare(&format!(
            "SELECT {COLUMNS} FROM records WHERE idx >= ?1 ORDER BY idx"
        ))
        .map_err(Found::Unreadable)?;
    let mut rows = select
        .query([tree.size().cast_signed()])
        .map_err(Found::Unreadable)?;
    while let Some(row) = rows.next().map_err(Found::Unreadable)? {
        let row = Row::read(row).map_err(Found::Unreadable)?;
        let expected = tree.size();
        if row.index != expected {
            return Err(Found::Wrong(expected, "it is missing".to_owned()));
        }
        let recorded = row
            .recorded()
            .map_err(|what| Found::Wrong(expected, what))?;
        for tile in tree.push(Hash(*recorded.leaf.as_bytes())) {
            let there = stored.tile(tile.level, tile.n).map_err(Found::Unreadable)?;
            if there.as_ref() != Some(&tile.hashes) {
                return Err(Found::Wrong(
                    expected,
                    "the stored tree has other hashes up to it".to_owned(),
                ));
            }
        }
        state.apply(&recorded.record);
    }
    Ok(())
}
