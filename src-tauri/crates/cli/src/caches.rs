//! The caches of an agent's tools. They are the agent's own: its runs find what an
//! earlier one fetched, and what an agent puts into them is read by nobody else,
//! neither the user's programs nor another agent.
//!
//! They lie in as few folders as can be, and none in another: where one is mounted
//! within what an agent can write to, the agent says where that is.

use crate::home::{HomeError, make_private};
use countersign_containment::OwnFolder;
use std::path::Path;

/// The folders, below the home folder of a run: what the XDG Base Directory
/// Specification calls the cache (pip, uv, yarn, go build, …), and Maven's, which
/// no variable can place.
const FOLDERS: &[&str] = &[".cache", ".m2/repository"];

/// Where tools that would keep their cache elsewhere find it: variable, and place
/// below `~/.cache`. Sources: the tools' own documentation of their settings.
const PLACES: &[(&str, &str)] = &[
    ("XDG_CACHE_HOME", ""),
    ("BUNDLE_USER_CACHE", "bundle"),
    ("BUN_INSTALL_CACHE_DIR", "bun"),
    // Not only its `registry` and `git`: the file by which two of them wait for each
    // other lies beside those. Its programs are found by PATH.
    ("CARGO_HOME", "cargo"),
    ("GOMODCACHE", "go-mod"),
    ("GRADLE_USER_HOME", "gradle"),
    ("NUGET_PACKAGES", "nuget"),
    ("PNPM_HOME", "pnpm"),
    ("YARN_GLOBAL_FOLDER", "yarn-berry"),
    ("npm_config_cache", "npm"),
];

/// The folders as a run has them; `kept` is where the agent's own things are kept.
/// They may not be there yet.
pub(crate) fn folders(kept: &Path) -> Vec<OwnFolder> {
    let own = |place: &&str| OwnFolder {
        kept: kept.join(place),
        below_home: place.into(),
    };
    FOLDERS.iter().map(own).collect()
}

/// Makes the folders, for the user alone.
///
/// # Errors
/// When one cannot be made, or is somebody else's.
pub(crate) fn lay_out(kept: &Path) -> Result<Vec<OwnFolder>, HomeError> {
    let folders = folders(kept);
    for folder in &folders {
        make_private(&folder.kept)?;
    }
    Ok(folders)
}

/// The variables by which tools find them; `home` is the run's home folder.
pub(crate) fn variables(home: &Path) -> Vec<(String, String)> {
    let cache = home.join(".cache");
    let place = |(name, place): &(&str, &str)| {
        let path = cache.join(place);
        // Joined with nothing, a path ends in a slash.
        let path: std::path::PathBuf = path.components().collect();
        ((*name).to_owned(), path.to_string_lossy().into_owned())
    };
    PLACES.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::facts;
    use countersign_model::Recipe;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn nothing_that_an_agent_keeps_lies_in_something_else_that_it_keeps() {
        for recipe in Recipe::ALL {
            let places: Vec<&str> = facts(recipe)
                .folders
                .iter()
                .map(|folder| folder.place)
                .chain(FOLDERS.iter().copied())
                .collect();
            for (at, one) in places.iter().enumerate() {
                for (other_at, other) in places.iter().enumerate() {
                    assert!(
                        at == other_at || !Path::new(one).starts_with(other),
                        "{recipe}: {one} lies in {other}"
                    );
                }
            }
        }
    }

    #[test]
    fn caches_are_made_once_for_the_user_alone() {
        let kept = tempfile::tempdir().unwrap();
        let kept = kept.path().join("agents/a");
        for _ in 0..2 {
            for folder in lay_out(&kept).unwrap() {
                let mode = folder.kept.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o700);
                std::fs::write(folder.kept.join("kept"), "x").unwrap();
            }
        }
        assert!(kept.join(".m2/repository/kept").is_file());
    }

    #[test]
    fn tools_are_led_to_the_cache_of_the_run() {
        let variables = variables(Path::new("/home/user"));
        let of = |name: &str| {
            let found = variables.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(of("XDG_CACHE_HOME"), Some("/home/user/.cache"));
        assert_eq!(of("npm_config_cache"), Some("/home/user/.cache/npm"));
    }
}
