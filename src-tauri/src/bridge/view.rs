//! What the page is told. Every string that somebody else wrote is neutralised
//! before it is put in here. The TypeScript side is generated from these types
//! (`ui/src/bridge/types`); a test fails when it is stale.

use super::title;
use crate::desk::{Desk, Heard, Trial};
use countersign_model::{Assurance, Decision, Digest, Effect, Foreign, Span};
use countersign_protocol::health::{Check, CheckState};
use countersign_protocol::surface::{About, Question, RequestQuestion, RunStanding};
use serde::{Deserialize, Serialize};
#[cfg(test)]
use ts_rs::TS;

/// One piece of a sentence: our words, or a value that somebody else chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
#[serde(tag = "by", content = "text", rename_all = "lowercase")]
pub(crate) enum SpanView {
    Ours(String),
    Foreign(String),
}

impl SpanView {
    pub(super) fn ours(text: impl Into<String>) -> Vec<Self> {
        vec![Self::Ours(text.into())]
    }
    pub(super) fn foreign(text: &Foreign) -> Vec<Self> {
        vec![Self::Foreign(text.neutral())]
    }
}

pub(super) fn spans(spans: &[Span]) -> Vec<SpanView> {
    spans
        .iter()
        .map(|span| match span {
            Span::Ours(text) => SpanView::Ours(text.clone()),
            Span::Foreign(text) => SpanView::Foreign(text.neutral()),
        })
        .collect()
}

/// Text as lines, each neutralised: the only control character that is obeyed
/// is the end of a line.
fn lines(text: &Foreign) -> Vec<String> {
    text.raw()
        .split('\n')
        .map(|line| Foreign::new(line.strip_suffix('\r').unwrap_or(line)).neutral())
        .collect()
}

/// An effect, by its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(TS))]
pub(crate) struct EffectWord(
    #[cfg_attr(
        test,
        ts(
            type = r#""read" | "write" | "delete" | "publish" | "permission" | "spend" | "admin" | "exec" | "secret" | "bulk""#
        )
    )]
    pub(super) Effect,
);

/// The stop's hotkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
#[serde(rename_all = "camelCase")]
pub(crate) struct HotkeyView {
    /// As accepted.
    keys: String,
    /// As what it works, in the desktop's words where that decides.
    works_as: String,
    /// Why it does not work.
    problem: Option<String>,
    /// Whether the desktop decides which key it is.
    desktop_decides: bool,
    /// Another that is tried.
    trial: Option<TrialView>,
}

