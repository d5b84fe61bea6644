//! What was used lately, for policies: requests and objects of an agent on an
//! account within the last hour.

use countersign_model::{AccountId, AgentId};
use countersign_policy::Recent;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(3600);
/// One bucket a minute: sixty of them, whatever the traffic.
const BUCKET: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Bucket {
    from: Duration,
    requests: u64,
    objects: u64,
}

/// Counts by agent and account.
#[derive(Debug, Default)]
pub(crate) struct Usage(HashMap<(AgentId, AccountId), VecDeque<Bucket>>);

impl Usage {
    pub(crate) fn recent(&mut self, agent: &AgentId, account: &AccountId, now: Duration) -> Recent {
        let Some(buckets) = self.0.get_mut(&(agent.clone(), account.clone())) else {
            return Recent::default();
        };
        while buckets.front().is_some_and(|b| now.saturating_sub(b.from) >= WINDOW) {
            buckets.pop_front();
        }
        Recent {
            requests: buckets.iter().map(|b| b.requests).sum(),
            objects: buckets.iter().map(|b| b.objects).sum(),
        }
    }

    pub(crate) fn count(&mut self, agent: &AgentId, account: &AccountId, objects: u64, now: Duration) {
        let buckets = self.0.entry((agent.clone(), account.clone())).or_default();
        match buckets.back_mut() {
            Some(last) if now.saturating_sub(last.from) < BUCKET => {
                last.requests = last.requests.saturating_add(1);
                last.objects = last.objects.saturating_add(objects);
            }
            _ => buckets.push_back(Bucket { from: now, requests: 1, objects }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_an_hour_does_not_count() {
        let (bot, mail) = ("bot".parse().unwrap(), "mail".parse().unwrap());
        let mut usage = Usage::default();
        usage.count(&bot, &mail, 5, Duration::from_secs(0));
        usage.count(&bot, &mail, 2, Duration::from_secs(100));
        let at = |u: &mut Usage, s| u.recent(&bot, &mail, Duration::from_secs(s)).objects;
        assert_eq!(at(&mut usage, 200), 7);
        assert_eq!(at(&mut usage, 3650), 2);
        assert_eq!(at(&mut usage, 4000), 0);
    }
}
