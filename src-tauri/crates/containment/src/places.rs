//! Where people keep secrets, where tools live, and which folders a run may work in.

use nix::unistd::{Uid, User};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Below a home folder: credentials, keys, profiles, histories, and the state
/// of other agents.
#[rustfmt::skip]
const SECRET_IN_HOME: &[&str] = &[
    // keys and credentials of tools
    ".ssh", ".gnupg", ".aws", ".azure", ".config/gcloud", ".boto", ".s3cfg", ".kube", ".docker",
    ".config/containers", ".config/gh", ".config/hub", ".config/glab-cli", ".config/doctl",
    ".config/git/credentials", ".git-credentials", ".netrc", "_netrc", ".npmrc", ".yarnrc",
    ".yarnrc.yml", ".pypirc", ".config/pip", ".pip", ".cargo/credentials", ".cargo/credentials.toml",
    ".gem/credentials", ".m2/settings.xml", ".m2/settings-security.xml", ".gradle/gradle.properties",
    ".composer/auth.json", ".config/composer/auth.json", ".terraformrc", ".terraform.d", ".vault-token",
    ".pgpass", ".my.cnf", ".mylogin.cnf", ".config/rclone", ".config/hcloud", ".config/stripe",
    ".config/heroku", ".config/sops", ".config/age", ".local/share/uv/credentials", ".huggingface",
    ".cache/huggingface/token", ".kaggle", ".msmtprc", ".mbsyncrc", ".offlineimaprc",
    // keyrings and password stores
    ".local/share/keyrings", ".local/share/kwalletd", ".password-store", ".config/keepassxc",
    ".config/1Password", ".config/op", ".config/Bitwarden", ".config/Bitwarden CLI", ".pki",
    // browsers, mail, messengers
    ".mozilla", ".thunderbird", ".config/google-chrome", ".config/chromium", ".config/BraveSoftware",
    ".config/microsoft-edge", ".config/vivaldi", ".config/opera", ".config/Signal", ".config/Slack",
    ".config/discord", ".local/share/TelegramDesktop", ".local/share/evolution", ".var/app", "snap",
    // histories
    ".bash_history", ".zsh_history", ".zhistory", ".local/share/fish/fish_history", ".python_history",
    ".node_repl_history", ".psql_history", ".mysql_history", ".sqlite_history", ".rediscli_history",
    ".viminfo", ".local/share/recently-used.xbel",
    // other agents' state
    ".claude", ".claude.json", ".codex", ".gemini", ".openclaw", ".cursor", ".aider.conf.yml",
    ".config/opencode", ".local/share/opencode", ".config/github-copilot",
];

/// Variables of the caller that name a secret file or folder, or a socket that
/// acts with the user's rights.
#[rustfmt::skip]
const SECRET_BY_VARIABLE: &[&str] = &[
    "SSH_AUTH_SOCK", "GNUPGHOME", "GPG_AGENT_INFO", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AZURE_CONFIG_DIR", "CLOUDSDK_CONFIG", "GOOGLE_APPLICATION_CREDENTIALS",
    "KUBECONFIG", "DOCKER_CONFIG", "GH_CONFIG_DIR", "NETRC", "NPM_CONFIG_USERCONFIG", "npm_config_userconfig",
    "PIP_CONFIG_FILE", "PGPASSFILE", "PASSWORD_STORE_DIR", "XAUTHORITY", "ICEAUTHORITY", "XDG_RUNTIME_DIR",
    "CLAUDE_CONFIG_DIR", "CODEX_HOME", "VAULT_TOKEN_FILE", "SOPS_AGE_KEY_FILE", "HISTFILE",
];

/// The system's own places: no work happens in them, and their sockets,
/// settings and devices are not an agent's business.
#[rustfmt::skip]
const SYSTEM: &[&str] = &[
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys",
    "/usr", "/var/cache", "/var/lib", "/var/log", "/var/run", "/var/spool", "/tmp/.X11-unix",
    "/tmp/.ICE-unix",
];

/// Below a home folder: tool chains, shown read-only when they exist. None of
/// them holds a credential; the neighbours of some do (`.cargo`, `.local/share/uv`).
#[rustfmt::skip]
const TOOL_CHAINS: &[&str] = &[
    ".cargo/bin", ".rustup", ".nvm", ".volta/bin", ".volta/tools", ".fnm", ".local/share/fnm", ".pyenv",
    ".rbenv", ".asdf", ".local/share/mise/installs", ".local/share/mise/shims", ".local/bin",
    ".local/lib", ".local/pipx", ".local/share/pipx", ".local/share/uv/python", ".local/share/uv/tools",
    ".local/share/pnpm", ".local/share/claude", ".bun/bin", ".bun/install/global", ".deno/bin", "go/bin",
    ".sdkman/candidates", ".npm-global/bin", ".npm-global/lib", ".opencode/bin", ".ghcup/bin", ".juliaup",
];

