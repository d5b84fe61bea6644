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
use std::ffi::OsString;
use std::io;
use std::sync::Arc;

/// So many changed build files are named.
const MOST_TOLD: usize = 200;

/// The file that names the agent whose run it was.
const AGENT: &str = "agent";

/// Where the copies of a run that begins now are kept.
pub(crate) fn make(home: &Home, run: &str, agent: &AgentId) -> Result<Arc<Keep>, Failure> {
    let make = || {
        let keep = Keep::make(&home.left(), run)?;
        std::fs::write(keep.folder().join(AGENT), agent.to_string())?;
        Ok::<_, io::Error>(Arc::new(keep))
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
///
/// # Errors
/// When something may be in force all the same, or had to be set aside unseen.
pub(crate) fn after(
    keep: &Keep,
    run: &str,
    agent: &AgentId,
    home: &Home,
    stopped: bool,
) -> Result<(), Failure> {
    let left = settle(keep).map_err(|error| unknown(run, &error))?;
    tell(agent, &left);
    let _ = std::fs::write(keep.folder().join(TOLD), "");
    let asked = match (left.changes.is_empty(), stopped) {
        (true, _) => Ok(()),
        (false, true) => Err("The stop is engaged, so you are not asked now.".to_owned()),
        (false, false) => accept(keep, &left, agent, home).map_err(|failure| failure.1),
    };
    match asked {
        Ok(()) if is_all_told(&left) => keep.remove().map_err(failed)?,
        Ok(()) => {}
        Err(why) => say::problem(&format!(
            "{why} It stays aside, in {}. Later: countersign kept accept {run}, or discard {run}.",
            keep.folder().join("files").display()
        )),
    }
    if left.in_force.is_empty() && left.renamed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "Not everything that the run {run} left behind could be looked at or put back; see above."
    )))
}

/// Settles runs that were cut off; says so.
pub(crate) fn recover(home: &Home) {
    for (run, keep) in Keep::all(&home.left()) {
        let agent = agent_of(&keep);
        match settle(&keep) {
            Ok(left) if left.is_empty() => drop(keep.remove()),
            // Said before, or at the end of the run.
            Ok(left) if left.in_force.is_empty() && keep.folder().join(TOLD).exists() => {}
            Ok(left) => {
                tell(&agent, &left);
                if left.changes.is_empty() && is_all_told(&left) {
                    drop(keep.remove());
                    continue;
                }
                say::problem(&format!(
                    "That run ({run}) was cut off. See: countersign kept"
                ));
                let _ = std::fs::write(keep.folder().join(TOLD), "");
            }
            Err(error) => say::problem(&unknown(&run, &error).1),
        }
    }
}

fn unknown(run: &str, error: &io::Error) -> Failure {
    Failure::new(format!(
        "What the run {run} left behind could not be looked at, so it may be in force: {error}"
    ))
}

/// Whether there is nothing to be kept of it, once its changes are in force.
fn is_all_told(left: &LeftBehind) -> bool {
    left.in_force.is_empty() && left.too_large().next().is_none()
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
        let keep = keep.ok_or_else(|| {
            Failure::usage(format!(
                "Nothing of a run {} is kept, or it still goes on.",
                Foreign::new(run).neutral()
            ))
        })?;
        // What it changed is put back first, if nobody has yet.
        let left = settle(&keep).map_err(|error| unknown(run, &error))?;
        Ok::<_, Failure>((keep, left))
    };
    match what {
        None => list(&home, json),
        Some(Kept::Accept { run }) => {
            let (keep, left) = open(&run)?;
            accept(&keep, &left, &agent_of(&keep), &home)?;
            clean(&keep, &left)?;
            keep.remove().map_err(failed)
        }
        Some(Kept::Discard { run }) => {
            let (keep, left) = open(&run)?;
            clean(&keep, &left)?;
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

/// Every run of which something is kept, whatever is wrong with another.
fn list(home: &Home, json: bool) -> Result<(), Failure> {
    let mut all_well = Ok(());
    for (run, keep) in Keep::all(&home.left()) {
        let left = match settle(&keep) {
            Ok(left) => left,
            Err(error) => {
                let failure = unknown(&run, &error);
                say::problem(&failure.1);
                all_well = Err(failure);
                continue;
            }
        };
        if !left.in_force.is_empty() {
            all_well = clean(&keep, &left);
        }
        if json {
            let text = |path: &OsString| path.to_string_lossy().into_owned();
            let changes: Vec<String> = left.changes.iter().map(|c| text(&c.path)).collect();
            let in_force: Vec<String> = left.in_force.iter().map(|(path, _)| text(path)).collect();
            say::json(&serde_json::json!({
                "run": run,
                "folder": left.folder().to_string_lossy(),
                "changes": changes,
                "in_force": in_force,
            }));
        } else {
            say::line(&run);
            tell(&agent_of(&keep), &left);
        }
    }
    all_well
}

/// Nothing is forgotten while something may be in force.
fn clean(keep: &Keep, left: &LeftBehind) -> Result<(), Failure> {
    if left.in_force.is_empty() {
        return Ok(());
    }
    tell(&agent_of(keep), left);
    Err(Failure::new(
        "What could not be put back is to be removed by hand first. Until then no run begins in that folder.",
    ))
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
    let refused = left.accept();
    for path in &refused {
        say::problem(&format!(
            "Not {}: it has changed since you were shown it, or cannot be written. The run's is in {}.",
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
            "{} could not be looked at or taken away, and has a name now that nothing looks for (in {folder}).",
            Foreign::new(path.to_string_lossy()).neutral()
        ));
    }
    for (path, why) in &left.in_force {
        say::problem(&format!(
            "{} (in {folder}) MAY BE IN FORCE: {why}",
            Foreign::new(path.to_string_lossy()).neutral()
        ));
    }
    if !left.built_from.is_empty() {
        say::problem(&format!(
            "Changed in {folder} while the run went on; look before you build or ask another agent:"
        ));
        for path in left.built_from.iter().take(MOST_TOLD) {
            say::problem(&format!(
                "  {}",
                Foreign::new(path.to_string_lossy()).neutral()
            ));
        }
        if let Some(more) = left.built_from.len().checked_sub(MOST_TOLD + 1) {
            say::problem(&format!("  … and {} more", more + 1));
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
