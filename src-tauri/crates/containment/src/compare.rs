//! How a run has left its working folder, compared with how it was before: what is
//! to be asked about, what is put back, and what is set aside because it cannot be
//! looked at.

use crate::before::{Before, Setting, identity};
use crate::entries::{self as tree, Entry, Tree};
use crate::harmless::{self, Parts, is_harmless};
use crate::later::Keep;
use crate::settle::{Aside, Change, LeftBehind, real};
use crate::walk::{Found, walk_after};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// So much is looked at of all that a run left. What is more is set aside unseen:
/// a comparison that does not end, or for which memory runs out, puts nothing back.
const MOST_BYTES: usize = 64 << 20;

/// What installing packages for itself leaves in a settings folder.
const OF_PACKAGES: &[&str] = &[
    ".gitignore",
    "bun.lock",
    "bun.lockb",
    "node_modules",
    "package-lock.json",
    "package.json",
];

pub(crate) struct Comparison<'a> {
    folder: &'a Path,
    before: &'a Before,
    copies: PathBuf,
    /// What has been there ever since and was mounted over, so that the run could
    /// not change it.
    pinned: &'a BTreeSet<(u64, u64)>,
    /// Bytes that may still be looked at.
    room: usize,
    left: LeftBehind,
}

impl<'a> Comparison<'a> {
    /// Looks; changes nothing, but for folders that must be opened up to be looked
    /// into. Whatever fails is set aside.
    pub(crate) fn of(
        before: &'a Before,
        kept: &Path,
        pinned: &'a BTreeSet<(u64, u64)>,
    ) -> LeftBehind {
        let folder = Path::new(&before.folder);
        let mut this = Self {
            folder,
            before,
            copies: Keep::copies(kept),
            pinned,
            room: MOST_BYTES,
            left: LeftBehind::of(before.folder.clone()),
        };
        // What the run had, it may have shut as well.
        walk_after(&this.copies, &BTreeSet::new());
        let found = walk_after(folder, &this.shut_before());
        this.shut(&found);
        this.settings(&found);
        this.repositories(&found);
        this.own_repository();
        this.new_repository();
        let changed = |path: &&PathBuf| {
            path.symlink_metadata()
                .is_ok_and(|found| found.ctime() >= before.since)
        };
        let named = before.named.iter().map(|path| folder.join(path));
        let listed: BTreeSet<PathBuf> = found.built_from.into_iter().chain(named).collect();
        this.left.built_from = listed
            .iter()
            .filter(changed)
            .map(|path| this.below(path))
            .collect();
        this.left
    }

    fn below(&self, path: &Path) -> OsString {
        path.strip_prefix(self.folder).unwrap_or(path).into()
    }

    fn read(&mut self, path: &Path) -> io::Result<Tree> {
        let tree = tree::read(path)?;
        self.counts(&tree)?;
        Ok(tree)
    }

    fn parts(&mut self, repository: &Path) -> Parts {
        let parts = harmless::parts(repository);
        if self.counts(&parts.tree).is_ok() {
            return parts;
        }
        let unread: BTreeSet<OsString> = parts.tree.keys().map(first).collect();
        Parts {
            tree: Tree::new(),
            unread: unread.into_iter().chain(parts.unread).collect(),
        }
    }

    fn counts(&mut self, tree: &Tree) -> io::Result<()> {
        let size = |entry: &Entry| match entry {
            Entry::File { content, .. } => content.len(),
            Entry::Link { target } => target.len(),
        };
        let bytes = tree
            .iter()
            .map(|(path, entry)| 200 + path.len() + size(entry))
            .sum();
        let room = self.room.checked_sub(bytes);
        self.room = room.ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(())
    }

    /// Whether what is there now is the user's, whatever stands in it: the run had
    /// something mounted over it all the time, and knows it by no other name.
    fn is_users(&self, path: &Path) -> bool {
        identity(path).is_some_and(|this| self.pinned.contains(&this))
            && !tree::has_other_names(path)
    }

    /// What is wanted where something else is; empty `top` for the working folder.
    fn want(&mut self, top: &OsString, before: &Tree, after: &Tree) {
        let paths: BTreeSet<&OsString> = before.keys().chain(after.keys()).collect();
        for path in paths {
            let (before, after) = (before.get(path), after.get(path));
            if before != after {
                self.left.changes.push(Change {
                    path: tree::join(Path::new(top), Path::new(path)).into(),
                    before: before.cloned(),
                    after: after.cloned(),
                });
            }
        }
    }

    fn restore(&mut self, top: &OsString, now: &Tree, was: &Tree) {
        let paths: BTreeSet<&OsString> = now.keys().chain(was.keys()).collect();
        for path in paths {
            if now.get(path) != was.get(path) {
                let path_there = tree::join(Path::new(top), Path::new(path)).into();
                self.left
                    .restored
                    .push((path_there, was.get(path).cloned()));
            }
        }
    }

    fn set_aside(&mut self, path: OsString, shut: bool) {
        self.left.aside.push(Aside { path, shut });
    }