/// Below a home folder: caches, from which the user's own programs take what they
/// run. A run has its agent's own instead.
#[rustfmt::skip]
const CACHES: &[&str] = &[
    ".cache", ".npm", ".cargo/registry", ".cargo/git", "go/pkg", ".m2/repository", ".gradle", ".ivy2",
    ".yarn", ".bun/install/cache", ".nuget/packages", ".gem", ".bundle/cache",
];

/// Variables of the caller that name such a cache elsewhere.
#[rustfmt::skip]
const CACHE_BY_VARIABLE: &[&str] = &[
    "XDG_CACHE_HOME", "CARGO_HOME", "GOMODCACHE", "GOCACHE", "GRADLE_USER_HOME", "PIP_CACHE_DIR",
    "UV_CACHE_DIR", "NPM_CONFIG_CACHE", "npm_config_cache", "YARN_CACHE_FOLDER", "YARN_GLOBAL_FOLDER",
    "BUN_INSTALL_CACHE_DIR", "NUGET_PACKAGES",
];

/// Below a home folder: what the user's session, shells and editors execute when they
/// start. People keep such places elsewhere, in a repository, and link to them.
#[rustfmt::skip]
const START_UP: &[&str] = &[
    ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".profile", ".zshrc", ".zshenv",
    ".zprofile", ".zlogin", ".zlogout", ".kshrc", ".inputrc", ".xprofile", ".xinitrc", ".xsession", ".xsessionrc",
    ".pam_environment", ".config/fish", ".config/nushell", ".config/autostart", ".config/systemd",
    ".config/environment.d", ".config/plasma-workspace", ".config/sway", ".config/hypr", ".config/i3",
    ".config/nvim", ".config/helix", ".config/Code/User", ".config/VSCodium/User", ".config/git",
    ".config/tmux", ".config/direnv", ".config/mise", ".local/share/applications", ".local/share/systemd",
    ".local/share/nvim", ".local/share/dbus-1", ".gitconfig", ".vimrc", ".vim", ".emacs", ".emacs.d",
    ".tmux.conf", ".screenrc", ".gdbinit", ".vscode", ".oh-my-zsh", "bin",
];

/// Why a folder may not be shown to a run.
#[derive(Debug, Error)]
pub enum FolderRefused {
    /// It is not there, or is no folder.
    #[error("{} is not a folder that can be opened: {source}", path.display())]
    NotAFolder {
        /// As it was given.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is the home folder, or holds it.
    #[error("{} is or holds the home folder; an agent works in a project's own folder", path.display())]
    Home {
        /// With symbolic links resolved.
        path: PathBuf,
    },
    /// A secret place lies in it.
    #[error("{} holds {}, which no agent may see", path.display(), secret.display())]
    Holds {
        /// With symbolic links resolved.
        path: PathBuf,
        /// The secret place.
        secret: PathBuf,
    },
    /// It lies in a secret place.
    #[error("{} is inside {}, which no agent may see", path.display(), secret.display())]
    Inside {
        /// With symbolic links resolved.
        path: PathBuf,
        /// The secret place.
        secret: PathBuf,
    },
    /// It lies in a tool chain: what is written there, the user runs later.
    #[error("{} is inside {}, where programs live that you run yourself", path.display(), tools.display())]
    ToolChain {
        /// With symbolic links resolved.
        path: PathBuf,
        /// The tool chain.
        tools: PathBuf,
    },
    /// It lies where the user's session, shells or editors start from.
    #[error("{} is inside {}, from which your own programs start", path.display(), place.display())]
    StartUp {
        /// With symbolic links resolved.
        path: PathBuf,
        /// The place.
        place: PathBuf,
    },
    /// It lies in a cache: what is written there, the user's programs run later.
    #[error("{} is inside {}, a cache from which your own programs take what they run", path.display(), cache.display())]
    Cache {
        /// With symbolic links resolved.
        path: PathBuf,
        /// The cache.
        cache: PathBuf,
    },
}

/// The user whose run it is.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    /// The home folder, symbolic links resolved.
    pub(crate) home: PathBuf,
    pub(crate) name: String,
    pub(crate) shell: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Every folder that counts as a home, `home` among them.
    homes: Vec<PathBuf>,
}

