//! What refusals may write into the trail. An agent is refused as often as it likes
//! to ask, and the disk is everybody's.
//!
//! Each run has room for so many bytes of records of refusals, which comes back
//! with time. While there is room, each refusal is a record of its own, written
//! before the agent hears of it. Beyond, it is counted with those like it (the same
//! reason, and the same of the agent's accounts), answered slowly, and the counts are
//! written down every few seconds and at the run's end: none is left out, and a crash
//! loses the counts of these few seconds, which the trail says beforehand. What a
//! human answered is always a record of its own.

use crate::broker::Broker;
use crate::runs::Run;
use countersign_model::{AccountId, AgentId, Decision, Event, ReasonCode, Requested, Timestamp};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The room of a run, in bytes of its records: some seven hundred.
const ROOM: u64 = 1 << 20;
/// What comes back of it each second: 170 MB a day, if it is all used.
const BACK: u64 = 2 << 10;
/// How often counts are written down.
const EVERY: Duration = Duration::from_secs(10);
/// How long an agent waits for a refusal that is only counted.
const SLOWED: Duration = Duration::from_millis(100);

/// The refusals of one run.
#[derive(Debug)]
pub(crate) struct Refusals {
    room: u64,
    /// Since when nothing came back, on the boot-time clock.
    since: Duration,
    counts: BTreeMap<Like, Count>,
    /// The trail says that they are counted.
    said: bool,
    /// The run has ended: what comes yet is written down.
    over: bool,
}

/// What makes refusals alike.
type Like = (Option<AccountId>, ReasonCode);

#[derive(Debug, Clone, Copy)]
struct Count {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

/// What becomes of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Becomes {
    Record,
    /// The first of those that are written down together.
    First,
    Counted,
}

impl Refusals {
    pub(crate) fn new() -> Self {
        Self {
            room: ROOM,
            since: Duration::ZERO,
            counts: BTreeMap::new(),
            said: false,
            over: false,
        }
    }

    fn refused(&mut self, like: Like, bytes: u64, now: Duration, at: Timestamp) -> Becomes {
        let back = now.saturating_sub(self.since).as_secs();
        self.room = self
            .room
            .saturating_add(back.saturating_mul(BACK))
            .min(ROOM);
        self.since += Duration::from_secs(back);
        if self.over {
            return Becomes::Record;
        }
        if let Some(left) = self.room.checked_sub(bytes) {
            self.room = left;
            return Becomes::Record;
        }
        let first = self.counts.is_empty();
        let counted = self.counts.entry(like).or_insert(Count {
            count: 0,
            first: at,
            last: at,
        });
        counted.count += 1;
        counted.last = at;
        if first {
            Becomes::First
        } else {
            Becomes::Counted
        }
    }
}

impl Broker {
    /// Whether this refusal is one of those that are only counted. The agent then
    /// has waited for it.
    pub(crate) async fn only_counts(&self, run: &Arc<Run>, refused: &Requested) -> bool {
        if refused.approval.is_some() {
            return false;
        }
        let Some(reason) = refused.reason else {
            return false;
        };
        let like = like(reason, refused.account.as_ref(), |account| {
            self.is_assigned(&run.facts.agent, account)
        });
        let (bytes, now, at) = (
            length(refused),
            self.inner.clock.boot(),
            self.inner.clock.wall(),
        );
        // Apart from what follows: the lock is held for this.
        let becomes = run.refusals().refused(like, bytes, now, at);
        match becomes {
            Becomes::Record => return false,
            Becomes::Counted => {}
            Becomes::First => self.begin_to_count(run),
        }
        tokio::time::sleep(SLOWED).await;
        true
    }

    fn is_assigned(&self, agent: &AgentId, account: &AccountId) -> bool {
        self.force().is_some_and(|force| {
            let mut accounts = force.config.accounts_of(agent);
            accounts.any(|assigned| assigned.id == *account)
        })
    }

    fn begin_to_count(&self, run: &Arc<Run>) {
        let said = std::mem::replace(&mut run.refusals().said, true);
        if !said {
            self.record_later(Event::Noted {
                what: format!(
                    "run {} of {} is refused so often that from here on its refusals may be counted, and written down every {} seconds",
                    run.facts.run,
                    run.facts.agent,
                    EVERY.as_secs()
                ),
                detail: None,
            });
        }
        let (broker, run) = (self.clone(), Arc::clone(run));
        tokio::spawn(async move {
            tokio::time::sleep(EVERY).await;
            broker.write_counts(&run);
        });
    }

