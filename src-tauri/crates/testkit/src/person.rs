//! The person at the desk: an ordinary user.
//!
//! Windows, keyrings and containment must be tried as the users have them, not
//! as root. Where the tests run as root, each [`Person`] is a system user of
//! its own from a small pool (`countersign-test-0`, …), so that no two desktops
//! share a uid; the accounts are made once and left for the next time. Where
//! the tests run as an ordinary user, that user is the person.

use nix::unistd::{Gid, Uid, User, chown};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// How many desktops as root there can be at once.
const POOL: usize = 64;
const LOCKS: &str = "/run/lock";

/// An ordinary user, ours alone until dropped (when we are root).
#[derive(Debug)]
pub struct Person {
    /// The user's name.
    pub name: String,
    /// The user's id. Never 0.
    pub uid: Uid,
    /// The user's group.
    pub gid: Gid,
    /// Holds the place in the pool; `None` when we are that user ourselves.
    place: Option<File>,
}

/// The ordinary user to run things as.
///
/// # Errors
/// When we are root and `useradd` fails, or all places of the pool are taken.
pub fn ordinary() -> io::Result<Person> {
    let uid = Uid::effective();
    if !uid.is_root() {
        let name = User::from_uid(uid)?.map_or_else(|| uid.to_string(), |u| u.name);
        return Ok(Person {
            name,
            uid,
            gid: Gid::effective(),
            place: None,
        });
    }
    for n in 0..POOL {
        let name = format!("countersign-test-{n}");
        let place = File::create(Path::new(LOCKS).join(format!("{name}.lock")))?;
        match place.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => continue,
            Err(fs::TryLockError::Error(e)) => return Err(e),
        }
        let user = match User::from_name(&name)? {
            Some(user) => user,
            None => make(&name)?,
        };
        return Ok(Person {
            name,
            uid: user.uid,
            gid: user.gid,
            place: Some(place),
        });
    }
    Err(io::Error::other(format!(
        "all {POOL} test users are in use"
    )))
}

/// Makes a system user without home, password or shell.
fn make(name: &str) -> io::Result<User> {
    // useradd does not wait for another useradd: it fails.
    let turn = File::create(Path::new(LOCKS).join("countersign-test-useradd.lock"))?;
    turn.lock()?;
    let made = Command::new("useradd")
        .args([
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
        ])
        .args(["--shell", "/usr/sbin/nologin", name])
        .output()?;
    if !made.status.success() {
        let why = String::from_utf8_lossy(&made.stderr);
        return Err(io::Error::other(format!("useradd {name}: {}", why.trim())));
    }
    User::from_name(name)?.ok_or_else(|| io::Error::other(format!("useradd made no {name}")))
}

impl Person {
    /// Whether this is another user than the one the tests run as.
    #[must_use]
    pub fn is_another(&self) -> bool {
        self.place.is_some()
    }

    /// A command that runs as this person, with an empty environment and `/` as
    /// working folder.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir("/");
        if self.is_another() {
            // As root, std also drops the supplementary groups.
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        command
    }

    /// A folder of the person's own (mode 0700) with a short path, so that
    /// sockets fit in it; removed when dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self) -> io::Result<TempDir> {
        let folder = tempfile::Builder::new().prefix("cs-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        self.give(folder.path())?;
        Ok(folder)
    }

    /// Gives a file, or a folder with all that is in it, to the person.
    ///
    /// # Errors
    /// When its owner cannot be changed.
    pub fn give(&self, path: &Path) -> io::Result<()> {
        if !self.is_another() {
            return Ok(());
        }
        let kind = fs::symlink_metadata(path)?.file_type();
        if kind.is_symlink() {
            return Ok(());
        }
        chown(path, Some(self.uid), Some(self.gid))?;
        if kind.is_dir() {
            for entry in fs::read_dir(path)? {
                self.give(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// Writes a file of the person's (mode 0600), with the folders it needs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            self.make_folder(folder)?;
        }
        fs::write(path, content)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        self.give(path)
    }

    /// Makes a folder of the person's (mode 0700), with the folders above it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_folder(&self, path: &Path) -> io::Result<()> {
        let mut missing: Vec<PathBuf> = Vec::new();
        let mut up = Some(path);
        while let Some(folder) = up.filter(|f| !f.exists()) {
            missing.push(folder.to_owned());
            up = folder.parent();
        }
        for folder in missing.iter().rev() {
            fs::create_dir(folder)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
            self.give(folder)?;
        }
        Ok(())
    }
}
