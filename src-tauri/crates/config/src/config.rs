use countersign_model::{
    Account, AccountId, Agent, AgentId, CredentialKind, HostPattern, Provider,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What `countersign.toml` says, checked: every name is known, every host is
/// normalised, no two accounts of an agent share a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// The agents, by name.
    pub agents: BTreeMap<AgentId, Agent>,
    /// The accounts and sites, by name.
    pub accounts: BTreeMap<AccountId, Arc<Account>>,
    /// `[hotkey]`
    pub hotkey: Hotkey,
    /// `vault`
    pub vault: VaultChoice,
    /// `[gateway]`
    pub gateway: GatewaySettings,
    /// `[approvals]`
    pub approvals: Approvals,
}

impl Config {
    /// The accounts and sites that an agent was assigned, in the order in which
    /// its entry lists them; none for an agent that is not configured.
    pub fn accounts_of<'c>(&'c self, agent: &AgentId) -> impl Iterator<Item = &'c Arc<Account>> {
        let assigned = self.agents.get(agent).map_or(&[][..], |a| &a.accounts);
        assigned.iter().filter_map(|id| self.accounts.get(id))
    }
}

/// `[hotkey]`: key combinations that work everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hotkey {
    /// `stop`: engages the emergency stop.
    pub stop: countersign_model::Hotkey,
}

impl Default for Hotkey {
    fn default() -> Self {
        Self {
            stop: countersign_model::Hotkey::STOP,
        }
    }
}

/// `vault = "…"`: where credentials are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VaultChoice {
    /// `"keyring"`: the keyring of the operating system.
    #[default]
    Keyring,
    /// `"file"`: an encrypted file, for machines without a keyring.
    File,
}

/// `[gateway]`: how agents reach the HTTP gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GatewaySettings {
    /// `tcp`: the first of sixteen ports on the loopback address for agents that
    /// nobody launches and nobody contains, each with a token of its own.
    /// `None`, the default, opens none: runs use sockets of their own.
    pub tcp: Option<u16>,
}

/// `[approvals]`: how humans are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approvals {
    /// `hold_seconds`: how long an agent's connection is held while a human is
    /// asked, in seconds, 5 to 100. The question stays open after it.
    pub hold_seconds: u64,
}

impl Default for Approvals {
    fn default() -> Self {
        Self { hold_seconds: 100 }
    }
}

/// What `kind = "…"` stands for: the catalogue knows it, the caller says it.
/// Every value but the provider can be overridden by the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindDefaults {
    /// Who describes the account's operations.
    pub provider: Provider,
    /// Its hosts.
    pub hosts: Vec<HostPattern>,
    /// Its hosts in the account's region, which stands for `{region}`.
    pub regional_hosts: Vec<String>,
    /// How its credential is presented.
    pub credential: CredentialKind,
    /// OAuth 2: where tokens are refreshed.
    pub token_url: Option<String>,
    /// Request headers to forward besides the usual ones, lower case.
    pub forward_headers: Vec<String>,
}
