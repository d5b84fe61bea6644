//! What the human must confirm, whoever asked for it: configuration,
//! credentials, resuming (guarantee G6).

use super::control::{done, failed};
use super::{Authority, accepted, wire};
use crate::exit;
use crate::home::{CONFIG_NAME, write_whole};
use countersign_config::{DiffLine, diff, edit, summary};
use countersign_model::{
    AccountId, AgentId, Approval, Assurance, BadHotkey, Digest, Hotkey, ReasonCode,
};
use countersign_protocol::control::Reply;
use countersign_protocol::surface::About;
use countersign_vault::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use tokio::net::UnixStream;

/// Lifts the stop, or that of one agent and its standing denials, after a human's
/// yes.
pub(super) async fn resume(
    authority: &Arc<Authority>,
    stream: &mut UnixStream,
    agent: Option<AgentId>,
) -> io::Result<()> {
    let broker = &authority.broker;
    let stopped = broker.stop().view();
    let mut presses = stopped.as_ref().map_or(0, |stop| stop.presses);
    let of_agent = agent.as_ref().and_then(|agent| broker.agent_stop(agent));
    let about = match (&agent, stopped) {
        (Some(agent), _) => match &of_agent {
            Some(stop) => {
                presses = stop.presses;
                About::ResumeAgent {
                    agent: agent.clone(),
                    trigger: stop.trigger,
                    since: stop.since,
                }
            }
            None => About::LiftDenials {
                agent: agent.clone(),
            },
        },
        (None, Some(stop)) => About::Resume {
            trigger: stop.trigger,
            since: stop.since,
        },
        (None, None) => return wire::write(stream, &done("Nothing is stopped.")).await,
    };
    let reply = match ask(authority, stream, about).await? {
        Err(refused) => refused,
        Ok(approval) => match agent {
            Some(agent) => {
                let surface = approval.surface.to_string();
                let resumed = match of_agent {
                    Some(_) => broker.resume_agent(&agent, &surface, presses).await,
                    None => Ok(()),
                };
                match resumed {
                    Ok(()) => done(format!(
                        "{agent} may go on; {} standing denial(s) lifted.",
                        broker.lift_denials(&agent)
                    )),
                    Err(sentence) => failed(exit::FAILED, sentence),
                }
            }
            None => match lift(authority, &approval.surface.to_string(), presses).await {
                Ok(()) => done("Resumed. No approval from before the stop counts any more."),
                Err(sentence) => failed(exit::FAILED, sentence),
            },
        },
    };
    wire::write(stream, &reply).await
}

/// Lifts the stop that was pressed so often, and removes the stop file, so that
/// it can be touched again. One that is touched meanwhile is a press more.
pub(super) async fn lift(authority: &Authority, surface: &str, presses: u64) -> Result<(), String> {
    match std::fs::remove_file(authority.home.stop_file()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(format!(
                "The stop file cannot be removed, so the stop stays engaged: {e}"
            ));
        }
        _ => {}
    }
    authority.broker.lift(surface, presses).await
}

/// What would change if the files on disk were accepted.
pub(super) fn config_diff(authority: &Authority) -> Reply {
    let force = authority.broker.force();
    let accepted = force.as_ref().map(|f| f.digest);
    match accepted::read_disk(&authority.home) {
        Err(problems) => Reply::ConfigDiff {
            problems,
            summary: Vec::new(),
            diff: Vec::new(),
            content: accepted.unwrap_or_else(|| Digest::of(b"")),
            accepted,
        },
        Ok(checked) => {
            let change = Change::of(authority, &checked);
            Reply::ConfigDiff {
                problems: Vec::new(),
                summary: change.summary,
                diff: change.diff,
                content: checked.digest,
                accepted,
            }
        }
    }
}

