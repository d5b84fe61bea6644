//! What becomes, after a run, of what other programs would execute later.
//!
//! The copies that the run had are compared with the real ones; what it made
//! elsewhere (a repository of its own, settings in another folder) is looked for
//! and taken away (`compare`). Nothing of either is in force until the human has
//! accepted it. What cannot be looked at or taken away gets a name that nothing
//! looks for; nothing that fails keeps the rest from being put back.
//! A run that was cut off is settled when somebody next looks.

use crate::before::{BEFORE, Before};
use crate::compare::Comparison;
use crate::entries::{self as tree, Entry, Rights, read_plain};
use crate::later::Keep;
use crate::{over, walk};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The file in which it is kept.
const LEFT: &str = "left.json";
/// What stands behind the name of what is set aside in the folder.
const ASIDE: &str = ".set-aside-by-countersign";
/// So often is something of one name set aside.
const MOST_ASIDE: usize = 1_000;

/// What a run left behind.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct LeftBehind {
    folder: OsString,
    /// What is not in force until the human accepts it.
    pub changes: Vec<Change>,
    /// Files that people execute knowingly, which changed while the run went on;
    /// below the folder.
    pub built_from: Vec<OsString>,
    /// What could not be looked at, or not be taken away, and was given another
    /// name; below the folder.
    pub renamed: Vec<OsString>,
    /// What could not even be that, and why: it may be in force. Below the folder.
    pub in_force: Vec<(OsString, String)>,
    /// What the run made more of than can be asked about, or what cannot be put where
    /// it belongs: kept aside. Path and copy.
    pub(crate) too_large: Vec<(OsString, OsString)>,
    /// What is still to be given another name.
    pub(crate) aside: Vec<Aside>,
    /// What the real files are still to be put back to.
    pub(crate) restored: Vec<(OsString, Option<Entry>)>,
    /// Of a repository that the run made at the top: what is taken out of its copy.
    pub(crate) stripped: Vec<OsString>,
    is_done: bool,
}

/// Something that gets another name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Aside {
    /// Below the folder.
    pub(crate) path: OsString,
    /// A folder that could not be looked into: nobody shall stumble into it.
    pub(crate) shut: bool,
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

/// Settles a run that is over; afterwards says the same again. What could not be put
/// back is tried anew each time.
///
/// # Errors
/// `WouldBlock` when processes of the run are still there; the system's, when nothing
/// can be known of how the folder was before.
pub fn settle(keep: &Keep) -> io::Result<LeftBehind> {
    let kept = keep.folder();
    let Some(before) = Keep::read::<Before>(kept, BEFORE)? else {
        // It was cut off before anything was mounted or made.
        return Ok(LeftBehind::default());
    };
    over::await_end(kept)?;
    let known = Keep::read::<LeftBehind>(kept, LEFT).ok().flatten();
    let mut left = match known {
        Some(left) => left,
        None => {
            let left = Comparison::of(&before, kept, &keep.pinned());
            // The run may have filled the disk; it is put back all the same.
            let _ = Keep::write(kept, LEFT, &left);
            left
        }
    };
    if !left.is_done {
        left.put_back(&before, kept);
        left.is_done = left.in_force.is_empty();
        if let Err(error) = Keep::write(kept, LEFT, &left) {
            left.is_done = false;
            left.fails("", &error);
        }
    }
    if left.is_done {
        over::is_settled(kept)?;
    }
    Ok(left)
}

impl LeftBehind {
    pub(crate) fn of(folder: OsString) -> Self {
        Self {
            folder,
            ..Self::default()
        }
    }

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
            && self.in_force.is_empty()
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

    /// Puts the changes in force, after a human's yes. Gives those that were not:
    /// the real file is not what was shown any more, or it could not be written.
    #[must_use]
    pub fn accept(&self) -> Vec<OsString> {
        let changes = self.changes.iter();
        changes
            .filter(|change| !self.accept_one(change).unwrap_or(false))
            .map(|change| change.path.clone())
            .collect()
    }

