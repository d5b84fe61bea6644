//! Where the user's Pythons look for start-up files, whether anything is there yet
//! or not: in their user's own packages, below `PYTHONUSERBASE` and `~/.local`.
//! Source: Python's module `site`.

use crate::Whereabouts;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows. Source: path_resolution(7).
const MOST_LINKS: usize = 40;

/// Whether one that is started anywhere would read start-up files that somebody puts
/// into the folder, which has its real name. `user_base` is `PYTHONUSERBASE`.
pub(crate) fn looks_into(folder: &Path, user_base: Option<&OsStr>, home: &Path) -> bool {
    let named = user_base.filter(|base| !base.is_empty()).map(PathBuf::from);
    // Then it is below wherever Python is started.
    let is_anywhere = named.as_ref().is_some_and(|base| base.is_relative());
    let mut bases = named.into_iter().chain([home.join(".local")]);
    is_anywhere || bases.any(|base| leads_into(&base.join("lib"), folder))
}

/// Whether the folder is on the way of this path, which need not be there, or holds
/// its end, or lies in that.
fn leads_into(path: &Path, folder: &Path) -> bool {
    let mut ahead = parts(path);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = ahead.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(part);
        let Ok(target) = next.read_link() else {
            at = next;
            continue;
        };
        links += 1;
        // A link within the folder is the run's to change.
        if links > MOST_LINKS || next.starts_with(folder) {
            return true;
        }
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        ahead.extend(parts(&target));
    }
    match (Whereabouts::to_be(&at), Whereabouts::of(folder)) {
        (Ok(there), Ok(here)) => there.overlaps(&here),
        _ => true,
    }
}

/// Its parts, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev().filter_map(|part| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        _ => None,
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_folder_is_looked_into_by_whatever_leads_there_and_no_other_is() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let home = root.join("home");
        let folder = home.join("lib/project");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::create_dir(root.join("elsewhere")).unwrap();
        symlink(folder.join("not/yet"), root.join("dangling")).unwrap();
        symlink("../../../elsewhere", folder.join("out")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let looks = |base: &str| looks_into(&folder, Some(OsStr::new(base)), &home);
        let below = |path: &str| root.join(path).display().to_string();
        for base in [
            &below("home/lib/project"),
            &below("home/lib/project/a/../b"),
            // It holds the folder, and so could its packages.
            &below("home"),
            &below("dangling"),
            &below("home/lib/project/out"),
            &below("loop"),
            "relative",
        ] {
            assert!(looks(base), "{base}");
        }
        for base in [&below("elsewhere"), &below("home/lib/projects"), ""] {
            assert!(!looks(base), "{base}");
        }
        assert!(!looks_into(&folder, None, &home));
        symlink("lib/project", home.join(".local")).unwrap();
        assert!(looks_into(&folder, None, &home));
    }
}
