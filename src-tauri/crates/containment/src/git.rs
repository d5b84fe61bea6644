//! What git is told in a run, and which parts of a repository are kept from it.
//!
//! git speaks https through the gateway, asks nobody for credentials, and signs
//! nothing. Its settings travel in `GIT_CONFIG_*` variables (git-config(1)),
//! which outrank every file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Settings that every run has.
const ALWAYS: &[(&str, &str)] = &[
    ("credential.helper", ""),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("core.fsmonitor", "false"),
    // The repository's config is read-only in a run; a new branch must not
    // fail for want of writing there which branch it follows.
    ("branch.autoSetupMerge", "false"),
    ("url.https://github.com/.insteadOf", "git@github.com:"),
    ("url.https://github.com/.insteadOf", "ssh://git@github.com/"),
    ("url.https://gitlab.com/.insteadOf", "git@gitlab.com:"),
    ("url.https://bitbucket.org/.insteadOf", "git@bitbucket.org:"),
];

/// The settings of git in one run.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// `user.name` and `user.email` of the user, so that commits work.
    identity: Vec<(&'static str, String)>,
}

impl Settings {
    /// Takes over who the user is, and nothing else, from the home folder.
    pub(crate) fn of(home: &Path) -> Self {
        let read = |name: &str| std::fs::read_to_string(home.join(name)).ok();
        let text = read(".gitconfig").or_else(|| read(".config/git/config"));
        Self {
            identity: text.as_deref().map(identity).unwrap_or_default(),
        }
    }

    /// As environment variables.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let pairs: Vec<(&str, &str)> = ALWAYS
            .iter()
            .copied()
            .chain(
                self.identity
                    .iter()
                    .map(|(key, value)| (*key, value.as_str())),
            )
            .collect();
        let mut variables = vec![
            ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
            ("GIT_CONFIG_COUNT".to_owned(), pairs.len().to_string()),
        ];
        for (index, (key, value)) in pairs.into_iter().enumerate() {
            variables.push((format!("GIT_CONFIG_KEY_{index}"), key.to_owned()));
            variables.push((format!("GIT_CONFIG_VALUE_{index}"), value.to_owned()));
        }
        variables
    }
}

/// `name` and `email` of the `[user]` section. Not git's whole grammar: what is
/// not understood is left out, and git then asks the agent to say who it is.
fn identity(config: &str) -> Vec<(&'static str, String)> {
    let mut in_user = false;
    let mut found = Vec::new();
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            in_user = line.eq_ignore_ascii_case("[user]");
        } else if in_user && let Some((key, value)) = line.split_once('=') {
            let value = value.trim().trim_matches('"');
            let key = match key.trim().to_ascii_lowercase().as_str() {
                "name" => "user.name",
                "email" => "user.email",
                _ => continue,
            };
            if !value.contains(['\\', '"', '#', ';']) {
                found.push((key, value.to_owned()));
            }
        }
    }
    found
}

/// How the repository in a working folder is mounted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Repository {
    /// Bound on itself: a mount point cannot be renamed aside.
    pub(crate) pinned: Vec<PathBuf>,
    /// Bound read-only: git would run what stands in them, as the user, after
    /// the run.
    pub(crate) read_only: Vec<PathBuf>,
    /// Sockets and the like that act outside the run.
    pub(crate) absent: Vec<PathBuf>,
}

impl Repository {
    /// Of the working folder; empty if it is no repository's top.
    ///
    /// What does not exist cannot be mounted over, and the agent would make it.
    /// So a missing `hooks` folder is made, and a `commondir` that says what git
    /// takes for granted without one: that settings and hooks lie right here.
    /// Source: gitrepository-layout(5).
    pub(crate) fn of(folder: &Path) -> Self {
        let git = folder.join(".git");
        let is_plain = |path: &Path| {
            path.symlink_metadata()
                .is_ok_and(|found| !found.is_symlink())
        };
        if !is_plain(&git) || !git.is_dir() {
            return Self::default();
        }
        let hooks = git.join("hooks");
        let _ = std::fs::create_dir(&hooks);
        let common = git.join("commondir");
        if let Ok(mut made) = std::fs::File::create_new(&common) {
            let _ = made.write_all(b".\n");
        }
        let keep = |paths: [PathBuf; 5]| paths.into_iter().filter(|path| is_plain(path)).collect();
        Self {
            read_only: keep([
                hooks,
                git.join("config"),
                git.join("config.worktree"),
                common,
                // Repositories of their own, with settings of their own.
                git.join("modules"),
            ]),
            absent: Some(git.join("fsmonitor--daemon.ipc"))
                .into_iter()
                .filter(|path| is_plain(path))
                .collect(),
            pinned: vec![git],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_and_email_are_taken_from_the_users_git_config() {
        let config = "[credential]\n helper = store\n[User]\n\tname = \"A Person\"\n email=a@b.example\n \
                      signingkey = KEY\n[http]\n extraHeader = Authorization: x\n";
        assert_eq!(
            identity(config),
            [
                ("user.name", "A Person".to_owned()),
                ("user.email", "a@b.example".to_owned())
            ]
        );
    }

    #[test]
    fn every_setting_has_a_key_and_a_value() {
        let variables = Settings::default().variables();
        let count: usize = variables[1].1.parse().unwrap();
        assert_eq!(variables.len(), 2 + 2 * count);
    }

    #[test]
    fn hooks_and_config_of_a_repository_are_read_only_and_git_is_pinned() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Repository::of(folder.path()), Repository::default());
        let git = folder.path().join(".git");
        std::fs::create_dir(&git).unwrap();
        std::fs::write(git.join("config"), "").unwrap();
        let repository = Repository::of(folder.path());
        assert_eq!(
            repository.read_only,
            [git.join("hooks"), git.join("config"), git.join("commondir")]
        );
        let common = std::fs::read_to_string(git.join("commondir")).unwrap();
        assert_eq!(common, ".\n");
        assert_eq!(repository.pinned, [git]);
    }
}