    /// Another run may be at work in the folder by now: nothing leads through a link
    /// of its making.
    fn accept_one(&self, change: &Change) -> io::Result<bool> {
        let path = self.folder().join(&change.path);
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(false);
        };
        let above = tree::open_folder(above, change.after.is_some())?;
        let is_as_shown = tree::read_in(above.as_fd(), name)? == change.before;
        if is_as_shown {
            tree::put_in(above.as_fd(), name, change.after.as_ref(), Rights::Kept)?;
        }
        Ok(is_as_shown)
    }

    fn fails(&mut self, path: impl Into<OsString>, why: &io::Error) {
        self.in_force.push((path.into(), why.to_string()));
    }

    /// In an order in which nothing of the run's is in force in between. What is done
    /// is not done again.
    fn put_back(&mut self, before: &Before, kept: &Path) {
        self.in_force.clear();
        // For people to look at: these are executed by nobody.
        for change in &self.changes {
            if let Some(after) = &change.after {
                let _ = laid_out(kept, &change.path, after);
            }
        }
        let mut is_moved = true;
        for (path, copy) in &self.too_large {
            let from = Keep::copies(kept).join(copy);
            let to = kept.join("files").join(path);
            let is_there = among_files(kept, path).is_ok();
            is_moved &= is_there && moved(&from, &to).is_ok();
        }
        for aside in std::mem::take(&mut self.aside) {
            self.set_aside(aside);
        }
        // What is in the way of something goes first.
        let (put, removed): (Vec<_>, Vec<_>) = std::mem::take(&mut self.restored)
            .into_iter()
            .partition(|(_, entry)| entry.is_some());
        for (path, entry) in removed.into_iter().chain(put) {
            self.restore(path, entry);
        }
        if let Some(copy) = &before.new_git
            && self
                .move_repository(&Keep::copies(kept).join(copy))
                .is_err()
        {
            let (from, to) = (Keep::copies(kept).join(copy), kept.join("files/.git"));
            is_moved &= moved(&from, &to).is_ok();
            self.too_large.push((".git".into(), copy.clone()));
        }
        for path in before.made.iter().rev() {
            self.unmake(path);
        }
        if is_moved {
            let _ = std::fs::remove_dir_all(Keep::copies(kept));
        }
    }

    fn set_aside(&mut self, aside: Aside) {
        match set_aside(self.folder(), &aside) {
            Ok(Some(path)) => self.renamed.push(path),
            Ok(None) => {}
            Err(error) => {
                self.fails(aside.path.clone(), &error);
                self.aside.push(aside);
            }
        }
    }

    fn restore(&mut self, path: OsString, entry: Option<Entry>) {
        let folder = self.folder().to_owned();
        let Some(there) = real(&folder, &path) else {
            return;
        };
        let put = || {
            tree::put(&there, entry.as_ref(), Rights::Read).or_else(|_| {
                open_above(&folder, &there);
                // An empty folder in the place of a file.
                let _ = std::fs::remove_dir(&there);
                tree::put(&there, entry.as_ref(), Rights::Read)
            })
        };
        if let Err(error) = put() {
            let aside = Aside {
                path: path.clone(),
                shut: false,
            };
            match set_aside(&folder, &aside) {
                Ok(aside) => self.renamed.extend(aside),
                Err(_) => {
                    self.fails(path.clone(), &error);
                    self.restored.push((path, entry));
                    return;
                }
            }
            if entry.is_some()
                && let Err(error) = put()
            {
                self.fails(path.clone(), &error);
                self.restored.push((path, entry));
                return;
            }
        }
        without_empty_folders(&there, &folder);
    }

    /// The repository that the run made becomes the folder's.
    fn move_repository(&self, copy: &Path) -> io::Result<()> {
        let entries = match std::fs::read_dir(copy) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        if entries.count() == 0 {
            return Ok(());
        }
        for path in &self.stripped {
            tree::put(&copy.join(path), None, Rights::Kept)?;
        }
        let git = self.folder().join(".git");
        // Where a link is by now, or another repository, it is not put.
        match std::fs::remove_dir(&git) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => moved(copy, &git),
        }
    }

    /// What was made for the run.
    fn unmake(&mut self, path: &OsString) {
        let Some(there) = real(self.folder(), path) else {
            return;
        };
        let Ok(found) = there.symlink_metadata() else {
            return;
        };
        if found.is_dir() {
            // Only if nothing is in it.
            let _ = std::fs::remove_dir(&there);
        } else if found.is_file()
            && read_plain(&there, 2).is_ok_and(|content| content.is_empty() || content == b".\n")
            && let Err(error) = std::fs::remove_file(&there)
        {
            self.fails(path, &error);
        }
    }
}

