use countersign_model::Event;
use std::fmt;
use std::str::FromStr;

/// What sort of thing a record says; the `kind` member of its JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The authority opened the ledger.
    Opened,
    /// The authority ended in order.
    Closed,
    /// A run began.
    RunStarted,
    /// A run ended.
    RunEnded,
    /// The record before.
    Requested,
    /// The record after.
    Settled,
    /// Refusals that are counted.
    MoreRefused,
    /// A run connects to this machine for the first time.
    PassageOpened,
    /// What went through a passage.
    PassageClosed,
    /// The stop was engaged.
    StopEngaged,
    /// The stop was lifted.
    StopLifted,
    /// One agent was stopped.
    AgentStopped,
    /// One agent may go on.
    AgentResumed,
    /// A configuration was accepted.
    ConfigAccepted,
    /// A credential was stored.
    CredentialSet,
    /// A credential was removed.
    CredentialRemoved,
    /// What records are found by was changed.
    IndexAltered,
    /// Something else that is worth a line.
    Noted,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 18] = [
        Self::Opened,
        Self::Closed,
        Self::RunStarted,
        Self::RunEnded,
        Self::Requested,
        Self::Settled,
        Self::MoreRefused,
        Self::PassageOpened,
        Self::PassageClosed,
        Self::StopEngaged,
        Self::StopLifted,
        Self::AgentStopped,
        Self::AgentResumed,
        Self::ConfigAccepted,
        Self::CredentialSet,
        Self::CredentialRemoved,
        Self::IndexAltered,
        Self::Noted,
    ];

    /// The kind of an event.
    #[must_use]
    pub const fn of(event: &Event) -> Self {
        match event {
            Event::Opened { .. } => Self::Opened,
            Event::Closed {} => Self::Closed,
            Event::RunStarted(_) => Self::RunStarted,
            Event::RunEnded { .. } => Self::RunEnded,
            Event::Requested(_) => Self::Requested,
            Event::Settled(_) => Self::Settled,
            Event::MoreRefused { .. } => Self::MoreRefused,
            Event::PassageOpened { .. } => Self::PassageOpened,
            Event::PassageClosed(_) => Self::PassageClosed,
            Event::StopEngaged { .. } => Self::StopEngaged,
            Event::StopLifted { .. } => Self::StopLifted,
            Event::AgentStopped { .. } => Self::AgentStopped,
            Event::AgentResumed { .. } => Self::AgentResumed,
            Event::ConfigAccepted { .. } => Self::ConfigAccepted,
            Event::CredentialSet { .. } => Self::CredentialSet,
            Event::CredentialRemoved { .. } => Self::CredentialRemoved,
            Event::IndexAltered {} => Self::IndexAltered,
            Event::Noted { .. } => Self::Noted,
        }
    }

    /// The word in the record.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::RunStarted => "run-started",
            Self::RunEnded => "run-ended",
            Self::Requested => "requested",
            Self::Settled => "settled",
            Self::MoreRefused => "more-refused",
            Self::PassageOpened => "passage-opened",
            Self::PassageClosed => "passage-closed",
            Self::StopEngaged => "stop-engaged",
            Self::StopLifted => "stop-lifted",
            Self::AgentStopped => "agent-stopped",
            Self::AgentResumed => "agent-resumed",
            Self::ConfigAccepted => "config-accepted",
            Self::CredentialSet => "credential-set",
            Self::CredentialRemoved => "credential-removed",
            Self::IndexAltered => "index-altered",
            Self::Noted => "noted",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|k| k.word() == s)
            .ok_or_else(|| {
                let all: Vec<_> = Self::ALL.iter().map(|k| k.word()).collect();
                format!("expected one of {}", all.join(", "))
            })
    }
}