/// Another stop key, before it is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
pub(crate) struct TrialView {
    keys: String,
    heard: HeardWord,
    /// Why it never will be.
    problem: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
#[serde(rename_all = "lowercase")]
pub(crate) enum HeardWord {
    NotYet,
    Yes,
    Desktop,
    Never,
}

/// A live run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
pub(crate) struct RunRow {
    run: String,
    agent: String,
    task: String,
    contained: bool,
    #[cfg_attr(test, ts(type = "number"))]
    since: i64,
    #[cfg_attr(test, ts(type = "number"))]
    requests: u64,
    standing: StandingWord,
    /// What the stop does to it.
    stop: String,
}

/// How the processes of a run stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
#[serde(rename_all = "lowercase")]
pub(crate) enum StandingWord {
    Runs,
    Frozen,
    Killed,
}

/// An agent that is stopped by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
pub(crate) struct StoppedAgentRow {
    agent: String,
    #[cfg_attr(test, ts(type = "number"))]
    since: i64,
    by: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
#[serde(rename_all = "lowercase")]
pub(crate) enum StateWord {
    Idle,
    Asking,
    Stopped,
}

/// How things stand. Times are milliseconds since 1970, here and below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateView {
    state: StateWord,
    waiting: usize,
    #[cfg_attr(test, ts(type = "number | null"))]
    stopped_since: Option<i64>,
    stopped_by: Option<String>,
    hotkey: HotkeyView,
    warnings: Vec<String>,
    runs: Vec<RunRow>,
    stopped_agents: Vec<StoppedAgentRow>,
}

pub(crate) fn state(desk: &Desk) -> StateView {
    let state = desk.state();
    let (keys, works) = desk.hotkey();
    let problem = works.err();
    StateView {
        state: match (&state.stopped, desk.waiting().len()) {
            (Some(_), _) => StateWord::Stopped,
            (None, 0) => StateWord::Idle,
            (None, _) => StateWord::Asking,
        },
        waiting: desk.waiting().len(),
        stopped_since: state.stopped.as_ref().map(|s| s.since.unix_ms()),
        stopped_by: state
            .stopped
            .as_ref()
            .map(|s| super::timeline::trigger(s.trigger).to_owned()),
        hotkey: HotkeyView {
            keys: keys.to_owned(),
            works_as: works.unwrap_or_default().to_owned(),
            problem: problem.map(str::to_owned),
            desktop_decides: crate::hotkey::desktop_decides(),
            trial: desk.trial().map(trial),
        },
        // Ours comes back from the authority; it is told once.
        warnings: state
            .warnings
            .iter()
            .filter(|w| Some(w.as_str()) != problem)
            .cloned()
            .collect(),
        runs: state
            .runs
            .iter()
            .map(|run| RunRow {
                run: run.facts.run.to_string(),
                agent: run.facts.agent.to_string(),
                task: run.facts.task.neutral(),
                contained: run.facts.contained,
                since: run.since.unix_ms(),
                requests: run.requests,
                standing: match run.standing {
                    RunStanding::Runs => StandingWord::Runs,
                    RunStanding::Frozen => StandingWord::Frozen,
                    RunStanding::Killed => StandingWord::Killed,
                },
                stop: run.facts.stop.words().to_owned(),
            })
            .collect(),
        stopped_agents: state
            .stopped_agents
            .iter()
            .map(|stop| StoppedAgentRow {
                agent: stop.agent.to_string(),
                since: stop.since.unix_ms(),
                by: super::timeline::trigger(stop.trigger).to_owned(),
            })
            .collect(),
    }
}

fn trial(trial: &Trial) -> TrialView {
    let (heard, problem) = match &trial.so_far {
        Heard::NotYet => (HeardWord::NotYet, None),
        Heard::Yes => (HeardWord::Yes, None),
        Heard::DesktopDecides => (HeardWord::Desktop, None),
        Heard::Never(why) => (HeardWord::Never, Some(why.clone())),
    };
    TrialView {
        keys: trial.hotkey.to_string(),
        heard,
        problem,
    }
}

/// One named value of a request's data, as lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
pub(crate) struct FieldView {
    label: String,
    value: Vec<String>,
}

/// A request of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestView {
    request: String,
    agent: String,
    run: String,
    /// Why the run was started, in the human's words.
    task: String,
    contained: bool,
    effects: Vec<EffectWord>,
    /// The first of them.
    objects: Vec<String>,
    /// How many there are in all, when anybody can say.
    #[cfg_attr(test, ts(type = "number | null"))]
    count: Option<u64>,
    account: String,
    environment: String,
    production: bool,
    provider: String,
    operation: String,
    target: String,
    /// What the agent says, in its own words.
    reason: Option<String>,
    fields: Vec<FieldView>,
    text: Option<Vec<String>>,
    /// Whether `fields` and `text` are all of the data.
    whole: bool,
    media_type: Option<String>,
    #[cfg_attr(test, ts(type = "number"))]
    length: u64,
    rules: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
#[serde(rename_all = "lowercase")]
pub(crate) enum AssuranceWord {
    Notification,
    Window,
    Presence,
}

/// One question, laid out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
#[serde(rename_all = "camelCase")]
pub(crate) struct QuestionView {
    id: String,
    /// What an answer must name.
    #[cfg_attr(test, ts(type = "string"))]
    digest: Digest,
    assurance: AssuranceWord,
    #[cfg_attr(test, ts(type = "number"))]
    asked: i64,
    #[cfg_attr(test, ts(type = "number"))]
    ends: i64,
    /// Until when the agent's connection is held.
    #[cfg_attr(test, ts(type = "number | null"))]
    held_until: Option<i64>,
    times: u32,
    title: Vec<SpanView>,
    /// The request, when it is about one.
    request: Option<RequestView>,
    /// Otherwise: what it is about, in lines; and what changes.
    summary: Vec<String>,
    diff: Vec<String>,
}

/// How a boundary stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
#[serde(rename_all = "lowercase")]
pub(crate) enum CheckWord {
    Holds,
    Absent,
    Broken,
    Untried,
}

/// One boundary, and what a live attempt to cross it showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
pub(crate) struct CheckView {
    boundary: String,
    state: CheckWord,
    found: String,
}

pub(crate) fn check(check: &Check) -> CheckView {
    CheckView {
        boundary: check.boundary.clone(),
        state: match check.state {
            CheckState::Holds => CheckWord::Holds,
            CheckState::Absent => CheckWord::Absent,
            CheckState::Broken => CheckWord::Broken,
            CheckState::Untried => CheckWord::Untried,
        },
        found: Foreign::new(check.found.clone()).neutral(),
    }
}

pub(crate) fn waiting(desk: &Desk) -> Vec<QuestionView> {
    desk.waiting().iter().map(question).collect()
}

pub(crate) fn question(question: &Question) -> QuestionView {
    let (summary, diff) = match &question.about {
        // File content: it may hold anything.
        About::Config { summary, diff, .. } => (neutral(summary), neutral(diff)),
        About::LeftBehind {
            folder,
            summary,
            diff,
            ..
        } => {
            let mut lines = vec![format!("In {}:", folder.neutral())];
            lines.extend(neutral(summary));
            (lines, neutral(diff))
        }
        About::SetCredential { hosts, .. } => (
            vec![format!("It will be sent to: {}", hosts.join(", "))],
            vec![],
        ),
        About::Resume { .. } => (
            vec!["Agents can act again; no earlier approval comes back.".into()],
            vec![],
        ),
        About::Test {} => (
            vec!["Either answer will do: it shows that yours arrives. It changes nothing.".into()],
            vec![],
        ),
        _ => (vec![], vec![]),
    };
    QuestionView {
        id: question.id.to_string(),
        digest: question.digest,
        assurance: match question.assurance {
            Assurance::Notification => AssuranceWord::Notification,
            Assurance::Window => AssuranceWord::Window,
            Assurance::Presence => AssuranceWord::Presence,
        },
        asked: question.asked.unix_ms(),
        ends: question.ends.unix_ms(),
        held_until: question
            .held_until
            .map(countersign_model::Timestamp::unix_ms),
        times: question.times,
        title: spans(&title(&question.about)),
        request: match &question.about {
            About::Request(request) => Some(self::request(request)),
            _ => None,
        },
        summary,
        diff,
    }
}

fn neutral(texts: &[String]) -> Vec<String> {
    texts
        .iter()
        .map(|text| Foreign::new(text.as_str()).neutral())
        .collect()
}

fn request(request: &RequestQuestion) -> RequestView {
    let action = &request.action;
    let preview = &request.preview;
    RequestView {
        request: request.request.to_string(),
        agent: request.agent.to_string(),
        run: request.run.to_string(),
        task: request.task.neutral(),
        contained: request.contained,
        effects: action.effects.iter().map(EffectWord).collect(),
        objects: action.objects.listed.iter().map(Foreign::neutral).collect(),
        count: action.objects.count,
        account: action.account.to_string(),
        environment: action.environment.to_string(),
        production: action.environment.is_production(),
        provider: action.provider.to_string(),
        operation: Foreign::new(action.operation.as_str()).neutral(),
        target: request.target.neutral(),
        reason: action.reason.as_ref().map(Foreign::neutral),
        fields: preview
            .fields
            .iter()
            .map(|f| FieldView {
                label: f.label.clone(),
                value: lines(&f.value),
            })
            .collect(),
        text: preview.text.as_ref().map(lines),
        whole: preview.whole,
        media_type: preview.media_type.as_ref().map(Foreign::neutral),
        length: preview.length,
        rules: request.rules.clone(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(TS))]
#[serde(rename_all = "lowercase")]
pub(crate) enum DecisionWord {
    Allow,
    Deny,
}

impl From<Decision> for DecisionWord {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Allow => Self::Allow,
            Decision::Deny => Self::Deny,
        }
    }
}

