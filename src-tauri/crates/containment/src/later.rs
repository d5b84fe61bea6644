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

use crate::before::{BEFORE, Before, Repository, Setting, identity};
use crate::entries::{self as tree, MOST_BYTES, Rights, Tree, read_plain};
use crate::harmless;
use crate::led::{Led, led};
use crate::python;
use crate::walk::{Found, SETTINGS_FOLDERS};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// So much of the user's is held open while a run goes on, at most.
const MOST_PINS: usize = 300;

/// Where the copies of one run are kept, and the record of them.
#[derive(Debug)]
pub struct Keep {
    folder: PathBuf,
    /// Locked as long as somebody sees to it.
    _lock: File,
    /// What the run has something mounted over. As long as it is open, nothing else
    /// gets its number.
    pins: Mutex<Vec<OwnedFd>>,
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
        // Locked before it has its name: whoever looks for one that nobody sees to
        // must not find this one.
        let unnamed = root.join(format!("{UNNAMED}{name}"));
        private.recursive(false).create(&unnamed)?;
        let lock = File::create_new(unnamed.join("lock"))?;
        lock.try_lock()?;
        // One of that name is not empty, and so not replaced: rename(2).
        std::fs::rename(&unnamed, &folder)?;
        Ok(Self {
            folder,
            _lock: lock,
            pins: Mutex::default(),
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
            pins: Mutex::default(),
        })
    }

    /// Every one below `root` that nobody sees to, by name.
    #[must_use]
    pub fn all(root: &Path) -> Vec<(String, Self)> {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let mut all: Vec<(String, Self)> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let named = !name.starts_with(UNNAMED);
                let keep = named.then(|| Self::open(&entry.path()).ok())??;
                Some((name, keep))
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
    pub fn remove(&self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.folder)
    }

    fn pins(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been there since before the run. Device and inode.
    pub(crate) fn pinned(&self) -> BTreeSet<(u64, u64)> {
        let pins = self.pins();
        let found = pins.iter().filter_map(|pin| rustix::fs::fstat(pin).ok());
        #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
        found
            .map(|found| (found.st_dev as u64, found.st_ino as u64))
            .collect()
    }

    fn pin(&self, path: &Path) {
        #[cfg(target_os = "linux")]
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        #[cfg(not(target_os = "linux"))]
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut pins = self.pins();
        if pins.len() < MOST_PINS
            && let Ok(pin) = rustix::fs::open(path, flags, Mode::empty())
        {
            pins.push(pin);
        }
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

/// What the name of one begins with until it is locked.
const UNNAMED: &str = ".";

/// What is mounted, and in which order.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    /// From, to.
    pub(crate) copies: Vec<(PathBuf, PathBuf)>,
    pub(crate) read_only: Vec<PathBuf>,
    /// From, to: what is there under another name too.
    pub(crate) also_read_only: Vec<(PathBuf, PathBuf)>,
    /// Files with that content.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
}

/// Whether it is a folder, and no link to one.
fn is_real_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

/// Makes the copies, and says what is to be mounted. What it makes in the working
/// folder is written down before, so that `settle` removes it whatever happens.
/// `user_base` is the caller's `PYTHONUSERBASE`.
pub(crate) fn prepare(
    folder: &Path,
    found: &Found,
    keep: &Keep,
    home: &Path,
    user_base: Option<&OsStr>,
) -> io::Result<Mounts> {
    let mut work = Work {
        folder,
        copies: Keep::copies(keep.folder()),
        before: Before {
            folder: folder.into(),
            since: now(),
            without_python: !found.has_python
                && found.shut.is_empty()
                && !python::looks_into(folder, user_base, home),
            ..Before::default()
        },
        mounts: Mounts::default(),
        make: Vec::new(),
        number: 0,
        pins: Vec::new(),
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
            work.absent(&folder.join(name))?;
        }
    }
    work.own_repository()?;
    // After the repository, in which some may lie.
    work.led(&led(folder, &found.repositories, home))?;
    for path in &found.repositories {
        if !found
            .settings
            .iter()
            .any(|setting| path.starts_with(setting))
        {
            work.repository(path);
        }
    }
    for path in &found.shut {
        let Some(identity) = identity(path) else {
            continue;
        };
        work.before.shut.push((work.below(path), identity));
        work.mounts.read_only.push(path.clone());
        work.pins.push(path.clone());
    }
    Keep::write(keep.folder(), BEFORE, &work.before)?;
    for (path, content) in work.make {
        match content {
            Some(content) => File::create_new(path)
                .and_then(|mut file| io::Write::write_all(&mut file, content))?,
            None => std::fs::create_dir(path)?,
        }
    }
    // What is there now, and read-only or mounted over, the run cannot change.
    let settings = work.before.settings.iter();
    let mounted_over = settings.filter(|setting| setting.copy.is_some());
    let mounted_over = mounted_over.map(|setting| folder.join(&setting.path));
    for path in work.pins.into_iter().chain(mounted_over) {
        keep.pin(&path);
    }
    Ok(work.mounts)
}

