//! `countersign agent|account add|remove`, and the window's stop key: changes to
//! the text that keep comments and layout.
//!
//! The result is not checked beyond being TOML: [`parse`](crate::parse) says
//! what is wrong with it, before the human is asked to accept it.

use countersign_model::{AccountId, AgentId, Foreign, Hotkey, Recipe};
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

/// Why a change cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The text is no TOML, or a part of it is not what it should be.
    #[error("countersign.toml cannot be edited: {0}")]
    Unreadable(String),
    /// The agent or account to add is there already.
    #[error("{0} is already in countersign.toml")]
    Exists(String),
    /// The agent or account is not there.
    #[error("{0} is not in countersign.toml")]
    Missing(String),
}

/// A new account, as the command line describes it. What is `None` or empty is
/// left out of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewAccount {
    /// `kind`
    pub kind: Option<String>,
    /// `hosts`
    pub hosts: Vec<String>,
    /// `environment`
    pub environment: Option<String>,
    /// `credential`
    pub credential: Option<String>,
    /// `region`
    pub region: Option<String>,
    /// `service`
    pub service: Option<String>,
    /// `connect_to`
    pub connect_to: Option<String>,
    /// `ca`
    pub ca: Option<String>,
}

/// Adds an agent with these accounts, and a recipe if it has one.
///
/// # Errors
/// `Exists`, `Unreadable`.
pub fn add_agent(
    text: &str,
    agent: &AgentId,
    accounts: &[AccountId],
    recipe: Option<Recipe>,
) -> Result<String, EditError> {
    let mut document = document(text)?;
    let mut entry = Table::new();
    entry.insert("accounts", array(accounts.iter().map(AccountId::as_str)));
    if let Some(recipe) = recipe {
        entry.insert("recipe", toml_edit::value(recipe.word()));
    }
    insert(&mut document, "agents", agent.as_str(), entry)?;
    Ok(document.to_string())
}

/// Removes an agent.
///
/// # Errors
/// `Missing`, `Unreadable`.
pub fn remove_agent(text: &str, agent: &AgentId) -> Result<String, EditError> {
    let mut document = document(text)?;
    remove(&mut document, "agents", agent.as_str())?;
    Ok(document.to_string())
}

/// Adds an account.
///
/// # Errors
/// `Exists`, `Unreadable`.
pub fn add_account(text: &str, account: &AccountId, new: &NewAccount) -> Result<String, EditError> {
    let mut document = document(text)?;
    let mut entry = Table::new();
    let mut set = |key: &str, value: &Option<String>| {
        if let Some(value) = value {
            entry.insert(key, toml_edit::value(value.as_str()));
        }
    };
    set("kind", &new.kind);
    set("environment", &new.environment);
    set("credential", &new.credential);
    set("region", &new.region);
    set("service", &new.service);
    set("connect_to", &new.connect_to);
    set("ca", &new.ca);
    if !new.hosts.is_empty() {
        entry.insert("hosts", array(new.hosts.iter().map(String::as_str)));
    }
    insert(&mut document, "accounts", account.as_str(), entry)?;
    Ok(document.to_string())
}

/// Removes an account, and takes it from every agent that has it.
///
/// # Errors
/// `Missing`, `Unreadable`.
pub fn remove_account(text: &str, account: &AccountId) -> Result<String, EditError> {
    let mut document = document(text)?;
    remove(&mut document, "accounts", account.as_str())?;
    if let Some(agents) = document.get_mut("agents").and_then(Item::as_table_like_mut) {
        for (_, agent) in agents.iter_mut() {
            let list = agent
                .as_table_like_mut()
                .and_then(|t| t.get_mut("accounts"));
            if let Some(list) = list.and_then(Item::as_array_mut) {
                list.retain(|value| value.as_str() != Some(account.as_str()));
            }
        }
    }
    Ok(document.to_string())
}

