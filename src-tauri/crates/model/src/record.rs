use crate::{
    AccountId, Action, AgentId, Approval, CredentialVersion, Decision, Digest, Foreign, InstallId,
    ReasonCode, RequestId, RunId, Timestamp, Verdict,
};
use serde::{Deserialize, Serialize};

/// One entry of the audit trail. Its canonical JSON (RFC 8785) is what is
/// hashed; anything stored beside it is checked against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The form of the record: 1.
    pub version: u32,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What an [`AuditRecord`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// The authority opened the ledger.
    Opened {
        /// This installation.
        install: InstallId,
        /// Version of the program.
        program: String,
        /// Whether the last end was orderly.
        clean: bool,
    },
    /// The authority ended in order.
    Closed {},
    /// A run began.
    RunStarted(RunFacts),
    /// A run ended.
    RunEnded {
        /// Which.
        run: RunId,
        /// Exit code of its command, when it is known.
        exit_code: Option<i32>,
        /// Why it ended, in our words.
        why: String,
    },
    /// The record before: what was asked, judged and decided.
    Requested(Box<Requested>),
    /// The record after: what became of a request that was allowed.
    Settled(Settled),
    /// Requests of a run that were refused beyond what is written down one by one.
    MoreRefused {
        /// The run.
        run: RunId,
        /// Its agent.
        agent: AgentId,
        /// The account, when one of the agent's matched.
        account: Option<AccountId>,
        /// [`Decision::Deny`].
        decision: Decision,
        /// Why.
        reason: ReasonCode,
        /// How many.
        count: u64,
        /// When the first of them was refused.
        first: Timestamp,
        /// When the last was.
        last: Timestamp,
    },
    /// A run is about to connect to a port of this machine's loopback: the first
    /// time.
    PassageOpened {
        /// The run.
        run: RunId,
        /// Its agent.
        agent: AgentId,
        /// The port.
        port: u16,
    },
    /// What went through a passage, at the end of its run.
    PassageClosed(Passed),
    /// The emergency stop was engaged.
    StopEngaged {
        /// By what.
        trigger: StopTrigger,
        /// The human's words, if any.
        reason: Option<Foreign>,
    },
    /// A human lifted the stop.
    StopLifted {
        /// Where.
        surface: String,
    },
    /// One agent was stopped, and no other.
    AgentStopped {
        /// Which.
        agent: AgentId,
        /// By what.
        trigger: StopTrigger,
        /// The human's words, if any.
        reason: Option<Foreign>,
    },
    /// A human let one agent go on.
    AgentResumed {
        /// Which.
        agent: AgentId,
        /// Where.
        surface: String,
    },
    /// A human accepted a configuration.
    ConfigAccepted {
        /// The seal's counter.
        counter: u64,
        /// Digest over the accepted files.
        digest: Digest,
        /// Who said yes: `first start`, or a surface.
        by: String,
    },
    /// A credential was stored.
    CredentialSet {
        /// Which, by name; never its bytes.
        credential: CredentialVersion,
    },
    /// A credential was removed.
    CredentialRemoved {
        /// Which.
        credential: CredentialVersion,
    },
    /// What the ledger's records are found by was found changed or damaged, by
    /// something else than the ledger. The records were not.
    IndexAltered {},
    /// Something that is worth a line and is no request.
    Noted {
        /// What, in our words.
        what: String,
        /// Foreign particulars, if any.
        detail: Option<Foreign>,
    },
}

/// What engaged the stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopTrigger {
    /// The global hotkey.
    Hotkey,
    /// The tray's menu.
    Tray,
    /// A window's button.
    Window,
    /// `countersign stop`.
    Command,
    /// A signal.
    Signal,
    /// The file for scripts.
    File,
    /// The authority ended badly while runs or requests were open.
    UncleanEnd,
}

/// What is recorded of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    /// Its id.
    pub run: RunId,
    /// Which agent.
    pub agent: AgentId,
    /// Why it was started, in the human's words.
    pub task: Foreign,
    /// The command line.
    pub argv: Vec<Foreign>,
    /// Its working folder.
    pub folder: Foreign,
    /// Whether it is contained; when not, it is honest bookkeeping only.
    pub contained: bool,
    /// What the stop does to its processes; known before it begins.
    #[serde(default)]
    pub stop: StopMeans,
    /// The run that was frozen, and goes on as this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goes_on_from: Option<RunId>,
    /// Ports of it that are shown on this machine's loopback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Ports of this machine's loopback that it reaches, unjudged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<u16>,
}

impl RunFacts {
    /// For people: what leads between its loopback and this machine's; each begins
    /// with `; `.
    #[must_use]
    pub fn passages(&self) -> String {
        let of = |ports: &[u16], words: &str| match ports {
            [] => String::new(),
            ports => {
                let list: Vec<String> = ports.iter().map(ToString::to_string).collect();
                format!("; {words} {}", list.join(", "))
            }
        };
        of(&self.ports, "shows its port") + &of(&self.host_ports, "reaches this machine's port")
    }
}

