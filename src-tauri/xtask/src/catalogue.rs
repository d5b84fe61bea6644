//! The generated catalogue: writing it anew, and measuring it.

use crate::deny;
use crate::shell::{self, Result};

fn tool(profile: &[&str]) -> std::process::Command {
    let mut cargo = shell::cargo();
    cargo.args(["run", "--quiet", "--locked"]).args(profile);
    cargo.args(["--package", "countersign-catalogue-gen", "--"]);
    cargo
}

/// Fetches the pinned packages and writes the data, its report, and what of it
/// somebody has to look at.
pub(crate) fn write() -> Result {
    let packages = deny::target()?.join("catalogue-packages");
    for step in ["fetch", "write"] {
        shell::show(tool(&[]).arg(step).arg(&packages))?;
    }
    println!("Read catalogue/data/changes.txt; what is right goes to reviewed.txt.");
    Ok(())
}

/// Size, and median and 99th percentile of a match, with the release build.
pub(crate) fn bench() -> Result {
    shell::show(tool(&["--release"]).arg("bench"))
}