/// Which rows of the timeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(TS))]
pub(crate) struct TimelineFilter {
    pub(super) agent: Option<String>,
    pub(super) account: Option<String>,
    pub(super) effect: Option<EffectWord>,
    pub(super) decision: Option<DecisionWord>,
    /// Only older than this record.
    #[cfg_attr(test, ts(type = "number | null"))]
    pub(super) before: Option<u64>,
}

/// How a row should strike the eye.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tone {
    Ok,
    Denied,
    Unknown,
    Pending,
    Note,
    Alarm,
}

/// One row of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
pub(crate) struct TimelineRow {
    #[cfg_attr(test, ts(type = "number"))]
    pub(super) index: u64,
    #[cfg_attr(test, ts(type = "number"))]
    pub(super) at: i64,
    pub(super) agent: Option<String>,
    pub(super) account: Option<String>,
    pub(super) production: bool,
    pub(super) what: Vec<SpanView>,
    pub(super) effects: Vec<EffectWord>,
    pub(super) decision: Option<DecisionWord>,
    /// Who decided.
    pub(super) by: String,
    pub(super) outcome: String,
    pub(super) tone: Tone,
}

/// One labelled line of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
pub(crate) struct LineView {
    pub(super) label: String,
    pub(super) value: Vec<SpanView>,
}