/// A file that has another name (a hard link, in the working folder perhaps) could be
/// changed by that, whatever is mounted over this one: it becomes one of its own.
fn with_one_name(top: &Path, tree: &Tree) {
    for (below, entry) in tree {
        let path = tree::join(top, Path::new(below));
        let has_more = |found: std::fs::Metadata| found.is_file() && found.nlink() > 1;
        if path.symlink_metadata().is_ok_and(has_more) {
            // Of another user's file the run could not change it either.
            let _ = tree::put(&path, Some(entry), Rights::Kept);
        }
    }
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
    /// What is to be held open.
    pins: Vec<PathBuf>,
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
            self.pins.push(path.to_owned());
            return Ok(());
        };
        let kind = path.symlink_metadata()?.file_type();
        let is_start_up = path.extension() == Some(OsStr::new("pth"));
        let copy = if kind.is_symlink() || is_start_up {
            None
        } else {
            with_one_name(path, &content);
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
    fn absent(&mut self, path: &Path) -> io::Result<()> {
        let (copy_name, copy) = self.next();
        std::fs::create_dir(&copy)?;
        let above = path.ancestors().take_while(|above| *above != self.folder);
        let mut above: Vec<PathBuf> = above.map(Path::to_owned).collect();
        above.reverse();
        for folder in above {
            self.make_folder(folder);
        }
        self.mounts.copies.push((copy, path.to_owned()));
        self.before.settings.push(Setting {
            path: self.below(path),
            identity: None,
            content: Tree::new(),
            copy: Some(copy_name),
        });
        Ok(())
    }

    /// What git's settings lead to.
    fn led(&mut self, led: &Led) -> io::Result<()> {
        if led.hooks.contains(self.folder) {
            return Err(io::Error::other(
                "git's hooks (core.hooksPath) are the working folder itself",
            ));
        }
        let named = led.named.iter().map(|path| self.below(path)).collect();
        self.before.named = named;
        let git = self.folder.join(".git");
        let own = ["hooks", "config", "config.worktree", "modules"].map(|part| git.join(part));
        for path in led.links.iter().chain(&led.hooks).chain(&led.settings) {
            let is_in = |setting: &Setting| path.starts_with(self.folder.join(&setting.path));
            let is_known = own.iter().any(|own| path.starts_with(own))
                || self.before.settings.iter().any(is_in);
            if is_known {
                continue;
            }
            if path.symlink_metadata().is_ok() {
                self.setting(path)?;
            } else if led.hooks.contains(path) {
                self.absent(path)?;
            } else {
                // Where no file is, none can be mounted.
                self.before.settings.push(Setting {
                    path: self.below(path),
                    identity: None,
                    content: Tree::new(),
                    copy: None,
                });
            }
        }
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
        let leads = read_plain(&git.join(COMMONDIR), MOST_BYTES).ok();
        let is_common = is_whole && leads.as_deref().is_none_or(|content| content == HERE);
        self.make_folder(git.join("hooks"));
        let settings = read_plain(&git.join("config"), MOST_BYTES).unwrap_or_default();
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
        let parts = harmless::parts(&git);
        if !parts.unread.is_empty() {
            self.mounts.read_only.push(git.join(COMMONDIR));
            return Ok(());
        }
        for part in ["hooks", "config"] {
            let of_part = |path: &OsString| Path::new(path).starts_with(part);
            let part: Tree = parts
                .tree
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
    fn repository(&mut self, path: &Path) {
        let Some(identity) = identity(path) else {
            return;
        };
        let own = self.folder.join(".git");
        if path.parent() == Some(&own.join("worktrees")) {
            // The user's other work trees: git acts in them by what stands here, at
            // once. It is there under two names.
            self.mounts.read_only.push(path.to_owned());
            if self.before.common.is_some()
                && let Ok(below) = path.strip_prefix(&own)
            {
                let seen = Path::new(COMMON).join(below);
                self.mounts.also_read_only.push((path.to_owned(), seen));
            }
        } else if path != own && !path.starts_with(own.join("modules")) {
            let parts = harmless::PARTS.iter().map(|part| path.join(part));
            let is_real = |path: &PathBuf| {
                path.symlink_metadata()
                    .is_ok_and(|found| !found.is_symlink())
            };
            self.mounts.read_only.extend(parts.filter(is_real));
        }
        let parts = harmless::parts(path);
        with_one_name(path, &parts.tree);
        let unread = parts.unread.iter().map(|part| path.join(part));
        self.pins.extend(unread);
        self.before.repositories.push(Repository {
            path: self.below(path),
            identity,
            parts: parts.tree,
            unread: parts.unread,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn whoever_looks_for_what_nobody_sees_to_never_finds_one_that_is_being_made() {
        let root = tempfile::tempdir().unwrap();
        let over = AtomicBool::new(false);
        let all = std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::SeqCst) {
                        assert!(Keep::all(root.path()).is_empty(), "each is seen to");
                    }
                });
            }
            let made = (0..300).map(|n| Keep::make(root.path(), &n.to_string()));
            let all: io::Result<Vec<_>> = made.collect();
            over.store(true, Ordering::SeqCst);
            all
        });
        assert_eq!(all.unwrap().len(), 300);
        assert!(Keep::make(root.path(), "7").is_err(), "it is there");
    }
}