/// Puts the files on disk in force after a human's yes to exactly their diff.
pub(super) async fn config_accept(
    authority: &Arc<Authority>,
    stream: &mut UnixStream,
) -> io::Result<()> {
    let Ok(_one) = authority.accepting.try_lock() else {
        return wire::write(stream, &failed(exit::FAILED, BEFORE_THE_USER)).await;
    };
    let reply = match proposed(authority) {
        Err(sentence) => failed(exit::FAILED, sentence),
        Ok(None) => done("Nothing has changed since it was accepted."),
        Ok(Some((about, checked))) => match ask(authority, stream, about).await? {
            Err(refused) => refused,
            // What was shown is what comes into force: not what is on disk by now.
            Ok(approval) => match put_in_force(authority, checked, &approval).await {
                Ok(counter) => done(format!("Accepted; it is in force now (number {counter}).")),
                Err(sentence) => failed(exit::FAILED, sentence),
            },
        },
    };
    wire::write(stream, &reply).await
}

/// Writes another stop key into the text, and puts the files in force after a
/// human's yes to exactly their diff. Without one, the text is as it was.
///
/// # Errors
/// One sentence; the stop key is then the same as before.
pub(super) async fn set_hotkey(authority: &Authority, keys: &str) -> Result<(), String> {
    let Ok(_one) = authority.accepting.try_lock() else {
        return Err(BEFORE_THE_USER.into());
    };
    let stop: Hotkey = keys.parse().map_err(|e: BadHotkey| e.to_string())?;
    let on_disk = accepted::read_disk(&authority.home).map_err(|p| nothing_changed(&p))?;
    let before = on_disk.files.get(CONFIG_NAME).cloned().unwrap_or_default();
    let after = edit::set_hotkey(&before, stop).map_err(|e| e.to_string())?;
    let path = authority.home.config_file();
    let write = |text: &str| {
        write_whole(&path, text.as_bytes()).map_err(|e| format!("{}: {e}", path.display()))
    };
    write(&after)?;
    let refused = match proposed(authority) {
        Err(sentence) => sentence,
        Ok(None) => return Ok(()),
        Ok(Some((about, checked))) => match authority.broker.ask_human(about).await {
            Ok(approval) => {
                return put_in_force(authority, checked, &approval)
                    .await
                    .map(|_| ());
            }
            Err(reason) => not_answered(reason).1,
        },
    };
    // What was written meanwhile is not ours to take back.
    if std::fs::read_to_string(&path).is_ok_and(|now| now == after) {
        write(&before)?;
    }
    Err(format!("The stop key is as it was. {refused}"))
}

const BEFORE_THE_USER: &str = "A change is before the user already.";

fn nothing_changed(problems: &[String]) -> String {
    format!(
        "Nothing was changed; the last accepted state stays in force.\n{}",
        problems.join("\n")
    )
}

/// What the files on disk would change, as a question; `None` when that is
/// nothing.
///
/// # Errors
/// What is wrong with the files.
fn proposed(authority: &Authority) -> Result<Option<(About, accepted::Checked)>, String> {
    let checked = accepted::read_disk(&authority.home).map_err(|p| nothing_changed(&p))?;
    let in_force = authority.broker.force();
    if in_force.is_some_and(|f| f.digest == checked.digest) {
        return Ok(None);
    }
    let change = Change::of(authority, &checked);
    let about = About::Config {
        summary: change.summary,
        diff: change.diff,
        content: checked.digest,
    };
    Ok(Some((about, checked)))
}

/// Records a human's yes to what a run left behind. Whoever asked writes it then.
pub(super) async fn accept_left_behind(
    authority: &Arc<Authority>,
    stream: &mut UnixStream,
    about: About,
    content: Digest,
) -> io::Result<()> {
    let reply = match ask(authority, stream, about).await? {
        Err(refused) => refused,
        Ok(approval) => {
            let by = approval.surface.to_string();
            match authority.broker.record_left_behind(content, &by).await {
                Ok(()) => done("Accepted; it is in force now."),
                Err(reason) => failed(exit::FAILED, reason.advice()),
            }
        }
    };
    wire::write(stream, &reply).await
}