impl Owner {
    /// Of this process. The user database and `HOME` may disagree; both count
    /// as homes then, and `HOME` is the one that the run sees.
    pub(crate) fn of_this_process() -> Result<Self, io::Error> {
        let uid = Uid::current();
        let entry = User::from_uid(uid)?;
        let by_variable = std::env::var_os("HOME").map(PathBuf::from);
        let homes: Vec<PathBuf> = by_variable
            .into_iter()
            .chain(entry.as_ref().map(|user| user.dir.clone()))
            .filter(|path| path.is_absolute() && path.parent().is_some())
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        let home = homes.first().cloned().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "this user has no home folder")
        })?;
        let printable = |name: &str| !name.contains([':', '\n', '\0']) && !name.is_empty();
        Ok(Self {
            home,
            name: entry
                .as_ref()
                .map(|user| user.name.clone())
                .filter(|name| printable(name))
                .unwrap_or_else(|| "user".into()),
            shell: entry
                .map(|user| user.shell)
                .filter(|shell| shell.starts_with("/bin") || shell.starts_with("/usr"))
                .filter(|shell| shell.is_file() && !refuses(shell))
                .unwrap_or_else(|| "/bin/sh".into()),
            uid: uid.as_raw(),
            gid: nix::unistd::Gid::current().as_raw(),
            homes,
        })
    }
}

/// Whether it is what an account has that nobody logs in by (nologin(8)): programs
/// that start the user's shell would start nothing.
fn refuses(shell: &Path) -> bool {
    let name = shell.file_name();
    name.is_some_and(|name| name == "nologin" || name == "false")
}

/// The secret places and tool chains of one user, as they are now.
pub(crate) struct Places {
    pub(crate) secret: Vec<PathBuf>,
    /// Where a tool chain appears, and where it really is.
    pub(crate) tool_chains: Vec<(PathBuf, PathBuf)>,
    /// Caches that are there, where they really are.
    caches: Vec<PathBuf>,
    /// [`START_UP`], as far as it is there, where it really is.
    start_up: Vec<PathBuf>,
    homes: Vec<PathBuf>,
}

impl Places {
    /// `variable` reads the caller's environment; `hidden` are Countersign's own places.
    pub(crate) fn of(
        owner: &Owner,
        variable: impl Fn(&str) -> Option<OsString>,
        hidden: &[PathBuf],
    ) -> Self {
        let mut secret = Vec::new();
        for home in &owner.homes {
            secret.extend(SECRET_IN_HOME.iter().map(|name| home.join(name)));
        }
        for name in SECRET_BY_VARIABLE {
            // KUBECONFIG may be a list; a single path is a list of one.
            let paths = variable(name).unwrap_or_default();
            secret.extend(std::env::split_paths(&paths).filter(|path| path.is_absolute()));
        }
        secret.extend(hidden.iter().cloned());
        secret.extend(SYSTEM.iter().map(PathBuf::from));
        // A place that is really elsewhere (a linked ~/.ssh) is secret there too.
        let really: Vec<PathBuf> = secret
            .iter()
            .filter_map(|path| resolved(path))
            .filter(|path| !secret.contains(path))
            .collect();
        secret.extend(really);
        // A place that holds a home would refuse everything (a service's home
        // below /var/lib); its other secrets stay listed by themselves.
        secret.retain(|path| !owner.homes.iter().any(|home| home.starts_with(path)));

        let tool_chains = TOOL_CHAINS
            .iter()
            .map(|name| owner.home.join(name))
            .filter_map(|seen| Some((seen.clone(), seen.canonicalize().ok()?)))
            .filter(|(_, real)| !overlaps(real, &secret))
            .collect();
        let below = owner.homes.iter().flat_map(|home| {
            let place = move |name: &&str| home.join(name);
            CACHES.iter().map(place)
        });
        let start_up = owner.homes.iter().flat_map(|home| {
            let place = move |name: &&str| home.join(name);
            START_UP.iter().map(place)
        });
        let start_up = start_up
            .filter_map(|path| path.canonicalize().ok())
            .filter(|path| !owner.homes.iter().any(|home| home.starts_with(path)))
            .collect();
        let named = CACHE_BY_VARIABLE.iter().filter_map(|name| variable(name));
        let caches = below
            .chain(named.map(PathBuf::from))
            .filter(|path| path.is_absolute())
            .filter_map(|path| path.canonicalize().ok())
            // One that is or holds a home would refuse everything.
            .filter(|path| !owner.homes.iter().any(|home| home.starts_with(path)))
            .collect();
        Self {
            secret,
            tool_chains,
            caches,
            start_up,
            homes: owner.homes.clone(),
        }
    }

