//! Clients of agents that no system package has, for the tests: from npm, with
//! pinned versions, below the target folder.

use crate::shell::{self, Result};
use crate::{deny, ui};
use std::fs;

/// What says which they are, in this folder of the checkout.
const FOLDER: &str = "tests/clients/npm";
const FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// Installs what is missing.
pub(crate) fn install() -> Result {
    let folder = deny::target()?.join("tools").join("clients");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for file in FILES {
        let from = shell::root().join(FOLDER).join(file);
        fs::copy(&from, folder.join(file)).map_err(|e| format!("{}: {e}", from.display()))?;
    }
    ui::install_in(&folder)
}
