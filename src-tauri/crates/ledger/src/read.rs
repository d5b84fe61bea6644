//! Pages of the trail, by key.

use crate::LedgerError;
use crate::columns::{Columns, NAMES, decision_word, effect_bit};
use crate::error::words;
use crate::index::{Index, Places};
use crate::kind::Kind;
use crate::row::{COLUMNS, Row};
use crate::schema;
use countersign_model::{
    AccountId, AgentId, Decision, Effect, Event, Recorded, RequestId, RunId, Timestamp,
};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Which records to read. Empty is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Records that name this agent.
    pub agent: Option<AgentId>,
    /// Records that name this account.
    pub account: Option<AccountId>,
    /// Requests with this among their effects.
    pub effect: Option<Effect>,
    /// Requests with this decision.
    pub decision: Option<Decision>,
    /// Not older than this, by the wall clock of the record.
    pub since: Option<Timestamp>,
    /// Of one of these kinds; empty is any.
    pub kinds: Vec<Kind>,
    /// About this request.
    pub request: Option<RequestId>,
    /// Of this run.
    pub run: Option<RunId>,
    /// Only what stands before this index: the next page of older ones.
    pub before_index: Option<u64>,
    /// Only what stands after this index, oldest first: following the trail.
    pub after_index: Option<u64>,
    /// At most so many; 0 stands for [`Filter::LARGEST_PAGE`], which is also the
    /// most.
    pub limit: usize,
}

impl Filter {
    /// The most records that one reading returns.
    pub const LARGEST_PAGE: usize = 1000;

    /// Which of the first `size` records: all that the index covers.
    fn sql(&self, size: u64) -> (String, Vec<Value>) {
        let mut sql = format!(
            "SELECT entries.idx, leaf, canonical, {NAMES} FROM found.entries{}
             LEFT JOIN records ON records.idx = entries.idx WHERE entries.idx < ?1",
            self.index_hint()
        );
        let mut values = vec![size.cast_signed().into()];
        let mut and = |clause: &str, value: Value| {
            values.push(value);
            let _ = write!(sql, " AND {clause} ?{}", values.len());
        };
        if let Some(request) = &self.request {
            and("request =", request.to_string().into());
        }
        if let Some(run) = &self.run {
            and("run =", run.to_string().into());
        }
        if let Some(agent) = &self.agent {
            and("agent =", agent.to_string().into());
        }
        if let Some(account) = &self.account {
            and("account =", account.to_string().into());
        }
        if let Some(since) = self.since {
            and("at_ms >=", since.unix_ms().into());
        }
        if let Some(index) = self.before_index {
            and("entries.idx <", index.cast_signed().into());
        }
        if let Some(index) = self.after_index {
            and("entries.idx >", index.cast_signed().into());
        }
        // The rest are words and numbers of our own. They stand in the text, where
        // SQLite can see that a partial index answers them.
        if let Some(decision) = self.decision {
            let _ = write!(sql, " AND decision = '{}'", decision_word(decision));
        }
        if let Some(effect) = self.effect {
            let _ = write!(sql, " AND effects & {} <> 0", effect_bit(effect));
            if effect != Effect::Read {
                sql.push_str(" AND effects > 1");
            }
        }
        if !self.kinds.is_empty() {
            let list: Vec<_> = self.kinds.iter().map(|kind| format!("'{kind}'")).collect();
            let _ = write!(sql, " AND kind IN ({})", list.join(", "));
            if self.are_events() {
                sql.push_str(" AND request IS NULL");
            }
        }
        let order = if self.after_index.is_some() {
            "ASC"
        } else {
            "DESC"
        };
        let limit = if self.limit == 0 {
            Self::LARGEST_PAGE
        } else {
            self.limit.min(Self::LARGEST_PAGE)
        };
        let _ = write!(sql, " ORDER BY entries.idx {order} LIMIT {limit}");
        (sql, values)
    }

    /// Rare records are found by an index of their own. SQLite keeps no
    /// statistics here and would not think of it.
    fn index_hint(&self) -> &'static str {
        if self.request.is_some()
            || self.run.is_some()
            || self.agent.is_some()
            || self.account.is_some()
        {
            ""
        } else if self.are_events() {
            " INDEXED BY events"
        } else if self.decision == Some(Decision::Deny) {
            " INDEXED BY denied"
        } else if self.effect.is_some_and(|effect| effect != Effect::Read) {
            " INDEXED BY more_than_reads"
        } else {
            ""
        }
    }

    fn are_events(&self) -> bool {
        !self.kinds.is_empty() && !self.kinds.iter().any(|kind| kind.is_of_a_request())
    }
}

