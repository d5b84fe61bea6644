use crate::canonical;
use crate::columns::Columns;
use countersign_model::{AuditRecord, Digest, Recorded};
use rusqlite::types::FromSqlError;

/// The columns that [`Row::read`] reads, in its order.
pub(crate) const COLUMNS: &str = "idx, leaf, canonical";

const NOT_ITS_HASH: &str = "its hash is not that of its text";

/// A row of `records`, as it lies in the file: not yet believed.
pub(crate) struct Row<'r> {
    pub(crate) index: u64,
    leaf: &'r [u8],
    canonical: &'r [u8],
}

impl<'r> Row<'r> {
    pub(crate) fn read(row: &'r rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let bytes = |at: usize| row.get_ref(at)?.as_bytes().map_err(|e| wrong(at, e));
        Ok(Self {
            index: row.get::<_, i64>(0)?.cast_unsigned(),
            leaf: bytes(1)?,
            canonical: bytes(2)?,
        })
    }

    /// What stands there as the record.
    pub(crate) const fn canonical(&self) -> &'r [u8] {
        self.canonical
    }

    /// The leaf hash that stands beside it.
    pub(crate) const fn stored_leaf(&self) -> &'r [u8] {
        self.leaf
    }

    /// The leaf hash of what stands there, computed anew.
    pub(crate) fn leaf(&self) -> Digest {
        canonical::leaf(self.canonical)
    }

    /// Whether the row is true to its record: canonical, with its own hash.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub(crate) fn check(&self, leaf: Digest) -> Result<(), String> {
        if self.leaf != leaf.as_bytes() {
            return Err(NOT_ITS_HASH.to_owned());
        }
        canonical::check(self.canonical).map_err(|what| format!("its text was changed: {what}"))
    }

    /// What the record is found by, if the row is true to it.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub(crate) fn columns(&self) -> Result<Columns<'r>, String> {
        if self.leaf != self.leaf().as_bytes() {
            return Err(NOT_ITS_HASH.to_owned());
        }
        Columns::of_canonical(self.canonical)
            .map_err(|what| format!("its text was changed: {what}"))
    }

    /// The record, if the row is true to it.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub(crate) fn recorded(&self) -> Result<Recorded, String> {
        let leaf = self.leaf();
        self.check(leaf)?;
        let record: AuditRecord = serde_json::from_slice(self.canonical)
            .map_err(|e| format!("it cannot be read: {e}"))?;
        Ok(Recorded {
            index: self.index,
            leaf,
            record,
        })
    }
}

fn wrong(column: usize, error: FromSqlError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
