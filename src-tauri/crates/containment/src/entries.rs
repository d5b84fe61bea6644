//! Small trees of files, as values: to keep, to compare, to put back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

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
    let Some(entry) = entry else {
        return match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(folder)?;
    // Beside it first, then in its place: never half a file, never through a link.
    let beside = tempfile::Builder::new()
        .prefix(".countersign-")
        .tempdir_in(folder)?;
    let new = beside.path().join("new");
    match entry {
        Entry::Link { target } => symlink(target, &new)?,
        Entry::File {
            content,
            executable,
        } => {
            std::fs::write(&new, content)?;
            let mode = if *executable { 0o755 } else { 0o644 };
            std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode))?;
        }
    }
    std::fs::rename(&new, path)
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
    }
}
