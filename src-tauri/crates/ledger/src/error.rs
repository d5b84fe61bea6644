use countersign_model::RequestId;
use std::path::{Path, PathBuf};

/// Why the ledger cannot do what was asked. Every one of these denies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Another process holds the ledger.
    #[error("another authority has the ledger {} open", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// What is in the file is not what was recorded. Nothing was written to it.
    #[error("the ledger {} is damaged or was changed, and was left as it is: {what}", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A newer version of the program wrote the file.
    #[error("the ledger {} has form {form}, which this version cannot read", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// `PRAGMA user_version`.
        form: i64,
    },
    /// The file or its folder cannot be used.
    #[error("the ledger {} cannot be opened: {what}", path.display())]
    Unavailable {
        /// The database.
        path: PathBuf,
        /// Why, in the system's words.
        what: String,
    },
    /// A write failed. Latched: nothing is recorded until the program restarts.
    #[error("the ledger has failed, and nothing is recorded until a restart: {0}")]
    Failed(String),
    /// The request already has a record of this kind. Only this append failed.
    #[error("request {request} already has a {kind} record")]
    Duplicate {
        /// The request.
        request: RequestId,
        /// `requested` or `settled`.
        kind: &'static str,
    },
    /// Canonical JSON cannot hold the record exactly. Only this append failed.
    #[error("the record cannot be kept exactly: {0}")]
    Unfit(String),
    /// Too many records are waiting to be written. Only this append failed.
    #[error("too many records are waiting to be written")]
    Overloaded,
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
    /// Reading failed; writing may still work.
    #[error("the ledger cannot be read: {0}")]
    Unreadable(String),
}

impl LedgerError {
    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            what: what.into(),
        }
    }
    pub(crate) fn unavailable(path: &Path, what: &impl ToString) -> Self {
        Self::Unavailable {
            path: path.to_owned(),
            what: what.to_string(),
        }
    }
    /// What an error of SQLite means while a ledger is being opened.
    pub(crate) fn opening(path: &Path, error: &rusqlite::Error) -> Self {
        if is_damage(error) {
            Self::corrupt(path, words(error))
        } else {
            Self::Unavailable {
                path: path.to_owned(),
                what: words(error),
            }
        }
    }
}

/// Whether SQLite says that the file itself is wrong.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        // A column that holds another type than its STRICT table allows.
        || matches!(error, rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..))
}

/// An error of SQLite in words that a user can act on.
pub(crate) fn words(error: &rusqlite::Error) -> String {
    use rusqlite::ErrorCode as Code;
    let meaning = match error.sqlite_error_code() {
        Some(Code::DiskFull) => "the disk is full",
        Some(Code::SystemIoFailure) => "the disk refused a read or write, or is full",
        Some(Code::ReadOnly) => "the file is read-only",
        Some(Code::CannotOpen) => "the file cannot be opened",
        Some(Code::PermissionDenied) => "permission denied",
        Some(Code::NotADatabase) => "the file is not a database",
        Some(Code::DatabaseCorrupt) => "the database file is damaged",
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => "another program locks the database",
        _ => return error.to_string(),
    };
    format!("{meaning} ({error})")
}
