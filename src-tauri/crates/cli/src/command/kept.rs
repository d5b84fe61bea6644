//! What runs left behind that the user's other programs would execute: it is kept
//! aside until the human has accepted it. `countersign run` asks at a run's end;
//! `countersign kept` is for later.

use super::ask::{home, said};
use crate::cli::Kept;
use crate::client::{Client, Failure};
use crate::home::Home;
use crate::say;
use countersign_config::{DiffLine, diff};
use countersign_containment::{Change, Entry, Keep, LeftBehind, settle};
use countersign_model::{AgentId, Digest, Foreign};
use countersign_protocol::control::{Ask, Reply};
use countersign_protocol::surface::About;
use std::io;

/// The file that names the agent whose run it was.
const AGENT: &str = "agent";

/// Where the copies of a run that begins now are kept.
pub(crate) fn make(home: &Home, run: &str, agent: &AgentId) -> Result<Keep, Failure> {
    let make = || {
        let keep = Keep::make(&home.left(), run)?;
        std::fs::write(keep.folder().join(AGENT), agent.to_string())?;
        Ok::<_, io::Error>(keep)
    };
    make().map_err(failed)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: io::Error) -> Failure {
    Failure::new(format!(
        "What a run leaves behind could not be kept apart: {error}"
    ))
}

/// After a run: says what it left behind, and asks to put it in force unless
/// `stopped`. What is not accepted stays aside.
pub(crate) fn after(
    keep: Keep,
    run: &str,
    agent: &AgentId,
    home: &Home,
    stopped: bool,
) -> Result<(), Failure> {
    let left = settle(&keep).map_err(failed)?;
    if left.is_empty() {
        return keep.remove().map_err(failed);
    }
    tell(agent, &left);
    if left.changes.is_empty() {
        return if is_all_told(&left) {
            keep.remove().map_err(failed)
        } else {
            Ok(())
        };
    }
    let asked = if stopped {
        Err("The stop is engaged, so you are not asked now.".to_owned())
    } else {
        accept(&keep, &left, agent, home).map_err(|failure| failure.1)
    };
    match asked {
        Ok(()) => keep.remove().map_err(failed),
        Err(why) => {
            say::problem(&format!(
                "{why} It stays aside, in {}. Later: countersign kept accept {run}, or discard {run}.",
                keep.folder().join("files").display()
            ));
            Ok(())
        }
    }
}

/// Settles runs that were cut off; says so.
pub(crate) fn recover(home: &Home) {
    for (run, keep) in Keep::all(&home.left()) {
        let agent = agent_of(&keep);
        match settle(&keep) {
            Ok(left) if left.is_empty() => drop(keep.remove()),
            // Said before, or at the end of the run.
            Ok(_) if keep.folder().join(TOLD).exists() => {}
            Ok(left) => {
                tell(&agent, &left);
                if is_all_told(&left) {
                    drop(keep.remove());
                    continue;
                }
                say::problem(&format!(
                    "That run ({run}) was cut off. See: countersign kept"
                ));
                let _ = std::fs::write(keep.folder().join(TOLD), "");
            }
            Err(error) => say::problem(&format!(
                "What the run {run} left behind could not be looked at, so it may be in force: {error}"
            )),
        }
    }
}

/// Whether there is nothing to be kept of it.
fn is_all_told(left: &LeftBehind) -> bool {
    left.changes.is_empty() && left.too_large().next().is_none()
}

/// Marks what the user was told of.
const TOLD: &str = "told";

/// `countersign kept`
pub(crate) fn kept(what: Option<Kept>, json: bool) -> Result<(), Failure> {
    let home = home()?;
    let open = |run: &str| {
        let is_name = !run.contains('/') && !run.starts_with('.');
        let keep = is_name
            .then(|| Keep::open(&home.left().join(run)).ok())
            .flatten();
        keep.ok_or_else(|| {
            Failure::usage(format!(
                "Nothing of a run {} is kept, or it still goes on.",
                Foreign::new(run).neutral()
            ))
        })
    };
    match what {
        None => {
            for (run, keep) in Keep::all(&home.left()) {
                let left = settle(&keep).map_err(failed)?;
                if json {
                    let paths: Vec<String> = left
                        .changes
                        .iter()
                        .map(|change| change.path.to_string_lossy().into_owned())
                        .collect();
                    say::json(
                        &serde_json::json!({"run": run, "folder": left.folder().to_string_lossy(), "changes": paths}),
                    );
                } else {
                    say::line(&run);
                    tell(&agent_of(&keep), &left);
                }
            }
            Ok(())
        }
        Some(Kept::Accept { run }) => {
            let keep = open(&run)?;
            let left = settle(&keep).map_err(failed)?;
            accept(&keep, &left, &agent_of(&keep), &home)?;
            keep.remove().map_err(failed)
        }
        Some(Kept::Discard { run }) => {
            let keep = open(&run)?;
            // What it changed is put back first, if nobody has yet.
            settle(&keep).map_err(failed)?;
            keep.remove().map_err(failed)?;
            said(
                &Reply::Done {
                    sentence: "Discarded.".into(),
                },
                json,
            )
        }
    }
}

