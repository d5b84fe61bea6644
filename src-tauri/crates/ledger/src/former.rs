//! Ledgers of the form before this one: brought up once, when they are opened.
//!
//! Form 1 repeated members of each record in columns of `records`, with an index
//! on each, and stored every hash of the tree in a row. The records are taken as
//! they stand, byte for byte; the tree is made anew from their leaf hashes. Only
//! when that tree is the one that was signed does anything change in the file.

use crate::LedgerError;
use crate::head::{self, Proved};
use crate::schema::{self, APPLICATION, FORM};
use crate::tree::{Tile, Tree};
use rusqlite::Connection;
use std::path::Path;
use tlog_tiles::Hash;

const FORMER: i64 = 1;

const TABLES: &str = "
CREATE TABLE records (
  idx INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  request TEXT,
  run TEXT,
  agent TEXT,
  account TEXT,
  decision TEXT,
  effects INTEGER,
  operation TEXT,
  leaf BLOB NOT NULL,
  canonical TEXT NOT NULL
) STRICT;
CREATE TABLE hashes (idx INTEGER PRIMARY KEY, hash BLOB NOT NULL) STRICT;
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX by_request ON records(request, kind) WHERE request IS NOT NULL;
CREATE INDEX by_run ON records(run) WHERE run IS NOT NULL;
CREATE INDEX by_agent ON records(agent) WHERE agent IS NOT NULL;
CREATE INDEX by_account ON records(account) WHERE account IS NOT NULL;
CREATE INDEX denied ON records(idx) WHERE decision = 'deny';
CREATE INDEX more_than_reads ON records(idx) WHERE effects > 1;
CREATE INDEX events ON records(idx) WHERE request IS NULL;
";

/// [`head::prove`], of a ledger of the former form once it is brought up.
///
/// # Errors
/// As [`head::prove`]; the file is then left as it is.
pub(crate) fn prove_brought_up(
    db: &Connection,
    path: &Path,
    public_key: &[u8; 32],
) -> Result<Proved, LedgerError> {
    let sqlite = |e: rusqlite::Error| LedgerError::opening(path, &e);
    let declared = schema::declared_as(db, TABLES).map_err(sqlite)?;
    if declared.application != APPLICATION || declared.form != FORMER {
        return head::prove(db, path, public_key);
    }
    if !declared.schema_is_ours {
        return Err(LedgerError::corrupt(path, schema::NOT_OURS));
    }
    let begun = db.unchecked_transaction().map_err(sqlite)?;
    bring_up(db).map_err(sqlite)?;
    let proved = head::prove(db, path, public_key)?;
    // Durably, as everything is that opening writes.
    begun.commit().map_err(sqlite)?;
    Ok(proved)
}

fn bring_up(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(
        "ALTER TABLE records RENAME TO former; ALTER TABLE checkpoints RENAME TO kept; DROP TABLE hashes;",
    )?;
    schema::make_tables(db)?;
    db.execute_batch(
        "INSERT INTO records SELECT idx, leaf, canonical FROM former ORDER BY idx;
         INSERT INTO checkpoints SELECT size, note FROM kept;
         DROP TABLE former; DROP TABLE kept;",
    )?;
    let signed: i64 = db.query_row("SELECT ifnull(max(size), 0) FROM checkpoints", [], |row| {
        row.get(0)
    })?;
    let mut store = db.prepare("INSERT OR REPLACE INTO tiles VALUES (?1, ?2, ?3)")?;
    let mut store = |tile: Tile| {
        store
            .execute((tile.level, tile.n.cast_signed(), tile.hashes))
            .map(drop)
    };
    let mut tree = Tree::default();
    let mut select = db.prepare("SELECT leaf FROM records ORDER BY idx")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        tree.push(Hash(row.get(0)?))
            .into_iter()
            .try_for_each(&mut store)?;
        // The edge as the newest checkpoint left it.
        if tree.size() == signed.cast_unsigned() {
            tree.edge().try_for_each(&mut store)?;
        }
    }
    drop(rows);
    schema::commit_to(db, &tree)?;
    db.pragma_update(None, "user_version", FORM)
}
