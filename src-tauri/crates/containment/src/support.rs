//! Whether this user can be contained on this machine, found out by trying.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why not, and what to do about it.
pub(crate) struct No {
    pub(crate) why: String,
    pub(crate) fix: String,
}

/// Where distributions put it. Never looked up in `PATH`, which is the user's.
const CANDIDATES: &[&str] = &[
    "/usr/bin/bwrap",
    "/bin/bwrap",
    "/usr/local/bin/bwrap",
    "/run/current-system/sw/bin/bwrap",
];

/// The first version that can forbid further user namespaces (`--disable-userns`).
const OLDEST: (u32, u32) = (0, 8);

/// The path of a bubblewrap that contains this user, tried out.
pub(crate) fn usable() -> Result<PathBuf, No> {
    ordinary_user()?;
    let bwrap = trusted_bwrap()?;
    let version = Command::new(&bwrap).arg("--version").env_clear().output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let parsed = version.as_deref().ok().and_then(parse_version);
    if parsed.is_none_or(|version| version < OLDEST) {
        return Err(No {
            why: format!("{} is older than 0.8 or does not run", bwrap.display()),
            fix: "Install bubblewrap 0.8 or later".into(),
        });
    }
    try_out(&bwrap)?;
    Ok(bwrap)
}

/// A process with the rights of root keeps them where it counts, whatever
/// namespace it is in: the kernel's core pattern, `/etc/shadow`, remounts.
fn ordinary_user() -> Result<(), No> {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    let fix = "Start countersign as an ordinary user";
    if getuid().is_root() || geteuid().is_root() {
        return Err(No {
            why: "root cannot be contained: a namespace does not keep it from the kernel's \
                  settings (core_pattern) or from files like /etc/shadow"
                .into(),
            fix: fix.into(),
        });
    }
    let changed = getuid() != geteuid() || getgid() != getegid();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let no_capabilities = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"]
        .iter()
        .all(|set| {
            let line = status.lines().find_map(|line| line.strip_prefix(set));
            line.is_some_and(|bits| bits.trim().bytes().all(|digit| digit == b'0'))
        });
    if changed || !no_capabilities {
        return Err(No {
            why: "this process has capabilities or a changed user id, which a sandbox does not take away".into(),
            fix: fix.into(),
        });
    }
    Ok(())
}

/// The first candidate that only root can have put there: it and every folder
/// above it belong to root and can be written by nobody else.
fn trusted_bwrap() -> Result<PathBuf, No> {
    const SETUID: u32 = 0o4000;
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let fix = "Install the package bubblewrap of your distribution";
    let found = CANDIDATES
        .iter()
        .find_map(|path| Path::new(path).canonicalize().ok());
    let Some(bwrap) = found else {
        return Err(No {
            why: "bubblewrap (bwrap) is not installed".into(),
            fix: fix.into(),
        });
    };
    let roots_own = |path: &Path| {
        path.symlink_metadata()
            .is_ok_and(|found| found.uid() == 0 && found.mode() & WRITABLE_BY_OTHERS == 0)
    };
    if !bwrap.ancestors().all(roots_own) {
        return Err(No {
            why: format!("{} can be changed by others than root", bwrap.display()),
            fix: fix.into(),
        });
    }
    if bwrap
        .metadata()
        .is_ok_and(|found| found.mode() & SETUID != 0)
    {
        return Err(No {
            why: format!(
                "{} is setuid root, with which user namespaces cannot be forbidden",
                bwrap.display()
            ),
            fix: format!(
                "Let the kernel give users namespaces, and run `chmod u-s {}`",
                bwrap.display()
            ),
        });
    }
    Ok(bwrap)
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("bubblewrap ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Makes an empty sandbox with every namespace that a run has.
fn try_out(bwrap: &Path) -> Result<(), No> {
    let tried = Command::new(bwrap)
        .args([
            "--unshare-user",
            "--disable-userns",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
        ])
        .args([
            "--unshare-cgroup",
            "--unshare-net",
            "--cap-drop",
            "ALL",
            "--die-with-parent",
        ])
        .args([
            "--ro-bind",
            "/",
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--",
            "/usr/bin/true",
        ])
        .env_clear()
        .stdin(Stdio::null())
        .output();
    let said = match tried {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => readable(&output.stderr),
        Err(error) => error.to_string(),
    };
    let setting = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let (why, fix) = if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
        (
            "AppArmor keeps ordinary programs from making user namespaces",
            "Give bwrap an AppArmor profile that allows `userns`, or set the sysctl \
             kernel.apparmor_restrict_unprivileged_userns to 0",
        )
    } else if setting("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
        (
            "the kernel gives ordinary users no namespaces",
            "Set the sysctl kernel.unprivileged_userns_clone to 1",
        )
    } else if setting("/proc/sys/user/max_user_namespaces") == "0" {
        (
            "the kernel gives ordinary users no namespaces",
            "Set the sysctl user.max_user_namespaces to a number above 0",
        )
    } else {
        (
            "bubblewrap does not work here (in a container, say)",
            "Run Countersign outside the container, or let it make user namespaces and mount /proc",
        )
    };
    Err(No {
        why: format!("{why}; it says: {said}"),
        fix: fix.into(),
    })
}

/// A program's complaint on one line, printable, of bounded length.
pub(crate) fn readable(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).take(400).collect();
    if line.is_empty() {
        "nothing".into()
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parse_version("bubblewrap 0.8.0\n"), Some((0, 8)));
        assert!(parse_version("bubblewrap 0.11.0") > Some(OLDEST));
        assert_eq!(parse_version("something else"), None);
    }

    #[test]
    fn a_complaint_is_one_printable_line() {
        assert_eq!(
            readable(b"bwrap: no\n\x1b[31m such \n"),
            "bwrap: no [31m such"
        );
        assert_eq!(readable(b""), "nothing");
    }
}
