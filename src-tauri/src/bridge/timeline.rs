//! Records as rows, and one record in full.

use super::view::{
    EffectWord, LineView, RecordView, SectionView, SpanView, TimelineFilter, TimelineRow, Tone,
    spans,
};
use countersign_model::{
    Answer, Approval, Decision, Event, Foreign, Outcome, ReasonCode, Requested, Settled,
    StopTrigger, SurfaceKind, Tokens, Verdict,
};
use countersign_protocol::surface::{self, TimelineEntry};

/// How many rows the page is given at once.
const PAGE: u32 = 200;

/// The page's filter as the authority's.
pub(super) fn filter(filter: TimelineFilter) -> Result<surface::TimelineFilter, String> {
    let name = |e: countersign_model::BadId| e.to_string();
    Ok(surface::TimelineFilter {
        agent: filter.agent.map(|s| s.parse().map_err(name)).transpose()?,
        account: filter
            .account
            .map(|s| s.parse().map_err(name))
            .transpose()?,
        effect: filter.effect.map(|e| e.0),
        decision: filter.decision.map(|d| match d {
            super::view::DecisionWord::Allow => Decision::Allow,
            super::view::DecisionWord::Deny => Decision::Deny,
        }),
        before: filter.before,
        limit: PAGE,
        ..Default::default()
    })
}

/// Exactly this record.
pub(super) fn only(index: u64) -> surface::TimelineFilter {
    surface::TimelineFilter {
        before: Some(index.saturating_add(1)),
        limit: 1,
        ..Default::default()
    }
}

/// What engaged the stop, in words.
pub(crate) const fn trigger(trigger: StopTrigger) -> &'static str {
    match trigger {
        StopTrigger::Hotkey => "the hotkey",
        StopTrigger::Tray => "the tray",
        StopTrigger::Window => "the window",
        StopTrigger::Command => "the command",
        StopTrigger::Signal => "a signal",
        StopTrigger::File => "the stop file",
        StopTrigger::UncleanEnd => "an unclean end",
    }
}

pub(crate) fn row(entry: &TimelineEntry) -> TimelineRow {
    let mut row = TimelineRow {
        index: entry.index,
        at: entry.at.unix_ms(),
        agent: None,
        account: None,
        production: false,
        what: Vec::new(),
        effects: Vec::new(),
        decision: None,
        by: String::new(),
        outcome: String::new(),
        tone: Tone::Note,
    };
    match &entry.event {
        Event::Requested(requested) => of_request(&mut row, requested, entry.settled.as_ref()),
        Event::RunStarted(run) => {
            row.agent = Some(run.agent.to_string());
            let begun = match &run.goes_on_from {
                Some(_) => "Run goes on, under a new identity: ",
                None => "Run started: ",
            };
            row.what = vec![
                SpanView::Ours(begun.into()),
                SpanView::Foreign(run.task.neutral()),
            ];
            let contained = if run.contained {
                "contained"
            } else {
                "not contained"
            };
            row.outcome = format!("{contained}{}", run.passages());
        }
        Event::RunEnded {
            run,
            exit_code,
            why,
        } => {
            row.what = SpanView::ours(format!("Run {run} ended: {why}"));
            row.outcome = exit_code.map_or_else(String::new, |code| format!("exit code {code}"));
        }
        Event::MoreRefused {
            agent,
            account,
            decision,
            reason,
            count,
            ..
        } => {
            row.agent = Some(agent.to_string());
            row.account = account.as_ref().map(ToString::to_string);
            row.decision = Some((*decision).into());
            row.what = SpanView::ours(format!("{count} more requests refused alike"));
            row.outcome = why(*reason).into();
            row.tone = Tone::Denied;
        }
        Event::PassageOpened { run, agent, port } => {
            row.agent = Some(agent.to_string());
            let what = format!("Run {run} connects to port {port} of this machine");
            row.what = SpanView::ours(what);
        }
        Event::PassageClosed(passed) => {
            row.agent = Some(passed.agent.to_string());
            row.what = SpanView::ours(passed.words());
        }
        Event::StopEngaged { trigger: by, .. } => {
            row.what = SpanView::ours("All agents stopped");
            row.by = trigger(*by).into();
            row.outcome = "stopped".into();
            row.tone = Tone::Alarm;
        }
        Event::StopLifted { surface } => {
            row.what = SpanView::ours("The stop was lifted");
            row.by = format!("you, {surface}");
        }
        Event::AgentStopped {
            agent, trigger: by, ..
        } => {
            row.agent = Some(agent.to_string());
            row.what = SpanView::ours("This agent stopped, and no other");
            row.by = trigger(*by).into();
            row.outcome = "stopped".into();
            row.tone = Tone::Alarm;
        }
        Event::AgentResumed { agent, surface } => {
            row.agent = Some(agent.to_string());
            row.what = SpanView::ours("This agent may go on");
            row.by = format!("you, {surface}");
        }
        Event::Opened { clean, program, .. } => {
            row.what = SpanView::ours(format!("Countersign {program} started"));
            row.outcome = if *clean {
                ""
            } else {
                "the last end was unclean"
            }
            .into();
        }
        Event::Closed {} => row.what = SpanView::ours("Countersign ended"),
        Event::ConfigAccepted { counter, by, .. } => {
            row.what = SpanView::ours(format!("Configuration {counter} accepted"));
            row.by.clone_from(by);
        }
        Event::CredentialSet { credential } => {
            row.what = SpanView::ours(format!("Credential {} stored", credential.id));
        }
        Event::CredentialRemoved { credential } => {
            row.what = SpanView::ours(format!("Credential {} removed", credential.id));
        }
        Event::IndexAltered {} => {
            row.what = SpanView::ours(
                "What records are found by was changed by something else; no record was",
            );
        }
        Event::Noted { what, detail } => {
            row.what = SpanView::ours(what.clone());
            if let Some(detail) = detail {
                row.what.push(SpanView::Ours(": ".into()));
                row.what.extend(SpanView::foreign(detail));
            }
        }
        // Stands in `settled` of its request; alone it says only this.
        Event::Settled(settled) => {
            row.what = SpanView::ours(format!("Outcome of request {}", settled.request));
            row.outcome = outcome(&settled.outcome).0;
        }
    }
    row
}