async fn put_in_force(
    authority: &Authority,
    checked: accepted::Checked,
    approval: &Approval,
) -> Result<u64, String> {
    let counter = authority.broker.next_seal_counter();
    let Authority {
        home,
        install,
        seal_key,
        broker,
        ..
    } = authority;
    // Record first: a crash between the two leaves a seal that is older than
    // the record says, and nothing in force, never a change without a record.
    broker
        .record_accepted(counter, checked.digest, approval.surface.to_string())
        .await
        .map_err(|reason| reason.advice().to_owned())?;
    accepted::store(home, install, seal_key, counter, checked.files.clone())
        .map_err(|e| e.to_string())?;
    broker.enforce(checked.into_force(counter));
    broker.warn("config", "");
    Ok(counter)
}

/// Stores a credential after a human's yes. The secret follows the message.
pub(super) async fn credential_set(
    authority: &Arc<Authority>,
    stream: &mut UnixStream,
    account: AccountId,
    length: usize,
) -> io::Result<()> {
    let secret = Secret::from_zeroizing(wire::read_secret(stream, length).await?);
    let configured = authority
        .broker
        .force()
        .and_then(|f| f.config.accounts.get(&account).cloned());
    let Some(configured) = configured else {
        let sentence = format!("No account {account} is in the accepted configuration.");
        return wire::write(stream, &failed(exit::FAILED, sentence)).await;
    };
    if configured.is_site() {
        let sentence =
            format!("{account} is a site: it has no credential (credential = \"none\").");
        return wire::write(stream, &failed(exit::FAILED, sentence)).await;
    }
    let about = About::SetCredential {
        hosts: configured.hosts.iter().map(ToString::to_string).collect(),
        replaces: authority
            .broker
            .credential(&account.clone().into())
            .is_some(),
        account: account.clone(),
    };
    let reply = match ask(authority, stream, about).await? {
        Err(refused) => refused,
        Ok(_) => match authority
            .broker
            .set_credential(&account.into(), secret)
            .await
        {
            Ok(version) => {
                authority.broker.warn("vault", "");
                done(format!(
                    "Stored in the keyring: {}, version {}.",
                    version.id, version.version
                ))
            }
            Err(e) => failed(exit::FAILED, format!("{e} {}", e.fix())),
        },
    };
    wire::write(stream, &reply).await
}

/// Removes a credential after a human's yes.
pub(super) async fn credential_remove(
    authority: &Arc<Authority>,
    stream: &mut UnixStream,
    account: AccountId,
) -> io::Result<()> {
    if authority
        .broker
        .credential(&account.clone().into())
        .is_none()
    {
        return wire::write(
            stream,
            &failed(exit::FAILED, format!("{account} has no credential.")),
        )
        .await;
    }
    let reply = match ask(
        authority,
        stream,
        About::RemoveCredential {
            account: account.clone(),
        },
    )
    .await?
    {
        Err(refused) => refused,
        Ok(_) => match authority.broker.remove_credential(&account.into()).await {
            Ok(()) => done("Removed from the keyring."),
            Err(e) => failed(exit::FAILED, format!("{e} {}", e.fix())),
        },
    };
    wire::write(stream, &reply).await
}

/// Sees whether a human's answer comes back; it changes nothing.
pub(super) async fn test_question(
    authority: &Arc<Authority>,
    stream: &mut UnixStream,
) -> io::Result<()> {
    let assurance = Assurance::Notification;
    wire::write(stream, &Reply::Asking { assurance }).await?;
    let answer = tokio::select! {
        answer = authority.broker.prove_human() => answer,
        () = gone(stream) => return Ok(()),
    };
    let reply = match answer {
        Ok(approval) => done(format!("Approve came back from: {}.", approval.surface)),
        // That is an answer too.
        Err(ReasonCode::DeniedByHuman) => done("Deny came back."),
        Err(reason) => no_yes(reason),
    };
    wire::write(stream, &reply).await
}

