//! The control protocol: what the command may ask of the authority.
//!
//! The socket refuses peers of another uid and processes that belong to a run.
//! Being able to talk here is not being the human: what changes configuration
//! or credentials, or lifts the stop, ends in a question at a surface.

use crate::health::Check;
use crate::surface::{AgentStopView, RunView, StopView, TimelineEntry, TimelineFilter};
use countersign_model::{
    AccountId, AgentId, Assurance, CredentialVersion, Digest, Effects, Foreign, QuestionId, Recipe,
    RequestId, RunId, StopMeans, StopTrigger, Timestamp, Words,
};
use serde::{Deserialize, Serialize};

/// What the command asks. One per connection, but for [`Ask::BeginRun`] and a
/// followed timeline, whose connection stays open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// How things stand.
    Status {},
    /// Engage the stop.
    Stop {
        /// By what.
        trigger: StopTrigger,
        /// The human's words.
        reason: Option<Foreign>,
        /// Only this agent's runs.
        agent: Option<AgentId>,
    },
    /// Ask the human to lift the stop; or to let one agent go on.
    Resume {
        /// Lift the stop of this agent alone, and its standing denials.
        agent: Option<AgentId>,
    },
    /// Begin a run. The connection is its lease: when it closes, the run ends.
    BeginRun {
        /// Which agent.
        agent: AgentId,
        /// Why, in the human's words.
        task: Foreign,
        /// The command line.
        argv: Vec<Foreign>,
        /// The working folder.
        folder: Foreign,
        /// Whether the caller will contain it.
        contained: bool,
        /// Whether it comes by loopback TCP, with a token, and is not started
        /// by the caller at all.
        loopback: bool,
        /// What the stop will do to its processes.
        #[serde(default)]
        stop: StopMeans,
    },
    /// On a run's connection, at most once, and before [`Ask::Listening`]: what
    /// the run is ended by. One byte follows this message and carries a handle of
    /// the run's init (pidfd_open(2)) and, where it can be frozen, the folder of
    /// its control group, as descriptors. [`Reply::RunHeld`] answers.
    Tree {},
    /// On a run's connection, at most once, and before [`Ask::Listening`]: the run's
    /// side of what leads between its loopback and this machine's. One byte follows
    /// this message and carries, as descriptors, the end at which sockets of the
    /// run's network are to be had where it has `ports`, and a listener for each of
    /// its `host_ports`.
    Passages {},
    /// On a run's connection, at most once: the sockets of the run's ports. One
    /// byte follows this message and carries them as descriptors.
    Listening {},
    /// On a run's connection: the command has ended.
    EndRun {
        /// With this code.
        exit_code: Option<i32>,
    },
    /// What would change if the files on disk were accepted.
    ConfigDiff {},
    /// Ask the human to accept the files on disk.
    ConfigAccept {},
    /// Ask the human to put in force what a run changed of what their other programs
    /// execute. The caller writes it, after a yes, as it was shown.
    AcceptLeftBehind {
        /// Whose run it was.
        agent: AgentId,
        /// The run's working folder.
        folder: Foreign,
        /// What changes, a file a line.
        summary: Vec<Foreign>,
        /// The line diff.
        diff: Vec<Foreign>,
        /// Digest of what would be written.
        content: Digest,
    },
    /// Store a credential; `length` raw bytes follow this message.
    CredentialSet {
        /// Whose.
        account: AccountId,
        /// How many bytes follow.
        length: usize,
    },
    /// Names and versions.
    CredentialList {},
    /// Remove a credential.
    CredentialRemove {
        /// Whose.
        account: AccountId,
    },
    /// What waits for an answer.
    Requests {},
    /// Entries of the timeline, newest first.
    Timeline {
        /// Which.
        filter: TimelineFilter,
        /// Go on with new ones as they come.
        follow: bool,
    },
    /// A no, from anywhere.
    Deny {
        /// The request or question.
        id: String,
        /// Words to the agent.
        because: Option<String>,
    },
    /// Make a checkpoint now.
    Checkpoint {},
    /// What the authority can prove of itself, for `countersign doctor`.
    Examine {},
    /// Ask the human a question that changes nothing, to see an answer come back.
    TestQuestion {},
    /// Show the window, starting the tray app if need be.
    ShowWindow {},
    /// End in order.
    Shutdown {},
}

