//! `[agents.NAME]`

use crate::parse::Limits;
use crate::passages;
use crate::problem::Problems;
use crate::section::{Section, closest};
use crate::values;
use countersign_model::{AccountId, Agent, AgentId, Recipe};
use std::collections::BTreeSet;

/// Reads one agent. The places say where in the text each of its accounts was
/// named, in the same order as `Agent::accounts`.
pub(crate) fn read(
    id: AgentId,
    mut section: Section<'_>,
    known: &BTreeSet<AccountId>,
    problems: &mut Problems<'_>,
) -> (Agent, Vec<usize>) {
    let mut accounts = Vec::new();
    let mut places = Vec::new();
    for name in section.strings("accounts", Limits::ACCOUNTS_OF_AGENT, problems) {
        match name.value.parse::<AccountId>() {
            Ok(account) if known.contains(&account) => {
                accounts.push(account);
                places.push(name.at);
            }
            _ => {
                let names: Vec<&str> = known.iter().map(AccountId::as_str).collect();
                let hint = closest(name.value, &names)
                    .map(|near| format!(" (did you mean {near:?}?)"))
                    .unwrap_or_default();
                let found = name.shown();
                problems.at(
                    name.at,
                    format!("expected the name of an account in [accounts], found {found}{hint}"),
                );
            }
        }
    }
    let groups = section
        .strings("groups", Limits::LABELS, problems)
        .into_iter()
        .filter_map(|group| values::label(group, "a group", problems))
        .collect();
    let recipe = section.string("recipe", 64, problems).and_then(|text| {
        match text.value.parse::<Recipe>() {
            Ok(recipe) => Some(recipe),
            Err(expected) => {
                problems.at(text.at, format!("{expected}, found {}", text.shown()));
                None
            }
        }
    });
    let (ports, host_ports) = passages::read(&mut section, problems);
    section.finish(problems);
    (
        Agent {
            id,
            groups,
            accounts,
            recipe,
            ports,
            host_ports,
        },
        places,
    )
}