/// Lines that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
pub(crate) struct SectionView {
    pub(super) title: String,
    pub(super) lines: Vec<LineView>,
}

/// One record in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(TS))]
pub(crate) struct RecordView {
    pub(super) row: TimelineRow,
    pub(super) sections: Vec<SectionView>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::tests::question as sample;
    use std::path::Path;

    /// `COUNTERSIGN_WRITE_TYPES=1 cargo test -p countersign-desktop` writes them.
    #[test]
    fn the_pages_types_are_those_of_this_file() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/src/bridge/types");
        let fresh = tempfile::tempdir().unwrap();
        let config = ts_rs::Config::new().with_out_dir(fresh.path());
        RecordView::export_all(&config).unwrap();
        QuestionView::export_all(&config).unwrap();
        StateView::export_all(&config).unwrap();
        TimelineFilter::export_all(&config).unwrap();
        CheckView::export_all(&config).unwrap();
        let names = |at: &Path| {
            let mut names: Vec<_> = std::fs::read_dir(at)
                .unwrap()
                .map(|e| e.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        if std::env::var_os("COUNTERSIGN_WRITE_TYPES").is_some() {
            for stale in names(&folder) {
                std::fs::remove_file(folder.join(stale)).unwrap();
            }
            for name in names(fresh.path()) {
                std::fs::copy(fresh.path().join(&name), folder.join(&name)).unwrap();
            }
        }
        assert_eq!(names(&folder), names(fresh.path()));
        for name in names(&folder) {
            let [old, new] =
                [&folder, fresh.path()].map(|f| std::fs::read_to_string(f.join(&name)).unwrap());
            assert_eq!(old, new, "{} is stale", name.display());
        }
    }

    #[test]
    fn no_control_or_bidi_character_reaches_the_page() {
        let evil = Foreign::new("a\u{202E}b\u{1b}[2J\u{200B}\u{7}");
        let mut asked = sample(0);
        let About::Request(request) = &mut asked.about else {
            panic!()
        };
        request.task = evil.clone();
        request.target = evil.clone();
        request.action.reason = Some(evil.clone());
        request.action.operation = evil.raw().to_owned();
        request.action.words = countersign_model::Words::new("Write ").foreign(evil.clone());
        request.action.objects.listed = vec![evil.clone()];
        request.preview.fields = vec![countersign_model::Field {
            label: "Text".into(),
            value: evil.clone(),
        }];
        request.preview.text = Some(Foreign::new(format!("one\r\ntwo\n{}", evil.raw())));
        request.preview.media_type = Some(evil);
        let json = serde_json::to_string(&question(&asked)).unwrap();
        for bad in ['\u{202E}', '\u{200B}'] {
            assert!(!json.contains(bad));
        }
        assert!(!json.contains("\\u001b") && !json.contains("\\u0007"));
        assert!(json.contains(r#"["one","two","a<U+202E>b"#), "{json}");
    }
}
