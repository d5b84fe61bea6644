//! What the user's other programs would execute later: git's settings and hooks,
//! those of editors, shells and other agents, Python's start-up files.
//!
//! A run gets copies of its own, mounted over the real ones, so that nothing it
//! does there is executed while it goes on. `settle` says what becomes of them.
//! What cannot be copied (too large, or a nested repository) is read-only.
//!
//! git writes its settings by renaming, and a mounted file cannot be replaced so.
//! A repository in a run therefore has its settings and hooks in another folder,
//! by `commondir`, as a linked work tree has (gitrepository-layout(5)); objects and
//! references are the real ones there too.

use crate::entries::{self as tree, Tree};
use crate::harmless;
use crate::walk::{Found, SETTINGS_FOLDERS};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where a run finds what is common to all work trees of its repository.
pub(crate) const COMMON: &str = "/run/countersign/git";
/// The file that leads there.
const COMMONDIR: &str = "commondir";
/// What it says when git is to look right there, which is what git does without it.
const HERE: &[u8] = b".\n";

/// Folders of a repository that are the real ones in a run. The first three are
/// made when missing: git would make them, where nobody finds them afterwards.
const SHARED: &[&str] = &[
    "info",
    "logs",
    "lfs",
    "branches",
    "objects",
    "refs",
    "remotes",
    "rr-cache",
    "svn",
    "worktrees",
];
/// Files that git replaces through a link (`packed-backend.c`, `lockfile.c`).
const LINKED: &[&str] = &["packed-refs", "shallow"];

/// More settings than these are not kept apart; a folder with so many is refused.
const MOST_SETTINGS: usize = 500;

/// Where the copies of one run are kept, and the record of them.
#[derive(Debug)]
pub struct Keep {
    folder: PathBuf,
    /// Locked as long as somebody sees to it.
    _lock: File,
}

impl Keep {
    /// Makes a new one below `root`, which is the owner's alone.
    ///
    /// # Errors
    /// The system's; one of that name exists.
    pub fn make(root: &Path, name: &str) -> io::Result<Self> {
        let folder = root.join(name);
        let mut private = std::fs::DirBuilder::new();
        private.mode(0o700).recursive(true).create(root)?;
        private.recursive(false).create(&folder)?;
        let lock = File::create_new(folder.join("lock"))?;
        lock.try_lock()?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// One that is there already, unless somebody else sees to it.
    ///
    /// # Errors
    /// `WouldBlock` when somebody does; the system's.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let lock = File::open(folder.join("lock"))?;
        lock.try_lock()?;
        Ok(Self {
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// Every one below `root` that nobody sees to, by name.
    #[must_use]
    pub fn all(root: &Path) -> Vec<(String, Self)> {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let mut all: Vec<(String, Self)> = entries
            .filter_map(|entry| {
                let keep = Self::open(&entry.path()).ok()?;
                Some((entry.file_name().into_string().ok()?, keep))
            })
            .collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Forgets it, with all that is kept in it.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.folder)
    }

    pub(crate) fn copies(folder: &Path) -> PathBuf {
        folder.join("copies")
    }

    pub(crate) fn read<T: serde::de::DeserializeOwned>(
        folder: &Path,
        name: &str,
    ) -> io::Result<Option<T>> {
        match std::fs::read(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => Ok(Some(serde_json::from_slice(&found?)?)),
        }
    }

    pub(crate) fn write(folder: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
        let new = folder.join(format!("{name}.new"));
        std::fs::write(&new, serde_json::to_vec(value)?)?;
        std::fs::rename(new, folder.join(name))
    }
}

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
}

/// What is mounted, and in which order.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    /// From, to.
    pub(crate) copies: Vec<(PathBuf, PathBuf)>,
    pub(crate) read_only: Vec<PathBuf>,
    /// Files with that content.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
}

/// Whether it is a folder, and no link to one.
fn is_real_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = path.symlink_metadata().ok()?;
    Some((found.dev(), found.ino()))
}