/// Assigns an account to an agent. Nothing changes when it is assigned already.
///
/// # Errors
/// `Missing` for an unknown agent or account, `Unreadable`.
pub fn assign(text: &str, agent: &AgentId, account: &AccountId) -> Result<String, EditError> {
    let mut document = document(text)?;
    if !section(&mut document, "accounts")?.contains_key(account.as_str()) {
        return Err(EditError::Missing(format!("account {account}")));
    }
    let list = accounts_of(&mut document, agent)?;
    if !list
        .iter()
        .any(|value| value.as_str() == Some(account.as_str()))
    {
        list.push(account.as_str());
    }
    Ok(document.to_string())
}

/// Takes an account from an agent. Nothing changes when it does not have it.
///
/// # Errors
/// `Missing` for an unknown agent, `Unreadable`.
pub fn unassign(text: &str, agent: &AgentId, account: &AccountId) -> Result<String, EditError> {
    let mut document = document(text)?;
    accounts_of(&mut document, agent)?.retain(|value| value.as_str() != Some(account.as_str()));
    Ok(document.to_string())
}

/// Sets the hotkey of the stop.
///
/// # Errors
/// `Unreadable`.
pub fn set_hotkey(text: &str, stop: Hotkey) -> Result<String, EditError> {
    let mut document = document(text)?;
    let section = document
        .entry("hotkey")
        .or_insert(Item::Table(Table::new()))
        .as_table_like_mut()
        .ok_or_else(|| EditError::Unreadable("[hotkey] is no table".into()))?;
    match section.get_mut("stop").and_then(Item::as_value_mut) {
        // What stands around it, a comment perhaps, stays.
        Some(value) => {
            let around = value.decor().clone();
            *value = stop.to_string().into();
            *value.decor_mut() = around;
        }
        None => {
            section.insert("stop", toml_edit::value(stop.to_string()));
        }
    }
    Ok(document.to_string())
}

fn document(text: &str) -> Result<DocumentMut, EditError> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        EditError::Unreadable(Foreign::new(error.message()).quoted(200))
    })
}

/// `[agents]` or `[accounts]`, made if need be without a heading of its own.
fn section<'d>(
    document: &'d mut DocumentMut,
    name: &str,
) -> Result<&'d mut dyn TableLike, EditError> {
    let mut empty = Table::new();
    empty.set_implicit(true);
    document
        .entry(name)
        .or_insert(Item::Table(empty))
        .as_table_like_mut()
        .ok_or_else(|| EditError::Unreadable(format!("[{name}] is no table")))
}

fn insert(
    document: &mut DocumentMut,
    name: &str,
    key: &str,
    entry: Table,
) -> Result<(), EditError> {
    let section = section(document, name)?;
    if section.contains_key(key) {
        return Err(EditError::Exists(format!("[{name}.{key}]")));
    }
    section.insert(key, Item::Table(entry));
    Ok(())
}

fn remove(document: &mut DocumentMut, name: &str, key: &str) -> Result<(), EditError> {
    match section(document, name)?.remove(key) {
        Some(_) => Ok(()),
        None => Err(EditError::Missing(format!("[{name}.{key}]"))),
    }
}

fn accounts_of<'d>(
    document: &'d mut DocumentMut,
    agent: &AgentId,
) -> Result<&'d mut Array, EditError> {
    let entry = section(document, "agents")?
        .get_mut(agent.as_str())
        .ok_or_else(|| EditError::Missing(format!("agent {agent}")))?;
    let unreadable = || EditError::Unreadable(format!("[agents.{agent}] is not as it should be"));
    let table = entry.as_table_like_mut().ok_or_else(unreadable)?;
    if !table.contains_key("accounts") {
        table.insert("accounts", Item::Value(Value::Array(Array::new())));
    }
    table
        .get_mut("accounts")
        .and_then(Item::as_array_mut)
        .ok_or_else(unreadable)
}

fn array<'s>(items: impl Iterator<Item = &'s str>) -> Item {
    Item::Value(Value::Array(items.collect()))
}
