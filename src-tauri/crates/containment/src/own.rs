//! What an agent keeps between its runs, and the files that are made for one:
//! where they may be.

use crate::{OwnFile, OwnFolder};
use std::path::{Component, Path};

/// Where files may be made, besides Countersign's own folder: the machine's
/// settings of the agents that we know.
const SETTINGS: &str = "/etc";

/// Refuses what would lie elsewhere than it says, or over something else.
pub(crate) fn check(own: &[OwnFolder], files: &[OwnFile]) -> Result<(), &'static str> {
    let is_plain = |path: &Path| {
        let mut parts = path.components();
        parts.next().is_some()
            && path
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
    };
    for folder in own {
        if !is_plain(&folder.below_home) {
            return Err("a folder of the agent's own does not lie below the home folder");
        }
        // Not through a link, which the agent may have made in an earlier run
        // if it lies in what it could write.
        let found = folder.kept.symlink_metadata();
        if !found.is_ok_and(|found| found.is_dir()) {
            return Err("a folder of the agent's own is not there");
        }
    }
    for file in files {
        let below = |parent: &str| file.path.strip_prefix(parent).is_ok_and(is_plain);
        if !below(SETTINGS) && !below(crate::layout::OWN) {
            return Err("a file for the run does not lie where such files may");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(kept: &Path, below_home: &str) -> [OwnFolder; 1] {
        [OwnFolder {
            kept: kept.to_owned(),
            below_home: below_home.into(),
        }]
    }

    #[test]
    fn an_own_folder_is_a_real_one_and_lies_below_the_home_folder() {
        let kept = tempfile::tempdir().unwrap();
        assert!(check(&folder(kept.path(), ".config/agent"), &[]).is_ok());
        for below_home in ["", "/etc", "../x", "a/../../x"] {
            assert!(
                check(&folder(kept.path(), below_home), &[]).is_err(),
                "{below_home}"
            );
        }
        let link = kept.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert!(check(&folder(&link, ".agent"), &[]).is_err());
        assert!(check(&folder(&kept.path().join("none"), ".agent"), &[]).is_err());
    }

    #[test]
    fn a_made_file_lies_among_settings_or_countersigns_own() {
        let file = |path: &str| {
            check(
                &[],
                &[OwnFile {
                    path: path.into(),
                    content: String::new(),
                }],
            )
        };
        assert!(file("/etc/agent/settings.json").is_ok());
        assert!(file("/run/countersign/authorized-user.json").is_ok());
        for path in [
            "/etc",
            "/etc/../usr/bin/x",
            "/usr/bin/x",
            "x",
            "/home/user/.agent",
        ] {
            assert!(file(path).is_err(), "{path}");
        }
    }
}
