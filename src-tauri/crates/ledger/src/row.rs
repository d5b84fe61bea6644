use crate::canonical;
use crate::columns::Columns;
use countersign_model::{AuditRecord, Digest, Recorded};
use rusqlite::types::FromSqlError;
use std::borrow::Cow;

/// The columns that [`Row::read`] reads, in its order.
pub(crate) const COLUMNS: &str =
    "idx, at_ms, kind, request, run, agent, account, decision, effects, operation, leaf, canonical";

/// A row of `records`, as it lies in the file: not yet believed.
pub(crate) struct Row<'r> {
    pub(crate) index: u64,
    columns: Columns<'r>,
    leaf: &'r [u8],
    canonical: &'r [u8],
}

impl<'r> Row<'r> {
    pub(crate) fn read(row: &'r rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let text = |at: usize| -> rusqlite::Result<Option<Cow<'r, str>>> {
            let value = row
                .get_ref(at)?
                .as_str_or_null()
                .map_err(|e| wrong(at, e))?;
            Ok(value.map(Cow::Borrowed))
        };
        let bytes = |at: usize| row.get_ref(at)?.as_bytes().map_err(|e| wrong(at, e));
        Ok(Self {
            index: row.get::<_, i64>(0)?.cast_unsigned(),
            columns: Columns {
                at_ms: row.get(1)?,
                kind: text(2)?.unwrap_or_default(),
                request: text(3)?,
                run: text(4)?,
                agent: text(5)?,
                account: text(6)?,
                decision: text(7)?,
                effects: row.get(8)?,
                operation: text(9)?,
            },
            leaf: bytes(10)?,
            canonical: bytes(11)?,
        })
    }

    /// The leaf hash of what stands there, computed anew.
    pub(crate) fn leaf(&self) -> Digest {
        canonical::leaf(self.canonical)
    }

    /// Whether the row is true to its record: canonical, and repeated correctly.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub(crate) fn check(&self, leaf: Digest) -> Result<(), String> {
        if self.leaf != leaf.as_bytes() {
            return Err("its hash is not that of its text".to_owned());
        }
        let columns = Columns::of_canonical(self.canonical)
            .map_err(|what| format!("its text was changed: {what}"))?;
        match columns.first_difference(&self.columns) {
            Some(column) => Err(format!("its column '{column}' does not repeat its text")),
            None => Ok(()),
        }
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
