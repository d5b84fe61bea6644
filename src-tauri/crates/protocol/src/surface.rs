//! The surface protocol: how the authority asks a human.

use crate::health::Check;
use countersign_model::{
    AccountId, Action, AgentId, Answer, Assurance, DataPreview, Decision, Digest, Effect, Event,
    Foreign, QuestionId, ReasonCode, RequestId, RunFacts, RunId, Settled, StopTrigger, SurfaceKind,
    Timestamp,
};
use serde::{Deserialize, Serialize};

/// The version of this protocol. A surface of another version is not used.
pub const VERSION: u32 = 1;

/// The descriptor on which the tray app finds its end of the socket pair is
/// named in this environment variable.
pub const FD_VARIABLE: &str = "COUNTERSIGN_SURFACE_FD";

/// What the authority tells a surface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToSurface {
    /// The first message.
    Hello {
        /// [`VERSION`].
        protocol: u32,
        /// Version of the program.
        program: String,
        /// The stop's hotkey, as configured.
        hotkey: String,
    },
    /// How things stand; sent at every change.
    State(SurfaceState),
    /// Show this question, or show it anew: the same id with another digest is
    /// another rendering.
    Ask(Box<Question>),
    /// The question is over: answered anywhere, timed out, stopped, withdrawn.
    Withdraw {
        /// Which.
        question: QuestionId,
        /// How it ended.
        ended: Ended,
    },
    /// The answer to [`FromSurface::Timeline`].
    Timeline {
        /// The caller's number.
        call: u64,
        /// Newest first.
        entries: Vec<TimelineEntry>,
        /// Whether there are older ones.
        more: bool,
    },
    /// One entry is new or has changed (its outcome came).
    Entry(Box<TimelineEntry>),
    /// The answer to [`FromSurface::Examine`].
    Examined {
        /// The caller's number.
        call: u64,
        /// One a boundary.
        checks: Vec<Check>,
    },
    /// The user asked for the window (a second launch).
    ShowWindow {},
    /// What the surface asked for could not be done; for people.
    Failed {
        /// The caller's number.
        call: u64,
        /// One sentence.
        sentence: String,
    },
    /// The authority ends.
    Goodbye {},
}

/// What a surface tells the authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromSurface {
    /// The first message: it can ask, up to this assurance.
    Ready {
        /// [`VERSION`].
        protocol: u32,
        /// The strongest answer that it can take.
        up_to: Assurance,
    },
    /// This rendering is before a human's eyes now: its "×N" is frozen.
    Shown {
        /// Which question.
        question: QuestionId,
        /// Which rendering.
        digest: Digest,
    },
    /// A human answered.
    Answered {
        /// Which question.
        question: QuestionId,
        /// Which rendering they saw.
        digest: Digest,
        /// What they said.
        answer: Answer,
        /// How strongly.
        assurance: Assurance,
        /// Where.
        surface: SurfaceKind,
        /// Their own words to the agent; only with a no.
        because: Option<String>,
    },
    /// Stop everything, now. The first press freezes what can be frozen; the
    /// next one kills, and so does one that is held.
    Stop {
        /// By what.
        trigger: StopTrigger,
        /// Whether it has been held for a second. A surface sends the press when
        /// it comes, and this one, too, when it is still held.
        #[serde(default)]
        held: bool,
        /// Stop only this agent.
        #[serde(default)]
        agent: Option<AgentId>,
    },
    /// A human held the resume button.
    Resume {
        /// The caller's number.
        call: u64,
        /// [`StopView::presses`], or [`AgentStopView::presses`], as the human
        /// saw them.
        presses: u64,
        /// Let only this agent go on, which is stopped by itself.
        #[serde(default)]
        agent: Option<AgentId>,
    },
    /// A human chose another stop key. It is written into `countersign.toml` and
    /// put before them like any change of it.
    SetHotkey {
        /// The caller's number, for a [`ToSurface::Failed`].
        call: u64,
        /// The combination, as [`countersign_model::Hotkey`] is written.
        keys: String,
    },
    /// Give entries of the timeline.
    Timeline {
        /// Comes back in the answer.
        call: u64,
        /// Which.
        filter: TimelineFilter,
    },
    /// Prove each boundary, as `countersign doctor` does. It takes a minute, more
    /// when the human lets the test question wait.
    Examine {
        /// Comes back in the answer.
        call: u64,
    },
    /// Something that the user should see in `status` (no hotkey, no tray).
    Warning {
        /// What it is about: a new warning of the same topic replaces the old.
        topic: String,
        /// One sentence; empty lifts it.
        sentence: String,
    },
    /// The user chose Quit: the authority ends in order.
    Quit {},
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SurfaceState {
    /// Whether the stop is engaged, and since when.
    pub stopped: Option<StopView>,
    /// How many questions wait.
    pub waiting: u32,
    /// Live runs.
    pub runs: Vec<RunView>,
    /// Agents that are stopped, each by itself.
    #[serde(default)]
    pub stopped_agents: Vec<AgentStopView>,
    /// What the user should know: one sentence each.
    pub warnings: Vec<String>,
    /// The stop's hotkey, as accepted; `None` while nothing is.
    pub hotkey: Option<String>,
}

/// The stop of one agent, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStopView {
    /// Which.
    pub agent: AgentId,
    /// Since when.
    pub since: Timestamp,
    /// By what.
    pub trigger: StopTrigger,
    /// As [`StopView::presses`].
    pub presses: u64,
}

