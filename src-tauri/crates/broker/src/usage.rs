//! What was used lately, for policies: requests and objects of an agent on an
//! account within the last hour.
//!
//! A share is taken when a request is let through, and only one that provably
//! never left gives it back.

use countersign_model::{AccountId, AgentId};
use countersign_policy::Recent;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(3600);
/// One bucket a minute: sixty of them, whatever the traffic.
const BUCKET: Duration = Duration::from_secs(60);

/// Whose, and on what.
type Key = (AgentId, AccountId);

#[derive(Debug)]
struct Bucket {
    from: Duration,
    requests: u64,
    objects: u64,
}

/// What one request took.
#[derive(Debug)]
pub(crate) struct Share {
    key: Key,
    /// Of its bucket.
    from: Duration,
    objects: u64,
}

/// Counts by agent and account, of which the configuration has so many.
#[derive(Debug, Default)]
pub(crate) struct Usage(HashMap<Key, VecDeque<Bucket>>);

impl Usage {
    pub(crate) fn recent(&mut self, agent: &AgentId, account: &AccountId, now: Duration) -> Recent {
        let Some(buckets) = self.0.get_mut(&(agent.clone(), account.clone())) else {
            return Recent::default();
        };
        while buckets
            .front()
            .is_some_and(|b| now.saturating_sub(b.from) >= WINDOW)
        {
            buckets.pop_front();
        }
        Recent {
            requests: buckets.iter().map(|b| b.requests).sum(),
            objects: buckets
                .iter()
                .fold(0, |sum, b| b.objects.saturating_add(sum)),
        }
    }

    pub(crate) fn take(
        &mut self,
        agent: &AgentId,
        account: &AccountId,
        objects: u64,
        now: Duration,
    ) -> Share {
        let key = (agent.clone(), account.clone());
        let buckets = self.0.entry(key.clone()).or_default();
        let from = match buckets.back_mut() {
            Some(last) if now.saturating_sub(last.from) < BUCKET => {
                last.requests = last.requests.saturating_add(1);
                last.objects = last.objects.saturating_add(objects);
                last.from
            }
            _ => {
                let bucket = Bucket {
                    from: now,
                    requests: 1,
                    objects,
                };
                buckets.push_back(bucket);
                now
            }
        };
        Share { key, from, objects }
    }

    /// What provably never left was not used.
    pub(crate) fn give_back(&mut self, share: &Share) {
        let mut buckets = self.0.get_mut(&share.key).into_iter().flatten();
        if let Some(bucket) = buckets.find(|b| b.from == share.from) {
            bucket.requests = bucket.requests.saturating_sub(1);
            bucket.objects = bucket.objects.saturating_sub(share.objects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (AgentId, AccountId) {
        ("bot".parse().unwrap(), "mail".parse().unwrap())
    }

    #[test]
    fn what_is_older_than_an_hour_does_not_count() {
        let (bot, mail) = ids();
        let mut usage = Usage::default();
        usage.take(&bot, &mail, 5, Duration::from_secs(0));
        usage.take(&bot, &mail, 2, Duration::from_secs(100));
        let at = |u: &mut Usage, s| u.recent(&bot, &mail, Duration::from_secs(s)).objects;
        assert_eq!(at(&mut usage, 200), 7);
        assert_eq!(at(&mut usage, 3650), 2);
        assert_eq!(at(&mut usage, 4000), 0);
    }

    #[test]
    fn what_is_given_back_is_not_counted_and_never_twice_below_zero() {
        let (bot, mail) = ids();
        let mut usage = Usage::default();
        let now = Duration::from_secs(1);
        let share = usage.take(&bot, &mail, 5, now);
        usage.take(&bot, &mail, 2, now);
        usage.give_back(&share);
        let recent = usage.recent(&bot, &mail, now);
        assert_eq!((recent.requests, recent.objects), (1, 2));
        let much_later = usage.recent(&bot, &mail, Duration::from_secs(9000));
        assert_eq!(much_later.requests, 0);
        usage.give_back(&share);
        assert_eq!(usage.recent(&bot, &mail, now).requests, 0);
    }

    #[test]
    fn an_hour_of_traffic_is_at_most_sixty_one_buckets() {
        let (bot, mail) = ids();
        let mut usage = Usage::default();
        for second in 0..20_000 {
            usage.recent(&bot, &mail, Duration::from_secs(second));
            usage.take(&bot, &mail, u64::MAX, Duration::from_secs(second));
        }
        assert!(usage.0[&(bot, mail)].len() <= 61);
    }
}
