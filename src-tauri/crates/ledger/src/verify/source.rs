use super::VerifyError;
use crate::error::{is_damage, words};
use crate::index;
use crate::open::beside;
use crate::schema;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// How the file can be read without writing anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// As any reader does: in use, or in a folder that can be written (SQLite
    /// wants a `-shm` beside a `-wal`).
    Shared(PathBuf),
    /// A copy with its `-wal` where nothing can be written. Nobody else uses it,
    /// so that its log can be indexed in memory.
    Alone(String),
    /// A copy without a `-wal` where nothing can be written.
    Immutable(String),
}

impl Source {
    /// Finds a way, and the first connection.
    pub(super) fn find(path: &Path) -> Result<(Self, Connection), VerifyError> {
        let unreadable = |what: String| VerifyError::Unreadable {
            path: path.to_owned(),
            what,
        };
        if !path.is_file() {
            return Err(unreadable("there is no such file".to_owned()));
        }
        let shared = Self::Shared(path.to_owned());
        let error = match shared.first() {
            Ok(db) => return Ok((shared, db)),
            Err(error) if is_damage(&error) => {
                return Err(VerifyError::NotALedger {
                    path: path.to_owned(),
                    what: words(&error),
                });
            }
            Err(error) => error,
        };
        let source = Self::unshared(path).ok_or_else(|| unreadable(words(&error)))?;
        match source.first() {
            Ok(db) => Ok((source, db)),
            Err(error) => Err(unreadable(words(&error))),
        }
    }

    /// How a copy is read where nothing can be written.
    fn unshared(path: &Path) -> Option<Self> {
        let name = path
            .to_str()?
            .replace('%', "%25")
            .replace('?', "%3f")
            .replace('#', "%23");
        let has_log = beside(path, "-wal")
            .metadata()
            .is_ok_and(|log| log.len() > 0);
        Some(if has_log {
            // Locks need a file that can be written; nobody else is there.
            let without_locks = if cfg!(windows) {
                "win32-none"
            } else {
                "unix-none"
            };
            Self::Alone(format!("file:{name}?mode=ro&vfs={without_locks}"))
        } else {
            Self::Immutable(format!("file:{name}?mode=ro&immutable=1"))
        })
    }

    /// A connection that has read something.
    fn first(&self) -> rusqlite::Result<Connection> {
        let db = self.connect()?;
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
            row.get::<_, i64>(0)
        })?;
        Ok(db)
    }

    /// Another connection to the same file.
    pub(super) fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        match self {
            Self::Shared(path) => schema::reader(path),
            Self::Alone(uri) | Self::Immutable(uri) => {
                let db = Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?;
                if matches!(self, Self::Alone(_)) {
                    // Keeps the index of the log in memory instead of a `-shm`.
                    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
                }
                schema::careful(&db)?;
                Ok(db)
            }
        }
    }
}

/// A ledger, and its index where there is one that is of this state of it.
/// Another one is made anew before anybody uses it, unless somebody does now.
pub(super) struct Sources {
    pub(super) ledger: Source,
    pub(super) index: Option<(Source, u64)>,
}

impl Sources {
    /// With what lies beside the ledger, which `db` reads; and in words, what is
    /// wrong with an index that cannot be read.
    pub(super) fn find(ledger: Source, path: &Path, db: &Connection) -> (Self, Option<String>) {
        let found = match Source::find(&beside(path, ".index")) {
            Ok((source, index)) => match index::fitting(&index, db) {
                Ok(Some(covered)) => Ok(Some((source, covered))),
                Ok(None) if is_in_use(path) => Err(NOT_OF_THIS.to_owned()),
                Ok(None) => Ok(None),
                Err(error) => Err(words(&error)),
            },
            Err(VerifyError::NotALedger { what, .. }) => Err(what),
            // There is none.
            Err(_) => Ok(None),
        };
        let (index, bad) = match found {
            Ok(index) => (index, None),
            Err(what) => (None, Some(what)),
        };
        (Self { ledger, index }, bad)
    }

    /// Connections to both; of the index, how many records it covers.
    pub(super) fn connect(&self) -> rusqlite::Result<(Connection, Option<(Connection, u64)>)> {
        let index = match &self.index {
            Some((source, covered)) => Some((source.connect()?, *covered)),
            None => None,
        };
        Ok((self.ledger.connect()?, index))
    }
}

const NOT_OF_THIS: &str = "it is not what the authority that runs now made of these records; its next start makes it anew";

/// Whether an authority has the ledger open. Where nothing can be told, none has.
fn is_in_use(path: &Path) -> bool {
    File::open(beside(path, ".lock"))
        .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_with_its_log_is_read_whole_without_a_file_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("what? a #copy%.db");
        let live = Connection::open(&path).unwrap();
        live.pragma_update(None, "journal_mode", "WAL").unwrap();
        live.execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (1), (2);")
            .unwrap();

        let copies = tempfile::tempdir().unwrap();
        let copy = copies.path().join("what? a #copy%.db");
        std::fs::copy(&path, &copy).unwrap();
        let without = Source::unshared(&copy).unwrap();
        assert!(matches!(without, Source::Immutable(_)));
        assert!(
            without
                .connect()
                .unwrap()
                .prepare("SELECT * FROM t")
                .is_err(),
            "its content is in the log"
        );

        std::fs::copy(beside(&path, "-wal"), beside(&copy, "-wal")).unwrap();
        let with = Source::unshared(&copy).unwrap();
        let db = with.first().unwrap();
        let second = with.connect().unwrap();
        for db in [&db, &second] {
            assert_eq!(
                db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)),
                Ok(2)
            );
        }
        assert!(!beside(&copy, "-shm").exists());
    }
}