/// Makes the copies, and says what is to be mounted. What it makes in the working
/// folder is written down before, so that `settle` removes it whatever happens.
pub(crate) fn prepare(folder: &Path, found: &Found, keep: &Path) -> io::Result<Mounts> {
    let mut work = Work {
        folder,
        copies: Keep::copies(keep),
        before: Before {
            folder: folder.into(),
            since: now(),
            ..Before::default()
        },
        mounts: Mounts::default(),
        make: Vec::new(),
        number: 0,
    };
    std::fs::create_dir(&work.copies)?;
    if found.settings.len() > MOST_SETTINGS {
        return Err(io::Error::other(format!(
            "{} holds {} settings of editors and the like, more than can be kept apart; let the agent work in a smaller folder",
            folder.display(),
            found.settings.len()
        )));
    }
    for path in &found.settings {
        work.setting(path)?;
    }
    let is_empty = std::fs::read_dir(folder)?.next().is_none();
    for name in SETTINGS_FOLDERS.iter().filter(|_| !is_empty) {
        if folder.join(name).symlink_metadata().is_err() {
            work.absent(name)?;
        }
    }
    work.own_repository()?;
    for path in &found.repositories {
        if !found
            .settings
            .iter()
            .any(|setting| path.starts_with(setting))
        {
            work.repository(path)?;
        }
    }
    Keep::write(keep, BEFORE, &work.before)?;
    for (path, content) in work.make {
        match content {
            Some(content) => File::create_new(path)
                .and_then(|mut file| io::Write::write_all(&mut file, content))?,
            None => std::fs::create_dir(path)?,
        }
    }
    Ok(work.mounts)
}

/// Whole seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

struct Work<'a> {
    folder: &'a Path,
    copies: PathBuf,
    before: Before,
    mounts: Mounts,
    /// Files (with their content) and folders to make in the working folder.
    make: Vec<(PathBuf, Option<&'static [u8]>)>,
    number: usize,
}

