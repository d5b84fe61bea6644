//! A record as one line.

use super::{VALUE, line, time};
use countersign_model::{Decision, Event, Foreign, Outcome, Settled, Tokens};
use countersign_protocol::surface::TimelineEntry;

/// One line of `countersign timeline`.
pub(crate) fn entry(entry: &TimelineEntry) {
    line(&format!("{}  {}", time(entry.at), entry_words(entry)));
}

fn entry_words(entry: &TimelineEntry) -> String {
    match &entry.event {
        Event::Opened { program, clean, .. } => {
            let end = if *clean {
                ""
            } else {
                "; the last end was not in order"
            };
            format!("authority started (version {program}){end}")
        }
        Event::Closed {} => "authority ended".into(),
        Event::RunStarted(run) => {
            let contained = if run.contained {
                "contained"
            } else {
                "NOT CONTAINED"
            };
            let begun = match &run.goes_on_from {
                Some(old) => format!("goes on from {old} as"),
                None => "started".into(),
            };
            format!(
                "{} {begun} {} ({contained}; {}{}): {}",
                run.agent,
                run.run,
                run.stop.words(),
                run.passages(),
                run.task.quoted(VALUE)
            )
        }
        Event::RunEnded {
            run,
            exit_code,
            why,
        } => {
            let code = exit_code.map_or_else(String::new, |c| format!(", exit code {c}"));
            format!("{run} ended: {why}{code}")
        }
        Event::Requested(r) => {
            let what = r
                .action
                .as_ref()
                .map_or_else(|| r.target.quoted(VALUE), |a| a.words.shown(VALUE));
            let place = r
                .account
                .as_ref()
                .map(|a| format!(" on {a}"))
                .unwrap_or_default();
            let how = match (&r.approval, r.decision, r.reason) {
                (Some(a), Decision::Allow, _) => format!("approved ({})", a.surface),
                (None, Decision::Allow, _) => "allowed".into(),
                (_, Decision::Deny, Some(reason)) => format!("DENIED {reason}"),
                (_, Decision::Deny, None) => "DENIED".into(),
            };
            let outcome = match (&entry.settled, r.decision) {
                (_, Decision::Deny) => String::new(),
                (None, _) => " → outcome unknown".into(),
                (Some(s), _) => {
                    format!(" → {}{}{}", outcome(&s.outcome), gone(s), tokens(s.tokens))
                }
            };
            format!("{}  {}{place}: {what}  {how}{outcome}", r.request, r.agent)
        }
        Event::MoreRefused {
            agent,
            account,
            reason,
            count,
            first,
            last,
            ..
        } => {
            let place = account
                .as_ref()
                .map_or_else(String::new, |a| format!(" on {a}"));
            format!(
                "{agent}{place}: {count} more like this between {} and {}  DENIED {reason}",
                time(*first),
                time(*last)
            )
        }
        Event::PassageOpened { run, agent, port } => {
            format!("{agent}: run {run} connects to port {port} of this machine")
        }
        Event::PassageClosed(passed) => format!("{}: {}", passed.agent, passed.words()),
        Event::Settled(s) => format!("{}  {}", s.request, outcome(&s.outcome)),
        Event::StopEngaged { trigger, reason } => {
            format!(
                "■ STOP engaged by {}{}",
                super::trigger(*trigger),
                because(reason)
            )
        }
        Event::AgentStopped {
            agent,
            trigger,
            reason,
        } => format!(
            "■ {agent} stopped by {}{}",
            super::trigger(*trigger),
            because(reason)
        ),
        Event::AgentResumed { agent, surface } => format!("{agent} may go on ({surface})"),
        Event::StopLifted { surface } => format!("stop lifted ({surface})"),
        Event::ConfigAccepted { counter, by, .. } => {
            format!("configuration {counter} accepted ({by})")
        }
        Event::CredentialSet { credential } => {
            format!(
                "credential {} stored (version {})",
                credential.id, credential.version
            )
        }
        Event::CredentialRemoved { credential } => format!("credential {} removed", credential.id),
        Event::IndexAltered {} => {
            "What the ledger's records are found by (ledger.db.index) was changed or damaged by something else. The timeline leaves nothing out: until the next start, which makes it anew, it is read from the records themselves, which takes longer.".into()
        }
        Event::Noted { what, detail } => match detail {
            Some(detail) => format!("{what}: {}", detail.quoted(VALUE)),
            None => what.clone(),
        },
    }
}

fn tokens(tokens: Option<Tokens>) -> String {
    tokens.map_or_else(String::new, |Tokens { input, output }| {
        format!(", {input} tokens asked and {output} answered")
    })
}

fn because(reason: &Option<Foreign>) -> String {
    let words = reason.as_ref().map(|r| format!(": {}", r.quoted(VALUE)));
    words.unwrap_or_default()
}

/// Of what was cut: how much had left before.
fn gone(settled: &Settled) -> String {
    match (&settled.outcome, settled.bytes_sent) {
        (Outcome::Cut { .. }, 1..) => format!("; {} bytes had gone", settled.bytes_sent),
        _ => String::new(),
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered { status } => format!("answered {status}"),
        Outcome::NotSent { reason } => format!("not sent ({reason})"),
        Outcome::Unknown { why, status: None } => format!("outcome unknown ({why})"),
        Outcome::Unknown {
            why,
            status: Some(status),
        } => format!("outcome unknown, {status} ({why})"),
        Outcome::Cut {
            status: Some(status),
        } => format!("cut by the stop, after status {status}"),
        Outcome::Cut { status: None } => "cut by the stop".into(),
    }
}