    /// The folder with symbolic links resolved, if a run may write there.
    pub(crate) fn working_folder(&self, folder: &Path) -> Result<PathBuf, FolderRefused> {
        let path = self.readable(folder)?;
        for (seen, real) in &self.tool_chains {
            if path.starts_with(seen) || path.starts_with(real) {
                let tools = seen.clone();
                return Err(FolderRefused::ToolChain { path, tools });
            }
        }
        if let Some(cache) = self.caches.iter().find(|cache| path.starts_with(cache)) {
            let cache = cache.clone();
            return Err(FolderRefused::Cache { path, cache });
        }
        if let Some(place) = self.start_up.iter().find(|place| path.starts_with(place)) {
            let place = place.clone();
            return Err(FolderRefused::StartUp { path, place });
        }
        Ok(path)
    }

    /// The user's caches, tool chains, and what their programs start from, that really
    /// lie in a working folder: not to be written to.
    pub(crate) fn not_to_be_changed_in(&self, folder: &Path) -> BTreeSet<&Path> {
        let tools = self.tool_chains.iter().map(|(_, real)| real);
        let all = self.caches.iter().chain(&self.start_up).chain(tools);
        let all = all.filter(|place| place.starts_with(folder));
        all.map(PathBuf::as_path).collect()
    }

    /// The path with symbolic links resolved, if a run may read there.
    pub(crate) fn readable(&self, given: &Path) -> Result<PathBuf, FolderRefused> {
        let path = given
            .canonicalize()
            .and_then(|path| std::fs::read_dir(&path).map(|_| path))
            .map_err(|source| FolderRefused::NotAFolder {
                path: given.to_owned(),
                source,
            })?;
        if path.parent().is_none() || self.homes.iter().any(|home| home.starts_with(&path)) {
            return Err(FolderRefused::Home { path });
        }
        for secret in &self.secret {
            if secret.starts_with(&path) {
                let secret = secret.clone();
                return Err(FolderRefused::Holds { path, secret });
            }
            if path.starts_with(secret) {
                let secret = secret.clone();
                return Err(FolderRefused::Inside { path, secret });
            }
        }
        Ok(path)
    }
}

fn overlaps(path: &Path, secret: &[PathBuf]) -> bool {
    secret
        .iter()
        .any(|place| place.starts_with(path) || path.starts_with(place))
}

