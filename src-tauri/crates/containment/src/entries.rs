//! Small trees of files, as values: to keep, to compare, to put back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, renameat, symlinkat, unlinkat};
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
const MOST_BYTES: u64 = 4 << 20;
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
                content: std::fs::read(&path)?,
                executable: found.permissions().mode() & 0o100 != 0,
            }
        } else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        tree.insert(below.into(), entry);
    }
    Ok(tree)
}

/// Writes the whole tree; what is in its way is an error.
pub(crate) fn write(tree: &Tree, top: &Path) -> io::Result<()> {
    tree.iter()
        .try_for_each(|(below, entry)| put(&join(top, Path::new(below)), Some(entry)))
}

/// Puts one entry in the place of whatever file or link is there, or removes that.
/// Folders above it are made.
pub(crate) fn put(path: &Path, entry: Option<&Entry>) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if entry.is_some() {
        std::fs::create_dir_all(folder)?;
    }
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::empty()) {
        Err(Errno::NOENT) if entry.is_none() => Ok(()),
        folder => put_in(folder?.as_fd(), name, entry),
    }
}

/// The same in an open folder, whatever becomes of the path that led there.
pub(crate) fn put_in(
    folder: BorrowedFd<'_>,
    name: &OsStr,
    entry: Option<&Entry>,
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
            let mode = Mode::from_raw_mode(if *executable { 0o755 } else { 0o644 });
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
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut content = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MOST_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(Some(Entry::File {
        content,
        executable: found.permissions().mode() & 0o100 != 0,
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
        put(&link, Some(&entry)).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"mine");
        assert_eq!(std::fs::read(&link).unwrap(), b"theirs");
        put(&link, None).unwrap();
        put(&link, None).unwrap();
        assert!(!link.exists());
        put(&root.path().join("no/where"), None).unwrap();
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
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
            put_in(folder.as_fd(), name, Some(&entry)).unwrap();
            assert_eq!(read_in(folder.as_fd(), name).unwrap(), Some(entry));
        }
        put_in(folder.as_fd(), name, None).unwrap();
        assert_eq!(read_in(folder.as_fd(), name).unwrap(), None);
        let above = open_folder(&top.join("real"), false).unwrap();
        read_in(above.as_fd(), OsStr::new("none")).unwrap_err();
    }
}