/// How the processes of a run stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStanding {
    /// They run.
    #[default]
    Runs,
    /// The stop has frozen them. Resuming thaws them, as a new run; a second stop
    /// kills them, and so does the end of ten minutes.
    Frozen,
    /// The stop has killed them.
    Killed,
}

/// The stop, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopView {
    /// Since when.
    pub since: Timestamp,
    /// By what.
    pub trigger: StopTrigger,
    /// How often it was pressed. Lifting names the presses that the human saw,
    /// so that one that came meanwhile wins.
    pub presses: u64,
}

/// A live run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    /// What was said at its start.
    #[serde(flatten)]
    pub facts: RunFacts,
    /// How its processes stand.
    #[serde(default)]
    pub standing: RunStanding,
    /// Since when.
    pub since: Timestamp,
    /// How many requests it has made.
    pub requests: u64,
}

/// One question to a human.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its id.
    pub id: QuestionId,
    /// Digest of `about`, `assurance` and `times`: what an answer is bound to.
    pub digest: Digest,
    /// How strong a yes must be.
    pub assurance: Assurance,
    /// When it was first asked.
    pub asked: Timestamp,
    /// When it ends unanswered.
    pub ends: Timestamp,
    /// Until when the agent's connection is held open; after that the agent
    /// hears "still waiting".
    pub held_until: Option<Timestamp>,
    /// For how many identical requests it stands.
    pub times: u32,
    /// What it is about.
    pub about: About,
}

impl Question {
    /// The digest of a rendering: everything that an answer must be bound to.
    #[must_use]
    pub fn digest_of(id: &QuestionId, assurance: Assurance, times: u32, about: &About) -> Digest {
        // Serialisation of these types cannot fail: no maps with odd keys.
        let about = serde_json::to_vec(about).unwrap_or_default();
        Digest::of_parts(
            "countersign/question/1",
            &[
                id.as_str().as_bytes(),
                &[assurance.level()],
                &times.to_be_bytes(),
                &about,
            ],
        )
    }
}

/// What a question is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum About {
    /// A request of an agent.
    Request(Box<RequestQuestion>),
    /// Accepting a changed configuration.
    Config {
        /// What changes, in plain words; the widening lines first.
        summary: Vec<String>,
        /// The line diff.
        diff: Vec<String>,
        /// Digest of the content that would be accepted.
        content: Digest,
    },
    /// Putting in force what a run changed of what the user's other programs
    /// execute: git's settings and hooks, editors', shells' and agents' settings.
    LeftBehind {
        /// Whose run it was.
        agent: AgentId,
        /// The run's working folder.
        folder: Foreign,
        /// What changes, a file a line, neutralised.
        summary: Vec<String>,
        /// The line diff, neutralised.
        diff: Vec<String>,
        /// Digest of what would be written.
        content: Digest,
    },
    /// Storing a credential.
    SetCredential {
        /// For which account.
        account: AccountId,
        /// The hosts that it will be sent to.
        hosts: Vec<String>,
        /// Whether one is replaced.
        replaces: bool,
    },
    /// Removing a credential.
    RemoveCredential {
        /// Of which account.
        account: AccountId,
    },
    /// Lifting the stop.
    Resume {
        /// By what it was engaged.
        trigger: StopTrigger,
        /// Since when it is.
        since: Timestamp,
    },
    /// Letting one agent go on that is stopped by itself.
    ResumeAgent {
        /// Which agent.
        agent: AgentId,
        /// By what it was stopped.
        trigger: StopTrigger,
        /// Since when it is.
        since: Timestamp,
    },
    /// Lifting everything that is "denied by itself" to an agent after three
    /// denials.
    LiftDenials {
        /// Which agent.
        agent: AgentId,
    },
    /// Nothing: whether a human's answer comes back.
    Test {},
}

/// A request of an agent, laid out for a human.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestQuestion {
    /// The request.
    pub request: RequestId,
    /// Who asks.
    pub agent: AgentId,
    /// In which run.
    pub run: RunId,
    /// Why the run was started, in the human's words.
    pub task: Foreign,
    /// Whether the run is contained.
    pub contained: bool,
    /// What it would do, where, and the agent's stated reason.
    pub action: Action,
    /// Method and target.
    pub target: Foreign,
    /// With what data.
    pub preview: DataPreview,
    /// The rules that made it a question.
    pub rules: Vec<String>,
}

/// How a question ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum Ended {
    /// A human answered.
    Answered {
        /// What.
        answer: Answer,
        /// Where.
        surface: SurfaceKind,
    },
    /// It ended without an answer.
    Unanswered {
        /// Why.
        reason: ReasonCode,
    },
}

/// One line of the timeline: a record, with its outcome where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// Index of the record.
    pub index: u64,
    /// When.
    pub at: Timestamp,
    /// What; never [`Event::Settled`], which stands in `settled`.
    pub event: Event,
    /// What became of it. `None` for an allowed request: not yet known.
    pub settled: Option<Settled>,
}

/// Which entries to give.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TimelineFilter {
    /// Only this agent's.
    pub agent: Option<AgentId>,
    /// Only on this account.
    pub account: Option<AccountId>,
    /// Only with this effect.
    pub effect: Option<Effect>,
    /// Only so decided.
    pub decision: Option<Decision>,
    /// Only this request's.
    pub request: Option<RequestId>,
    /// Only this run's.
    pub run: Option<RunId>,
    /// Only since then.
    pub since: Option<Timestamp>,
    /// Only older than this index.
    pub before: Option<u64>,
    /// At most so many; 0 means 100, and no more than 1,000 are given.
    pub limit: u32,
}
