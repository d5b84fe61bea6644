//! The timeline: records as people read them, each with its outcome.

use super::control::failed;
use super::{Authority, wire};
use crate::exit;
use countersign_broker::Broker;
use countersign_ledger::{Filter, Kind, LedgerError};
use countersign_model::{AgentId, Event, Passed, Recorded, RunId};
use countersign_protocol::control::Reply;
use countersign_protocol::surface::{TimelineEntry, TimelineFilter, ToSurface};
use std::io;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

const DEFAULT_LIMIT: u32 = 100;
/// Entries that are given at once must fit into one frame.
const MOST_BYTES: usize = countersign_protocol::frame::LIMIT / 2;
/// One more is read, to know whether there are older ones.
const MOST: u32 = Filter::LARGEST_PAGE as u32 - 1;

/// Entries, newest first, and whether there are older ones. Reads the disk: not
/// for a task of the runtime.
pub(super) fn entries(
    broker: &Broker,
    filter: &TimelineFilter,
) -> Result<(Vec<TimelineEntry>, bool), LedgerError> {
    let limit = if filter.limit == 0 {
        DEFAULT_LIMIT
    } else {
        filter.limit.min(MOST)
    } as usize;
    let mut records = broker.ledger().timeline(&Filter {
        agent: filter.agent.clone(),
        account: filter.account.clone(),
        effect: filter.effect,
        decision: filter.decision,
        request: filter.request.clone(),
        run: filter.run.clone(),
        since: filter.since,
        before_index: filter.before,
        kinds: shown_kinds(),
        limit: limit + 1,
        ..Filter::default()
    })?;
    let mut more = records.len() > limit;
    records.truncate(limit);
    let mut entries = Vec::with_capacity(records.len());
    let mut bytes = 0;
    for record in records {
        let entry = entry(broker, record)?;
        // What it takes on the wire; what cannot be written takes too much.
        bytes += serde_json::to_vec(&entry).map_or(MOST_BYTES, |json| json.len());
        if bytes > MOST_BYTES && !entries.is_empty() {
            more = true;
            break;
        }
        entries.push(entry);
    }
    Ok((entries, more))
}

/// Outcomes stand with their requests, not as lines of their own.
fn shown_kinds() -> Vec<Kind> {
    Kind::ALL
        .into_iter()
        .filter(|kind| *kind != Kind::Settled)
        .collect()
}

/// One record with its outcome.
fn entry(broker: &Broker, recorded: Recorded) -> Result<TimelineEntry, LedgerError> {
    let settled = match &recorded.record.event {
        Event::Requested(requested) => broker.ledger().record_of(&requested.request)?.1,
        _ => None,
    };
    Ok(TimelineEntry {
        index: recorded.index,
        at: recorded.record.at,
        event: recorded.record.event,
        settled: settled.and_then(|r| match r.record.event {
            Event::Settled(settled) => Some(settled),
            _ => None,
        }),
    })
}

/// The entry that a new record makes or changes.
fn changed(broker: &Broker, recorded: &Recorded) -> Option<TimelineEntry> {
    match &recorded.record.event {
        Event::Settled(settled) => {
            let before = broker.ledger().record_of(&settled.request).ok()?.0?;
            Some(TimelineEntry {
                index: before.index,
                at: before.record.at,
                event: before.record.event,
                settled: Some(settled.clone()),
            })
        }
        event => Some(TimelineEntry {
            index: recorded.index,
            at: recorded.record.at,
            event: event.clone(),
            settled: None,
        }),
    }
}

/// Tells a surface of each new entry, worked out on a thread that may read the
/// disk. Under load some are left out: the timeline has them all, and what the
/// human is asked must find room.
pub(super) async fn tell(
    broker: Broker,
    mut records: broadcast::Receiver<Arc<Recorded>>,
    to: mpsc::WeakSender<ToSurface>,
) {
    loop {
        let recorded = match records.recv().await {
            Ok(recorded) => recorded,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let reading = broker.clone();
        let entry = tokio::task::spawn_blocking(move || changed(&reading, &recorded)).await;
        let Some(to) = to.upgrade() else {
            return;
        };
        if let Ok(Some(entry)) = entry
            && to.capacity() > to.max_capacity() / 2
        {
            // Whoever reads no more is found out by the desk.
            let _ = to.try_send(ToSurface::Entry(Box::new(entry)));
        }
    }
}

/// Answers `countersign timeline`, and goes on when it follows.
pub(super) async fn give(
    authority: &Arc<Authority>,
    stream: &mut UnixStream,
    filter: TimelineFilter,
    follow: bool,
) -> io::Result<()> {
    let mut records = authority.broker.ledger().subscribe();
    let broker = authority.broker.clone();
    let wanted = filter.clone();
    let found = tokio::task::spawn_blocking(move || entries(&broker, &wanted))
        .await
        .map_err(io::Error::other)?;
    let (entries, more) = match found {
        Ok(found) => found,
        Err(e) => return wire::write(stream, &failed(exit::FAILED, e.to_string())).await,
    };
    wire::write(stream, &Reply::Timeline { entries, more }).await?;
    if !follow {
        return Ok(());
    }
    loop {
        let recorded = match records.recv().await {
            Ok(recorded) => recorded,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return Ok(()),
        };
        let broker = authority.broker.clone();
        let entry = tokio::task::spawn_blocking(move || changed(&broker, &recorded))
            .await
            .map_err(io::Error::other)?;
        if let Some(entry) = entry.filter(|e| matches(&filter, e)) {
            wire::write(
                stream,
                &Reply::Timeline {
                    entries: vec![entry],
                    more: false,
                },
            )
            .await?;
        }
    }
}

/// Whether an entry is one that the filter asks for.
fn matches(filter: &TimelineFilter, entry: &TimelineEntry) -> bool {
    fn is<T: PartialEq>(wanted: &Option<T>, there: Option<&T>) -> bool {
        wanted
            .as_ref()
            .is_none_or(|wanted| there.is_some_and(|there| there == wanted))
    }
    let (agent, run) = whose(&entry.event);
    if !is(&filter.agent, agent) || !is(&filter.run, run) {
        return false;
    }
    match &entry.event {
        Event::Requested(r) => {
            let has = |effect| r.action.as_ref().is_some_and(|a| a.effects.has(effect));
            is(&filter.account, r.account.as_ref())
                && filter.effect.is_none_or(has)
                && is(&filter.decision, Some(&r.decision))
                && is(&filter.request, Some(&r.request))
        }
        Event::MoreRefused {
            account, decision, ..
        } => {
            is(&filter.account, account.as_ref())
                && filter.effect.is_none()
                && is(&filter.decision, Some(decision))
                && filter.request.is_none()
        }
        _ => {
            filter.account.is_none()
                && filter.effect.is_none()
                && filter.decision.is_none()
                && filter.request.is_none()
        }
    }
}

/// The agent and the run that an event names.
fn whose(event: &Event) -> (Option<&AgentId>, Option<&RunId>) {
    match event {
        Event::Requested(r) => (Some(&r.agent), r.run.as_ref()),
        Event::RunStarted(r) => (Some(&r.agent), Some(&r.run)),
        Event::RunEnded { run, .. } => (None, Some(run)),
        Event::MoreRefused { run, agent, .. }
        | Event::PassageOpened { run, agent, .. }
        | Event::PassageClosed(Passed { run, agent, .. }) => (Some(agent), Some(run)),
        Event::AgentStopped { agent, .. } | Event::AgentResumed { agent, .. } => {
            (Some(agent), None)
        }
        _ => (None, None),
    }
}
