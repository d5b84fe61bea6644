//! Fetching the pinned packages, by the clients of their registries, which
//! refuse whatever has another digest than the lock files say. Nothing of a
//! package is run.

use std::fs;
use std::path::Path;
use std::process::Command;

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/lock/requirements.txt");
const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/lock");

/// Puts the packages below a folder: `python` and `node`.
pub(crate) fn fetch(folder: &Path) -> Result<(), String> {
    let (python, node) = (folder.join("python"), folder.join("node"));
    for place in [&python, &node] {
        fs::create_dir_all(place).map_err(|e| format!("{}: {e}", place.display()))?;
    }
    run(Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--quiet",
        ])
        .args([
            "--no-deps",
            "--no-compile",
            "--only-binary",
            ":all:",
            "--require-hashes",
        ])
        .args(["--upgrade", "--target"])
        .arg(&python)
        .args(["--requirement", PYTHON]))?;
    for file in ["package.json", "package-lock.json"] {
        let from = Path::new(NODE).join(file);
        fs::copy(&from, node.join(file)).map_err(|e| format!("{}: {e}", from.display()))?;
    }
    run(Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&node))
}

fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|e| format!("{command:?}: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?} failed"))
    }
}