fn of_request(row: &mut TimelineRow, requested: &Requested, settled: Option<&Settled>) {
    row.agent = Some(requested.agent.to_string());
    row.account = requested.account.as_ref().map(ToString::to_string);
    row.decision = Some(requested.decision.into());
    match &requested.action {
        Some(action) => {
            row.what = spans(action.words.spans());
            row.effects = action.effects.iter().map(EffectWord).collect();
            row.production = action.environment.is_production();
        }
        None => row.what = SpanView::foreign(&requested.target),
    }
    row.by = decided_by(requested);
    (row.outcome, row.tone) = match (requested.decision, settled) {
        (Decision::Deny, _) => (requested.reason.map_or("denied", why).into(), Tone::Denied),
        (Decision::Allow, None) => ("no outcome yet".into(), Tone::Pending),
        (Decision::Allow, Some(settled)) => outcome(&settled.outcome),
    };
}

fn decided_by(requested: &Requested) -> String {
    match (&requested.approval, requested.verdict) {
        (Some(approval), _) => format!("you, {}", place(approval.surface)),
        (None, Some(Verdict::Ask(_))) => "nobody".into(),
        (None, Some(_)) => "policy".into(),
        (None, None) => "gateway".into(),
    }
}

const fn place(surface: SurfaceKind) -> &'static str {
    match surface {
        SurfaceKind::Notification => "notification",
        SurfaceKind::Window => "window",
        SurfaceKind::Terminal => "terminal",
        SurfaceKind::Command => "command",
    }
}

fn outcome(outcome: &Outcome) -> (String, Tone) {
    match outcome {
        Outcome::Answered { status } if *status < 400 => (format!("done, {status}"), Tone::Ok),
        Outcome::Answered { status } => (format!("refused there, {status}"), Tone::Unknown),
        Outcome::NotSent { reason } => (format!("not sent: {}", why(*reason)), Tone::Denied),
        Outcome::Unknown { .. } => ("outcome unknown".into(), Tone::Unknown),
        Outcome::Cut { .. } => ("cut by the stop".into(), Tone::Alarm),
    }
}