/// Where a path really is, even if its last part does not exist yet.
fn resolved(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let parent = path.parent()?.canonicalize().ok()?;
        Some(parent.join(path.file_name()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_nobody_log_in_is_no_shell() {
        for shell in ["/usr/sbin/nologin", "/sbin/nologin", "/bin/false"] {
            assert!(refuses(Path::new(shell)), "{shell}");
        }
        assert!(!refuses(Path::new("/bin/bash")));
    }

    fn setting() -> (tempfile::TempDir, Owner) {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().canonicalize().unwrap().join("home");
        std::fs::create_dir_all(home.join("project/src")).unwrap();
        let owner = Owner {
            homes: vec![home.clone()],
            home,
            name: "user".into(),
            shell: "/bin/sh".into(),
            uid: 1,
            gid: 1,
        };
        (root, owner)
    }

    fn places(owner: &Owner, hidden: &[PathBuf]) -> Places {
        Places::of(owner, |_| None, hidden)
    }

    #[test]
    fn a_project_in_the_home_folder_is_accepted_and_resolved() {
        let (_root, owner) = setting();
        let link = owner.home.join("link");
        std::os::unix::fs::symlink("project", &link).unwrap();
        let folder = places(&owner, &[]).working_folder(&link).unwrap();
        assert_eq!(folder, owner.home.join("project"));
    }

    #[test]
    fn the_home_folder_its_ancestors_and_the_root_are_refused() {
        let (_root, owner) = setting();
        let places = places(&owner, &[]);
        for folder in [
            owner.home.as_path(),
            owner.home.parent().unwrap(),
            Path::new("/"),
        ] {
            let refused = places.working_folder(folder).unwrap_err();
            assert!(matches!(refused, FolderRefused::Home { .. }), "{refused}");
        }
    }

    #[test]
    fn a_folder_that_holds_or_is_inside_a_secret_place_is_refused() {
        let (_root, owner) = setting();
        std::fs::create_dir_all(owner.home.join(".config/gh/sub")).unwrap();
        let places = places(&owner, &[owner.home.join("project/state")]);
        let holds = places
            .working_folder(&owner.home.join(".config"))
            .unwrap_err();
        assert!(matches!(holds, FolderRefused::Holds { .. }), "{holds}");
        let inside = places
            .working_folder(&owner.home.join(".config/gh/sub"))
            .unwrap_err();
        assert!(matches!(inside, FolderRefused::Inside { .. }), "{inside}");
        // Countersign's own state counts, although it does not exist yet.
        let own = places
            .working_folder(&owner.home.join("project"))
            .unwrap_err();
        assert!(matches!(own, FolderRefused::Holds { .. }), "{own}");
    }

    #[test]
    fn a_link_to_a_secret_place_does_not_get_around_the_refusal() {
        let (_root, owner) = setting();
        std::fs::create_dir_all(owner.home.join("dotfiles/ssh")).unwrap();
        std::os::unix::fs::symlink("dotfiles/ssh", owner.home.join(".ssh")).unwrap();
        let places = places(&owner, &[]);
        for folder in ["dotfiles", "dotfiles/ssh", ".ssh"] {
            assert!(
                places.working_folder(&owner.home.join(folder)).is_err(),
                "{folder}"
            );
        }
    }

    #[test]
    fn a_file_that_a_variable_names_is_secret() {
        let (_root, owner) = setting();
        let kubeconfig = owner.home.join("project/kubeconfig");
        let places = Places::of(
            &owner,
            |name| (name == "KUBECONFIG").then(|| kubeconfig.clone().into()),
            &[],
        );
        let refused = places
            .working_folder(&owner.home.join("project"))
            .unwrap_err();
        assert!(refused.to_string().contains("kubeconfig"), "{refused}");
    }

    #[test]
    fn the_systems_places_and_tool_chains_are_refused() {
        let (_root, owner) = setting();
        std::fs::create_dir_all(owner.home.join(".cargo/bin")).unwrap();
        let places = places(&owner, &[]);
        for folder in ["/etc", "/usr/bin", "/proc/self", "/tmp"] {
            // /tmp holds the display's sockets.
            assert!(
                places.working_folder(Path::new(folder)).is_err(),
                "{folder}"
            );
        }
        let tools = places
            .working_folder(&owner.home.join(".cargo/bin"))
            .unwrap_err();
        assert!(matches!(tools, FolderRefused::ToolChain { .. }), "{tools}");
    }

    #[test]
    fn a_folder_in_a_cache_is_refused_and_a_cache_in_a_folder_is_known() {
        let (_root, owner) = setting();
        for folder in [".cache/pip", "go/pkg/mod", "go/src", "elsewhere"] {
            std::fs::create_dir_all(owner.home.join(folder)).unwrap();
        }
        let elsewhere = owner.home.join("elsewhere");
        let variable = |name: &str| (name == "CARGO_HOME").then(|| elsewhere.clone().into());
        let places = Places::of(&owner, variable, &[]);
        for folder in [".cache/pip", "go/pkg/mod", "elsewhere"] {
            let refused = places.working_folder(&owner.home.join(folder)).unwrap_err();
            assert!(matches!(refused, FolderRefused::Cache { .. }), "{refused}");
        }
        let go = places.working_folder(&owner.home.join("go")).unwrap();
        let pkg = owner.home.join("go/pkg");
        assert_eq!(places.not_to_be_changed_in(&go), [&*pkg].into());
        let source = owner.home.join("go/src");
        assert!(places.not_to_be_changed_in(&source).is_empty());
    }

    #[test]
    fn what_the_users_programs_start_from_is_refused_and_known_where_it_really_lies() {
        let (_root, owner) = setting();
        let path = |name: &str| owner.home.join(name);
        for folder in [".config/fish", ".local", "dotfiles/a/nvim", "dotfiles/bin"] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        std::fs::write(path("dotfiles/bashrc"), "").unwrap();
        for (to, link) in [
            ("dotfiles/bashrc", ".bashrc"),
            ("../dotfiles/a/nvim", ".config/nvim"),
            ("../dotfiles/bin", ".local/bin"),
        ] {
            std::os::unix::fs::symlink(to, path(link)).unwrap();
        }
        let places = places(&owner, &[]);
        for folder in [".config/fish", "dotfiles/a/nvim"] {
            let refused = places.working_folder(&path(folder)).unwrap_err();
            assert!(
                matches!(refused, FolderRefused::StartUp { .. }),
                "{refused}"
            );
        }
        let folder = places.working_folder(&path("dotfiles")).unwrap();
        let expected = ["a/nvim", "bashrc", "bin"].map(|name| folder.join(name));
        let found = places.not_to_be_changed_in(&folder);
        assert!(found.into_iter().eq(&expected));
    }
}