/// What went through one passage of a run, unread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The run.
    pub run: RunId,
    /// Its agent.
    pub agent: AgentId,
    /// What the passage leads to.
    pub to: PassageTo,
    /// The port there.
    pub port: u16,
    /// How many connections there were.
    pub connections: u64,
    /// Bytes that went to what it leads to.
    pub bytes_there: u64,
    /// Bytes that came from there.
    pub bytes_back: u64,
}

impl Passed {
    /// For people.
    #[must_use]
    pub fn words(&self) -> String {
        let Self {
            run,
            to,
            port,
            connections,
            bytes_there,
            bytes_back,
            ..
        } = self;
        let led = match to {
            PassageTo::Run => format!("from this machine to port {port} of run {run}"),
            PassageTo::Machine => format!("from run {run} to port {port} of this machine"),
        };
        format!("{connections} connection(s) {led}: {bytes_there} bytes there, {bytes_back} back")
    }
}

/// What a passage leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PassageTo {
    /// A port of a run, shown on this machine's loopback.
    Run,
    /// A port of this machine's loopback.
    Machine,
}

/// What the stop does to the processes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopMeans {
    /// The first press freezes them, by the freezer of cgroup v2; the next kills.
    FreezeV2,
    /// The same by the freezer of cgroup v1.
    FreezeV1,
    /// It kills them at once, by the init of their namespace.
    Kill,
    /// Its launcher is told to end it: what left its process group goes on.
    #[default]
    Launcher,
    /// It is no process that was launched here: it is cut off, and goes on.
    CutOff,
}

impl StopMeans {
    /// Whether the first press freezes.
    #[must_use]
    pub fn freezes(self) -> bool {
        matches!(self, Self::FreezeV2 | Self::FreezeV1)
    }

    /// For people, before it comes to that.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::FreezeV2 => "the first stop freezes it (cgroup v2), the second kills it",
            Self::FreezeV1 => "the first stop freezes it (cgroup v1), the second kills it",
            Self::Kill => "the stop kills it at once",
            Self::Launcher => "the stop kills it at once, but for what has left its process group",
            Self::CutOff => "the stop cuts it off, and it goes on running",
        }
    }
}

/// The record before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// Its id.
    pub request: RequestId,
    /// The run that asked.
    pub run: Option<RunId>,
    /// The agent.
    pub agent: AgentId,
    /// Whether the run is contained.
    pub contained: bool,
    /// What it would do. `None` when it could not be read, or its host is no
    /// account's.
    pub action: Option<Action>,
    /// The account, when one matched.
    pub account: Option<AccountId>,
    /// Method and target as a person reads them, without credentials.
    pub target: Foreign,
    /// What policy said. `None` when it was refused before it was judged.
    pub verdict: Option<Verdict>,
    /// The policies that decided, by id.
    pub rules: Vec<String>,
    /// The human's answer, if one was asked for.
    pub approval: Option<Approval>,
    /// What was decided.
    pub decision: Decision,
    /// Why, when it was denied.
    pub reason: Option<ReasonCode>,
    /// What a refusal said beyond its code, or a human's own words to the agent.
    pub detail: Option<Foreign>,
    /// Digest of the exact request that the permit is bound to.
    pub exact: Option<Digest>,
    /// Whether the body streams, so that its digest stands in the record after.
    pub streamed: bool,
    /// The credential, by name and version.
    pub credential: Option<CredentialVersion>,
    /// Digest of the accepted configuration.
    pub config: Digest,
}

/// The record after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Which request.
    pub request: RequestId,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Bytes of request body that left.
    pub bytes_sent: u64,
    /// Bytes of reply body that came.
    pub bytes_received: u64,
    /// From release to the end, in milliseconds.
    pub duration_ms: u64,
    /// Digest of a streamed request body that left whole.
    pub body_digest: Option<Digest>,
    /// What a model's answer cost, as its service says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
}

impl Settled {
    /// What became of a request of which no byte moved, as far as is known.
    #[must_use]
    pub const fn without_bytes(request: RequestId, outcome: Outcome) -> Self {
        Self {
            request,
            outcome,
            bytes_sent: 0,
            bytes_received: 0,
            duration_ms: 0,
            body_digest: None,
            tokens: None,
        }
    }
}

/// The size of a question to a model and of its answer, in the service's own
/// unit and by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tokens {
    /// Of what was asked, what the service had kept from before included.
    pub input: u64,
    /// Of what was answered.
    pub output: u64,
}

/// What became of a request that was allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The upstream answered.
    Answered {
        /// HTTP status.
        status: u16,
    },
    /// It provably never left.
    NotSent {
        /// Why.
        reason: ReasonCode,
    },
    /// It left, or may have left, and no whole answer came back.
    Unknown {
        /// What is known, in our words.
        why: String,
        /// Status, if the answer had begun.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// The stop cut it after it had begun.
    Cut {
        /// Status, if the answer had begun.
        status: Option<u16>,
    },
}

/// A record with its place in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its index; the first is 0.
    pub index: u64,
    /// RFC 6962 leaf hash of its canonical JSON.
    pub leaf: Digest,
    /// The record.
    pub record: AuditRecord,
}
