//! Landlock: a second fence around the same places, which holds even where a
//! mount does not, and the only one around signals and other people's sockets.
//!
//! Init makes it and the command enters it just before it begins; init itself
//! stays outside. Whatever the kernel knows of what is asked for here is
//! enforced (landlock(7)); [`layers`] says how much that is.
//!
//! TCP is not fenced: a run's network namespace has no other end than what
//! listens in the run itself.

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope, make_bitflags, path_beneath_rules,
};
use rustix::fd::OwnedFd;
use std::path::Path;

/// The newest interface that was looked at. What a kernel lacks of it is left out.
const NEWEST: ABI = ABI::V9;
/// The oldest under which files can be fenced: before, every rename into
/// another folder fails.
const FILES: ABI = ABI::V2;

/// Places that every run writes to, besides its own.
const ALWAYS: &[&str] = &["/tmp", "/var/tmp", "/dev/shm"];
/// Devices and processes: to be written to, with nothing to be made there.
const DEVICES: &[&str] = &["/dev", "/proc"];

/// The fence for a run that may write to these places, ready to be entered;
/// `None` where the kernel has no Landlock.
pub(crate) fn around<P: AsRef<Path>>(
    writable: &[P],
    sockets: &Path,
) -> Result<Option<OwnedFd>, RulesetError> {
    let (all, read) = (AccessFs::from_all(NEWEST), AccessFs::from_read(NEWEST));
    // Others' sockets are reached nowhere, not even where everything else is allowed.
    let here = all & !AccessFs::ResolveUnix;
    let devices = make_bitflags!(AccessFs::{WriteFile | Truncate | IoctlDev});
    let fence = Ruleset::default()
        .handle_access(all)?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(["/"], read))?
        .add_rules(path_beneath_rules(writable, here))?
        .add_rules(path_beneath_rules(ALWAYS, here))?
        .add_rules(path_beneath_rules(DEVICES, devices))?
        .add_rules(path_beneath_rules([sockets], AccessFs::ResolveUnix))?;
    Ok(fence.into())
}

/// What this kernel enforces of it, each in a few words; empty: nothing.
pub(crate) fn layers() -> Vec<&'static str> {
    let files = |access| {
        let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        strict.handle_access(access).and_then(Ruleset::create)
    };
    let scope = |scope| {
        let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        strict.scope(scope).and_then(Ruleset::create)
    };
    let known = [
        (
            files(AccessFs::from_all(FILES)).is_ok(),
            "files once more (Landlock)",
        ),
        (
            scope(Scope::Signal).is_ok(),
            "signals to the run's own processes only (Landlock)",
        ),
        (
            scope(Scope::AbstractUnixSocket).is_ok(),
            "the run's own abstract sockets only (Landlock)",
        ),
        (
            files(AccessFs::ResolveUnix.into()).is_ok(),
            "no socket that somebody else bound, whenever that was (Landlock)",
        ),
    ];
    known
        .into_iter()
        .filter_map(|(is_known, words)| is_known.then_some(words))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::enter;
    use std::process::Command;

    /// What the script prints when it may write there.
    fn fenced(script: &str, writable: &Path) -> String {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let fence = around(&[writable], Path::new("/nowhere")).unwrap();
        enter(&mut command, fence.unwrap());
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn what_is_not_writable_cannot_be_written_whatever_its_mode() {
        let (inside, outside) = (
            tempfile::tempdir_in("/var").unwrap(),
            tempfile::tempdir_in("/var").unwrap(),
        );
        let script = format!(
            "echo x > {0}/a && mkdir {0}/b && mv {0}/a {0}/b/a && echo in; \
             echo x > {1}/a && echo out; mkdir {1}/b && echo made; cat /etc/passwd >/dev/null && echo read",
            inside.path().display(),
            outside.path().display()
        );
        assert_eq!(fenced(&script, inside.path()), "in\nread\n");
    }

    #[test]
    fn this_kernel_enforces_something() {
        assert!(
            layers().contains(&"files once more (Landlock)"),
            "{:?}",
            layers()
        );
    }
}
