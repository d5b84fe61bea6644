//! Pages of the trail. They are made of the records themselves: the index says
//! where to look, never what there is.

use crate::LedgerError;
use crate::columns::{Columns, decision_word, effect_bit};
use crate::error::words;
use crate::index::{Index, Known, Places, is_allowed};
use crate::kind::Kind;
use crate::recovery::request_of;
use crate::row::{COLUMNS, Row};
use crate::schema;
use crate::summary::BLOCK;
use countersign_model::{
    AccountId, AgentId, Decision, Effect, Recorded, RequestId, RunId, Timestamp,
};
use rusqlite::Connection;
use std::borrow::Cow;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

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

    /// Whether a record, or one that differs only in its request and is older, is
    /// what is looked for: as far as its columns say.
    fn fits(&self, columns: &Columns<'_>) -> bool {
        let is = |wanted: Option<&str>, there: &Option<Cow<'_, str>>| {
            wanted.is_none_or(|wanted| there.as_deref() == Some(wanted))
        };
        is(self.run.as_ref().map(RunId::as_str), &columns.run)
            && is(self.agent.as_ref().map(AgentId::as_str), &columns.agent)
            && is(
                self.account.as_ref().map(AccountId::as_str),
                &columns.account,
            )
            && is(self.decision.map(decision_word), &columns.decision)
            && self
                .since
                .is_none_or(|since| columns.at_ms >= since.unix_ms())
            && self.effect.is_none_or(|effect| {
                columns
                    .effects
                    .is_some_and(|all| all & effect_bit(effect) != 0)
            })
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.word() == columns.kind))
    }

    const fn limit(&self) -> usize {
        if self.limit == 0 || self.limit > Self::LARGEST_PAGE {
            Self::LARGEST_PAGE
        } else {
            self.limit
        }
    }

    /// Which of the first `size` records may be looked for.
    fn range(&self, size: u64) -> Range<u64> {
        let from = self.after_index.map_or(0, |index| index.saturating_add(1));
        let to = self.before_index.map_or(size, |index| index.min(size));
        from..to
    }

    const fn order(&self) -> Order {
        if self.after_index.is_some() {
            Order::OldestFirst
        } else {
            Order::NewestFirst
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    NewestFirst,
    OldestFirst,
}

/// The trail as a reader sees it. Everything that is shown is read from the
/// records themselves, and nothing is left out on the word of the index alone.
pub(crate) struct Trail<'a> {
    ledger: &'a Connection,
    /// The index, where it can be read.
    found: Option<&'a Connection>,
    index: &'a Index,
    size: u64,
}

