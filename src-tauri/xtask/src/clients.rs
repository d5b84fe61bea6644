//! Clients of agents that no system package has, for the tests, and a stand-in that
//! they talk to: from npm and PyPI, with pinned versions, below the target folder.

use crate::shell::{self, Result};
use crate::{deny, ui};
use std::fs;
use std::path::Path;

/// What says which they are, in these folders of the checkout.
const FROM_NPM: &str = "tests/clients/npm";
const FILES: [&str; 2] = ["package.json", "package-lock.json"];
const FROM_PYPI: &str = "tests/clients/python/requirements.txt";
/// The system's, which is also what programs of a run find.
const PYTHON: &str = "/usr/bin/python3";

/// Installs what is missing.
pub(crate) fn install() -> Result {
    let folder = deny::target()?.join("tools").join("clients");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for file in FILES {
        let from = shell::root().join(FROM_NPM).join(file);
        fs::copy(&from, folder.join(file)).map_err(|e| format!("{}: {e}", from.display()))?;
    }
    ui::install_in(&folder)?;
    if cfg!(target_os = "linux") {
        python(&folder.join("python"))?;
    }
    Ok(())
}

/// An environment of Python's own, whole or made anew.
fn python(folder: &Path) -> Result {
    let from = shell::root().join(FROM_PYPI);
    let wanted = fs::read(&from).map_err(|e| format!("{}: {e}", from.display()))?;
    let stamp = folder.join("installed-from-these-requirements");
    if fs::read(&stamp).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    println!("Installing the Python packages of {} …", from.display());
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    shell::quiet(
        "python3 -m venv",
        shell::program(PYTHON).args(["-m", "venv"]).arg(folder),
    )?;
    shell::quiet(
        "pip install",
        shell::program(folder.join("bin").join("python3"))
            .args(["-m", "pip", "--disable-pip-version-check", "install"])
            .args(["--quiet", "--no-deps", "--requirement"])
            .arg(&from),
    )?;
    fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))
}