/// Asks the human, tells the command so, and turns a missing yes into a reply.
/// A command that goes away withdraws its question.
async fn ask(
    authority: &Authority,
    stream: &mut UnixStream,
    about: About,
) -> io::Result<Result<Approval, Reply>> {
    wire::write(
        stream,
        &Reply::Asking {
            assurance: Assurance::Window,
        },
    )
    .await?;
    let answer = tokio::select! {
        answer = authority.broker.ask_human(about) => answer,
        () = gone(stream) => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    Ok(answer.map_err(no_yes))
}

/// Why there is no yes, for the command.
fn no_yes(reason: ReasonCode) -> Reply {
    let (exit, sentence) = not_answered(reason);
    failed(exit, sentence)
}

/// What a missing yes means for whoever asked: the exit code and a sentence.
fn not_answered(reason: ReasonCode) -> (u8, String) {
    match reason {
        ReasonCode::DeniedByHuman => (exit::DENIED_BY_HUMAN, "The user denied it.".into()),
        ReasonCode::TimedOut => (
            exit::NOBODY_ANSWERED,
            "Nobody answered within two minutes; nothing was changed.".into(),
        ),
        ReasonCode::NoSurface => (
            exit::NOBODY_ANSWERED,
            "Nobody can be asked: start the tray app, or run `countersign serve` on a terminal."
                .into(),
        ),
        ReasonCode::Stopped => (
            exit::STOPPED,
            "The stop was engaged meanwhile; nothing was changed.".into(),
        ),
        other => (exit::FAILED, format!("Nothing was changed ({other}).")),
    }
}

/// Resolves when the peer has closed its end. It sends nothing while it waits.
async fn gone(stream: &UnixStream) {
    let mut byte = [0];
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut byte) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}

/// A change of configuration, laid out for a human.
struct Change {
    summary: Vec<String>,
    diff: Vec<String>,
}

impl Change {
    fn of(authority: &Authority, checked: &accepted::Checked) -> Self {
        let force = authority.broker.force();
        let nothing = countersign_config::Config::default();
        let old_config = force.as_ref().map_or(&nothing, |f| &f.config);
        let old_files = force
            .as_ref()
            .and_then(|f| {
                accepted::open(
                    &authority.home,
                    &authority.install,
                    &authority.seal_key,
                    f.counter,
                )
                .ok()
            })
            .map(|(_, old)| old.files)
            .unwrap_or_default();
        let mut summary = summary(old_config, &checked.config);
        for name in changed_names(&old_files, &checked.files) {
            if name.starts_with(crate::home::POLICIES_NAME) {
                let change = match (
                    old_files.contains_key(name),
                    checked.files.contains_key(name),
                ) {
                    (false, _) => "is new",
                    (_, false) => "is removed",
                    _ => "changes",
                };
                summary.push(format!("rule {name} {change}: read it below"));
            }
        }
        Self {
            summary,
            diff: file_diffs(&old_files, &checked.files),
        }
    }
}

type Files = BTreeMap<String, String>;

fn changed_names<'f>(old: &'f Files, new: &'f Files) -> BTreeSet<&'f str> {
    old.keys()
        .chain(new.keys())
        .filter(|n| old.get(*n) != new.get(*n))
        .map(String::as_str)
        .collect()
}

fn file_diffs(old: &Files, new: &Files) -> Vec<String> {
    let empty = String::new();
    let mut lines = Vec::new();
    for name in changed_names(old, new) {
        lines.push(format!("--- {name}"));
        let (before, after) = (
            old.get(name).unwrap_or(&empty),
            new.get(name).unwrap_or(&empty),
        );
        for line in diff(before, after) {
            lines.push(match line {
                DiffLine::Same(text) => format!("  {}", shown(&text)),
                DiffLine::Removed(text) => format!("- {}", shown(&text)),
                DiffLine::Added(text) => format!("+ {}", shown(&text)),
                DiffLine::Skipped(n) => format!("  … {n} unchanged lines"),
            });
        }
    }
    lines
}

/// A line without its ending, neutralised.
fn shown(text: &countersign_model::Foreign) -> String {
    countersign_model::Foreign::new(text.raw().trim_end_matches(['\n', '\r'])).neutral()
}
