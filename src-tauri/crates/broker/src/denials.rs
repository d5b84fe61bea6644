//! Three denials of the same agent, account and effect within ten minutes:
//! denied by itself until the human lifts it.

use countersign_model::{AccountId, AgentId, Effect, Effects};
use std::collections::HashMap;
use std::time::Duration;

/// How many denials make one that stands.
const LIMIT: usize = 3;
/// Within what time, on the boot-time clock.
const WITHIN: Duration = Duration::from_secs(600);

type Key = (AgentId, AccountId, Effect);

/// Counts a human's denials.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    recent: HashMap<Key, Vec<Duration>>,
    standing: Vec<Key>,
}

impl Denials {
    /// A human said no. Returns what stands from now on, if anything new does.
    pub(crate) fn denied(
        &mut self,
        agent: &AgentId,
        account: &AccountId,
        effects: Effects,
        now: Duration,
    ) -> Vec<Effect> {
        let mut new = Vec::new();
        for effect in effects.iter() {
            let key = (agent.clone(), account.clone(), effect);
            let times = self.recent.entry(key.clone()).or_default();
            times.retain(|&at| now.saturating_sub(at) < WITHIN);
            times.push(now);
            if times.len() >= LIMIT && !self.standing.contains(&key) {
                self.recent.remove(&key);
                self.standing.push(key);
                new.push(effect);
            }
        }
        new
    }

    /// The first effect of these that is denied by itself.
    pub(crate) fn standing(
        &self,
        agent: &AgentId,
        account: &AccountId,
        effects: Effects,
    ) -> Option<Effect> {
        self.standing
            .iter()
            .find(|(a, c, e)| a == agent && c == account && effects.has(*e))
            .map(|(_, _, effect)| *effect)
    }

    /// A human lifts all that stand against an agent. Returns how many did.
    pub(crate) fn lift(&mut self, agent: &AgentId) -> usize {
        let before = self.standing.len();
        self.standing.retain(|(a, _, _)| a != agent);
        self.recent.retain(|(a, _, _), _| a != agent);
        before - self.standing.len()
    }

    /// All that stand, for people.
    pub(crate) fn all(&self) -> &[Key] {
        &self.standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (AgentId, AccountId) {
        ("bot".parse().unwrap(), "mail".parse().unwrap())
    }

    #[test]
    fn the_third_denial_within_ten_minutes_stands_until_it_is_lifted() {
        let (bot, mail) = ids();
        let delete = Effects::of(&[Effect::Delete]);
        let mut denials = Denials::default();
        assert!(
            denials
                .denied(&bot, &mail, delete, Duration::from_secs(1))
                .is_empty()
        );
        assert!(
            denials
                .denied(&bot, &mail, delete, Duration::from_secs(2))
                .is_empty()
        );
        assert_eq!(denials.standing(&bot, &mail, delete), None);
        assert_eq!(
            denials.denied(&bot, &mail, delete, Duration::from_secs(3)),
            [Effect::Delete]
        );
        assert_eq!(denials.standing(&bot, &mail, delete), Some(Effect::Delete));
        assert_eq!(
            denials.standing(&bot, &mail, Effects::of(&[Effect::Write])),
            None
        );
        assert_eq!(denials.lift(&bot), 1);
        assert_eq!(denials.standing(&bot, &mail, delete), None);
    }

    #[test]
    fn denials_spread_over_more_than_ten_minutes_do_not_add_up() {
        let (bot, mail) = ids();
        let delete = Effects::of(&[Effect::Delete]);
        let mut denials = Denials::default();
        for at in [0, 400, 800, 1200] {
            assert!(
                denials
                    .denied(&bot, &mail, delete, Duration::from_secs(at))
                    .is_empty(),
                "{at}"
            );
        }
    }
}
