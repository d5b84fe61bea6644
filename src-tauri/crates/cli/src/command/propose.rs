//! `countersign run claude`, where there is no such agent yet: it is made from
//! its recipe. That is a change of the configuration like any other: the text is
//! written, and a human accepts its diff at a surface, or nothing stays of it.

use super::ask::{once, said};
use crate::client::Failure;
use crate::home::{Home, write_whole};
use crate::recipe;
use crate::say;
use crate::serve::accepted;
use countersign_catalogue::kind;
use countersign_config::Config;
use countersign_config::edit::{self, EditError, NewAccount};
use countersign_model::{Account, AccountId, AgentId, Recipe};
use countersign_protocol::control::{Ask, Reply};
use std::ffi::OsString;
use std::path::Path;

/// The recipe of the program that a command line starts.
pub(super) fn recipe_of(argv: &[OsString]) -> Option<Recipe> {
    let program = Path::new(argv.first()?).file_stem()?;
    program.to_str()?.parse().ok()
}

/// Makes the agent, if there is none of this name and its program has a recipe.
///
/// # Errors
/// When the human says no, or the agent could do nothing yet: it needs the
/// credential of its model first.
pub(super) fn if_new(home: &Home, agent: &AgentId, argv: &[OsString]) -> Result<(), Failure> {
    let Some(recipe) = recipe_of(argv) else {
        return Ok(());
    };
    let on_disk = accepted::read_disk(home).map_err(|p| Failure::new(p.join("\n")))?;
    if on_disk.config.agents.contains_key(agent) {
        return Ok(());
    }
    let path = home.config_file();
    let problem = |e: std::io::Error| Failure::new(format!("{}: {e}", path.display()));
    let before = std::fs::read_to_string(&path).map_err(problem)?;
    let (after, model) = written(&before, &on_disk.config, agent, recipe)
        .map_err(|e| Failure::new(e.to_string()))?;
    let write = |text: &str| write_whole(&path, text.as_bytes()).map_err(problem);
    write(&after)?;
    let accepted = match accepted::read_disk(home) {
        Err(problems) => Err(Failure::new(format!(
            "The agent {agent} cannot be made from its recipe:\n{}",
            problems.join("\n")
        ))),
        Ok(_) => {
            say::notice(&format!(
                "There is no agent {agent} yet. What its recipe says is before you to accept."
            ));
            once(&Ask::ConfigAccept {}).and_then(|reply| said(&reply, false))
        }
    };
    if let Err(failure) = accepted {
        // Unless somebody has written something else meanwhile.
        if std::fs::read_to_string(&path).is_ok_and(|now| now == after) {
            write(&before)?;
        }
        return Err(failure);
    }
    let Reply::Credentials { credentials } = once(&Ask::CredentialList {})? else {
        return Err(super::ask::unexpected());
    };
    if credentials.iter().any(|c| c.id == model.clone().into()) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "The agent {agent} is there now, but its account {model} has no credential yet. Store it with: countersign credential set {model}, and start again."
    )))
}

/// The text with the agent in it, and the account of its model.
fn written(
    text: &str,
    config: &Config,
    agent: &AgentId,
    recipe: Recipe,
) -> Result<(String, AccountId), EditError> {
    let facts = recipe::facts(recipe);
    let mut text = text.to_owned();
    let mut accounts = Vec::new();
    let among = facts
        .models
        .iter()
        .find(|name| of_kind(config, name).is_some());
    let model = among.or_else(|| facts.models.first()).into_iter();
    for name in model.chain(facts.sites) {
        let account = match of_kind(config, name) {
            Some(account) => account.id.clone(),
            None => {
                let id = free_name(config, name)?;
                let new = NewAccount {
                    kind: Some((*name).to_owned()),
                    ..NewAccount::default()
                };
                text = edit::add_account(&text, &id, &new)?;
                id
            }
        };
        accounts.push(account);
    }
    let first = accounts.first().cloned();
    let model = first.ok_or_else(|| EditError::Missing(format!("a model for {recipe}")))?;
    Ok((
        edit::add_agent(&text, agent, &accounts, Some(recipe))?,
        model,
    ))
}

/// An account or site that is what this kind would be.
fn of_kind<'c>(config: &'c Config, name: &str) -> Option<&'c Account> {
    let kind = kind(name)?;
    let is_it = |account: &&std::sync::Arc<Account>| {
        if account.provider.is_plain() {
            account.is_site() && kind.hosts.iter().all(|host| account.has_host(host))
        } else {
            account.provider.0 == kind.provider
        }
    };
    config.accounts.values().find(is_it).map(|found| &**found)
}

/// The kind's own name for its account, or one that says as much.
fn free_name(config: &Config, name: &str) -> Result<AccountId, EditError> {
    let names = [name.to_owned(), format!("{name}-of-recipe")];
    let ids = names.iter().filter_map(|name| name.parse().ok());
    ids.into_iter()
        .find(|id| !config.accounts.contains_key(id))
        .ok_or_else(|| EditError::Exists(format!("[accounts.{name}]")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let read = |_: &str| Err("no file".to_owned());
        countersign_config::parse(text, "countersign.toml", &accepted::kind_defaults, &read)
            .unwrap()
    }

    fn text(before: &str, recipe: Recipe) -> String {
        let agent = recipe.word().parse().unwrap();
        written(before, &config(before), &agent, recipe).unwrap().0
    }

    #[test]
    fn a_recipe_is_written_as_an_agent_its_model_and_its_sites() {
        for recipe in Recipe::ALL {
            let text = text("", recipe);
            let config = config(&text);
            let agent = config.agents.values().next().unwrap();
            assert_eq!(agent.recipe, Some(recipe), "{text}");
            assert_eq!(agent.accounts[0].as_str(), recipe::facts(recipe).models[0]);
        }
    }

    #[test]
    fn accounts_that_are_there_already_are_used_and_names_that_are_taken_are_not() {
        let before = "[accounts.work-model]\nkind = \"openrouter\"\n\n[accounts.npm]\nhosts = [\"npm.corp.example\"]\ncredential = \"bearer\"\n";
        let text = text(before, Recipe::Opencode);
        let config = config(&text);
        let agent = config.agents.values().next().unwrap();
        let names: Vec<_> = agent.accounts.iter().map(AccountId::as_str).collect();
        assert_eq!(names, ["work-model", "npm-of-recipe", "pypi"], "{text}");
        assert!(text.starts_with(before), "{text}");
    }
}
