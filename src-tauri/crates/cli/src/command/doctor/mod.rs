//! `countersign doctor`: proves each boundary live. What no agent may reach is
//! reached from out here, and then tried from inside a throw-away run.
//!
//! | file | idea |
//! |---|---|
//! | `attempt` | one attempt to cross a boundary; the same code outside and in |
//! | `outside` | what is here to be kept away, and the bait that we lay |
//! | `runs` | the throw-away runs |
//! | `canary` | what works inside them |

mod attempt;
pub(crate) mod canary;
mod outside;
mod runs;

use super::ask::{home, unexpected};
use crate::client::{Client, Failure};
use crate::exit;
use crate::home::Home;
use crate::say;
use attempt::{Attempt, Came};
use countersign_containment::{Support, platform};
use countersign_ledger::verify::verify;
use countersign_model::{Digest, Foreign};
use countersign_protocol::control::{Ask, Reply};
use countersign_protocol::health::Check;
use outside::{Bait, Boundary};
use std::process::ExitCode;

/// Checks everything, says each as it is found, and fails when one failed.
/// Unattended, it leaves out the question to the human.
pub(crate) fn doctor(unattended: bool, json: bool) -> Result<ExitCode, Failure> {
    let home = home()?;
    let mut report = Report {
        json,
        checks: Vec::new(),
    };
    let runs = authority(&home, &mut report);
    containment(&home, runs, &mut report);
    if runs && !unattended {
        human(&home, &mut report);
    }
    Ok(report.end(runs))
}

struct Report {
    json: bool,
    checks: Vec<Check>,
}

impl Report {
    fn add(&mut self, check: Check) {
        if !self.json {
            say::check(&check);
        }
        self.checks.push(check);
    }

    fn end(self, authority_runs: bool) -> ExitCode {
        let failed = self.checks.iter().filter(|c| c.state.has_failed()).count();
        if self.json {
            say::json(&self.checks);
        } else if failed == 0 {
            say::line("Everything holds.");
        } else {
            let all = self.checks.len();
            say::line(&format!("{failed} of {all} failed or could not be tried."));
        }
        match failed {
            0 => ExitCode::SUCCESS,
            _ if !authority_runs => ExitCode::from(exit::NO_AUTHORITY),
            _ => ExitCode::from(exit::FAILED),
        }
    }
}

/// The authority's own: whether it runs, keyring, ledger, latch, clock, hotkey.
/// Returns whether it runs.
fn authority(home: &Home, report: &mut Report) -> bool {
    const NAME: &str = "Authority";
    let examined = Client::connect(home).and_then(|mut client| {
        client.send(&Ask::Examine {})?;
        match client.answer()? {
            Reply::Examined { checks, record } => Ok((checks, record)),
            _ => Err(unexpected()),
        }
    });
    match examined {
        Err(Failure(_, why)) => {
            report.add(Check::broken(NAME, why));
            false
        }
        Ok((checks, record)) => {
            report.add(Check::holds(NAME, "it runs, and answers"));
            checks.into_iter().for_each(|check| report.add(check));
            report.add(ledger(home, record));
            true
        }
    }
}

/// Verified as `countersign ledger verify` does it, without the authority.
fn ledger(home: &Home, record: Option<u64>) -> Check {
    const NAME: &str = "Ledger is intact";
    let verified = || -> Result<_, String> {
        let key = std::fs::read_to_string(home.ledger_key()).map_err(|e| e.to_string())?;
        let key: Digest = key.trim().parse().map_err(|e| format!("its key: {e}"))?;
        verify(&home.ledger(), key.as_bytes(), &[]).map_err(|e| e.to_string())
    };
    match verified() {
        Err(why) => Check::untried(NAME, why),
        Ok(found) => match (found.fault, record) {
            (Some(fault), _) => {
                Check::broken(NAME, format!("it was {}: {}", fault.tampering, fault.words))
            }
            (None, Some(record)) if found.records <= record => Check::broken(
                NAME,
                format!("record {record}, which was just written, is not in it"),
            ),
            (None, _) => Check::holds(NAME, format!("{} records verified", found.records)),
        },
    }
}

/// Everything that a contained run must not reach.
fn containment(home: &Home, authority_runs: bool, report: &mut Report) {
    const NAME: &str = "Containment";
    match platform().support() {
        Support::NotContained { why, fix } => {
            return report.add(Check::broken(NAME, format!("{why}. {fix}.")));
        }
        Support::Contained { layers } => report.add(Check::holds(NAME, layers.join(", "))),
    }
    const RUN: &str = "A throw-away run";
    if !authority_runs {
        return report.add(Check::untried(RUN, "it needs the authority"));
    }
    let bait = match Bait::lay(home) {
        Ok(bait) => bait,
        Err(error) => return report.add(Check::untried(RUN, error.to_string())),
    };
    let other = runs::Other::begin(&bait.mark);
    let boundaries = outside::boundaries(home, &bait, other.as_ref().ok().map(|o| &o.held));
    let attempts: Vec<Attempt> = boundaries
        .iter()
        .flat_map(|boundary| boundary.attempts.iter().cloned())
        .collect();
    match runs::attempts(&bait.mark, &attempts) {
        Err(why) => report.add(Check::untried(RUN, shown(&why))),
        Ok(came) => {
            report.add(Check::holds(
                RUN,
                format!("it made {} attempts", attempts.len()),
            ));
            let mut came = came.into_iter();
            for boundary in boundaries {
                let of_it = came.by_ref().take(boundary.attempts.len()).collect();
                report.add(judged(&boundary, of_it));
            }
            if let Err(why) = other {
                report.add(Check::untried("Another run", shown(&why)));
            }
        }
    }
}

fn judged(boundary: &Boundary, came: Vec<Came>) -> Check {
    let mut untried = None;
    for of_one in came {
        match of_one {
            Came::Crossed(how) => {
                let found = format!("a run crosses it: {}", shown(&how));
                return Check::broken(boundary.name, found);
            }
            Came::Untried(why) => untried = Some(why),
            Came::Held => {}
        }
    }
    let holds = shown(&boundary.holds);
    match (untried, boundary.attempts.is_empty()) {
        (Some(why), _) => Check::untried(boundary.name, shown(&why)),
        (None, true) => Check::absent(boundary.name, holds),
        (None, false) => Check::holds(boundary.name, holds),
    }
}

/// Names of files and sockets are whose they are.
fn shown(text: &str) -> String {
    Foreign::new(text).neutral()
}

/// A question that a click answers.
fn human(home: &Home, report: &mut Report) {
    const NAME: &str = "Your answer";
    if !report.json {
        say::line("A test question is before you: answer it, with Approve or Deny.");
    }
    let answered = Client::connect(home).and_then(|mut client| {
        client.send(&Ask::TestQuestion {})?;
        client.answer()
    });
    report.add(match answered {
        Ok(Reply::Done { sentence }) => Check::holds(NAME, sentence),
        Ok(_) => Check::untried(NAME, unexpected().1),
        Err(Failure(_, why)) => Check::broken(NAME, why),
    });
}
