//! What becomes, after a run, of what other programs would execute later.
//!
//! The copies that the run had are compared with the real ones; what it made
//! elsewhere (a repository of its own, settings in another folder) is looked for
//! and taken away. Nothing of either is in force until the human has accepted it.
//! A run that was cut off is settled when somebody next looks.

use crate::entries::{self as tree, Entry, Tree};
use crate::harmless::{self, is_harmless};
use crate::later::{BEFORE, Before, Keep, identity};
use crate::walk::{Found, walk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file in which it is kept.
const LEFT: &str = "left.json";
/// What stands behind the name of what is too large to be kept elsewhere.
const ASIDE: &str = ".set-aside-by-countersign";

/// What a run left behind.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct LeftBehind {
    folder: OsString,
    /// What is not in force until the human accepts it.
    pub changes: Vec<Change>,
    /// Files that people execute knowingly, which changed while the run went on;
    /// below the folder.
    pub built_from: Vec<OsString>,
    /// What was too large to be kept elsewhere and was given another name; below
    /// the folder.
    pub renamed: Vec<OsString>,
    /// Settings of which the run made more than can be asked about: kept aside. Path
    /// and copy.
    too_large: Vec<(OsString, OsString)>,
    /// What the real files are put back to.
    restored: Vec<(OsString, Option<Entry>)>,
    /// Of a repository that the run made at the top: what is taken out of its copy.
    stripped: Vec<OsString>,
    is_done: bool,
}

/// One file that the run would have otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Below the folder.
    pub path: OsString,
    /// As it is; `None`: there is none.
    pub before: Option<Entry>,
    /// As the run would have it; `None`: without it.
    pub after: Option<Entry>,
}

/// Settles a run that is over, once; afterwards says the same again.
///
/// # Errors
/// The system's. What could be found out by then is kept, and the next call goes on.
pub fn settle(keep: &Keep) -> io::Result<LeftBehind> {
    let kept = keep.folder();
    let Some(before) = Keep::read::<Before>(kept, BEFORE)? else {
        // It was cut off before anything was mounted or made.
        return Ok(LeftBehind::default());
    };
    let mut left = match Keep::read::<LeftBehind>(kept, LEFT)? {
        Some(left) => left,
        None => {
            let left = Comparison::of(&before, kept)?;
            Keep::write(kept, LEFT, &left)?;
            left
        }
    };
    if !left.is_done {
        left.put_back(&before, kept)?;
        left.is_done = true;
        Keep::write(kept, LEFT, &left)?;
    }
    Ok(left)
}

impl LeftBehind {
    /// The run's working folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        Path::new(&self.folder)
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.built_from.is_empty()
            && self.renamed.is_empty()
            && self.too_large.is_empty()
    }

    /// Settings of which the run made more than can be asked about; they are not in
    /// force, and kept. Below the folder.
    pub fn too_large(&self) -> impl Iterator<Item = &OsString> {
        self.too_large.iter().map(|(path, _)| path)
    }

    /// What an answer is bound to: every byte that accepting it would write.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn canonical(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(&(&self.folder, &self.changes))?)
    }

    /// Puts the changes in force, after a human's yes. Gives those that were not,
    /// because the real file is not what was shown any more.
    ///
    /// # Errors
    /// The system's.
    pub fn accept(&self) -> io::Result<Vec<OsString>> {
        let mut refused = Vec::new();
        for change in &self.changes {
            let Some(path) = real(self.folder(), &change.path, true) else {
                refused.push(change.path.clone());
                continue;
            };
            let now = tree::read(&path)
                .ok()
                .map(|mut tree| tree.remove(&OsString::new()));
            if now.as_ref() == Some(&change.before) {
                tree::put(&path, change.after.as_ref())?;
            } else {
                refused.push(change.path.clone());
            }
        }
        Ok(refused)
    }

    /// Everything that can be done again, in an order in which nothing of the run's
    /// is in force in between.
    fn put_back(&self, before: &Before, kept: &Path) -> io::Result<()> {
        let folder = self.folder();
        // For people to look at: these are executed by nobody.
        for change in &self.changes {
            if let Some(after) = &change.after {
                tree::put(&kept.join("files").join(&change.path), Some(after))?;
            }
        }
        for (path, copy) in &self.too_large {
            let (from, to) = (Keep::copies(kept).join(copy), kept.join("files").join(path));
            if from.exists() {
                std::fs::create_dir_all(to.parent().unwrap_or(kept))?;
                std::fs::rename(from, to)?;
            }
        }
        for (path, entry) in &self.restored {
            if let Some(path) = real(folder, path, false) {
                tree::put(&path, entry.as_ref())?;
                without_empty_folders(&path, folder);
            }
        }
        for path in &self.renamed {
            if let Some(path) = real(folder, path, false) {
                let mut aside = path.clone().into_os_string();
                aside.push(ASIDE);
                if path.symlink_metadata().is_ok() {
                    std::fs::rename(&path, aside)?;
                }
            }
        }
        if let Some(copy) = &before.new_git {
            let copy = Keep::copies(kept).join(copy);
            for path in &self.stripped {
                tree::put(&copy.join(path), None)?;
            }
            move_into(&copy, &folder.join(".git"))?;
        }
        for path in before.made.iter().rev() {
            let path = folder.join(path);
            if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                // Only if nothing is in it.
                let _ = std::fs::remove_dir(path);
            } else if std::fs::read(&path)
                .is_ok_and(|content| content.is_empty() || content == b".\n")
            {
                std::fs::remove_file(path)?;
            }
        }
        let _ = std::fs::remove_dir_all(Keep::copies(kept));
        Ok(())
    }
}

