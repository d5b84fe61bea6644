//! Measuring the release build beside other proxies.

use crate::shell::{self, Result};
use crate::{deny, packages, ui};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The versions that the loader's options are written for.
const MITMPROXY: &str = "mitmproxy>=11,<13";

/// What is measured, and what measures it. Built at once: they share nearly all
/// of their dependencies.
const PACKAGES: [&str; 3] = [
    "countersign-cli",
    "countersign-desktop",
    "countersign-tests",
];

/// Sets up, builds, measures; says where the figures are.
pub(crate) fn run() -> Result {
    packages::install(packages::ALL)?;
    packages::install(packages::BENCH)?;
    let target = deny::target()?;
    let mitmdump = mitmdump(&target.join("tools").join("mitmproxy"))?;
    let folder = build(&target)?;
    println!(
        "Measuring: this takes about five minutes. The less else the machine does, the better."
    );
    shell::show(
        shell::program(target.join("release/countersign-bench"))
            .arg(&folder)
            .arg(mitmdump),
    )
}

/// The stop key alone.
pub(crate) fn hotkey() -> Result {
    packages::install(packages::ALL)?;
    let target = deny::target()?;
    let folder = build(&target)?;
    println!("Measuring: this takes about four minutes, since a human reads 200 questions.");
    shell::show(
        shell::program(target.join("release/countersign-bench"))
            .arg("hotkey")
            .arg(&folder),
    )
}

/// Each way to end runs, by the name that `countersign status` gives it.
const MEANS: [&str; 3] = ["freeze-v2", "freeze-v1", "kill"];

/// The stop alone: `--stops N` so many of each means, `--by MEANS` by this alone.
pub(crate) fn stop(options: &[&str]) -> Result {
    let (mut stops, mut means) = ("100", &MEANS[..]);
    let mut left = options;
    while let [name, value, rest @ ..] = left {
        match *name {
            "--stops" if value.parse().is_ok_and(|n: usize| n > 0) => stops = value,
            "--by" => {
                let place = MEANS.iter().position(|one| one == value);
                let place = place.ok_or_else(|| format!("--by is one of {MEANS:?}"))?;
                means = &MEANS[place..=place];
            }
            _ => return Err(format!("not an option of bench stop: {name} {value}")),
        }
        left = rest;
    }
    if let [name] = left {
        return Err(format!("{name} needs a value"));
    }
    packages::install(packages::ALL)?;
    let target = deny::target()?;
    let folder = build(&target)?;
    println!("Measuring: a stop takes some seconds, since everything must be under way again.");
    shell::show(
        shell::program(target.join("release/countersign-bench"))
            .arg("stop")
            .arg(&folder)
            .arg(stops)
            .args(means),
    )
}

/// Builds the release; the folder for the figures.
fn build(target: &Path) -> Result<PathBuf> {
    ui::install()?;
    ui::build()?;
    println!("Building the release profile: this takes some minutes the first time.");
    let mut build = shell::cargo();
    build.args(["build", "--release", "--bins", "--locked"]);
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    shell::show(&mut build)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|e| e.to_string())?
        .as_secs();
    Ok(target.join("bench").join(now.to_string()))
}

/// mitmproxy, in an environment of its own below the target folder.
fn mitmdump(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("bin").join("mitmdump");
    if shell::first_line(&program.to_string_lossy(), &["--version"]).is_some() {
        return Ok(program);
    }
    println!(
        "Installing {MITMPROXY} from PyPI into {}, to compare with …",
        folder.display()
    );
    // What is there may be half of it.
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    shell::quiet(
        "python3 -m venv",
        shell::program("python3").args(["-m", "venv"]).arg(folder),
    )?;
    shell::quiet(
        "pip install",
        shell::program(folder.join("bin").join("python3"))
            .args(["-m", "pip", "--disable-pip-version-check", "install"])
            .args(["--quiet", MITMPROXY]),
    )?;
    Ok(program)
}
