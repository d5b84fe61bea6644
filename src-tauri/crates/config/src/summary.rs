//! What a change of configuration means, in words that a human accepts on.
//!
//! A configuration is a set of facts; the summary is the facts that came, went
//! or changed. Every field is taken apart by name here, so that a field which
//! is added to the model cannot be forgotten: it does not compile.

use crate::config::{Approvals, Config, GatewaySettings, Hotkey, VaultChoice};
use countersign_model::{Account, Agent, AwsSettings, CredentialKind, Digest, EffectsRule};
use std::collections::BTreeMap;

/// What changes from `old` to `new`, a sentence a line: first the agents, then
/// the accounts, then settings. Empty when both mean the same.
///
/// Everything in the sentences was checked when the configuration was read:
/// names, ASCII hosts, header names, paths. None of it can be mistaken for the
/// words around it.
#[must_use]
pub fn summary(old: &Config, new: &Config) -> Vec<String> {
    let (before, after) = (facts(old), facts(new));
    let mut lines = Vec::new();
    for (key, fact) in &after {
        match before.get(key) {
            None => lines.push((key, fact.came.clone())),
            Some(was) if was.value != fact.value => {
                lines.push((key, format!("{} (before: {})", fact.came, was.value)));
            }
            Some(_) => {}
        }
    }
    for (key, fact) in &before {
        // What belonged to something that is gone altogether goes without saying.
        let owner_gone = key.part.is_some() && !after.contains_key(&key.owner());
        if !after.contains_key(key) && !owner_gone {
            lines.push((key, fact.went.clone()));
        }
    }
    lines.sort_by_key(|(key, _)| *key);
    lines.into_iter().map(|(_, line)| line).collect()
}

/// What a fact is about. The order is that of the summary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    topic: Topic,
    name: String,
    /// `None`: that the agent or account is there at all.
    part: Option<(u8, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Agent,
    Account,
    Setting,
}

impl Key {
    fn owner(&self) -> Self {
        Self {
            part: None,
            ..self.clone()
        }
    }
}

struct Fact {
    /// What is compared, and shown as what was before.
    value: String,
    /// The sentence when it is new or changed.
    came: String,
    /// The sentence when it is gone.
    went: String,
}

type Facts = BTreeMap<Key, Fact>;

fn facts(config: &Config) -> Facts {
    let Config {
        agents,
        accounts,
        hotkey,
        vault,
        gateway,
        approvals,
    } = config;
    let mut facts = Facts::new();
    for agent in agents.values() {
        agent_facts(agent, config, &mut facts);
    }
    for account in accounts.values() {
        account_facts(account, &mut facts);
    }
    setting_facts(hotkey, *vault, gateway, approvals, &mut facts);
    facts
}

/// Adds facts about one agent, account or the settings.
struct About<'f> {
    topic: Topic,
    name: String,
    facts: &'f mut Facts,
}

impl About<'_> {
    fn add(&mut self, part: Option<(u8, &str)>, value: String, came: String, went: String) {
        let part = part.map(|(order, what)| (order, what.to_owned()));
        let key = Key {
            topic: self.topic,
            name: self.name.clone(),
            part,
        };
        self.facts.insert(key, Fact { value, came, went });
    }

    /// That it is there at all.
    fn exists(&mut self, came: String, went: String) {
        self.add(None, String::new(), came, went);
    }

    /// One of a set: it is there or not.
    fn member(&mut self, order: u8, what: &str, came: String, went: String) {
        self.add(Some((order, what)), String::new(), came, went);
    }

    /// Something that always has a value.
    fn value(&mut self, order: u8, prefix: &str, value: String) {
        let came = format!("{prefix}{value}");
        let went = format!("{prefix}no longer {value}");
        self.add(Some((order, "")), value, came, went);
    }
}

fn agent_facts(agent: &Agent, config: &Config, facts: &mut Facts) {
    let Agent {
        id,
        groups,
        accounts,
        recipe,
        ports,
        host_ports,
    } = agent;
    let mut about = About {
        topic: Topic::Agent,
        name: id.to_string(),
        facts,
    };
    about.exists(
        format!("agent {id} is new"),
        format!("agent {id} is removed"),
    );
    for account in accounts {
        let what = config
            .accounts
            .get(account)
            .map(|a| short(a))
            .unwrap_or_default();
        about.member(
            0,
            account.as_str(),
            format!("agent {id} may now use account {account}{what}"),
            format!("agent {id} may no longer use account {account}"),
        );
    }
    for group in groups {
        about.member(
            1,
            group,
            format!("agent {id} is now in group {group}"),
            format!("agent {id} is no longer in group {group}"),
        );
    }
    if let Some(recipe) = recipe {
        about.add(
            Some((2, "")),
            recipe.word().to_owned(),
            format!(
                "agent {id} runs by the recipe {recipe}: a private configuration folder that its \
                 runs share, its own sandbox and updater switched off"
            ),
            format!("agent {id} no longer runs by the recipe {recipe}"),
        );
    }
    for port in ports {
        about.member(
            3,
            &port.to_string(),
            format!(
                "agent {id} shows port {port} of its runs at 127.0.0.1:{port} of this machine, to \
                 you: what it serves there your browser runs"
            ),
            format!("agent {id} no longer shows port {port} of its runs"),
        );
    }
    for port in host_ports {
        about.member(
            4,
            &port.to_string(),
            format!(
                "agent {id} reaches port {port} of this machine's loopback: what listens there is \
                 told whatever the agent likes, unread, without a question"
            ),
            format!("agent {id} no longer reaches port {port} of this machine's loopback"),
        );
    }
}