/// What the authority answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Done {
        /// One sentence about it.
        sentence: String,
    },
    /// Not done.
    Failed {
        /// Which exit code the command should end with.
        exit: u8,
        /// One sentence.
        sentence: String,
    },
    /// The human is being asked; another reply follows.
    Asking {
        /// How strongly.
        assurance: Assurance,
    },
    /// How things stand.
    Status(Box<Status>),
    /// The run has begun.
    RunBegun(Box<RunBegun>),
    /// On a run's connection: what ends the run is held.
    RunHeld {},
    /// On a run's connection: the stop has frozen its processes.
    RunFrozen {},
    /// On a run's connection: its processes were thawed, and are this run now.
    RunGoesOn {
        /// Its new id.
        run: RunId,
    },
    /// On a run's connection: end the agent now.
    RunKill {
        /// Why, in our words.
        why: String,
    },
    /// What would change.
    ConfigDiff {
        /// Problems of the files on disk; then nothing can be accepted.
        problems: Vec<String>,
        /// In plain words.
        summary: Vec<String>,
        /// The line diff.
        diff: Vec<String>,
        /// Digest of the content; equal to `accepted` when nothing changed.
        content: Digest,
        /// Digest of what is in force.
        accepted: Option<Digest>,
    },
    /// Names and versions.
    Credentials {
        /// Never bytes.
        credentials: Vec<CredentialVersion>,
    },
    /// What waits.
    Requests {
        /// Oldest first.
        waiting: Vec<WaitingView>,
    },
    /// Entries of the timeline.
    Timeline {
        /// Newest first; one at a time when following.
        entries: Vec<TimelineEntry>,
        /// Whether there are older ones.
        more: bool,
    },
    /// A signed checkpoint (C2SP signed note).
    Checkpoint {
        /// Its text.
        note: String,
    },
    /// What the authority proved of itself.
    Examined {
        /// One a boundary.
        checks: Vec<Check>,
        /// Place in the ledger of the record that was written as a proof.
        record: Option<u64>,
    },
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub program: String,
    /// Process id of the authority.
    pub pid: u32,
    /// Since when it runs.
    pub since: Timestamp,
    /// Whether the stop is engaged.
    pub stopped: Option<StopView>,
    /// Agents that are stopped, each by itself.
    #[serde(default)]
    pub stopped_agents: Vec<AgentStopView>,
    /// Live runs.
    pub runs: Vec<RunView>,
    /// How many questions wait.
    pub waiting: u32,
    /// Records in the ledger.
    pub records: u64,
    /// Counter of the accepted configuration; `None` when none is accepted.
    pub config: Option<u64>,
    /// Whether the files on disk differ from what is accepted.
    pub config_changed: bool,
    /// Where a human can be asked now: `terminal`, `desktop`; empty: nowhere.
    pub surfaces: Vec<String>,
    /// What the user should know: one sentence each.
    pub warnings: Vec<String>,
}

/// What the launcher of a run needs. Nothing of it is a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunBegun {
    /// The run.
    pub run: RunId,
    /// Its gateway socket.
    pub gateway: String,
    /// Certificate of the run's own CA, PEM.
    pub ca_pem: String,
    /// What stands in place of credentials: environment variables.
    pub placeholders: Vec<(String, String)>,
    /// Ports of its accounts' and sites' hosts.
    pub ports: Vec<u16>,
    /// Ports of the run that are shown on this machine's loopback.
    #[serde(default)]
    pub shown: Vec<u16>,
    /// Why others are not: a sentence each.
    #[serde(default)]
    pub not_shown: Vec<String>,
    /// Ports of this machine's loopback that the run reaches.
    #[serde(default)]
    pub host_ports: Vec<u16>,
    /// The same as files.
    pub placeholder_files: Vec<PlaceholderFile>,
    /// Accounts of the agent that have no credential yet.
    pub without_credential: Vec<AccountId>,
    /// How the agent's runs are prepared, by what was accepted.
    pub recipe: Option<Recipe>,
    /// The folder of what the agent keeps between its runs; nobody else's.
    pub kept: String,
    /// Folders that the agent must not see: configuration, state, sockets.
    pub hidden: Vec<String>,
    /// Where it listens instead, if that was asked for.
    pub loopback: Option<Loopback>,
}

/// A file that stands in place of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceholderFile {
    /// The variable that names it.
    pub variable: String,
    /// A name for it.
    pub name: String,
    /// What is in it.
    pub content: String,
}

/// A run's gateway on loopback TCP.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loopback {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// What an agent shows in `Proxy-Authorization`: who has it is the agent.
    pub token: String,
    /// File of the run's CA certificate, PEM.
    pub ca_file: String,
}

impl std::fmt::Debug for Loopback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loopback")
            .field("port", &self.port)
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

/// A question that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingView {
    /// The question.
    pub question: QuestionId,
    /// The request, when it is about one.
    pub request: Option<RequestId>,
    /// The run.
    pub run: Option<RunId>,
    /// The agent.
    pub agent: Option<AgentId>,
    /// What it would do.
    pub words: Words,
    /// Its effects.
    pub effects: Effects,
    /// How strong a yes must be.
    pub assurance: Assurance,
    /// Since when.
    pub since: Timestamp,
    /// For how many identical requests.
    pub times: u32,
}
