//! What lies in a folder that a run has to know of: sockets, through which one
//! talks to whoever listens, outside; and what other programs of the user would
//! execute later (`later` says what to do about that).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// How many entries a folder may have; looking at so many takes some seconds.
const MOST_ENTRIES: usize = 4_000_000;

/// Folders that editors and agents read their settings from, and with them what
/// to start.
pub(crate) const SETTINGS_FOLDERS: &[&str] = &[
    ".claude",
    ".codex",
    ".cursor",
    ".devcontainer",
    ".gemini",
    ".idea",
    ".opencode",
    ".vscode",
    ".windsurf",
    ".zed",
];

/// Files of that kind.
pub(crate) const SETTINGS_FILES: &[&str] = &[
    ".aider.conf.yml",
    ".envrc",
    ".exrc",
    ".mcp.json",
    ".nvim.lua",
    ".nvimrc",
    ".vimrc",
    "opencode.json",
];

/// What programs are built, tested and released from, and what agents are told by.
const BUILT_FROM: &[&str] = &[
    ".gitattributes",
    ".gitlab-ci.yml",
    ".gitmodules",
    ".npmrc",
    ".pnpmfile.cjs",
    ".pre-commit-config.yaml",
    ".yarnrc.yml",
    "AGENTS.md",
    "CLAUDE.md",
    "CMakeLists.txt",
    "Cargo.toml",
    "Dockerfile",
    "GEMINI.md",
    "GNUmakefile",
    "Gemfile",
    "Jenkinsfile",
    "Justfile",
    "Makefile",
    "Rakefile",
    "Taskfile.yml",
    "build.gradle",
    "build.gradle.kts",
    "build.rs",
    "compose.yaml",
    "conftest.py",
    "deno.json",
    "docker-compose.yml",
    "flake.nix",
    "gradlew",
    "justfile",
    "makefile",
    "meson.build",
    "mise.toml",
    "noxfile.py",
    "package.json",
    "pom.xml",
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
    "sitecustomize.py",
    "tox.ini",
];
/// Folders all of whose files are of that kind.
const BUILT_FROM_FOLDERS: &[&str] = &[".cargo", ".circleci", ".githooks", ".husky", "workflows"];

fn is_built_from(name: &OsStr, is_folder: bool, parent: &Path) -> bool {
    let is_any = |names: &[&str], name: &OsStr| names.iter().any(|known| name == *known);
    !is_folder
        && (is_any(BUILT_FROM, name)
            || parent
                .file_name()
                .is_some_and(|parent| is_any(BUILT_FROM_FOLDERS, parent)))
}

/// Folders in which packages lie, whose settings no program reads there.
const PACKAGES: &[&str] = &["node_modules", "site-packages", "dist-packages"];

/// What was found; links are not followed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) sockets: BTreeSet<PathBuf>,
    /// Settings of editors and agents, and Python's start-up files (`*.pth`).
    pub(crate) settings: BTreeSet<PathBuf>,
    /// What git takes for a repository: `.git`, whatever it is, and folders that
    /// look like one.
    pub(crate) repositories: BTreeSet<PathBuf>,
    /// What people execute knowingly, or tell agents by: build files and the like.
    pub(crate) built_from: BTreeSet<PathBuf>,
}

/// Looks through the folder.
///
/// # Errors
/// When the folder itself cannot be read, or holds more than [`MOST_ENTRIES`].
/// What cannot be read below it the run, which is the same user, cannot read either.
pub(crate) fn walk(folder: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let mut folders = vec![(folder.to_owned(), Inside::Nothing)];
    let mut left = MOST_ENTRIES;
    std::fs::read_dir(folder)?;
    while let Some((next, inside)) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else {
            continue;
        };
        let mut parts = 0;
        for entry in entries.flatten() {
            left = left.checked_sub(1).ok_or_else(|| {
                io::Error::other(format!(
                    "{} holds more than {MOST_ENTRIES} files; let the agent work in a smaller folder",
                    folder.display()
                ))
            })?;
            let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else {
                continue;
            };
            if kind.is_socket() {
                found.sockets.insert(entry.path());
                continue;
            }
            if GIT_PARTS.iter().any(|part| name == *part) {
                parts += 1;
            }
            let mut below = inside;
            if inside != Inside::Taken {
                if name == ".git" {
                    found.repositories.insert(entry.path());
                    below = Inside::Taken;
                } else if is_setting(&name, kind.is_dir(), inside, &next) {
                    found.settings.insert(entry.path());
                    below = Inside::Taken;
                } else if PACKAGES.iter().any(|package| name == *package) {
                    below = Inside::Packages;
                } else if inside == Inside::Nothing && is_built_from(&name, kind.is_dir(), &next) {
                    found.built_from.insert(entry.path());
                }
            }
            if kind.is_dir() {
                folders.push((entry.path(), below));
            }
        }
        if parts == GIT_PARTS.len() && next.file_name() != Some(OsStr::new(".git")) {
            found.repositories.insert(next);
        }
    }
    Ok(found)
}

/// By these entries git knows a repository (gitrepository-layout(5)).
const GIT_PARTS: [&str; 3] = ["HEAD", "objects", "refs"];

/// Where the walk is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Nothing,
    /// Of [`PACKAGES`].
    Packages,
    /// Of something that was found already, as a whole.
    Taken,
}

fn is_setting(name: &OsStr, is_folder: bool, inside: Inside, parent: &Path) -> bool {
    if inside == Inside::Packages {
        let is_start_up = Path::new(name).extension() == Some(OsStr::new("pth"));
        let is_pythons = |name: &OsStr| name == "site-packages" || name == "dist-packages";
        return is_start_up && parent.file_name().is_some_and(is_pythons);
    }
    let names = if is_folder {
        SETTINGS_FOLDERS
    } else {
        SETTINGS_FILES
    };
    // A link may lead to either.
    names.iter().any(|setting| name == *setting)
        || (!is_folder && SETTINGS_FOLDERS.iter().any(|setting| name == *setting))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_settings_and_repositories_are_found_wherever_they_lie() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for folder in [
            "a/.vscode/.idea",
            "a/.git/hooks",
            "bare/objects",
            "bare/refs",
            "node_modules/x/.vscode",
            "node_modules/y/.git",
            "venv/lib/python3/site-packages",
            "a/.git/modules/m/objects",
            "a/.git/modules/m/refs",
        ] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        for file in [
            "bare/HEAD",
            ".envrc",
            "x.pth",
            "venv/lib/python3/site-packages/a.pth",
            "b.git",
            "a/.git/modules/m/HEAD",
        ] {
            std::fs::write(path(file), "").unwrap();
        }
        std::os::unix::fs::symlink("elsewhere", path(".claude")).unwrap();
        let socket = path("a/.git/s");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let found = walk(root.path()).unwrap();
        assert_eq!(found.sockets, [socket].into());
        let settings = [
            ".claude",
            ".envrc",
            "a/.vscode",
            "venv/lib/python3/site-packages/a.pth",
        ];
        assert_eq!(found.settings, settings.map(path).into());
        let repositories = ["a/.git", "a/.git/modules/m", "bare", "node_modules/y/.git"];
        assert_eq!(found.repositories, repositories.map(path).into());
    }
}
