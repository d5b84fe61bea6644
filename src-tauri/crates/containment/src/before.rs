//! How a working folder was before a run, for whoever compares it later.

use crate::entries::Tree;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The file in which a run's [`Before`] is kept.
pub(crate) const BEFORE: &str = "before.json";

/// How a working folder was before a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Before {
    pub(crate) folder: OsString,
    /// When, by the wall clock, in seconds: what changed since then was changed
    /// while the run went on.
    pub(crate) since: i64,
    pub(crate) settings: Vec<Setting>,
    pub(crate) repositories: Vec<Repository>,
    /// What was made so that something could be mounted over it, in that order.
    pub(crate) made: Vec<OsString>,
    /// The copy that became the folder's `.git`, which had none.
    pub(crate) new_git: Option<OsString>,
    /// The copy of the repository's common folder.
    pub(crate) common: Option<OsString>,
    /// Folders that could not be looked into, with device and inode: read-only.
    pub(crate) shut: Vec<(OsString, (u64, u64))>,
    /// Whether no Python started from here or would, and everything could be looked
    /// into.
    #[serde(default)]
    pub(crate) without_python: bool,
    /// Programs and the like that git's settings name.
    pub(crate) named: Vec<OsString>,
}

/// A file or folder of settings.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// Below the working folder.
    pub(crate) path: OsString,
    /// Device and inode; `None` for one that was not there.
    pub(crate) identity: Option<(u64, u64)>,
    #[serde(with = "crate::entries::as_pairs")]
    pub(crate) content: Tree,
    /// The copy that the run had; `None` when it had the real one (a start-up file
    /// of Python's, which installers replace).
    pub(crate) copy: Option<OsString>,
}

/// A repository, wherever it lies.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Repository {
    pub(crate) path: OsString,
    pub(crate) identity: (u64, u64),
    #[serde(with = "crate::entries::as_pairs")]
    pub(crate) parts: Tree,
    /// Parts that could not be read, or are too large to be: read-only.
    pub(crate) unread: Vec<OsString>,
}

/// Device and inode.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = path.symlink_metadata().ok()?;
    Some((found.dev(), found.ino()))
}
