//! A control group of the run's own, where this user may make one: the freezer
//! needs it. Every process of the run is in it from before the sandbox is set
//! up, and cannot leave: there is no control group file in a run, and init's
//! namespace hides the way to others.

use crate::freezer::{Freezer, FreezerKind};
use crate::scope;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Folders of ours begin so; the launcher's process id follows.
const NAME: &str = "countersign-run-";
/// How often, and how long apart, an empty group is removed anew: the kernel
/// may still be ending what was in it.
const TRIES: u32 = 50;
const APART: Duration = Duration::from_millis(10);

/// A control group for one run. Dropping it removes it, once it is empty.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    folder: OwnedFd,
    /// `cgroup.procs`: who writes `0` there is in the group.
    entrance: OwnedFd,
    kind: FreezerKind,
}

impl Group {
    /// A group below the one that this process is in: of cgroup v2 if it may be,
    /// else below its group of the freezer of cgroup v1. Where this user may make
    /// neither there, the user's systemd is asked to move this process to where it
    /// may. `None` without that: the stop then kills at once.
    #[must_use]
    pub fn make() -> Option<Self> {
        Self::here().or_else(|| {
            scope::enter().ok()?;
            Self::here()
        })
    }

    fn here() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        [FreezerKind::V2, FreezerKind::V1]
            .into_iter()
            .filter_map(|kind| folder_of(kind, &own, &mounts))
            .find_map(|parent| Self::below(&parent).ok())
    }

    fn below(parent: &Path) -> io::Result<Self> {
        remove_stale(parent);
        let path = parent.join(format!("{NAME}{}", std::process::id()));
        fs::create_dir(&path)?;
        Self::open(parent, &path).inspect_err(|_| {
            let _ = fs::remove_dir(&path);
        })
    }

    fn open(parent: &Path, path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let entrance = rustix::fs::openat(&folder, "cgroup.procs", flags, Mode::empty())?;
        let kind = Freezer::open(&folder)?.kind();
        may_enter(parent, path)?;
        Ok(Self {
            path: path.into(),
            folder,
            entrance,
            kind,
        })
    }

    /// Which freezer it has.
    #[must_use]
    pub fn kind(&self) -> FreezerKind {
        self.kind
    }

    pub(crate) fn entrance(&self) -> BorrowedFd<'_> {
        self.entrance.as_fd()
    }

    /// Its folder, to open the freezer from.
    pub(crate) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..TRIES {
            match fs::remove_dir(&self.path) {
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(APART),
                _ => return,
            }
        }
    }
}

/// Whether a process of ours may go there: a child goes and comes to its end.
fn may_enter(parent: &Path, group: &Path) -> io::Result<()> {
    // Who moves a process must be allowed to write in the nearest group that is
    // above both. Asked here, so that no run fails for it later.
    for folder in [parent, group] {
        rustix::fs::access(
            folder.join("cgroup.procs").as_path(),
            rustix::fs::Access::WRITE_OK,
        )?;
    }
    Ok(())
}

/// The folder of this process's own group, where such a hierarchy is mounted.
fn folder_of(kind: FreezerKind, own: &str, mounts: &str) -> Option<PathBuf> {
    // `0::/path` of v2, `9:freezer:/path` of v1: cgroups(7).
    let own = own.lines().find_map(|line| {
        let (number, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let ours = match kind {
            FreezerKind::V2 => number == "0" && controllers.is_empty(),
            FreezerKind::V1 => controllers.split(',').any(|name| name == "freezer"),
        };
        ours.then_some(Path::new(path))
    })?;
    mounts.lines().find_map(|line| {
        // Fields 4 and 5 are root and mount point, and behind the hyphen stand
        // type, source and the options of the file system: proc(5).
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (file_system, options) = (after.next()?, after.nth(1)?);
        let ours = match kind {
            FreezerKind::V2 => file_system == "cgroup2",
            FreezerKind::V1 => {
                file_system == "cgroup" && options.split(',').any(|name| name == "freezer")
            }
        };
        let below = own.strip_prefix(unescaped(root)).ok()?;
        ours.then(|| unescaped(point).join(below))
    })
}

/// Space, tab, newline and backslash are written in octal there: proc(5).
fn unescaped(field: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let [first, others @ ..] = rest {
        let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
        if let (b'\\', Some(byte)) = (first, others.get(..3).and_then(octal)) {
            bytes.push(byte);
            rest = &others[3..];
        } else {
            bytes.push(*first);
            rest = others;
        }
    }
    OsStr::from_bytes(&bytes).into()
}

/// Removes what launchers left behind that were killed: their groups, and what
/// the freezer of cgroup v1 holds in them. It was killed with its launcher, and
/// ends when it is thawed.
fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let launcher = name.to_str().and_then(|name| name.strip_prefix(NAME));
        let Some(launcher) = launcher.and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if Path::new("/proc").join(launcher.to_string()).exists() {
            continue;
        }
        let path = entry.path();
        kill_all(&path);
        let _ = fs::write(path.join("freezer.state"), "THAWED");
        let _ = fs::remove_dir(path);
    }
}

/// Whoever is still in a group that nobody is responsible for any more.
fn kill_all(group: &Path) {
    let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in listed.lines().filter_map(|line| line.parse().ok()) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
25 30 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
27 25 0:24 / /sys/fs/cgroup/freezer rw,relatime shared:7 - cgroup cgroup rw,freezer
28 25 0:25 /outer /sys/fs/cgroup/two\\040words rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn the_own_group_is_found_in_either_hierarchy() {
        let own = "9:name=systemd:/a\n6:cpu,freezer:/\n0::/outer/inner\n";
        let found = |kind| folder_of(kind, own, MOUNTS);
        assert_eq!(
            found(FreezerKind::V2).unwrap(),
            Path::new("/sys/fs/cgroup/two words/inner")
        );
        assert_eq!(
            found(FreezerKind::V1).unwrap(),
            Path::new("/sys/fs/cgroup/freezer/")
        );
    }

    #[test]
    fn a_group_that_no_mount_shows_is_none() {
        assert_eq!(folder_of(FreezerKind::V2, "0::/elsewhere\n", MOUNTS), None);
        assert_eq!(folder_of(FreezerKind::V1, "0::/outer\n", MOUNTS), None);
        assert_eq!(folder_of(FreezerKind::V2, "0::/\n", ""), None);
    }
}