/// The path, if the folder above it is a real one of the working folder's: a run
/// may have put a link in its place. With `make`, one that is missing counts.
fn real(folder: &Path, below: &OsString, make: bool) -> Option<PathBuf> {
    let mut path = folder.to_owned();
    let parent = Path::new(below).parent()?;
    for part in parent.components() {
        path.push(part);
        match path.symlink_metadata() {
            Ok(found) if found.is_dir() => {}
            Err(error) if make && error.kind() == io::ErrorKind::NotFound => break,
            _ => return None,
        }
    }
    Some(folder.join(below))
}

/// Removes the folders above that became empty, up to the working folder: they are
/// settings folders that the run made.
fn without_empty_folders(path: &Path, folder: &Path) {
    let names = crate::walk::SETTINGS_FOLDERS;
    let is_setting = |path: &Path| {
        path.components()
            .any(|part| names.iter().any(|name| part.as_os_str() == *name))
    };
    for above in path
        .ancestors()
        .skip(1)
        .take_while(|above| *above != folder)
    {
        if !is_setting(above.strip_prefix(folder).unwrap_or(above))
            || std::fs::remove_dir(above).is_err()
        {
            return;
        }
    }
}

/// Moves what is in the folder into the other, across file systems too.
fn move_into(from: &Path, to: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        std::fs::create_dir_all(to)?;
        match std::fs::rename(entry.path(), &target) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    std::fs::create_dir_all(&target)?;
                    move_into(&entry.path(), &target)?;
                } else if kind.is_symlink() {
                    std::os::unix::fs::symlink(entry.path().read_link()?, &target)?;
                } else {
                    std::fs::copy(entry.path(), &target)?;
                }
            }
            moved => moved?,
        }
    }
    Ok(())
}

struct Comparison<'a> {
    folder: &'a Path,
    before: &'a Before,
    copies: PathBuf,
    left: LeftBehind,
}

impl<'a> Comparison<'a> {
    /// Looks, and changes nothing.
    fn of(before: &'a Before, kept: &Path) -> io::Result<LeftBehind> {
        let folder = Path::new(&before.folder);
        let mut this = Self {
            folder,
            before,
            copies: Keep::copies(kept),
            left: LeftBehind {
                folder: before.folder.clone(),
                ..LeftBehind::default()
            },
        };
        let found = match walk(folder) {
            // The folder itself is gone, and all that would be executed with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::default(),
            found => found?,
        };
        this.settings(&found);
        this.repositories(&found);
        this.own_repository()?;
        this.new_repository()?;
        let changed = |path: &&PathBuf| {
            path.symlink_metadata()
                .is_ok_and(|found| found.ctime() >= before.since)
        };
        this.left.built_from = found
            .built_from
            .iter()
            .filter(changed)
            .map(|path| this.below(path))
            .collect();
        Ok(this.left)
    }

