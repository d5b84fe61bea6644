//! The user interface: npm packages, checks and the bundle in `ui/dist`.

use crate::shell::{self, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The oldest Node.js that Vite 8 runs on.
const NODE: (u32, u32) = (20, 19);

fn folder() -> PathBuf {
    shell::root().join("ui")
}

fn npm(folder: &Path, args: &[&str]) -> std::process::Command {
    let mut npm = shell::program(if cfg!(windows) { "npm.cmd" } else { "npm" });
    npm.current_dir(folder).args(args);
    npm
}

/// Installs the npm packages of the user interface.
pub(crate) fn install() -> Result {
    install_in(&folder())
}

/// Installs the npm packages of a folder's lock file, unless exactly those are
/// there. No script of a package is run.
pub(crate) fn install_in(folder: &Path) -> Result {
    check_node()?;
    let lock = folder.join("package-lock.json");
    let wanted = fs::read(&lock).map_err(|e| format!("{}: {e}", lock.display()))?;
    // npm ci empties the folder first: what was installed whole has the stamp.
    let stamp = folder.join("node_modules/.installed-from-this-lock");
    if fs::read(&stamp).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    println!("Installing the npm packages of {} …", lock.display());
    shell::quiet(
        "npm ci",
        &mut npm(
            folder,
            &["ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        ),
    )?;
    fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))
}

/// Builds `ui/dist`, which the tray app carries inside.
pub(crate) fn build() -> Result {
    shell::quiet(
        "building the user interface",
        &mut npm(&folder(), &["run", "build"]),
    )
    .map(|_| ())
}

/// Types and tests of the user interface.
pub(crate) fn check() -> Result {
    shell::show(&mut npm(&folder(), &["run", "check"]))?;
    shell::show(&mut npm(&folder(), &["test"]))
}

fn check_node() -> Result {
    let (major, minor) = NODE;
    let needed =
        format!("Node.js {major}.{minor} or newer with npm is needed to build the user interface");
    let Some(version) = shell::first_line("node", &["--version"]) else {
        return Err(format!("{needed}; no `node` was found"));
    };
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map_while(|n| n.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < NODE {
        Err(format!("{needed}; this is {version}"))
    } else {
        Ok(())
    }
}