/// The path, if the folders above it are real ones of the working folder's: a run
/// may have put a link in their place.
pub(crate) fn real(folder: &Path, below: &OsString) -> Option<PathBuf> {
    let mut path = folder.to_owned();
    let parent = Path::new(below).parent()?;
    for part in parent.components() {
        path.push(part);
        if !path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            return None;
        }
    }
    Some(folder.join(below))
}

/// Gives it a name that nothing looks for; where that cannot be (its path may be too
/// long to be named), the next folder above. Gives what was renamed, below the folder;
/// nothing when it is not there.
fn set_aside(folder: &Path, aside: &Aside) -> io::Result<Option<OsString>> {
    let there = folder.join(&aside.path);
    let mut failed = io::Error::other("the working folder itself cannot be looked into");
    for path in there.ancestors().take_while(|above| *above != folder) {
        if matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
        {
            return Ok(None);
        }
        let below = OsString::from(path.strip_prefix(folder).unwrap_or(path));
        open_above(folder, path);
        if real(folder, &below).is_none() {
            continue;
        }
        match rename(path) {
            Ok(renamed) => {
                if aside.shut {
                    std::fs::set_permissions(renamed, PermissionsExt::from_mode(0o000))?;
                }
                return Ok(Some(below));
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// To the first name that is free.
fn rename(path: &Path) -> io::Result<PathBuf> {
    for number in 1..=MOST_ASIDE {
        let mut aside = path.to_owned().into_os_string();
        aside.push(ASIDE);
        if number > 1 {
            aside.push(format!("-{number}"));
        }
        if Path::new(&aside).symlink_metadata().is_err() {
            std::fs::rename(path, &aside)?;
            return Ok(aside.into());
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The folders above, from the working folder on, are this user's to change again.
fn open_above(folder: &Path, path: &Path) {
    let mut above: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .take_while(|above| above.starts_with(folder))
        .collect();
    above.reverse();
    for folder in above {
        let _ = walk::open(folder);
    }
}

/// Removes the folders above that became empty, up to the working folder: they are
/// settings folders that the run made.
fn without_empty_folders(path: &Path, folder: &Path) {
    let names = walk::SETTINGS_FOLDERS;
    let is_setting = |path: &Path| {
        path.components()
            .any(|part| walk::is_any(names, part.as_os_str()))
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

/// Puts one where people look at it.
fn laid_out(kept: &Path, path: &OsString, entry: &Entry) -> io::Result<()> {
    let name = Path::new(path).file_name();
    let name = name.ok_or(io::ErrorKind::InvalidInput)?;
    let folder = among_files(kept, path)?;
    tree::put_in(folder.as_fd(), name, Some(entry), Rights::Kept)
}

/// The folder among those files that this belongs in, made if need be. Through a link
/// that the run left there as well, the user would write wherever it leads.
fn among_files(kept: &Path, path: &OsString) -> io::Result<OwnedFd> {
    let there = kept.canonicalize()?.join("files").join(path);
    let above = there.parent().ok_or(io::ErrorKind::InvalidInput)?;
    tree::open_folder(above, true)
}

/// Moves it to where nothing is, across file systems too.
fn moved(from: &Path, to: &Path) -> io::Result<()> {
    let found = match from.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    std::fs::create_dir_all(to.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
        moved => return moved,
    }
    if found.is_symlink() {
        std::os::unix::fs::symlink(from.read_link()?, to)
    } else if found.is_file() {
        std::fs::copy(from, to).map(drop)
    } else if found.is_dir() {
        std::fs::create_dir(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            moved(&entry.path(), &to.join(entry.file_name()))?;
        }
        Ok(())
    } else {
        // Nothing that git keeps.
        Ok(())
    }
}
