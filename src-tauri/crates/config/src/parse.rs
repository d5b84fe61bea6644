use crate::config::{Config, KindDefaults};
use crate::problem::{Problem, Problems};
use crate::section::{Section, Text, section_of};
use crate::{account, agent, overlap, passages, settings};
use countersign_model::{Account, AccountId, Agent, AgentId};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Looks up what a `kind` stands for; `None` when it is unknown.
pub type Kinds<'k> = dyn Fn(&str) -> Option<KindDefaults> + 'k;

/// Reads a file that the configuration names, relative to the home folder. The
/// name is already checked: relative, without `..`. The error is one sentence.
pub type ReadFile<'r> = dyn Fn(&str) -> Result<String, String> + 'r;

/// How much a configuration may hold. What is larger is a problem, not a cut.
#[derive(Debug)]
pub struct Limits;

impl Limits {
    /// Bytes of `countersign.toml`.
    pub const FILE: usize = 1024 * 1024;
    /// Agents.
    pub const AGENTS: usize = 1000;
    /// Accounts.
    pub const ACCOUNTS: usize = 1000;
    /// Accounts of one agent.
    pub const ACCOUNTS_OF_AGENT: usize = 200;
    /// Groups of one agent, tags and forwarded headers of one account.
    pub const LABELS: usize = 32;
    /// Host patterns of one account.
    pub const HOSTS: usize = 64;
    /// Effects rules of one account.
    pub const EFFECTS: usize = 500;
    /// Ports, and host ports, of one agent.
    pub const PORTS: usize = 16;
    /// Bytes of a CA file.
    pub const CA: usize = 64 * 1024;
}

/// Reads `countersign.toml`.
///
/// `file_name` is how problems name the file. `kinds` knows the catalogue's
/// kinds of accounts; `read` returns the files that `ca = "…"` names, so a
/// caller learns from it which files belong to the configuration.
///
/// # Errors
/// Every problem, in the order of the text, at most 100. A text that is no TOML
/// reports only what is wrong with it as TOML.
pub fn parse(
    text: &str,
    file_name: &str,
    kinds: &Kinds<'_>,
    read: &ReadFile<'_>,
) -> Result<Config, Vec<Problem>> {
    let mut problems = Problems::of(text);
    if text.len() > Limits::FILE {
        let found = text.len();
        problems.at(
            0,
            format!("expected at most {} bytes, found {found}", Limits::FILE),
        );
        return Err(problems.into_list(file_name));
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(text.len(), |span| span.start);
        problems.at(
            at,
            format!("expected TOML: {}", error.message().escape_debug()),
        );
    }
    if !problems.is_empty() {
        return Err(problems.into_list(file_name));
    }
    let config = read_document(&document, kinds, read, &mut problems);
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems.into_list(file_name))
    }
}

fn read_document(
    document: &Spanned<DeTable<'_>>,
    kinds: &Kinds<'_>,
    read: &ReadFile<'_>,
    problems: &mut Problems<'_>,
) -> Config {
    let mut top = Section::new("the file", document.get_ref(), 0);

    // Names first, so that an account which is itself wrong does not make every
    // agent that uses it look wrong too.
    let entries = named::<AccountId>(&mut top, "accounts", Limits::ACCOUNTS, problems);
    let known: BTreeSet<AccountId> = entries.iter().map(|(id, ..)| id.clone()).collect();
    let accounts: BTreeMap<AccountId, Arc<Account>> = entries
        .into_iter()
        .filter_map(|(id, at, value)| {
            let section = section_of(&format!("accounts.{id}"), value, problems)?;
            let account = account::read(id.clone(), at, section, kinds, read, problems)?;
            Some((id, Arc::new(account)))
        })
        .collect();

    let gateway = settings::gateway(&mut top, problems);
    let agents: BTreeMap<AgentId, Agent> =
        named::<AgentId>(&mut top, "agents", Limits::AGENTS, problems)
            .into_iter()
            .filter_map(|(id, at, value)| {
                if id == AgentId::doctor() {
                    problems.at(
                        at,
                        format!("expected another name in [agents]: {id} is Countersign's own"),
                    );
                    return None;
                }
                let section = section_of(&format!("agents.{id}"), value, problems)?;
                let (agent, places) = agent::read(id.clone(), section, &known, problems);
                overlap::check(&agent, &places, &accounts, problems);
                passages::check(&agent, at, &accounts, gateway.tcp, problems);
                Some((id, agent))
            })
            .collect();

    let config = Config {
        agents,
        accounts,
        hotkey: settings::hotkey(&mut top, problems),
        vault: settings::vault(&mut top, problems),
        gateway,
        approvals: settings::approvals(&mut top, problems),
    };
    top.finish(problems);
    config
}

/// The entries of a table whose keys are names: name, place of the key, value.
fn named<'t, Id: FromStr<Err: std::fmt::Display>>(
    top: &mut Section<'t>,
    key: &'static str,
    limit: usize,
    problems: &mut Problems<'_>,
) -> Vec<(Id, usize, &'t Spanned<DeValue<'t>>)> {
    let Some(section) = top.section(key, problems) else {
        return Vec::new();
    };
    let found = section.entries().count();
    if found > limit {
        problems.at(
            section.at(),
            format!("expected at most {limit} {key}, found {found}"),
        );
        return Vec::new();
    }
    section
        .entries()
        .filter_map(
            |(name, value): (Text<'t>, _)| match name.value.parse::<Id>() {
                Ok(id) => Some((id, name.at, value)),
                Err(rule) => {
                    problems.at(name.at, format!("expected a name in [{key}]: {rule}"));
                    None
                }
            },
        )
        .collect()
}
