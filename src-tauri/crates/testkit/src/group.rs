//! A control group that a person may make groups in, as a session gives one to
//! its user. Only root can give one away, so only root can make one of these.

use crate::Desktop;
use crate::person::Person;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Which hierarchy of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// cgroup v2.
    V2,
    /// The freezer of cgroup v1.
    V1Freezer,
}

/// A group of the person's own. Dropping it ends what is in it.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
}

impl Group {
    /// Makes one at the top of the hierarchy.
    ///
    /// # Errors
    /// When this hierarchy is not mounted, or we are not root.
    pub fn make(hierarchy: Hierarchy, person: &Person) -> io::Result<Self> {
        let name = format!("countersign-test-{}", crate::random::hex::<8>());
        let path = mount_point(hierarchy)?.join(name);
        fs::create_dir(&path)?;
        let group = Self { path };
        person.give(&group.path)?;
        Ok(group)
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As [`Desktop::command`], begun in this group.
    pub fn command(&self, desktop: &Desktop, program: impl AsRef<std::ffi::OsStr>) -> Command {
        // Whoever goes there must still be root; and then the person.
        const ENTER: &str = "echo $$ > \"$0/cgroup.procs\" && exec setpriv --reuid=\"$1\" --regid=\"$2\" --clear-groups -- \"${@:3}\"";
        let person = desktop.person();
        let mut command = Command::new("bash");
        command
            .args(["-c", ENTER])
            .arg(&self.path)
            .args([person.uid.to_string(), person.gid.to_string()])
            .arg(program)
            .env_clear()
            .envs(desktop.env().iter().map(|(k, v)| (k, v)))
            .current_dir(desktop.path("home"))
            .stdin(std::process::Stdio::null());
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..200 {
            end(&self.path);
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Ends what is in a group and in those below it, and removes these.
fn end(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            end(&entry.path());
            let _in_use = fs::remove_dir(entry.path());
        }
    }
    let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|line| line.parse().ok()) {
        let pid = nix::unistd::Pid::from_raw(pid);
        let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    let _not_v1 = fs::write(group.join("freezer.state"), "THAWED");
}

fn mount_point(hierarchy: Hierarchy) -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let found = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let is = match hierarchy {
            Hierarchy::V2 => kind == "cgroup2",
            Hierarchy::V1Freezer => {
                kind == "cgroup" && options.split(',').any(|name| name == "freezer")
            }
        };
        is.then(|| PathBuf::from(point))
    });
    found.ok_or_else(|| io::Error::other(format!("no {hierarchy:?} of control groups is mounted")))
}
