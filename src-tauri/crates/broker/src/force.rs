use countersign_config::Config;
use countersign_model::{Account, AccountId, Agent, AgentId, Digest};
use countersign_policy::Policies;
use std::collections::HashMap;
use std::sync::Arc;

/// The configuration in force: what a human accepted, as it was accepted.
/// Replaced whole, never changed.
#[derive(Debug)]
pub struct Force {
    /// The seal's counter.
    pub counter: u64,
    /// Digest over the accepted files; stands in every record.
    pub digest: Digest,
    /// `countersign.toml`.
    pub config: Config,
    /// `policies/*.cedar`.
    pub policies: Policies,
    /// Of each account, so that it is not computed for each request.
    digests: HashMap<AccountId, Digest>,
}

impl Force {
    /// What a human accepted, under the counter of its seal.
    #[must_use]
    pub fn new(counter: u64, digest: Digest, config: Config, policies: Policies) -> Self {
        let digest_of = |account: &Arc<Account>| (account.id.clone(), account.digest());
        Self {
            digests: config.accounts.values().map(digest_of).collect(),
            counter,
            digest,
            config,
            policies,
        }
    }

    /// The digest of an account's configuration; `None` when there is no such
    /// account.
    #[must_use]
    pub fn digest_of(&self, account: &AccountId) -> Option<Digest> {
        self.digests.get(account).copied()
    }

    /// An agent and the accounts assigned to it.
    #[must_use]
    pub fn agent(&self, id: &AgentId) -> Option<(&Agent, Vec<Arc<Account>>)> {
        let agent = self.config.agents.get(id)?;
        Some((agent, self.config.accounts_of(id).cloned().collect()))
    }

    /// Whether the agent was assigned exactly this account, as it is here.
    #[must_use]
    pub fn assigns(&self, agent: &AgentId, account: &Account) -> bool {
        self.config.accounts_of(agent).any(|now| **now == *account)
    }
}