fn agent_of(keep: &Keep) -> AgentId {
    let name = std::fs::read_to_string(keep.folder().join(AGENT)).ok();
    let unknown = || {
        "unknown"
            .parse()
            .unwrap_or_else(|_| unreachable!("a valid name"))
    };
    name.and_then(|name| name.parse().ok())
        .unwrap_or_else(unknown)
}

/// The first line of a question that lays out a difference.
pub(crate) fn heading(about: &About) -> String {
    match about {
        About::Config { .. } => "Accept this configuration?\n".into(),
        about => say::about(about) + "\n",
    }
}

/// What is asked about a run of the agent in the folder.
pub(crate) fn sentence(agent: &AgentId, folder: &Foreign) -> String {
    format!(
        "Put in force what {agent} changed in {}? Your other programs execute it.",
        folder.neutral()
    )
}

/// Asks the human, and puts in force what they saw.
fn accept(keep: &Keep, left: &LeftBehind, agent: &AgentId, home: &Home) -> Result<(), Failure> {
    let content = Digest::of(&left.canonical().map_err(failed)?);
    let mut client = Client::connect(home)?;
    client.send(&Ask::AcceptLeftBehind {
        agent: agent.clone(),
        folder: Foreign::new(left.folder().to_string_lossy()),
        summary: left
            .changes
            .iter()
            .map(|change| Foreign::new(said_of(change)))
            .collect(),
        diff: left.changes.iter().flat_map(lines_of).collect(),
        content,
    })?;
    let Reply::Done { sentence } = client.answer()? else {
        return Err(super::ask::unexpected());
    };
    say::problem(&sentence);
    let refused = left.accept().map_err(failed)?;
    for path in &refused {
        say::problem(&format!(
            "Not {}: it has changed since you were shown it. The run's is in {}.",
            Foreign::new(path.to_string_lossy()).neutral(),
            keep.folder().join("files").display()
        ));
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(Failure::new("Some files were left as they are."))
    }
}

fn tell(agent: &AgentId, left: &LeftBehind) {
    let folder = Foreign::new(left.folder().to_string_lossy()).neutral();
    if !left.changes.is_empty() {
        say::problem(&format!(
            "{agent} changed in {folder} what your other programs would execute; not in force:"
        ));
        for change in &left.changes {
            say::problem(&format!("  {}", Foreign::new(said_of(change)).neutral()));
        }
    }
    for path in left.too_large() {
        say::problem(&format!(
            "{agent} made more of {} than can be asked about: it is not in force (in {folder}), and kept.",
            Foreign::new(path.to_string_lossy()).neutral()
        ));
    }
    for path in &left.renamed {
        say::problem(&format!(
            "{} was too large to be looked at, and has a name now that nothing looks for (in {folder}).",
            Foreign::new(path.to_string_lossy()).neutral()
        ));
    }
    if !left.built_from.is_empty() {
        say::problem(&format!(
            "Changed in {folder} while the run went on; look before you build or ask another agent:"
        ));
        for path in &left.built_from {
            say::problem(&format!(
                "  {}",
                Foreign::new(path.to_string_lossy()).neutral()
            ));
        }
    }
}

fn said_of(change: &Change) -> String {
    let path = change.path.to_string_lossy();
    match (&change.before, &change.after) {
        (None, Some(Entry::Link { target })) => {
            format!("{path} is new, a link to {}", target.to_string_lossy())
        }
        (
            None,
            Some(Entry::File {
                executable: true, ..
            }),
        ) => format!("{path} is new, a program"),
        (None, _) => format!("{path} is new"),
        (_, None) => format!("{path} is removed"),
        (_, Some(Entry::Link { target })) => {
            format!("{path} becomes a link to {}", target.to_string_lossy())
        }
        (
            _,
            Some(Entry::File {
                executable: true, ..
            }),
        ) => format!("{path} changes, a program"),
        _ => format!("{path} changes"),
    }
}

fn lines_of(change: &Change) -> Vec<Foreign> {
    let text = |entry: &Option<Entry>| match entry {
        Some(Entry::File { content, .. }) => match std::str::from_utf8(content) {
            Ok(text) => text.to_owned(),
            Err(_) => format!(
                "(no text: {} bytes, {})\n",
                content.len(),
                Digest::of(content)
            ),
        },
        Some(Entry::Link { target }) => format!("(a link to {})\n", target.to_string_lossy()),
        None => String::new(),
    };
    let mut lines = vec![Foreign::new(format!(
        "--- {}",
        change.path.to_string_lossy()
    ))];
    let shown = |text: &Foreign| text.raw().trim_end_matches(['\n', '\r']).to_owned();
    for line in diff(&text(&change.before), &text(&change.after)) {
        lines.push(Foreign::new(match line {
            DiffLine::Same(text) => format!("  {}", shown(&text)),
            DiffLine::Removed(text) => format!("- {}", shown(&text)),
            DiffLine::Added(text) => format!("+ {}", shown(&text)),
            DiffLine::Skipped(n) => format!("  … {n} unchanged lines"),
        }));
    }
    lines
}
