//! What people read on a terminal: the only file that prints.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command prints"
)]

mod entry;
pub(crate) use entry::entry;

use crate::serve::Authority;
use countersign_model::{AccountId, AgentId, Assurance, Foreign, RunId, StopTrigger, Timestamp};
use countersign_protocol::control::{Loopback, Status, WaitingView};
use countersign_protocol::health::{Check, CheckState};
use countersign_protocol::surface::{
    About, Ended, Question, RequestQuestion, RunStanding, StopView,
};
use countersign_vault::Secret;
use serde::Serialize;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// How much of one foreign value stands in a line. What is longer is counted,
/// and whole in the question's data.
const VALUE: usize = 120;

/// Where an answer is given, nothing is cut: what is cut could change the
/// meaning of what is approved. Longer than any message.
const WHOLE: usize = 1 << 24;

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    countersign_broker::Clock::wall(&countersign_broker::SystemClock)
}

/// Accounts that can do nothing yet.
pub(crate) fn without_credential(accounts: &[AccountId]) {
    for account in accounts {
        eprintln!(
            "countersign: the account {account} has no credential yet; store it with: countersign credential set {account}"
        );
    }
}

/// What an agent begins with.
pub(crate) fn taken_over(names: &[String]) {
    eprintln!(
        "The agent keeps a configuration folder of its own now. Taken over once, without credentials: {}",
        names.join(", ")
    );
}

/// A sentence that is neither a result nor a problem, to standard error.
pub(crate) fn notice(sentence: &str) {
    eprintln!("{sentence}");
}

/// Something went wrong.
pub(crate) fn problem(sentence: &str) {
    eprintln!("countersign: {sentence}");
}

/// A line of the command's own output. A pipe that was closed is no error.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// One JSON document on one line.
pub(crate) fn json<T: Serialize>(value: &T) {
    if let Ok(text) = serde_json::to_string(value) {
        line(&text);
    }
}

/// One boundary of `doctor`.
pub(crate) fn check(check: &Check) {
    let state = match check.state {
        CheckState::Holds => "holds",
        CheckState::Absent => "-",
        CheckState::Broken => "BROKEN",
        CheckState::Untried => "UNTRIED",
    };
    line(&format!("{state:8}{:36}{}", check.boundary, check.found));
}

/// Asks for a passphrase, without showing what is typed.
pub(crate) fn ask_hidden(prompt: &str) -> io::Result<Secret> {
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    use std::io::IsTerminal as _;
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(io::Error::other("standard input is no terminal"));
    }
    eprint!("{prompt}");
    let before = tcgetattr(&stdin)?;
    let mut hidden = before.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &hidden)?;
    let mut typed = zeroize::Zeroizing::new(String::new());
    let read = stdin.read_line(&mut typed);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &before)?;
    eprintln!();
    read?;
    Ok(Secret::new(
        typed.trim_end_matches(['\n', '\r']).as_bytes().to_vec(),
    ))
}

/// A run without a sandbox begins.
pub(crate) fn uncontained() {
    eprintln!(
        "! Not contained: this agent runs as you. It can read your unlocked keyring, your files and your screen, and reach the network past Countersign. The gateway is bookkeeping, not a wall."
    );
}

/// How an agent that runs already reaches its gateway, as a shell takes it.
pub(crate) fn loopback(agent: &AgentId, way: &Loopback) {
    uncontained();
    let Loopback {
        port,
        token,
        ca_file,
    } = way;
    let proxy = format!("http://{agent}:{token}@127.0.0.1:{port}");
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
        line(&format!("export {name}={proxy}"));
    }
    for name in [
        "SSL_CERT_FILE",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
    ] {
        line(&format!("export {name}='{ca_file}'"));
    }
    let _ = io::stdout().flush();
    eprintln!("Whoever has the token is {agent}. It ends with this command (Ctrl+C).");
}

/// The stop has frozen the run of this terminal, which is in raw mode.
pub(crate) fn frozen() {
    eprint!(
        "\r\n■ Stopped: this run is frozen. `countersign resume` lets it go on; stopping once more kills it, and so do ten minutes.\r\n"
    );
}

/// The run of this terminal was thawed.
pub(crate) fn goes_on(run: &RunId) {
    eprint!("\r\n● Resumed, as run {run}. Nothing that was approved before counts any more.\r\n");
}