impl Trail<'_> {
    /// The records that fit.
    pub(crate) fn timeline(&self, filter: &Filter) -> Result<Vec<Recorded>, LedgerError> {
        let mut found = Vec::new();
        let range = filter.range(self.size);
        if let Some(request) = &filter.request {
            let (before, after) = self.record_of(request)?;
            for recorded in [before, after].into_iter().flatten() {
                if range.contains(&recorded.index) && self.fits(filter, recorded.index)? {
                    found.push(recorded);
                }
            }
            if filter.order() == Order::NewestFirst {
                found.reverse();
            }
            found.truncate(filter.limit());
            return Ok(found);
        }
        self.walk(range, filter, |row, _| {
            found.push(row.recorded()?);
            Ok(found.len() < filter.limit())
        })?;
        Ok(found)
    }

    /// The records before and after of a request, which stand there.
    pub(crate) fn record_of(
        &self,
        request: &RequestId,
    ) -> Result<(Option<Recorded>, Option<Recorded>), LedgerError> {
        let (known, hint, covered) = self.look(request);
        let before = self.one_of(request, Kind::Requested, known.places.before, hint.before)?;
        let before = match before {
            None => self.search(0..covered, request, Kind::Requested)?,
            found => found,
        };
        // Again: the one after may have been recorded meanwhile.
        let (known, hint, covered) = self.look(request);
        let after = self.one_of(request, Kind::Settled, known.places.after, hint.after)?;
        let after = match (&before, after) {
            (Some(before), None) if is_allowed(&before.record) && !known.is_open => {
                self.search(before.index + 1..covered, request, Kind::Settled)?
            }
            (_, found) => found,
        };
        Ok((before, after))
    }

    /// What memory knows of a request, what the index hints at, and how many
    /// records it covered before either was asked. In this order: what is covered
    /// goes from memory only afterwards.
    fn look(&self, request: &RequestId) -> (Known, Places, u64) {
        let covered = self.index.covered();
        let known = self.index.known(request);
        let hint = self.index.hint(self.found, request);
        (known, hint, covered)
    }

    /// A record of a request where memory knows it, else where the index hints at
    /// it. Memory is right; what it knows may not be committed yet.
    fn one_of(
        &self,
        request: &RequestId,
        kind: Kind,
        known: Option<u64>,
        hint: Option<u64>,
    ) -> Result<Option<Recorded>, LedgerError> {
        let is_it = |recorded: &Recorded| {
            Kind::of(&recorded.record.event) == kind
                && request_of(&recorded.record).is_some_and(|(of, _)| of == request)
        };
        if let Some(place) = known {
            return match self.record(place)? {
                Some(recorded) if !is_it(&recorded) => Err(untrue(
                    place,
                    "it is not of the request that it was made for",
                )),
                found => Ok(found),
            };
        }
        let Some(place) = hint else {
            return Ok(None);
        };
        Ok(self.record(place)?.filter(is_it))
    }

    /// Looks for a record of a request that the index ought to have found, since
    /// it covers the range.
    fn search(
        &self,
        range: Range<u64>,
        request: &RequestId,
        kind: Kind,
    ) -> Result<Option<Recorded>, LedgerError> {
        let of_the_kind = Filter {
            kinds: vec![kind],
            after_index: range.start.checked_sub(1),
            ..Filter::default()
        };
        let mut found = None;
        self.walk(range, &of_the_kind, |row, columns| {
            if columns.request.as_deref() == Some(request.as_str()) {
                found = Some(row.recorded()?);
            }
            Ok(found.is_none())
        })?;
        if found.is_some() {
            self.index.doubt();
        }
        Ok(found)
    }

    /// Calls `each` with the records of a range that fit, until it says that it
    /// wants no more. Blocks of which none fits are passed by.
    fn walk(
        &self,
        range: Range<u64>,
        filter: &Filter,
        mut each: impl FnMut(&Row<'_>, &Columns<'_>) -> Result<bool, String>,
    ) -> Result<(), LedgerError> {
        if range.is_empty() {
            return Ok(());
        }
        let (first, last) = (range.start / BLOCK, (range.end - 1) / BLOCK);
        for at in 0..=last - first {
            let n = match filter.order() {
                Order::OldestFirst => first + at,
                Order::NewestFirst => last - at,
            };
            if let Some(like) = self.index.like(self.found, self.ledger, n)
                && !like.iter().any(|columns| filter.fits(columns))
            {
                continue;
            }
            let part = range.start.max(n * BLOCK)..range.end.min((n + 1) * BLOCK);
            if !self.read(part, filter, &mut each)? {
                break;
            }
        }
        Ok(())
    }

    /// The same for a range that is read, all of it, record by record.
    fn read(
        &self,
        range: Range<u64>,
        filter: &Filter,
        each: &mut impl FnMut(&Row<'_>, &Columns<'_>) -> Result<bool, String>,
    ) -> Result<bool, LedgerError> {
        let order = match filter.order() {
            Order::OldestFirst => "ASC",
            Order::NewestFirst => "DESC",
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM records WHERE idx >= ?1 AND idx < ?2 ORDER BY idx {order}"
        );
        let mut select = self.ledger.prepare_cached(&sql).map_err(unreadable)?;
        let bounds = [range.start.cast_signed(), range.end.cast_signed()];
        let mut rows = select.query(bounds).map_err(unreadable)?;
        for at in 0..range.end - range.start {
            let expected = match filter.order() {
                Order::OldestFirst => range.start + at,
                Order::NewestFirst => range.end - 1 - at,
            };
            let row = rows.next().map_err(unreadable)?;
            let row = row.map(Row::read).transpose().map_err(unreadable)?;
            let row = row
                .filter(|row| row.index == expected)
                .ok_or_else(|| untrue(expected, "it is missing"))?;
            let columns = row.columns().map_err(|what| untrue(expected, &what))?;
            if filter.fits(&columns)
                && !each(&row, &columns).map_err(|what| untrue(expected, &what))?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether one record fits.
    fn fits(&self, filter: &Filter, index: u64) -> Result<bool, LedgerError> {
        let mut fits = false;
        self.read(index..index + 1, filter, &mut |_, _| {
            fits = true;
            Ok(true)
        })?;
        Ok(fits)
    }

    /// The record at a place; `None` where none is committed yet.
    fn record(&self, index: u64) -> Result<Option<Recorded>, LedgerError> {
        let mut select = self
            .ledger
            .prepare_cached(&format!("SELECT {COLUMNS} FROM records WHERE idx = ?1"))
            .map_err(unreadable)?;
        let mut rows = select.query([index.cast_signed()]).map_err(unreadable)?;
        let Some(row) = rows.next().map_err(unreadable)? else {
            return Ok(None);
        };
        let row = Row::read(row).map_err(unreadable)?;
        row.recorded()
            .map(Some)
            .map_err(|what| untrue(index, &what))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: rusqlite::Error) -> LedgerError {
    LedgerError::Unreadable(words(&error))
}

fn untrue(index: u64, what: &str) -> LedgerError {
    LedgerError::Unreadable(format!("record {index} is not what was recorded: {what}"))
}

/// Connections that cannot write: to the ledger, and to the index where it can be
/// read.
type Pair = (Connection, Option<Connection>);

/// Such connections, kept for the next reader.
pub(crate) struct Readers {
    path: PathBuf,
    /// `None` once the ledger is closed.
    idle: Mutex<Option<Vec<Pair>>>,
}

impl Readers {
    /// How many idle ones are kept.
    const KEPT: usize = 4;

    pub(crate) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            idle: Mutex::new(Some(Vec::new())),
        }
    }

    /// Reads the trail up to `size`, once the index is up to date, if it can be.
    pub(crate) fn with<T>(
        &self,
        index: &Index,
        size: u64,
        read: impl FnOnce(&Trail<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let idle = match self.idle().as_mut() {
            Some(idle) => idle.pop(),
            None => return Err(LedgerError::Closed),
        };
        let (ledger, found) = match idle {
            Some(pair) => pair,
            None => (
                schema::reader(&self.path).map_err(unreadable)?,
                index.reader_if_any(),
            ),
        };
        // Without it, what it does not cover is read record by record.
        let _ = index.catch_up(&ledger, size);
        let result = read(&Trail {
            ledger: &ledger,
            found: found.as_ref(),
            index,
            size,
        });
        // Without the index, the next reader tries again.
        if found.is_some()
            && let Some(idle) = self.idle().as_mut()
            && idle.len() < Self::KEPT
        {
            idle.push((ledger, found));
        }
        result
    }

    pub(crate) fn close(&self) {
        *self.idle() = None;
    }

    fn idle(&self) -> MutexGuard<'_, Option<Vec<Pair>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