/// A reason code in a few words for people; the record page has the whole.
const fn why(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::DeniedByHuman => "denied",
        ReasonCode::DeniedRepeatedly => "denied, third time",
        ReasonCode::Policy => "denied by policy",
        ReasonCode::PolicyError => "policy error",
        ReasonCode::TimedOut => "nobody answered",
        ReasonCode::Waiting => "still waiting",
        ReasonCode::Withdrawn => "withdrawn",
        ReasonCode::Stopped => "stopped",
        ReasonCode::Locked => "keyring locked",
        ReasonCode::NoKeyring => "no keyring",
        ReasonCode::NoCredential => "no credential",
        ReasonCode::NoSurface => "nobody to ask",
        ReasonCode::LedgerFailed => "ledger failed",
        ReasonCode::NotAssigned => "not assigned",
        ReasonCode::Malformed => "ambiguous",
        ReasonCode::Unsupported => "not supported",
        ReasonCode::Limit => "limit reached",
        ReasonCode::NotAccepted => "not accepted",
        ReasonCode::Changed => "changed",
        ReasonCode::Expired => "expired",
        ReasonCode::NoEffects => "effects unknown",
        ReasonCode::Upstream => "unreachable",
        ReasonCode::ReplyHeldCredential => "reply held a credential",
        ReasonCode::Internal => "internal error",
    }
}

/// The record in full: what, why, with what data, verdict, who, outcome.
pub(super) fn record(entry: &TimelineEntry) -> RecordView {
    let sections = match &entry.event {
        Event::Requested(requested) => request_sections(requested, entry.settled.as_ref()),
        Event::RunStarted(run) => vec![section(
            "Run",
            [
                line("Run", run.run.to_string()),
                line(
                    "Goes on from",
                    run.goes_on_from
                        .as_ref()
                        .map_or_else(|| "none".to_owned(), ToString::to_string),
                ),
                line("Contained", yes_no(run.contained)),
                line("Stop", run.stop.words()),
                quoted("Task", &run.task),
                quoted("Folder", &run.folder),
                quoted("Command", &joined(&run.argv)),
            ],
        )],
        Event::StopEngaged {
            trigger: by,
            reason,
        }
        | Event::AgentStopped {
            trigger: by,
            reason,
            ..
        } => {
            let mut lines = vec![line("Engaged by", trigger(*by))];
            lines.extend(reason.as_ref().map(|r| quoted("Reason", r)));
            vec![section("Stop", lines)]
        }
        Event::ConfigAccepted {
            counter,
            digest,
            by,
        } => vec![section(
            "Configuration",
            [
                line("Counter", counter.to_string()),
                line("Digest", digest.to_string()),
                line("Accepted by", by),
            ],
        )],
        Event::CredentialSet { credential } | Event::CredentialRemoved { credential } => {
            vec![section(
                "Credential",
                [
                    line("Name", credential.id.to_string()),
                    line("Version", credential.version.to_string()),
                ],
            )]
        }
        Event::Opened {
            install,
            program,
            clean,
        } => vec![section(
            "Program",
            [
                line("Install", install.to_string()),
                line("Version", program),
                line("Last end in order", yes_no(*clean)),
            ],
        )],
        Event::MoreRefused {
            run, first, last, ..
        } => vec![section(
            "Refused",
            [
                line("Run", run.to_string()),
                line(
                    "Within",
                    format!("{} ms", last.unix_ms().saturating_sub(first.unix_ms())),
                ),
            ],
        )],
        Event::RunEnded { .. }
        | Event::Closed {}
        | Event::StopLifted { .. }
        | Event::AgentResumed { .. }
        | Event::PassageOpened { .. }
        | Event::PassageClosed(_)
        | Event::IndexAltered {}
        | Event::Noted { .. }
        | Event::Settled(_) => Vec::new(),
    };
    RecordView {
        row: row(entry),
        sections,
    }
}

