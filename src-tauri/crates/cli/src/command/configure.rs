//! Agents, accounts, and the configuration as a whole: edits of the text, then
//! a human who accepts them.

use super::ask::{home, once, said, unexpected};
use crate::cli::{Account, AddAccount, Agent, Config};
use crate::client::Failure;
use crate::home::{Home, write_whole};
use crate::say;
use crate::serve::accepted;
use countersign_config::edit::{self, EditError, NewAccount};
use countersign_protocol::control::{Ask, Reply};

pub(crate) fn agent(what: Agent, json: bool) -> Result<(), Failure> {
    match what {
        Agent::Add {
            name,
            accounts,
            recipe,
        } => change(json, |text| edit::add_agent(text, &name, &accounts, recipe)),
        Agent::Remove { name } => change(json, |text| edit::remove_agent(text, &name)),
        Agent::List => {
            let checked = on_disk()?;
            for agent in checked.config.agents.values() {
                show_agent(agent, json);
            }
            Ok(())
        }
        Agent::Show { name } => {
            let checked = on_disk()?;
            let agent = checked
                .config
                .agents
                .get(&name)
                .ok_or_else(|| missing(&name))?;
            show_agent(agent, json);
            Ok(())
        }
    }
}

pub(crate) fn account(what: Account, json: bool) -> Result<(), Failure> {
    match what {
        Account::Add(new) => add_account(*new, json),
        Account::Remove { name } => change(json, |text| edit::remove_account(text, &name)),
        Account::List => {
            let checked = on_disk()?;
            for account in checked.config.accounts.values() {
                show_account(account, json);
            }
            Ok(())
        }
        Account::Show { name } => {
            let checked = on_disk()?;
            let account = checked
                .config
                .accounts
                .get(&name)
                .ok_or_else(|| missing(&name))?;
            show_account(account, json);
            Ok(())
        }
    }
}

fn add_account(new: AddAccount, json: bool) -> Result<(), Failure> {
    let AddAccount {
        name,
        kind,
        hosts,
        environment,
        credential,
        region,
        service,
        connect_to,
        ca,
        agents,
    } = new;
    let account = NewAccount {
        kind,
        hosts,
        environment,
        credential,
        region,
        service,
        connect_to,
        ca,
    };
    change(json, |text| {
        let mut text = edit::add_account(text, &name, &account)?;
        for agent in &agents {
            text = edit::assign(&text, agent, &name)?;
        }
        Ok(text)
    })
}

pub(crate) fn config(what: &Config, json: bool) -> Result<(), Failure> {
    match what {
        Config::Check => {
            let checked = on_disk()?;
            if json {
                say::json(&serde_json::json!({ "content": checked.digest, "problems": [] }));
            } else {
                let (agents, accounts) =
                    (checked.config.agents.len(), checked.config.accounts.len());
                say::line(&format!("Right: {agents} agent(s), {accounts} account(s)."));
            }
            Ok(())
        }
        Config::Diff => show_diff(json),
        Config::Accept => said(&once(&Ask::ConfigAccept {})?, json),
    }
}

fn show_diff(json: bool) -> Result<(), Failure> {
    let reply = once(&Ask::ConfigDiff {})?;
    let Reply::ConfigDiff {
        problems,
        summary,
        diff,
        content,
        accepted,
    } = &reply
    else {
        return Err(unexpected());
    };
    if json {
        say::json(&reply);
    } else if !problems.is_empty() {
        return Err(Failure::new(problems.join("\n")));
    } else if Some(content) == accepted.as_ref() {
        say::line("Nothing has changed since it was accepted.");
    } else {
        for line in summary {
            say::line(&format!("• {line}"));
        }
        for line in diff {
            say::line(line);
        }
        say::line(&format!("digest {content}"));
    }
    Ok(())
}

/// Edits `countersign.toml` and asks the human to accept it. An edit that the
/// checks refuse is not written.
fn change(json: bool, edit: impl FnOnce(&str) -> Result<String, EditError>) -> Result<(), Failure> {
    let home = home()?;
    let path = home.config_file();
    let before = std::fs::read_to_string(&path).map_err(|e| {
        Failure::new(format!(
            "{}: {e}. Start the authority once; it writes the first one.",
            path.display()
        ))
    })?;
    let after = edit(&before).map_err(|e| Failure::new(e.to_string()))?;
    write(&home, &after)?;
    if let Err(problems) = accepted::read_disk(&home) {
        write(&home, &before)?;
        return Err(Failure::new(format!(
            "Nothing was changed:\n{}",
            problems.join("\n")
        )));
    }
    said(&once(&Ask::ConfigAccept {})?, json)
}

fn write(home: &Home, text: &str) -> Result<(), Failure> {
    let path = home.config_file();
    write_whole(&path, text.as_bytes())
        .map_err(|e| Failure::new(format!("{}: {e}", path.display())))
}

fn on_disk() -> Result<accepted::Checked, Failure> {
    accepted::read_disk(&home()?).map_err(|problems| Failure::new(problems.join("\n")))
}

fn missing(name: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{name} is not in countersign.toml."))
}

fn show_agent(agent: &countersign_model::Agent, json: bool) {
    if json {
        say::json(agent);
        return;
    }
    let accounts: Vec<_> = agent.accounts.iter().map(ToString::to_string).collect();
    let ports = |name: &str, ports: &[u16]| match ports {
        [] => String::new(),
        ports => format!("  {name}: {ports:?}"),
    };
    say::line(&format!(
        "{}  accounts: {}{}{}",
        agent.id,
        accounts.join(", "),
        ports("ports", &agent.ports),
        ports("host_ports", &agent.host_ports)
    ));
}

fn show_account(account: &countersign_model::Account, json: bool) {
    if json {
        say::json(account);
        return;
    }
    let hosts: Vec<_> = account.hosts.iter().map(ToString::to_string).collect();
    say::line(&format!(
        "{}  {}  {}  credential: {}  {}",
        account.id,
        account.provider,
        hosts.join(", "),
        account.credential.text(),
        account.environment
    ));
}
