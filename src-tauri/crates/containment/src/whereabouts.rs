//! Where a folder really is: one name for it, whatever mounts and links lead there.

#[cfg(target_os = "linux")]
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::io;
use std::path::{Path, PathBuf};

/// A file system, and a folder's path within it. Two folders of which one holds
/// the other have whereabouts of which one holds the other, through bind mounts
/// too. Source: proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    device: String,
    path: PathBuf,
}

impl Whereabouts {
    /// Of a folder that exists.
    ///
    /// # Errors
    /// When it does not, or the kernel does not say on which mount it lies.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let folder = folder.canonicalize()?;
        #[cfg(target_os = "linux")]
        return by_mount(&folder);
        #[cfg(not(target_os = "linux"))]
        Ok(Self {
            device: String::new(),
            path: folder,
        })
    }

    /// Of a path without links, of which the last parts may not be there yet.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(crate) fn to_be(path: &Path) -> io::Result<Self> {
        let mut there = path.ancestors();
        let there = there.find(|above| above.symlink_metadata().is_ok());
        let there = there.ok_or(io::ErrorKind::NotFound)?;
        let mut this = Self::of(there)?;
        if let Ok(rest) = path.strip_prefix(there)
            && !rest.as_os_str().is_empty()
        {
            this.path.push(rest);
        }
        Ok(this)
    }

    /// Whether one is the other or lies in it.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.device == other.device
            && (self.path.starts_with(&other.path) || other.path.starts_with(&self.path))
    }
}

/// By the mount on which it lies.
#[cfg(target_os = "linux")]
fn by_mount(folder: &Path) -> io::Result<Whereabouts> {
    let found = statx(CWD, folder, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID)?;
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let unknown = || io::Error::other(format!("no mount of {} is known", folder.display()));
    let mut fields = table
        .lines()
        .map(|line| line.split(' '))
        .find(|fields| fields.clone().next() == Some(&found.stx_mnt_id.to_string()))
        .ok_or_else(unknown)?;
    // "ID PARENT MAJOR:MINOR ROOT MOUNT-POINT …"
    let device = fields.nth(2).ok_or_else(unknown)?.to_owned();
    let root = fields.next().map(plain).ok_or_else(unknown)?;
    let mounted = fields.next().map(plain).ok_or_else(unknown)?;
    let below = folder.strip_prefix(mounted).map_err(|_| unknown())?;
    Ok(Whereabouts {
        device,
        path: root.join(below),
    })
}

/// Blanks and the like stand in the table as three octal digits.
#[cfg(target_os = "linux")]
fn plain(field: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let code =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = after
            .get(if code.is_some() { 3 } else { 0 }..)
            .unwrap_or_default();
    }
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_overlaps_itself_what_it_holds_and_what_holds_it_by_any_path() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        std::fs::create_dir_all(path("a b/in")).unwrap();
        std::fs::create_dir_all(path("a bc")).unwrap();
        std::os::unix::fs::symlink("a b", path("link")).unwrap();
        let of = |name: &str| Whereabouts::of(&path(name)).unwrap();
        for (one, other, overlap) in [
            ("a b", "link/in", true),
            ("link/in", "a b", true),
            ("a b/in", "link/in", true),
            ("a b", "a bc", false),
            ("a b/in", "a bc", false),
        ] {
            assert_eq!(of(one).overlaps(&of(other)), overlap, "{one} {other}");
        }
        assert!(Whereabouts::of(&path("nowhere")).is_err());
    }

    #[test]
    fn the_kernels_spelling_is_undone() {
        assert_eq!(plain(r"/a\040b\134c\"), Path::new("/a b\\c\\"));
    }
}