fn request_sections(r: &Requested, settled: Option<&Settled>) -> Vec<SectionView> {
    let mut what = vec![quoted("Target", &r.target)];
    let mut why_lines = Vec::new();
    let mut data = Vec::new();
    if let Some(action) = &r.action {
        what.push(line(
            "Operation",
            format!(
                "{}: {}",
                action.provider,
                Foreign::new(action.operation.as_str()).neutral()
            ),
        ));
        what.push(line("Recognised by", &action.decided_by));
        what.push(line("Environment", action.environment.to_string()));
        let count = action
            .objects
            .count
            .map_or_else(|| "unknown".into(), |n| n.to_string());
        what.push(line("Objects in all", count));
        if !action.objects.listed.is_empty() {
            let value = action
                .objects
                .listed
                .iter()
                .map(|o| SpanView::Foreign(o.neutral()));
            what.push(LineView {
                label: "Objects".into(),
                value: spaced(value),
            });
        }
        why_lines.push(match &action.reason {
            Some(reason) => quoted("The agent says", reason),
            None => line("The agent says", "nothing"),
        });
        if let Some(digest) = action.data_digest {
            data.push(line("Body, SHA-256", digest.to_string()));
        }
    }
    if let Some(digest) = settled.and_then(|s| s.body_digest) {
        data.push(line("Streamed body, SHA-256", digest.to_string()));
    }
    if let Some(settled) = settled {
        data.push(line("Bytes sent", settled.bytes_sent.to_string()));
        data.push(line("Bytes received", settled.bytes_received.to_string()));
        if let Some(Tokens { input, output }) = settled.tokens {
            data.push(line("Tokens", format!("{input} asked, {output} answered")));
        }
    }
    if let Some(exact) = r.exact {
        data.push(line("Exact request, SHA-256", exact.to_string()));
    }
    let mut who = vec![line("Agent", r.agent.to_string())];
    who.extend(r.run.as_ref().map(|run| line("Run", run.to_string())));
    who.push(line("Contained", yes_no(r.contained)));
    who.extend(r.account.as_ref().map(|a| line("Account", a.to_string())));
    who.extend(
        r.credential
            .as_ref()
            .map(|c| line("Credential", format!("{}, version {}", c.id, c.version))),
    );

    let mut decision = vec![line(
        "Verdict",
        r.verdict
            .map_or_else(|| "none: refused before".into(), |v| v.to_string()),
    )];
    if !r.rules.is_empty() {
        decision.push(line("Rules", r.rules.join(", ")));
    }
    decision.push(line("Decided by", decided_by(r)));
    if let Some(approval) = &r.approval {
        decision.extend(answered(approval));
    }
    if let Some(reason) = r.reason {
        decision.push(line("Reason", reason.code()));
        decision.push(line("The agent was told", reason.advice()));
    }
    decision.extend(r.detail.as_ref().map(|d| quoted("Detail", d)));
    decision.push(line("Configuration", r.config.to_string()));

    let mut sections = vec![
        section("What", what),
        section("Why", why_lines),
        section("Who", who),
    ];
    sections.push(section("Decision", decision));
    sections.push(section("Data", data));
    sections.push(section("Outcome", outcome_lines(r.decision, settled)));
    sections.retain(|s| !s.lines.is_empty());
    sections
}

fn answered(approval: &Approval) -> [LineView; 4] {
    let answer = match approval.answer {
        Answer::Approve => "Approve",
        Answer::Deny => "Deny",
    };
    [
        line("Answer", answer),
        line("Strength", approval.assurance.word()),
        line(
            "Answered after",
            format!("{:.1} s", approval.latency_ms as f64 / 1000.0),
        ),
        line("For", format!("{} identical request(s)", approval.times)),
    ]
}

fn outcome_lines(decision: Decision, settled: Option<&Settled>) -> Vec<LineView> {
    let Some(settled) = settled else {
        return match decision {
            Decision::Allow => vec![line("Outcome", "not known yet")],
            Decision::Deny => vec![line("Outcome", "nothing was sent")],
        };
    };
    let mut lines = vec![line("Outcome", outcome(&settled.outcome).0)];
    if let Outcome::Unknown { why, status } = &settled.outcome {
        lines.push(line("What is known", why));
        lines.extend(status.map(|status| line("Status", status.to_string())));
    }
    lines.push(line("Duration", format!("{} ms", settled.duration_ms)));
    lines
}

fn section(title: &str, lines: impl Into<Vec<LineView>>) -> SectionView {
    SectionView {
        title: title.into(),
        lines: lines.into(),
    }
}
fn line(label: &str, text: impl Into<String>) -> LineView {
    LineView {
        label: label.into(),
        value: SpanView::ours(text),
    }
}
fn quoted(label: &str, text: &Foreign) -> LineView {
    LineView {
        label: label.into(),
        value: SpanView::foreign(text),
    }
}
fn spaced(spans: impl Iterator<Item = SpanView>) -> Vec<SpanView> {
    spans
        .flat_map(|span| [span, SpanView::Ours(" ".into())])
        .collect()
}
fn joined(argv: &[Foreign]) -> Foreign {
    Foreign::new(argv.iter().map(Foreign::raw).collect::<Vec<_>>().join(" "))
}
const fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
