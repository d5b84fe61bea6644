use countersign_config::Config;
use countersign_model::{Account, Agent, AgentId, Digest};
use countersign_policy::Policies;
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
}

impl Force {
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
