//! Small trees of files, as values: to keep, to compare, to put back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, mkdirat, openat, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A plain file.
    File {
        /// What stands in it.
        #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
        content: Vec<u8>,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A symbolic link.
    Link {
        /// Where it leads.
        target: OsString,
    },
}

/// Files by their path below the top; a single file has the empty path. Folders
/// are there by what they hold.
pub(crate) type Tree = BTreeMap<OsString, Entry>;

/// So much is kept of one tree; what is larger is not, and says so.
pub(crate) const MOST_BYTES: u64 = 4 << 20;
const MOST_FILES: usize = 2_000;

/// Reads the file or folder; one that is not there is empty. Links are not followed.
///
/// # Errors
/// `FileTooLarge` when it is more than is kept; `Unsupported` for what is neither
/// file, folder nor link; the system's.
pub(crate) fn read(top: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let mut left = (MOST_BYTES, MOST_FILES);
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        let path = join(top, &below);
        let found = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found?,
        };
        let too_large = || io::Error::from(io::ErrorKind::FileTooLarge);
        left.1 = left.1.checked_sub(1).ok_or_else(too_large)?;
        let entry = if found.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                waiting.push(below.join(entry?.file_name()));
            }
            continue;
        } else if found.is_symlink() {
            Entry::Link {
                target: path.read_link()?.into(),
            }
        } else if found.is_file() {
            left.0 = left.0.checked_sub(found.len()).ok_or_else(too_large)?;
            Entry::File {
                content: plain(&path, OFlags::NOFOLLOW, found.len())?,
                executable: found.permissions().mode() & 0o100 != 0,
            }
        } else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        tree.insert(below.into(), entry);
    }
    Ok(tree)
}

/// What stands in a plain file, or in one that a link leads to. What is left in its
/// place to be waited for (a FIFO), or never to end (a device), is none.
///
/// # Errors
/// `FileTooLarge` when it is more than `most` bytes; `Unsupported` for what is no
/// file; the system's.
pub fn read_plain(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    plain(path, OFlags::empty(), most)
}

fn plain(path: &Path, flags: OFlags, most: u64) -> io::Result<Vec<u8>> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    content_of(file.into(), most).map(|(content, _)| content)
}

/// What stands in an open file, and its mode.
fn content_of(file: std::fs::File, most: u64) -> io::Result<(Vec<u8>, u32)> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut content = Vec::new();
    file.take(most.saturating_add(1))
        .read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok((content, found.permissions().mode()))
}

/// Writes the whole tree; what is in its way is an error.
pub(crate) fn write(tree: &Tree, top: &Path) -> io::Result<()> {
    tree.iter()
        .try_for_each(|(below, entry)| put(&join(top, Path::new(below)), Some(entry), Rights::Kept))
}

/// What a file that is put in the place of another takes over of that one's mode,
/// besides whether it is executable. One that is new is for its owner alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// All of it.
    Kept,
    /// That others may read it, not that they may write: the mode is a run's.
    Read,
}

impl Rights {
    fn mode(self, folder: BorrowedFd<'_>, name: &OsStr, executable: bool) -> Mode {
        let there = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let there = there.filter(|found| FileType::from_raw_mode(found.st_mode).is_file());
        let kept = match (there, self) {
            (None, _) => 0,
            (Some(found), Self::Kept) => found.st_mode & 0o666,
            (Some(found), Self::Read) => found.st_mode & 0o644,
        };
        let plain = 0o600 | kept;
        // Whoever may read it.
        let execute = if executable { (plain & 0o444) >> 2 } else { 0 };
        Mode::from_raw_mode(plain | execute)
    }
}

/// Puts one entry in the place of whatever file or link is there, or removes that.
/// Folders above it are made.
pub(crate) fn put(path: &Path, entry: Option<&Entry>, rights: Rights) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if entry.is_some() {
        std::fs::create_dir_all(folder)?;
    }
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::empty()) {
        Err(Errno::NOENT) if entry.is_none() => Ok(()),
        folder => put_in(folder?.as_fd(), name, entry, rights),
    }
}