/// The records among the first `size` that fit. `db` is a reader with the index.
pub(crate) fn timeline(
    db: &Connection,
    index: &Index,
    filter: &Filter,
    size: u64,
) -> Result<Vec<Recorded>, LedgerError> {
    let unreadable = |error: rusqlite::Error| {
        index.doubt(&error);
        unreadable(&error)
    };
    let (sql, values) = filter.sql(size);
    let mut select = db.prepare_cached(&sql).map_err(unreadable)?;
    let mut rows = select.query(params_from_iter(values)).map_err(unreadable)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(unreadable)? {
        let columns = Columns::read(row, 3).map_err(unreadable)?;
        let row = Row::read(row).map_err(unreadable)?;
        let recorded = row.recorded().map_err(|what| untrue(row.index, &what))?;
        columns.check(row.canonical()).map_err(|what| {
            index.discard();
            untrue(row.index, &what)
        })?;
        found.push(recorded);
    }
    Ok(found)
}

/// The records before and after of a request, which stand there.
pub(crate) fn record_of(
    db: &Connection,
    request: &RequestId,
    places: Places,
) -> Result<(Option<Recorded>, Option<Recorded>), LedgerError> {
    let of_the_request = |place: Option<u64>| {
        let recorded = place.and_then(|index| record(db, index).transpose());
        let recorded = recorded.transpose()?;
        let is_of_it = |recorded: &Recorded| match &recorded.record.event {
            Event::Requested(requested) => requested.request == *request,
            Event::Settled(settled) => settled.request == *request,
            _ => false,
        };
        match recorded {
            Some(recorded) if !is_of_it(&recorded) => Err(untrue(
                recorded.index,
                "it is not of the request that it was found by",
            )),
            recorded => Ok(recorded),
        }
    };
    Ok((
        of_the_request(places.before)?,
        of_the_request(places.after)?,
    ))
}

/// The record at a place; `None` where none is committed yet.
fn record(db: &Connection, index: u64) -> Result<Option<Recorded>, LedgerError> {
    let mut select = db
        .prepare_cached(&format!("SELECT {COLUMNS} FROM records WHERE idx = ?1"))
        .map_err(|e| unreadable(&e))?;
    let mut rows = select
        .query([index.cast_signed()])
        .map_err(|e| unreadable(&e))?;
    let Some(row) = rows.next().map_err(|e| unreadable(&e))? else {
        return Ok(None);
    };
    let row = Row::read(row).map_err(|e| unreadable(&e))?;
    row.recorded()
        .map(Some)
        .map_err(|what| untrue(index, &what))
}

fn unreadable(error: &rusqlite::Error) -> LedgerError {
    LedgerError::Unreadable(words(error))
}

fn untrue(index: u64, what: &str) -> LedgerError {
    LedgerError::Unreadable(format!("record {index} is not what was recorded: {what}"))
}

/// Connections that cannot write, with the index, kept for the next reader.
pub(crate) struct Readers {
    path: PathBuf,
    /// `None` once the ledger is closed.
    idle: Mutex<Option<Vec<Connection>>>,
}

impl Readers {
    /// How many idle connections are kept.
    const KEPT: usize = 4;

    pub(crate) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            idle: Mutex::new(Some(Vec::new())),
        }
    }

    pub(crate) fn with<T>(
        &self,
        index: &Index,
        read: impl FnOnce(&Connection) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let idle = match self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            Some(idle) => idle.pop(),
            None => return Err(LedgerError::Closed),
        };
        let db = match idle {
            Some(db) => db,
            None => {
                let db = schema::reader(&self.path).map_err(|e| unreadable(&e))?;
                index.attach(&db).map_err(|e| unreadable(&e))?;
                db
            }
        };
        let result = read(&db);
        if let Some(idle) = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            && idle.len() < Self::KEPT
        {
            idle.push(db);
        }
        result
    }

    pub(crate) fn close(&self) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