    /// At a run's end.
    pub(crate) fn write_last_counts(&self, run: &Run) {
        run.refusals().over = true;
        self.write_counts(run);
    }

    fn write_counts(&self, run: &Run) {
        let counts = std::mem::take(&mut run.refusals().counts);
        for ((account, reason), Count { count, first, last }) in counts {
            self.record_later(Event::MoreRefused {
                run: run.facts.run.clone(),
                agent: run.facts.agent.clone(),
                account,
                decision: Decision::Deny,
                reason,
                count,
                first,
                last,
            });
        }
    }
}

/// By account only where that is the agent's: a gateway that was taken over names as
/// many others as it likes.
fn like(
    reason: ReasonCode,
    account: Option<&AccountId>,
    is_assigned: impl Fn(&AccountId) -> bool,
) -> Like {
    (
        account.filter(|account| is_assigned(account)).cloned(),
        reason,
    )
}

/// In bytes of JSON.
fn length(refused: &Requested) -> u64 {
    struct Counter(u64);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // What cannot be written takes all the room there is.
    match serde_json::to_writer(&mut counter, refused) {
        Ok(()) => counter.0,
        Err(_) => ROOM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> (Duration, Timestamp) {
        let ms = i64::try_from(seconds * 1000).unwrap();
        (Duration::from_secs(seconds), Timestamp::from_unix_ms(ms))
    }

    fn refuse(refusals: &mut Refusals, reason: ReasonCode, seconds: u64) -> Becomes {
        let (now, wall) = at(seconds);
        refusals.refused((None, reason), 1500, now, wall)
    }

    #[test]
    fn beyond_the_room_refusals_are_counted_by_likeness_and_none_is_left_out() {
        let mut refusals = Refusals::new();
        let (mut records, mut first) = (0, 0);
        for number in 0..10_000_u64 {
            let reason = [ReasonCode::Policy, ReasonCode::Malformed][usize::from(number % 2 == 1)];
            match refuse(&mut refusals, reason, 5) {
                Becomes::Record => records += 1,
                Becomes::First => first += 1,
                Becomes::Counted => {}
            }
        }
        assert_eq!((records, first), (ROOM / 1500, 1));
        let counted: u64 = refusals.counts.values().map(|c| c.count).sum();
        assert_eq!((records + counted, refusals.counts.len()), (10_000, 2));
    }

    #[test]
    fn accounts_that_are_not_the_agents_make_no_difference_however_many_are_named() {
        let mut refusals = Refusals::new();
        let (now, wall) = at(1);
        let mail: AccountId = "mail".parse().unwrap();
        for number in 0..10_000 {
            let made_up: AccountId = format!("made-up-{number}").parse().unwrap();
            for account in [&made_up, &mail] {
                let like = like(ReasonCode::NotAssigned, Some(account), |one| *one == mail);
                refusals.refused(like, 1500, now, wall);
            }
        }
        let counted: Vec<_> = refusals.counts.into_keys().collect();
        let expected = [None, Some(mail)].map(|account| (account, ReasonCode::NotAssigned));
        assert_eq!(counted, expected);
    }

    #[test]
    fn room_comes_back_with_time_and_no_more_than_there_was() {
        let mut refusals = Refusals::new();
        while refuse(&mut refusals, ReasonCode::Policy, 100) == Becomes::Record {}
        assert_eq!(
            refuse(&mut refusals, ReasonCode::Policy, 100),
            Becomes::Counted
        );
        assert_eq!(
            refuse(&mut refusals, ReasonCode::Policy, 101),
            Becomes::Record
        );
        let long_after = 1_000_000;
        let mut records = 0;
        while refuse(&mut refusals, ReasonCode::Policy, long_after) == Becomes::Record {
            records += 1;
        }
        assert_eq!(records, ROOM / 1500);
    }

    #[test]
    fn what_comes_after_the_end_of_a_run_is_a_record_of_its_own() {
        let mut refusals = Refusals::new();
        while refuse(&mut refusals, ReasonCode::Policy, 1) == Becomes::Record {}
        refusals.over = true;
        assert_eq!(
            refuse(&mut refusals, ReasonCode::Policy, 1),
            Becomes::Record
        );
    }
}