/// The same in an open folder, whatever becomes of the path that led there.
pub(crate) fn put_in(
    folder: BorrowedFd<'_>,
    name: &OsStr,
    entry: Option<&Entry>,
    rights: Rights,
) -> io::Result<()> {
    let Some(entry) = entry else {
        return match unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        };
    };
    // Beside it first, then in its place: never half a file, never through a link.
    let mut random = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let new = format!(".countersign-{:016x}", u64::from_ne_bytes(random));
    let put = match entry {
        Entry::Link { target } => symlinkat(target, folder, &new).map_err(io::Error::from),
        Entry::File {
            content,
            executable,
        } => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mode = rights.mode(folder, name, *executable);
            let file = openat(folder, &new, flags, mode)?;
            rustix::fs::fchmod(&file, mode)
                .map_err(io::Error::from)
                .and_then(|()| std::fs::File::from(file).write_all(content))
        }
    };
    let put = put.and_then(|()| Ok(renameat(folder, &new, folder, name)?));
    if put.is_err() {
        let _ = unlinkat(folder, &new, AtFlags::empty());
    }
    put
}

/// One entry of an open folder; `None` when there is none.
///
/// # Errors
/// As [`read`]; `Unsupported` for a folder.
pub(crate) fn read_in(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<Entry>> {
    // A FIFO would be waited for.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(folder, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        // It is a link: open(2).
        Err(Errno::LOOP) => {
            let target = rustix::fs::readlinkat(folder, name, Vec::new())?;
            return Ok(Some(Entry::Link {
                target: OsString::from_vec(target.into_bytes()),
            }));
        }
        file => std::fs::File::from(file?),
    };
    let (content, mode) = content_of(file, MOST_BYTES)?;
    Ok(Some(Entry::File {
        content,
        executable: mode & 0o100 != 0,
    }))
}

/// Opens a folder by a path that is to lead through no link, as one may be put there
/// at any time. With `make`, folders that are missing are made.
pub(crate) fn open_folder(path: &Path, make: bool) -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    let search = OFlags::PATH;
    #[cfg(not(target_os = "linux"))]
    let search = OFlags::RDONLY;
    let flags = search | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut folder = rustix::fs::open("/", flags, Mode::empty())?;
    for part in path.components() {
        let name = match part {
            Component::RootDir => continue,
            Component::Normal(name) => name,
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        folder = match openat(&folder, name, flags, Mode::empty()) {
            Err(Errno::NOENT) if make => {
                mkdirat(&folder, name, Mode::from_raw_mode(0o777))?;
                openat(&folder, name, flags, Mode::empty())?
            }
            next => next?,
        };
    }
    Ok(folder)
}

/// Whether a file, or one in the folder, has other names, by which it can be changed.
/// In doubt it has.
pub(crate) fn has_other_names(path: &Path) -> bool {
    let Ok(found) = path.symlink_metadata() else {
        return true;
    };
    if !found.is_dir() {
        return found.nlink() > 1;
    }
    let Ok(entries) = std::fs::read_dir(path) else {
        return true;
    };
    let mut entries = entries;
    entries.any(|entry| entry.map_or(true, |entry| has_other_names(&entry.path())))
}

/// As [`Path::join`], but the empty path is the top itself.
pub(crate) fn join(top: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() {
        top.to_owned()
    } else {
        top.join(below)
    }
}

/// For serde: paths need not be text, which the keys of JSON are.
pub(crate) mod as_pairs {
    use super::{Entry, Tree};
    use serde::{Deserialize, Deserializer, Serializer};
    use std::ffi::OsString;

    pub(crate) fn serialize<S: Serializer>(tree: &Tree, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(tree)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Tree, D::Error> {
        let pairs = Vec::<(OsString, Entry)>::deserialize(deserializer)?;
        Ok(pairs.into_iter().collect())
    }
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tree_is_written_as_it_was_read_and_survives_being_kept() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        std::fs::create_dir_all(path("a/b")).unwrap();
        std::fs::write(path("a/b/c"), [0, 255]).unwrap();
        std::fs::set_permissions(path("a/b/c"), PermissionsExt::from_mode(0o755)).unwrap();
        symlink("/elsewhere", path("a/link")).unwrap();
        let tree = read(&path("a")).unwrap();
        assert_eq!(tree.len(), 2);
        write(&tree, &path("again")).unwrap();
        assert_eq!(read(&path("again")).unwrap(), tree);
        let kept = as_pairs::serialize(&tree, serde_json::value::Serializer).unwrap();
        assert_eq!(as_pairs::deserialize(kept).unwrap(), tree);
        assert_eq!(read(&path("nowhere")).unwrap(), Tree::new());
        let one = read(&path("a/b/c")).unwrap();
        write(&one, &path("one")).unwrap();
        assert_eq!(std::fs::read(path("one")).unwrap(), [0, 255]);
    }

