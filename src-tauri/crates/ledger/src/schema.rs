//! The tables, and the connections to them.

use crate::tree::Tree;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use std::path::Path;
use std::time::Duration;
use tlog_tiles::{EMPTY_HASH, Hash};

/// The form of the tables: `PRAGMA user_version`.
pub(crate) const FORM: i64 = 2;
/// `PRAGMA application_id`: "Csgn".
pub(crate) const APPLICATION: i64 = 0x4373_676E;

/// A commit touches the last page of `records`, and `head`: how many records there
/// are and the root over them, for what no checkpoint covers yet. `tiles` is the
/// Merkle tree as C2SP `tlog-tiles` cuts it: whole tiles of 256 hashes are laid
/// down once; those at the edge with each checkpoint, up to what it covers. What
/// records are found by lies in a file of its own: [`crate::index`].
const TABLES: &str = "
CREATE TABLE records (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL, canonical TEXT NOT NULL) STRICT;
CREATE TABLE tiles (level INTEGER, n INTEGER, hashes BLOB NOT NULL, PRIMARY KEY (level, n)) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root BLOB NOT NULL) STRICT;
";

/// How long a statement waits for a lock that another program holds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the tables where there are none.
pub(crate) fn make_tables(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(TABLES)?;
    db.execute("INSERT INTO head VALUES (1, 0, ?1)", [EMPTY_HASH.0])
        .map(drop)
}

/// Writes down the head of the tree, for the transaction that made it so.
pub(crate) fn commit_to(db: &Connection, tree: &Tree) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE head SET size = ?1, root = ?2 WHERE one = 1")?
        .execute((tree.size().cast_signed(), tree.root().0))
        .map(drop)
}

/// Size and root of the tree as the last transaction left it.
pub(crate) fn committed_head(db: &Connection) -> rusqlite::Result<Option<(u64, Hash)>> {
    db.query_row("SELECT size, root FROM head WHERE one = 1", [], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), Hash(row.get(1)?)))
    })
    .optional()
}

/// Makes an empty ledger in an empty file.
pub(crate) fn create(path: &Path) -> rusqlite::Result<()> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute_batch(&format!(
        "BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORM};"
    ))?;
    make_tables(&db)?;
    db.execute_batch("COMMIT")?;
    db.close().map_err(|(_, error)| error)
}

/// The connection of the writer. Until [`trust`], closing it leaves the files as
/// they are.
pub(crate) fn writer(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    careful(&db)?;
    // The keeper folds the WAL into the database, on a thread of its own.
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    // In KiB. What a commit writes is the tables' right edge; a larger cache only
    // takes longer to be looked through at each.
    db.pragma_update(None, "cache_size", -4 * 1024)?;
    // macOS: fsync alone does not reach the platter. Elsewhere it means nothing.
    db.pragma_update(None, "fullfsync", true)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}

/// The head was checked: from here on the connection may tidy up at its end.
pub(crate) fn trust(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map(drop)
}

/// The connection that folds the WAL into the database.
pub(crate) fn keeper(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    careful(&db)?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "checkpoint_fullfsync", true)?;
    // It never waits for readers: it comes again.
    db.busy_timeout(Duration::ZERO)?;
    Ok(db)
}

/// A connection that cannot write.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    careful(&db)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// The file may have been made by somebody else: nothing in its schema is run,
/// and its cells are measured before they are read.
pub(crate) fn careful(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.busy_timeout(PATIENCE)
}

/// What is wrong with tables that are not those of a form.
pub(crate) const NOT_OURS: &str = "its tables or indexes are not the ledger's own";

/// What the file says it is.
pub(crate) struct Declared {
    pub(crate) application: i64,
    pub(crate) form: i64,
    /// Whether the tables and indexes are exactly ours: no trigger, no view, no
    /// index that hides a row.
    pub(crate) schema_is_ours: bool,
}

pub(crate) fn declared(db: &Connection) -> rusqlite::Result<Declared> {
    declared_as(db, TABLES)
}

/// The same of a file whose tables are to be others.
pub(crate) fn declared_as(db: &Connection, tables: &str) -> rusqlite::Result<Declared> {
    let ours = Connection::open_in_memory()?;
    ours.execute_batch(tables)?;
    Ok(Declared {
        application: db.pragma_query_value(None, "application_id", |row| row.get(0))?,
        form: db.pragma_query_value(None, "user_version", |row| row.get(0))?,
        schema_is_ours: statements(db)? == statements(&ours)?,
    })
}

fn statements(db: &Connection) -> rusqlite::Result<Vec<String>> {
    db.prepare(
        "SELECT concat_ws(' ', type, name, 'on', tbl_name, sql) FROM sqlite_schema ORDER BY name",
    )?
    .query_map([], |row| row.get(0))?
    .collect()
}

/// How many records there are, if their indexes have no gap.
pub(crate) fn record_count(db: &Connection) -> rusqlite::Result<u64> {
    db.query_row("SELECT ifnull(max(idx) + 1, 0) FROM records", [], |row| {
        row.get::<_, i64>(0)
    })
    .map(i64::cast_unsigned)
}