    /// Folders that could not be looked into before, and that the run could not
    /// change: it had them read-only.
    fn shut_before(&self) -> BTreeSet<PathBuf> {
        let mine = rustix::process::getuid().as_raw();
        let is_same = |path: &Path, was: (u64, u64)| {
            identity(path) == Some(was)
                && (self.pinned.contains(&was)
                    // Nor could it make one that is another user's.
                    || path.symlink_metadata().is_ok_and(|found| found.uid() != mine))
        };
        let all = self.before.shut.iter();
        all.map(|(path, was)| (self.folder.join(path), *was))
            .filter(|(path, was)| is_same(path, *was))
            .map(|(path, _)| path)
            .collect()
    }

    fn shut(&mut self, found: &Found) {
        let before = self.shut_before();
        for path in found.shut.difference(&before) {
            // The working folder itself may be gone, with all that was in it.
            let is_gone = matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
            if !is_gone {
                self.set_aside(self.below(path), true);
            }
        }
    }

    /// Settings that were there before, and those that are there now.
    fn settings(&mut self, found: &Found) {
        let before = self.before;
        for setting in &before.settings {
            self.setting(setting);
        }
        for path in &found.settings {
            if self.is_known(path) || self.is_of_made_environment(path, found) {
                continue;
            }
            let below = self.below(path);
            match self.read(path) {
                Ok(now) => {
                    self.want(&below, &Tree::new(), &now);
                    self.restore(&below, &now, &Tree::new());
                }
                Err(_) => self.set_aside(below, false),
            }
        }
    }

    /// One that was there before, or that was to be: what is there now, and what the
    /// run made of its copy.
    fn setting(&mut self, setting: &Setting) {
        let path = self.folder.join(&setting.path);
        let mut now = match real(self.folder, &setting.path) {
            None => Ok(Tree::new()),
            Some(path) => self.read(&path),
        };
        let is_mine = real(self.folder, &setting.path).is_none() || self.is_users(&path);
        if now.is_err() && !is_mine {
            self.set_aside(setting.path.clone(), false);
            self.restore(&setting.path, &Tree::new(), &setting.content);
            now = Ok(setting.content.clone());
        }
        let mut now = now.unwrap_or_default();
        if !is_mine && now != setting.content {
            self.want(&setting.path, &setting.content, &now);
            self.restore(&setting.path, &now, &setting.content);
            now.clone_from(&setting.content);
        }
        let Some(copy) = &setting.copy else { return };
        if setting.identity.is_none() && is_only_packages(&self.copies.join(copy)) {
            return;
        }
        let Ok(mine) = self.read(&self.copies.join(copy)) else {
            self.left
                .too_large
                .push((setting.path.clone(), copy.clone()));
            return;
        };
        let after = with_changes(&now, &setting.content, &mine, |_| true);
        self.want(&setting.path, &now, &after);
    }

    /// Whether a setting that is there now was there before, perhaps elsewhere.
    fn is_known(&self, path: &Path) -> bool {
        let below = self.below(path);
        let mut known = self.before.settings.iter();
        if known.clone().any(|setting| setting.path == below) || self.is_users(path) {
            return true;
        }
        let this = identity(path);
        let same = known.find(|setting| this.is_some() && setting.identity == this);
        same.is_some_and(|same| tree::read(path).is_ok_and(|now| now == same.content))
    }

    /// Whether it is a start-up file of a virtual environment of Python that the run
    /// made as a whole, of folders that were not there before. Whoever runs anything of
    /// such a one runs what the agent put there, and sees it listed; its start-up files
    /// add nothing to that. But where a Python was, a link in its place could have that
    /// one start from here; and where others look for packages (`python`), they would.
    fn is_of_made_environment(&self, path: &Path, found: &Found) -> bool {
        let is_listed = |above: &&Path| found.built_from.contains(&above.join("pyvenv.cfg"));
        let Some(root) = path.ancestors().skip(1).find(is_listed) else {
            return false;
        };
        // Not in the second in which the run began, which was before it as well.
        let Ok(since) = u64::try_from(self.before.since) else {
            return false;
        };
        let since = UNIX_EPOCH + Duration::from_secs(since.saturating_add(1));
        // When it was made nobody can change, and moving it does not.
        let is_new = |folder: &Path| {
            let made = folder.symlink_metadata().and_then(|found| found.created());
            made.is_ok_and(|made| made >= since)
        };
        let folders = path.ancestors().skip(1);
        self.before.without_python
            && path.extension() == Some(OsStr::new("pth"))
            && folders
                .take_while(|folder| folder.starts_with(root))
                .all(is_new)
    }