    fn below(&self, path: &Path) -> OsString {
        path.strip_prefix(self.folder).unwrap_or(path).into()
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

    /// Settings that were there before, and those that are there now.
    fn settings(&mut self, found: &Found) {
        let known: BTreeSet<&OsString> = self
            .before
            .settings
            .iter()
            .map(|setting| &setting.path)
            .collect();
        let identities: BTreeSet<(u64, u64)> = self
            .before
            .settings
            .iter()
            .filter_map(|setting| setting.identity)
            .collect();
        for setting in &self.before.settings {
            let path = self.folder.join(&setting.path);
            let is_there = real(self.folder, &setting.path, false).is_some();
            let mut now = match tree::read(&path) {
                Ok(now) if is_there => now,
                _ => Tree::new(),
            };
            // What was mounted over, the run could not change; a file may have been
            // replaced by the user meanwhile, and then by the run.
            let was_over = setting.copy.is_some()
                && (setting.identity.is_none() || identity(&path) == setting.identity);
            if is_there && !was_over && now != setting.content {
                self.want(&setting.path, &setting.content, &now);
                self.restore(&setting.path, &now, &setting.content);
                now.clone_from(&setting.content);
            }
            let Some(copy) = &setting.copy else { continue };
            let Ok(mine) = tree::read(&self.copies.join(copy)) else {
                self.left
                    .too_large
                    .push((setting.path.clone(), copy.clone()));
                continue;
            };
            // The run's changes, on what is there now.
            let mut after = now.clone();
            for path in mine.keys().chain(setting.content.keys()) {
                match (mine.get(path), setting.content.get(path)) {
                    (new, old) if new == old => {}
                    (Some(new), _) => drop(after.insert(path.clone(), new.clone())),
                    (None, _) => drop(after.remove(path)),
                }
            }
            self.want(&setting.path, &now, &after);
        }
        for path in &found.settings {
            let below = self.below(path);
            let is_known = known.contains(&below)
                || identity(path).is_some_and(|this| identities.contains(&this));
            if is_known {
                continue;
            }
            match tree::read(path) {
                Ok(now) => {
                    self.want(&below, &Tree::new(), &now);
                    self.restore(&below, &now, &Tree::new());
                }
                Err(_) => self.left.renamed.push(below),
            }
        }
    }

    /// Repositories anywhere, also such as were moved.
    fn repositories(&mut self, found: &Found) {
        for path in &found.repositories {
            let was = identity(path).and_then(|this| {
                let known = self.before.repositories.iter();
                known.clone().find(|repository| repository.identity == this)
            });
            let nothing = Tree::new();
            let was = was.map_or(&nothing, |repository| &repository.parts);
            let below = self.below(path);
            match harmless::parts(path) {
                Ok(mut now) => {
                    // Made before the run, for the run.
                    let made = |part: &OsString| {
                        let part: OsString = tree::join(Path::new(&below), Path::new(part)).into();
                        self.before.made.contains(&part)
                    };
                    let lead_here: Vec<OsString> =
                        now.keys().filter(|part| made(part)).cloned().collect();
                    for part in lead_here {
                        if matches!(now.get(&part), Some(Entry::File { content, .. }) if content.is_empty() || content == b".\n")
                        {
                            now.remove(&part);
                        }
                    }
                    if !is_harmless(was, &now) {
                        self.want(&below, was, &now);
                        self.restore(&below, &now, was);
                    }
                }
                Err(_) => self.left.renamed.push(below),
            }
        }
    }

    /// The copy of the own repository's settings and hooks.
    fn own_repository(&mut self) -> io::Result<()> {
        let Some(copy) = &self.before.common else {
            return Ok(());
        };
        let git = OsString::from(".git");
        let was = self
            .before
            .repositories
            .iter()
            .find(|repository| repository.path == git);
        let nothing = Tree::new();
        let was = was.map_or(&nothing, |repository| &repository.parts);
        let mine = harmless::parts(&self.copies.join(copy))?;
        let now = harmless::parts(&self.folder.join(&git)).unwrap_or_default();
        let is_copied = |path: &OsString| path == "config" || Path::new(path).starts_with("hooks");
        let mut after = now.clone();
        for path in was.keys().chain(mine.keys()).filter(|path| is_copied(path)) {
            match (mine.get(path), was.get(path)) {
                (new, old) if new == old => {}
                (Some(new), _) => drop(after.insert(path.clone(), new.clone())),
                (None, _) => drop(after.remove(path)),
            }
        }
        self.want(&git, &now, &after);
        Ok(())
    }

    /// The repository that the run made at the top, which had none.
    fn new_repository(&mut self) -> io::Result<()> {
        let Some(copy) = &self.before.new_git else {
            return Ok(());
        };
        let copy = self.copies.join(copy);
        let mut repositories = walk(&copy)?.repositories;
        repositories.insert(copy.clone());
        for repository in repositories {
            let parts = harmless::parts(&repository)?;
            if is_harmless(&Tree::new(), &parts) {
                continue;
            }
            let below = repository.strip_prefix(&copy).unwrap_or(&repository);
            for path in parts.keys() {
                let path = tree::join(below, Path::new(path));
                self.left.stripped.push(path.into());
            }
            let top = tree::join(Path::new(".git"), below).into();
            self.want(&top, &Tree::new(), &parts);
        }
        Ok(())
    }
}
