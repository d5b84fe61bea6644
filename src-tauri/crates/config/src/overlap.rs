//! No two accounts of an agent share a host: it would be a matter of chance
//! which credential a request gets.

use crate::problem::Problems;
use countersign_model::{Account, AccountId, Agent, HostPattern};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Notes each account of the agent that shares a host with another of its
/// accounts. Ports do not tell accounts apart: a host belongs to one.
pub(crate) fn check(
    agent: &Agent,
    places: &[usize],
    accounts: &BTreeMap<AccountId, Arc<Account>>,
    problems: &mut Problems<'_>,
) {
    let assigned: Vec<(&Account, usize)> = agent
        .accounts
        .iter()
        .zip(places)
        .filter_map(|(id, at)| Some((accounts.get(id)?.as_ref(), *at)))
        .collect();

    let mut owners: HashMap<&str, &Account> = HashMap::new();
    for (account, at) in &assigned {
        for host in &account.hosts {
            match owners.get(host.as_str()) {
                Some(other) if other.id != account.id => {
                    note(other, account, host.as_str(), *at, problems);
                }
                _ => {
                    owners.insert(host.as_str(), account);
                }
            }
        }
    }
    for (account, at) in &assigned {
        for host in &account.hosts {
            for wildcard in wildcards_over(host) {
                if let Some(other) = owners.get(wildcard.as_str())
                    && other.id != account.id
                {
                    note(other, account, host.as_str(), *at, problems);
                }
            }
        }
    }
}

/// The wildcards that match what the pattern matches, the pattern itself left
/// out: for `a.b.example`, `*.b.example` and `*.example`.
fn wildcards_over(host: &HostPattern) -> impl Iterator<Item = String> {
    let mut rest = host.wildcard_base().unwrap_or(host.as_str());
    std::iter::from_fn(move || {
        (_, rest) = rest.split_once('.')?;
        Some(format!("*.{rest}"))
    })
}

fn note(one: &Account, other: &Account, host: &str, at: usize, problems: &mut Problems<'_>) {
    problems.at(
        at,
        format!(
            "expected accounts that share no host, found {:?} and {:?} both at {host}: \
             nothing would say which credential a request gets",
            one.id.as_str(),
            other.id.as_str(),
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_lies_over_every_deeper_name() {
        let over = |text: &str| -> Vec<String> {
            wildcards_over(&HostPattern::new(text).unwrap()).collect()
        };
        assert_eq!(over("a.b.example"), ["*.b.example", "*.example"]);
        assert_eq!(over("*.b.example"), ["*.example"]);
        assert!(over("localhost").is_empty());
    }
}