    /// Repositories anywhere, also such as were moved.
    fn repositories(&mut self, found: &Found) {
        let before = self.before;
        for path in &found.repositories {
            // Dealt with as a whole.
            if found
                .settings
                .iter()
                .any(|setting| path.starts_with(setting))
            {
                continue;
            }
            let known = identity(path).and_then(|this| {
                let mut known = before.repositories.iter();
                known.find(|repository| repository.identity == this)
            });
            let nothing = Tree::new();
            let was = known.map_or(&nothing, |repository| &repository.parts);
            let below = self.below(path);
            let Parts {
                tree: mut now,
                unread,
            } = self.parts(path);
            for part in unread {
                let path_there = tree::join(Path::new(&below), Path::new(&part));
                let is_users = known.is_some_and(|known| known.unread.contains(&part))
                    && self.is_users(&self.folder.join(&path_there));
                if !is_users {
                    self.set_aside(path_there.into(), false);
                    let of_part = |path: &OsString| first(path) == part;
                    let was = was.iter().filter(|(path, _)| of_part(path));
                    let was = was.map(|(path, entry)| (path.clone(), entry.clone()));
                    let was: Tree = was.collect();
                    self.restore(&below, &Tree::new(), &was);
                    now.extend(was);
                }
            }
            now.retain(|part, entry| !self.is_made(&below, part, entry));
            if !is_harmless(path, was, &now) {
                self.want(&below, was, &now);
                self.restore(&below, &now, was);
            }
        }
    }

    /// Whether it was made before the run, for the run.
    fn is_made(&self, repository: &OsString, part: &OsString, entry: &Entry) -> bool {
        let path: OsString = tree::join(Path::new(repository), Path::new(part)).into();
        let is_plain =
            matches!(entry, Entry::File { content, .. } if content.is_empty() || content == b".\n");
        is_plain && self.before.made.contains(&path)
    }

    /// The copy of the own repository's settings and hooks.
    fn own_repository(&mut self) {
        let before = self.before;
        let Some(copy) = &before.common else {
            return;
        };
        let git = OsString::from(".git");
        let mut known = before.repositories.iter();
        let was = known.find(|repository| repository.path == git);
        let nothing = Tree::new();
        let was = was.map_or(&nothing, |repository| &repository.parts);
        let mine = self.parts(&self.copies.join(copy));
        for part in &mine.unread {
            let there = tree::join(Path::new(&git), Path::new(part)).into();
            let copy = Path::new(copy).join(part).into();
            self.left.too_large.push((there, copy));
        }
        let now = self.parts(&self.folder.join(&git)).tree;
        let is_copied = |path: &OsString| {
            let part = first(path);
            (part == "config" || part == "hooks") && !mine.unread.contains(&part)
        };
        let after = with_changes(&now, was, &mine.tree, is_copied);
        self.want(&git, &now, &after);
    }

    /// The repository that the run made at the top, which had none.
    fn new_repository(&mut self) {
        let before = self.before;
        let Some(name) = &before.new_git else {
            return;
        };
        let asked = self.left.changes.len();
        let copy = self.copies.join(name);
        let found = walk_after(&copy, &BTreeSet::new());
        let mut repositories = found.repositories;
        repositories.insert(copy.clone());
        // Not to be looked through: it stays where it is, and is not used.
        let mut is_withheld = !found.shut.is_empty() && copy.exists();
        for repository in repositories {
            let Parts {
                tree: parts,
                unread,
            } = self.parts(&repository);
            is_withheld |= !unread.is_empty();
            let below = repository.strip_prefix(&copy).unwrap_or(&repository);
            let there = Path::new(".git").join(below);
            if is_harmless(&there, &Tree::new(), &parts) {
                continue;
            }
            for path in parts.keys() {
                let path = tree::join(below, Path::new(path));
                self.left.stripped.push(path.into());
            }
            let top = tree::join(Path::new(".git"), below).into();
            self.want(&top, &Tree::new(), &parts);
        }
        if is_withheld {
            self.left.changes.truncate(asked);
            self.left.stripped.clear();
            self.left.too_large.push((".git".into(), name.clone()));
        }
    }
}

/// Whether nothing but packages lies in a folder that the run found empty. Some
/// agents install some wherever they find a settings folder, each time anew: that is
/// not worth a question, and is dropped.
fn is_only_packages(copy: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(copy) else {
        return false;
    };
    let is_one = |entry: io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| OF_PACKAGES.iter().any(|name| entry.file_name() == *name))
    };
    entries.into_iter().all(is_one)
}

/// What is there now, with what the run changed of its copy.
fn with_changes(now: &Tree, was: &Tree, mine: &Tree, counts: impl Fn(&OsString) -> bool) -> Tree {
    let mut after = now.clone();
    for path in was.keys().chain(mine.keys()).filter(|path| counts(path)) {
        match (mine.get(path), was.get(path)) {
            (new, old) if new == old => {}
            (Some(new), _) => drop(after.insert(path.clone(), new.clone())),
            (None, _) => drop(after.remove(path)),
        }
    }
    after
}

/// The first part of a path.
fn first(path: &OsString) -> OsString {
    let mut parts = Path::new(path).components();
    parts
        .next()
        .map(|part| part.as_os_str().to_owned())
        .unwrap_or_default()
}
