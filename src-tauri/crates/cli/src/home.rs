//! Where things lie. `COUNTERSIGN_HOME` keeps configuration and state together
//! in one folder; otherwise they lie where the platform puts them. The runtime
//! folder is the user's, whatever the home: one authority per user.

use countersign_model::AgentId;
use std::io;
use std::path::{Path, PathBuf};

/// The folders of this user.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    /// `countersign.toml`, `policies/`, CA files: the user's to edit.
    pub(crate) config: PathBuf,
    /// The ledger, the accepted configuration, the latch.
    pub(crate) state: PathBuf,
    /// What the user runs of ours: launchers.
    pub(crate) data: PathBuf,
    /// Sockets; emptied by the system when the user logs out.
    pub(crate) runtime: PathBuf,
}

/// Why there is no home.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HomeError {
    #[error("neither COUNTERSIGN_HOME nor HOME is set to an absolute path")]
    Nowhere,
    #[error("{path} belongs to another user or others may write to it; nothing is kept there", path = .0.display())]
    NotOurs(PathBuf),
    #[error("cannot make {path}: {source}", path = .path.display())]
    Make { path: PathBuf, source: io::Error },
}

impl Home {
    /// From the environment.
    pub(crate) fn find() -> Result<Self, HomeError> {
        let runtime = runtime_folder()?;
        if let Some(home) = absolute("COUNTERSIGN_HOME") {
            return Ok(Self {
                config: home.clone(),
                state: home.join("state"),
                data: home.join("data"),
                runtime,
            });
        }
        let home = absolute("HOME").ok_or(HomeError::Nowhere)?;
        if cfg!(target_os = "macos") {
            let support = home.join("Library/Application Support/Countersign");
            return Ok(Self {
                config: support.clone(),
                state: support.join("state"),
                data: support.join("data"),
                runtime,
            });
        }
        let config = absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        let state = absolute("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state"));
        let data = absolute("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share"));
        Ok(Self {
            config: config.join("countersign"),
            state: state.join("countersign"),
            data: data.join("countersign"),
            runtime,
        })
    }

    /// Makes the folders, for their owner alone.
    pub(crate) fn make(&self) -> Result<(), HomeError> {
        for folder in [&self.config, &self.state, &self.runtime, &self.runs()] {
            make_private(folder)?;
        }
        Ok(())
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.config.join(CONFIG_NAME)
    }
    pub(crate) fn policies(&self) -> PathBuf {
        self.config.join(POLICIES_NAME)
    }
    pub(crate) fn accepted(&self) -> PathBuf {
        self.state.join("accepted.json")
    }
    pub(crate) fn install(&self) -> PathBuf {
        self.state.join("install")
    }
    pub(crate) fn ledger(&self) -> PathBuf {
        self.state.join("ledger.db")
    }
    /// The ledger's public key and name, for `ledger verify` without the
    /// authority. A convenience, not a proof: whoever checks against an
    /// attacker keeps a copy elsewhere.
    pub(crate) fn ledger_key(&self) -> PathBuf {
        self.state.join("ledger.pub")
    }
    pub(crate) fn latch(&self) -> PathBuf {
        self.state.join("stop")
    }
    /// Agents that are stopped, each by itself.
    pub(crate) fn agent_latches(&self) -> PathBuf {
        self.state.join("stopped-agents")
    }
    pub(crate) fn vault_file(&self) -> PathBuf {
        self.state.join("vault.age")
    }
    pub(crate) fn control(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }
    /// Touching this file engages the stop: for scripts.
    pub(crate) fn stop_file(&self) -> PathBuf {
        self.runtime.join("stop-now")
    }
    /// Made by `countersign stop` where the control socket does not answer in time;
    /// gone once the stop is engaged.
    pub(crate) fn stop_asked(&self) -> PathBuf {
        self.runtime.join("stop-asked")
    }
    pub(crate) fn lock(&self) -> PathBuf {
        self.runtime.join("authority.lock")
    }
    /// The runs' own copies of what other programs would execute, one folder each.
    pub(crate) fn left(&self) -> PathBuf {
        self.state.join("left")
    }
    pub(crate) fn runs(&self) -> PathBuf {
        self.runtime.join("runs")
    }
    /// What one agent keeps between its runs.
    pub(crate) fn kept(&self, agent: &AgentId) -> PathBuf {
        self.state.join("agents").join(agent.as_str())
    }
    /// Launchers of programs that are to be contained whenever they are typed.
    pub(crate) fn wrapped(&self) -> PathBuf {
        self.data.join("bin")
    }
    /// What no agent may see.
    pub(crate) fn hidden(&self) -> Vec<PathBuf> {
        vec![
            self.data.clone(),
            self.config.clone(),
            self.state.clone(),
            self.runtime.clone(),
        ]
    }
}

/// The name of the configuration file.
pub(crate) const CONFIG_NAME: &str = "countersign.toml";
/// The name of the folder of rules.
pub(crate) const POLICIES_NAME: &str = "policies";

fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|p| p.is_absolute())
}

fn runtime_folder() -> Result<PathBuf, HomeError> {
    let Some(base) = absolute("XDG_RUNTIME_DIR") else {
        // Without a session: a folder in the world-writable one, which
        // `make_private` refuses unless it is ours alone.
        return Ok(std::env::temp_dir().join(format!("countersign-{}", nix::unistd::getuid())));
    };
    Ok(base.join("countersign"))
}

/// Makes a folder for its owner alone, and refuses one that is not.
pub(crate) fn make_private(folder: &Path) -> Result<(), HomeError> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
    let failed = |source| HomeError::Make {
        path: folder.to_owned(),
        source,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    let found = std::fs::symlink_metadata(folder).map_err(failed)?;
    // A link to a folder of ours is the user's own doing (dotfiles); what
    // counts is whose it is in the end.
    let found = if found.is_symlink() {
        std::fs::metadata(folder).map_err(failed)?
    } else {
        found
    };
    if !found.is_dir() || found.uid() != nix::unistd::getuid().as_raw() {
        return Err(HomeError::NotOurs(folder.to_owned()));
    }
    if found.mode() & 0o022 != 0 {
        return Err(HomeError::NotOurs(folder.to_owned()));
    }
    if found.mode() & 0o055 != 0 {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

/// Replaces a file whole: written beside it, synced, renamed. Readable by its
/// owner alone.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let beside = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