impl Work<'_> {
    /// The name of the next copy, and its path.
    fn next(&mut self) -> (OsString, PathBuf) {
        self.number += 1;
        let name = OsString::from(self.number.to_string());
        let path = self.copies.join(&name);
        (name, path)
    }

    fn below(&self, path: &Path) -> OsString {
        path.strip_prefix(self.folder).unwrap_or(path).into()
    }

    fn make_folder(&mut self, path: PathBuf) {
        if path.symlink_metadata().is_err() {
            self.before.made.push(self.below(&path));
            self.make.push((path, None));
        }
    }

    /// One that is there.
    fn setting(&mut self, path: &Path) -> io::Result<()> {
        // Too large, unreadable, no file: nobody changes it.
        let Ok(content) = tree::read(path) else {
            self.mounts.read_only.push(path.to_owned());
            return Ok(());
        };
        let kind = path.symlink_metadata()?.file_type();
        let is_start_up = path.extension() == Some(OsStr::new("pth"));
        let copy = if kind.is_symlink() || is_start_up {
            None
        } else {
            let (name, copy) = self.next();
            if kind.is_dir() {
                std::fs::create_dir(&copy)?;
            }
            tree::write(&content, &copy)?;
            self.mounts.copies.push((copy, path.to_owned()));
            Some(name)
        };
        self.before.settings.push(Setting {
            path: self.below(path),
            identity: identity(path),
            content,
            copy,
        });
        Ok(())
    }

    /// A folder of settings that is not there: an empty one is mounted over one that
    /// is made for it. (A file would have to be one that git takes for new.)
    fn absent(&mut self, name: &str) -> io::Result<()> {
        let (copy_name, copy) = self.next();
        std::fs::create_dir(&copy)?;
        let path = self.folder.join(name);
        self.make_folder(path.clone());
        self.mounts.copies.push((copy, path));
        self.before.settings.push(Setting {
            path: name.into(),
            identity: None,
            content: Tree::new(),
            copy: Some(copy_name),
        });
        Ok(())
    }

    /// The repository of which the working folder is the top.
    fn own_repository(&mut self) -> io::Result<()> {
        let git = self.folder.join(".git");
        match git.symlink_metadata() {
            Err(_) => {
                let (name, copy) = self.next();
                std::fs::create_dir(&copy)?;
                self.make_folder(git.clone());
                self.mounts.copies.push((copy, git));
                self.before.new_git = Some(name);
                return Ok(());
            }
            Ok(found) if found.is_symlink() => return Ok(()),
            Ok(found) if !found.is_dir() => {
                self.mounts.read_only.push(git);
                return Ok(());
            }
            Ok(_) => {}
        }
        // A mount point cannot be renamed aside.
        self.mounts.copies.push((git.clone(), git.clone()));
        // Whatever is bound is bound from where a link leads to, outside of the run:
        // an earlier one may have left a link to the home folder here.
        let is_whole = git.join("HEAD").exists()
            && is_real_folder(&git.join("objects"))
            && is_real_folder(&git.join("refs"));
        let leads = std::fs::read(git.join(COMMONDIR)).ok();
        let is_common = is_whole && leads.as_deref().is_none_or(|content| content == HERE);
        self.make_folder(git.join("hooks"));
        let settings = std::fs::read(git.join("config")).unwrap_or_default();
        let own = git.join("config.worktree");
        let asked_for = settings
            .to_ascii_lowercase()
            .windows(14)
            .any(|word| word == b"worktreeconfig");
        if asked_for && own.symlink_metadata().is_err() {
            self.before.made.push(self.below(&own));
            self.make.push((own, Some(b"")));
        }
        let kept = ["hooks", "config", "config.worktree", "modules"].map(|part| git.join(part));
        let is_real = |path: &PathBuf| {
            path.symlink_metadata()
                .is_ok_and(|found| !found.is_symlink())
        };
        let makes: BTreeSet<PathBuf> = self.make.iter().map(|(path, _)| path.clone()).collect();
        let kept = kept
            .into_iter()
            .filter(|path| is_real(path) || makes.contains(path));
        self.mounts.read_only.extend(kept);
        if leads.is_none() {
            self.before.made.push(self.below(&git.join(COMMONDIR)));
            self.make.push((git.join(COMMONDIR), Some(HERE)));
        }
        if !is_common {
            self.mounts.read_only.push(git.join(COMMONDIR));
            return Ok(());
        }
        let (name, common) = self.next();
        std::fs::create_dir(&common)?;
        let Ok(parts) = harmless::parts(&git) else {
            self.mounts.read_only.push(git.join(COMMONDIR));
            return Ok(());
        };
        for part in ["hooks", "config"] {
            let of_part = |path: &OsString| Path::new(path).starts_with(part);
            let part: Tree = parts
                .iter()
                .filter(|(path, _)| of_part(path))
                .map(|(path, entry)| (path.clone(), entry.clone()))
                .collect();
            tree::write(&part, &common)?;
        }
        std::fs::create_dir_all(common.join("hooks"))?;
        self.mounts.copies.push((common.clone(), COMMON.into()));
        for (number, part) in SHARED.iter().enumerate() {
            let real = git.join(part);
            if number < 3 {
                self.make_folder(real.clone());
            }
            let is_made = self.make.iter().any(|(made, _)| *made == real);
            if !is_made && !is_real_folder(&real) {
                continue;
            }
            std::fs::create_dir(common.join(part))?;
            self.mounts
                .copies
                .push((real, Path::new(COMMON).join(part)));
        }
        for part in LINKED {
            symlink(git.join(part), common.join(part))?;
        }
        self.mounts
            .files
            .push((git.join(COMMONDIR), format!("{COMMON}\n").into_bytes()));
        self.before.common = Some(name);
        Ok(())
    }

    /// Any repository, the working folder's own among them: how it is before.
    fn repository(&mut self, path: &Path) -> io::Result<()> {
        let Some(identity) = identity(path) else {
            return Ok(());
        };
        let own = self.folder.join(".git");
        if !path.starts_with(&own) {
            let parts = harmless::PARTS.iter().map(|part| path.join(part));
            let is_real = |path: &PathBuf| {
                path.symlink_metadata()
                    .is_ok_and(|found| !found.is_symlink())
            };
            self.mounts.read_only.extend(parts.filter(is_real));
        }
        self.before.repositories.push(Repository {
            path: self.below(path),
            identity,
            parts: harmless::parts(path)?,
        });
        Ok(())
    }
}