/// The command that starts a run of this agent anew, for a shell.
pub(crate) fn command_again(agent: &AgentId, argv: &[OsString]) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let plain = |word: &str| !word.is_empty() && word.chars().all(harmless);
    let words = argv.iter().map(|word| {
        let word = Foreign::new(word.to_string_lossy()).neutral();
        if plain(&word) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    format!(
        "countersign run --agent {agent} -- {}",
        words.collect::<Vec<_>>().join(" ")
    )
}

/// The human is being asked somewhere else.
pub(crate) fn asking() {
    eprintln!("Waiting for your answer at a surface of Countersign…");
}

/// The authority is ready.
pub(crate) fn started(authority: &Authority, asks_here: bool, notes: &[String]) {
    eprintln!(
        "Countersign {} is running (process {}).",
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    );
    eprintln!("Configuration: {}", authority.home.config_file().display());
    if asks_here {
        eprintln!("Questions are asked here. Stop everything with: countersign stop");
    }
    for note in notes {
        eprintln!("! {note}");
    }
}

/// The stop is engaged.
pub(crate) fn stopped(stop: &StopView) {
    println!(
        "\n■ Stopped by {} at {}. Go on with: countersign resume",
        trigger(stop.trigger),
        time(stop.since)
    );
}

/// A question is over without an answer from here.
pub(crate) fn question_over(ended: &Ended) {
    match ended {
        Ended::Answered { answer, surface } => {
            let answer = match answer {
                countersign_model::Answer::Approve => "Approved",
                countersign_model::Answer::Deny => "Denied",
            };
            println!("— {answer} ({surface}).\n");
        }
        Ended::Unanswered { reason } => println!("\n— Over without an answer: {reason}.\n"),
    }
    let _ = io::stdout().flush();
}

/// One question as one block, which ends in its prompt.
pub(crate) fn question(question: &Question) {
    print!("{}", question_block(question));
    let _ = io::stdout().flush();
}

/// What must be typed to approve at `Window`.
pub(crate) fn id_to_type(question: &Question) -> &str {
    match &question.about {
        About::Request(r) => r.request.as_str(),
        _ => question.id.as_str(),
    }
}

/// The block: who, what, on which object, where, why, with what data.
pub(crate) fn question_block(question: &Question) -> String {
    let mut out = String::from("\n────────────────────────────────────────────────────────────\n");
    match &question.about {
        About::Request(r) => request_lines(&mut out, question, r),
        About::Config { summary, diff, .. } | About::LeftBehind { summary, diff, .. } => {
            out.push_str(&crate::command::kept::heading(&question.about));
            for line in summary {
                let _ = writeln!(out, "  • {line}");
            }
            for line in diff {
                let _ = writeln!(out, "    {line}");
            }
        }
        about => {
            out.push_str(&self::about(about));
            out.push('\n');
        }
    }
    match question.assurance {
        Assurance::Notification => out.push_str("Approve? [y/N] "),
        Assurance::Window => {
            let _ = write!(out, "Type {} to approve: ", id_to_type(question));
        }
        Assurance::Presence => out.push_str("Passphrase: "),
    }
    out
}

fn request_lines(out: &mut String, question: &Question, r: &RequestQuestion) {
    let a = &r.action;
    let times = if question.times > 1 {
        format!("  ×{}", question.times)
    } else {
        String::new()
    };
    let contained = if r.contained { "" } else { " (not contained)" };
    let _ = writeln!(
        out,
        "{}{contained} wants to:  {}{times}",
        r.agent,
        a.words.shown(WHOLE)
    );
    let place = if a.environment.0.is_empty() {
        a.account.to_string()
    } else if a.environment.is_production() {
        format!("{} — PRODUCTION", a.account)
    } else {
        format!("{} — {}", a.account, a.environment)
    };
    let _ = writeln!(out, "  Where    {place}");
    let _ = writeln!(out, "  Effects  {}", a.effects);
    let _ = writeln!(
        out,
        "  Request  {}   id {}",
        r.target.quoted(WHOLE),
        r.request
    );
    if !a.objects.listed.is_empty() {
        let listed: Vec<_> = a.objects.listed.iter().map(|o| o.quoted(WHOLE)).collect();
        let count = a
            .objects
            .count
            .map_or_else(|| "an unknown number".into(), |n| n.to_string());
        let _ = writeln!(out, "  Objects  {count}: {}", listed.join(", "));
    }
    let _ = writeln!(out, "  Task     {}", r.task.quoted(WHOLE));
    if let Some(reason) = &a.reason {
        let _ = writeln!(out, "  It says  {}", reason.quoted(WHOLE));
    }
    for field in &r.preview.fields {
        let _ = writeln!(out, "  {:<8} {}", field.label, field.value.quoted(WHOLE));
    }
    if let Some(text) = &r.preview.text {
        out.push_str("  Data\n");
        // Whole: a cut could change the meaning of what is approved.
        for line in text.raw().lines() {
            let _ = writeln!(out, "  │ {}", Foreign::new(line).neutral());
        }
    }
    if !r.preview.whole {
        let _ = writeln!(
            out,
            "  This is not the whole of the data ({} bytes).",
            r.preview.length
        );
    }
}

/// A question that is about no request, in one sentence.
pub(crate) fn about(about: &About) -> String {
    match about {
        About::Request(r) => r.action.words.to_string(),
        About::Config { .. } => "Accept a changed configuration".into(),
        About::SetCredential {
            account,
            hosts,
            replaces,
        } => format!(
            "{} the credential of {account}? It will be sent to {} and nowhere else.",
            if *replaces { "Replace" } else { "Store" },
            hosts.join(", ")
        ),
        About::LeftBehind { agent, folder, .. } => crate::command::kept::sentence(agent, folder),
        About::RemoveCredential { account } => format!("Remove the credential of {account}?"),
        About::Resume { trigger, since } => {
            format!(
                "Lift the stop ({} at {})? Agents may act again.",
                self::trigger(*trigger),
                time(*since)
            )
        }
        About::ResumeAgent {
            agent,
            trigger,
            since,
        } => format!(
            "Let {agent} go on, which is stopped ({} at {})? It may act again.",
            self::trigger(*trigger),
            time(*since)
        ),
        About::LiftDenials { agent } => {
            format!("Ask again about {agent}, which is denied by itself after three denials?")
        }
        About::Test {} => {
            "A test by `countersign doctor`: does your answer come back? It changes nothing.".into()
        }
    }
}

fn trigger(trigger: StopTrigger) -> String {
    serde_json::to_value(trigger)
        .ok()
        .and_then(|v| v.as_str().map(|s| s.replace('-', " ")))
        .unwrap_or_default()
}

/// A moment in local time, to the second.
pub(crate) fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.unix_ms()).map_or_else(
        |_| at.unix_ms().to_string(),
        |t| {
            t.to_zoned(jiff::tz::TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string()
        },
    )
}

