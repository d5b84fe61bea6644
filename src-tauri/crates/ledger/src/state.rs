use countersign_model::{AgentId, AuditRecord, Decision, Digest, Event, RequestId, RunId};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What the records so far amount to: what the authority must know when it
/// starts. A checkpoint signs it, so that opening a ledger reads only the
/// records after the newest checkpoint, and trusts none that is not proved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct State {
    /// The last record is `closed`.
    pub(crate) closed: bool,
    /// The stop is engaged.
    pub(crate) stopped: bool,
    /// Agents that are stopped, each by itself.
    pub(crate) stopped_agents: BTreeSet<AgentId>,
    /// Counter and digest of the newest accepted configuration.
    pub(crate) config: Option<(u64, Digest)>,
    /// Runs that began and did not end.
    pub(crate) runs: BTreeSet<RunId>,
    /// Allowed requests without an outcome.
    pub(crate) open: BTreeSet<RequestId>,
}

impl State {
    /// Takes one more record into account.
    pub(crate) fn apply(&mut self, record: &AuditRecord) {
        self.closed = false;
        match &record.event {
            Event::Closed {} => self.closed = true,
            Event::RunStarted(facts) => {
                self.runs.insert(facts.run.clone());
            }
            Event::RunEnded { run, .. } => {
                self.runs.remove(run);
            }
            Event::Requested(requested) if requested.decision == Decision::Allow => {
                self.open.insert(requested.request.clone());
            }
            Event::Settled(settled) => {
                self.open.remove(&settled.request);
            }
            Event::StopEngaged { .. } => self.stopped = true,
            Event::StopLifted { .. } => self.stopped = false,
            Event::AgentStopped { agent, .. } => {
                self.stopped_agents.insert(agent.clone());
            }
            Event::AgentResumed { agent, .. } => {
                self.stopped_agents.remove(agent);
            }
            Event::ConfigAccepted {
                counter, digest, ..
            } => self.config = Some((*counter, *digest)),
            Event::Opened { .. }
            | Event::Requested(_)
            | Event::MoreRefused { .. }
            | Event::PassageOpened { .. }
            | Event::PassageClosed(_)
            | Event::CredentialSet { .. }
            | Event::CredentialRemoved { .. }
            | Event::IndexAltered {}
            | Event::Noted { .. } => {}
        }
    }

    /// The lines that a checkpoint carries below its root hash.
    pub(crate) fn lines(&self) -> String {
        let mut text = String::new();
        if self.closed {
            text.push_str("closed\n");
        }
        if self.stopped {
            text.push_str("stopped\n");
        }
        if let Some((counter, digest)) = &self.config {
            let _ = writeln!(text, "config {counter} {digest}");
        }
        for agent in &self.stopped_agents {
            let _ = writeln!(text, "stopped-agent {agent}");
        }
        for run in &self.runs {
            let _ = writeln!(text, "run {run}");
        }
        for request in &self.open {
            let _ = writeln!(text, "open {request}");
        }
        text
    }

    /// Reads [`State::lines`] back. `None` for anything else: a line that is not
    /// understood may be one that must not be overlooked.
    pub(crate) fn from_lines(text: &str) -> Option<Self> {
        let mut state = Self::default();
        for line in text.lines() {
            match line.split_once(' ') {
                None if line == "closed" => state.closed = true,
                None if line == "stopped" => state.stopped = true,
                Some(("config", rest)) => {
                    let (counter, digest) = rest.split_once(' ')?;
                    state.config = Some((counter.parse().ok()?, digest.parse().ok()?));
                }
                Some(("stopped-agent", agent)) => {
                    state.stopped_agents.insert(agent.parse().ok()?);
                }
                Some(("run", run)) => {
                    state.runs.insert(run.parse().ok()?);
                }
                Some(("open", request)) => {
                    state.open.insert(request.parse().ok()?);
                }
                _ => return None,
            }
        }
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_state_read_back_as_the_same_state() {
        let state = State {
            closed: false,
            stopped: true,
            stopped_agents: ["inbox-bot".parse().unwrap()].into(),
            config: Some((7, Digest::of(b"config"))),
            runs: [RunId::from_random([1; 8]), RunId::from_random([2; 8])].into(),
            open: [RequestId::from_random([3; 10])].into(),
        };
        assert_eq!(State::from_lines(&state.lines()), Some(state));
        assert_eq!(State::from_lines(""), Some(State::default()));
        assert_eq!(State::from_lines("stopped maybe\n"), None);
    }
}
