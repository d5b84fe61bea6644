//! The rules of the code base that the compiler does not know.
//!
//! Each rule is a pure function from what was read to findings; each finding
//! says why the rule is there. `mod.rs` reads, the others judge.

mod code;
mod crates;
mod layout;
mod text;

use crate::shell::{self, Result};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A rule that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// File and line, or a crate.
    place: String,
    /// What is wrong there.
    what: String,
    /// Why it matters.
    why: &'static str,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>, why: &'static str) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
            why,
        }
    }
}

/// A text file of the checkout.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl File {
    fn ends(&self, endings: &[&str]) -> bool {
        endings.iter().any(|ending| self.path.ends_with(ending))
    }
}

/// Folders that hold what others made.
const MADE: [&str; 6] = [
    "target",
    "node_modules",
    "dist",
    ".git",
    "gen",
    ".svelte-kit",
];
/// What is read as text.
const TEXT: [&str; 13] = [
    ".rs", ".toml", ".md", ".ts", ".svelte", ".css", ".html", ".js", ".py", ".sh", ".cedar",
    ".txt", "/run",
];

/// Checks every rule.
pub(crate) fn run() -> Result {
    let root = shell::root();
    let mut files = Vec::new();
    read(&root, "", &mut files).map_err(|e| format!("reading the checkout: {e}"))?;
    let top = names(&root)?;
    let mut findings = layout::check(&top, &files);
    findings.extend(crates::check(&crates::read(&metadata()?)?));
    findings.extend(files.iter().flat_map(text::check));
    findings.extend(text::dead_links(&files, &|path| root.join(path).exists()));
    if findings.is_empty() {
        println!("{} files keep the rules", files.len());
        return Ok(());
    }
    findings.sort_by(|a, b| (a.why, &a.place).cmp(&(b.why, &b.place)));
    let mut why = "";
    for finding in &findings {
        if finding.why != why {
            why = finding.why;
            println!("\n{why}");
        }
        println!("  {}: {}", finding.place, finding.what);
    }
    Err(format!("{} broken rules", findings.len()))
}

/// What cargo says of the workspace's own crates.
pub(crate) fn metadata() -> Result<Value> {
    let mut cargo = shell::cargo();
    cargo.args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]);
    let text = shell::quiet("cargo metadata", &mut cargo)?;
    serde_json::from_str(&text).map_err(|e| format!("cargo metadata: {e}"))
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(|e| e.to_string())?;
    Ok(entries
        .filter_map(std::result::Result::ok)
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect())
}

fn read(folder: &Path, under: &str, files: &mut Vec<File>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if under.is_empty() {
            name.clone()
        } else {
            format!("{under}/{name}")
        };
        let kind = entry.file_type()?;
        if kind.is_dir() && !MADE.contains(&name.as_str()) {
            read(&entry.path(), &path, files)?;
        } else if kind.is_file() && TEXT.iter().any(|ending| path.ends_with(ending)) {
            let text = String::from_utf8_lossy(&fs::read(entry.path())?).into_owned();
            files.push(File { path, text });
        }
    }
    Ok(())
}