/// `countersign status`
pub(crate) fn status(status: &Status) {
    match &status.stopped {
        Some(stop) => line(&format!(
            "■ STOPPED since {} ({})",
            time(stop.since),
            trigger(stop.trigger)
        )),
        None if status.waiting > 0 => line(&format!("? {} waiting for you", status.waiting)),
        None => line("● Running"),
    }
    let asks = if status.surfaces.is_empty() {
        "nowhere: what needs asking is denied".to_owned()
    } else {
        status.surfaces.join(", ")
    };
    line(&format!("  asks        {asks}"));
    let config = match (status.config, status.config_changed) {
        (None, _) => "none in force; see: countersign config check".to_owned(),
        (Some(n), false) => format!("accepted (number {n})"),
        (Some(n), true) => {
            format!("accepted (number {n}); the files have changed since: countersign config diff")
        }
    };
    line(&format!("  config      {config}"));
    line(&format!("  ledger      {} records", status.records));
    line(&format!(
        "  authority   process {}, since {}",
        status.pid,
        time(status.since)
    ));
    for run in &status.runs {
        let contained = if run.facts.contained {
            "contained"
        } else {
            "NOT CONTAINED"
        };
        let standing = match run.standing {
            RunStanding::Runs => "",
            RunStanding::Frozen => "■ frozen  ",
            RunStanding::Killed => "■ killed  ",
        };
        line(&format!(
            "  {standing}{}  {}  {contained}  {} requests  {}",
            run.facts.run,
            run.facts.agent,
            run.requests,
            run.facts.task.quoted(60)
        ));
        line(&format!("      {}", run.facts.stop.words()));
    }
    for stop in &status.stopped_agents {
        line(&format!(
            "  ■ {} STOPPED since {} ({}); countersign resume --agent {0}",
            stop.agent,
            time(stop.since),
            trigger(stop.trigger)
        ));
    }
    for warning in &status.warnings {
        line(&format!("  ! {warning}"));
    }
}

/// `countersign requests`
pub(crate) fn waiting(w: &WaitingView) {
    let id = w
        .request
        .as_ref()
        .map_or_else(|| w.question.to_string(), ToString::to_string);
    let agent = w
        .agent
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let times = if w.times > 1 {
        format!("  ×{}", w.times)
    } else {
        String::new()
    };
    line(&format!(
        "{id}  {}  {agent}  {}{times}  [{}; {}]",
        time(w.since),
        w.words,
        w.effects,
        w.assurance
    ));
}