/// ` (gmail.googleapis.com, environment personal)`
fn short(account: &Account) -> String {
    let hosts: Vec<&str> = account.hosts.iter().map(|h| h.as_str()).collect();
    format!(" ({}, {})", hosts.join(", "), environment(account))
}

fn environment(account: &Account) -> String {
    match account.environment.0.as_str() {
        "" => "no environment".to_owned(),
        word => format!("environment {word}"),
    }
}

fn account_facts(account: &Account, facts: &mut Facts) {
    let Account {
        id,
        provider,
        hosts,
        port,
        environment: _,
        tags,
        credential,
        connect_to,
        ca_pem,
        plaintext,
        effects,
        forward_headers,
        token_url,
    } = account;
    let prefix = format!("account {id}: ");
    let mut about = About {
        topic: Topic::Account,
        name: id.to_string(),
        facts,
    };
    about.exists(
        format!("account {id} is new"),
        format!("account {id} is removed"),
    );

    for host in hosts {
        let place = connect_to
            .as_ref()
            .map(|to| format!(" goes to {to}"))
            .unwrap_or_default();
        let value = format!("host {host} (port {port}){place}");
        let came = format!("{prefix}{value}");
        about.add(
            Some((0, host.as_str())),
            value,
            came,
            format!("{prefix}no longer host {host}"),
        );
    }
    about.value(1, &prefix, environment(account));
    about.value(2, &prefix, credential_words(credential));
    about.value(
        3,
        &prefix,
        transport_words(*plaintext, credential, ca_pem.as_deref()),
    );
    about.value(
        4,
        &prefix,
        if matches!(credential, CredentialKind::Aws(_)) {
            "what its operations do is described by the catalogue's aws".to_owned()
        } else if provider.is_plain() {
            "reads (GET and HEAD without a body) go alone, unless its effects say otherwise"
                .to_owned()
        } else {
            format!("what its operations do is described by the catalogue's {provider}")
        },
    );
    for EffectsRule {
        method,
        path,
        effects,
    } in effects
    {
        let operation = format!("{method} {path}");
        let alone = if effects.is_read_only() {
            ", which may go alone"
        } else {
            ""
        };
        about.add(
            Some((5, &operation)),
            format!("{effects}"),
            format!("{prefix}{operation} counts as {effects}{alone}"),
            format!("{prefix}no longer says what {operation} does"),
        );
    }
    for name in forward_headers {
        about.member(
            6,
            name,
            format!("{prefix}the agent's header {name} is forwarded"),
            format!("{prefix}the agent's header {name} is no longer forwarded"),
        );
    }
    for tag in tags {
        about.member(
            7,
            tag,
            format!("{prefix}tag {tag}"),
            format!("{prefix}no longer tag {tag}"),
        );
    }
    if let Some(url) = token_url {
        about.value(8, &prefix, format!("its refresh token goes to {url}"));
    }
}

fn credential_words(credential: &CredentialKind) -> String {
    match credential {
        CredentialKind::Bearer => "its credential is sent as Authorization: Bearer".to_owned(),
        CredentialKind::Basic => "its credential is sent as Authorization: Basic".to_owned(),
        CredentialKind::Header(name) => format!("its credential is sent in the header {name}"),
        CredentialKind::Query(name) => format!("its credential is sent in the query as {name}"),
        CredentialKind::Oauth2 => {
            "an access token of its credential is sent as Authorization: Bearer".to_owned()
        }
        CredentialKind::Aws(AwsSettings { region, service }) => {
            let service = service.as_ref().map_or(String::new(), |service| {
                format!(", and for {service} where a host is not AWS's own")
            });
            format!(
                "its requests are signed with its access key as AWS wants it, for {region} where \
                 a host names no region{service}"
            )
        }
        CredentialKind::None => "no credential is sent".to_owned(),
    }
}

fn transport_words(plaintext: bool, credential: &CredentialKind, ca: Option<&str>) -> String {
    match (plaintext, ca) {
        (true, _) if *credential == CredentialKind::None => "travels unencrypted".to_owned(),
        (true, _) => "travels unencrypted, and its credential with it".to_owned(),
        (false, None) => "travels over TLS, vouched for by the system's CAs".to_owned(),
        (false, Some(pem)) => {
            let digest = Digest::of(pem.as_bytes());
            format!("travels over TLS, vouched for by the CA file with SHA-256 {digest}")
        }
    }
}

fn setting_facts(
    Hotkey { stop }: &Hotkey,
    vault: VaultChoice,
    GatewaySettings { tcp }: &GatewaySettings,
    Approvals { hold_seconds }: &Approvals,
    facts: &mut Facts,
) {
    let mut about = About {
        topic: Topic::Setting,
        name: String::new(),
        facts,
    };
    about.value(0, "the hotkey of the stop is ", stop.to_string());
    about.value(
        1,
        "credentials are kept in ",
        match vault {
            VaultChoice::Keyring => "the system's keyring",
            VaultChoice::File => "an encrypted file",
        }
        .to_owned(),
    );
    about.value(
        2,
        "agents that are not contained reach the gateway by ",
        match tcp {
            None => "no port".to_owned(),
            Some(port) => format!("loopback ports from {port} on, each with a token"),
        },
    );
    about.value(
        3,
        "a connection is held while you are asked for ",
        format!("{hold_seconds} seconds"),
    );
}