    #[test]
    fn what_is_put_in_the_place_of_a_link_does_not_go_through_it() {
        let root = tempfile::tempdir().unwrap();
        let (target, link) = (root.path().join("target"), root.path().join("link"));
        std::fs::write(&target, "mine").unwrap();
        symlink(&target, &link).unwrap();
        let entry = Entry::File {
            content: b"theirs".to_vec(),
            executable: false,
        };
        put(&link, Some(&entry), Rights::Kept).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"mine");
        assert_eq!(std::fs::read(&link).unwrap(), b"theirs");
        put(&link, None, Rights::Kept).unwrap();
        put(&link, None, Rights::Kept).unwrap();
        assert!(!link.exists());
        put(&root.path().join("no/where"), None, Rights::Kept).unwrap();
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_keeps_the_rights_of_the_one_that_it_replaces_and_a_new_one_is_its_owners_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x");
        let entry = |executable| Entry::File {
            content: b"x".to_vec(),
            executable,
        };
        for (there, executable, rights, expected) in [
            (None, false, Rights::Kept, 0o600),
            (None, true, Rights::Kept, 0o700),
            (Some(0o600), false, Rights::Kept, 0o600),
            (Some(0o400), false, Rights::Kept, 0o600),
            (Some(0o644), true, Rights::Kept, 0o755),
            (Some(0o755), false, Rights::Kept, 0o644),
            (Some(0o664), false, Rights::Kept, 0o664),
            (Some(0o666), true, Rights::Read, 0o755),
            (Some(0o4755), true, Rights::Kept, 0o755),
        ] {
            let _ = std::fs::remove_file(&path);
            if let Some(mode) = there {
                std::fs::write(&path, "old").unwrap();
                std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            }
            put(&path, Some(&entry(executable)), rights).unwrap();
            let mode = path.metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(
                mode, expected,
                "{there:?} {executable} {rights:?}: {mode:o}"
            );
        }
        // Not those of what a link leads to.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        let link = root.path().join("link");
        symlink(&path, &link).unwrap();
        put(&link, Some(&entry(false)), Rights::Kept).unwrap();
        assert_eq!(link.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_would_be_waited_for_or_never_ends_is_no_file() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let is_fifo = std::process::Command::new("mkfifo")
            .arg(path("fifo"))
            .status();
        assert!(is_fifo.unwrap().success());
        symlink("/dev/zero", path("endless")).unwrap();
        for name in ["fifo", "endless"] {
            let error = read_plain(&path(name), 100).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{name}");
        }
        std::fs::write(path("x"), "four").unwrap();
        symlink("x", path("link")).unwrap();
        assert_eq!(read_plain(&path("link"), 4).unwrap(), b"four");
        let error = read_plain(&path("x"), 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn no_path_to_an_open_folder_leads_through_a_link_and_what_is_in_it_is_read_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let top = root.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("real")).unwrap();
        symlink("real", top.join("link")).unwrap();
        open_folder(&top.join("link"), true).unwrap_err();
        open_folder(&top.join("real/none"), false).unwrap_err();
        let folder = open_folder(&top.join("real/none/deep"), true).unwrap();
        assert!(top.join("real/none/deep").is_dir());
        let name = OsStr::new("x");
        for entry in [
            Entry::Link {
                target: "/elsewhere".into(),
            },
            Entry::File {
                content: b"x".to_vec(),
                executable: true,
            },
        ] {
            put_in(folder.as_fd(), name, Some(&entry), Rights::Kept).unwrap();
            assert_eq!(read_in(folder.as_fd(), name).unwrap(), Some(entry));
        }
        put_in(folder.as_fd(), name, None, Rights::Kept).unwrap();
        assert_eq!(read_in(folder.as_fd(), name).unwrap(), None);
        let above = open_folder(&top.join("real"), false).unwrap();
        read_in(above.as_fd(), OsStr::new("none")).unwrap_err();
    }
}
