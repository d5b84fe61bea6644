//! What lies in a folder that a run has to know of: sockets, through which one
//! talks to whoever listens, outside; and what other programs of the user would
//! execute later (`later` says what to do about that).

use rustix::fs::Access;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::FileType;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How many entries a folder may have; looking at so many takes some seconds.
const MOST_ENTRIES: usize = 4_000_000;

/// Folders that editors and agents read their settings from, and with them what
/// to start.
pub(crate) const SETTINGS_FOLDERS: &[&str] = &[
    ".amp",
    ".claude",
    ".codex",
    ".continue",
    ".cursor",
    ".devcontainer",
    ".gemini",
    ".helix",
    ".idea",
    ".kiro",
    ".opencode",
    ".qwen",
    ".roo",
    ".vscode",
    ".windsurf",
    ".zed",
];

/// Files of that kind.
#[rustfmt::skip]
pub(crate) const SETTINGS_FILES: &[&str] = &[
    ".aider.conf.yml", ".envrc", ".exrc", ".lazy.lua", ".lvimrc", ".mcp.json", ".mise.toml", ".nvim.lua",
    ".nvimrc", ".vimrc", "crush.json", "hgrc", "mise.toml", "opencode.json", "opencode.jsonc",
];

/// What programs are built, tested and released from, and what agents are told by;
/// besides what [`is_built_from`] knows by a part of its name.
#[rustfmt::skip]
const BUILT_FROM: &[&str] = &[
    ".clinerules", ".cursorrules", ".dir-locals.el", ".env", ".gdbinit", ".ghci", ".gitattributes",
    ".gitlab-ci.yml", ".gitmodules", ".goosehints", ".iex.exs", ".lldbinit", ".pnp.cjs", ".pnp.loader.mjs",
    ".pnpmfile.cjs", ".pre-commit-config.yaml", ".rprofile", ".rspec", ".tool-versions", ".travis.yml",
    ".yarnrc.yml", "agents.md", "ansible.cfg", "azure-pipelines.yml", "buck", "build", "build.bazel",
    "build.gradle", "build.gradle.kts", "build.rs", "build.zig", "bunfig.toml", "cargo.toml",
    "claude.local.md", "claude.md", "cmakelists.txt", "compose.yaml", "compose.yml", "configure",
    "conftest.py", "containerfile", "default.nix", "deno.json", "deno.jsonc", "docker-compose.yaml",
    "docker-compose.yml", "dockerfile", "flake.nix", "gemfile", "gemini.md", "gnumakefile", "gradlew",
    "gulpfile.js", "jenkinsfile", "justfile", "lefthook.yml", "makefile", "makefile.am", "meson.build",
    "module.bazel", "mvnw", "noxfile.py", "package.json", "pom.xml", "procfile", "pyproject.toml",
    "pytest.ini", "pyvenv.cfg", "rakefile", "rust-toolchain.toml", "settings.gradle",
    "settings.gradle.kts", "setup.cfg", "setup.py", "shell.nix", "sitecustomize.py", "taskfile.yml",
    "tiltfile", "tox.ini", "usercustomize.py", "vagrantfile", "workspace",
];
/// Folders all of whose files are of that kind, however deep they lie.
#[rustfmt::skip]
const BUILT_FROM_FOLDERS: &[&str] = &[
    ".cargo", ".circleci", ".githooks", ".github", ".husky", ".mvn", "gradle", "workflows",
];

fn is_built_from(name: &OsStr, is_folder: bool, inside: Inside) -> bool {
    let text = name.to_string_lossy().to_ascii_lowercase();
    let is_by_part = || {
        let (stem, end) = text.rsplit_once('.').unwrap_or((&text, ""));
        let is_script = matches!(end, "js" | "cjs" | "mjs" | "ts" | "cts" | "mts");
        matches!(end, "code-workspace" | "mk")
            || (is_script && stem.ends_with(".config"))
            // `.eslintrc`, `.eslintrc.js`, `.npmrc`, …
            || (text.starts_with('.') && (text.ends_with("rc") || stem.ends_with("rc")))
    };
    !is_folder && (inside == Inside::BuiltFrom || is_any(BUILT_FROM, name) || is_by_part())
}

/// Some file systems know no difference between `.vscode` and `.VSCODE`.
pub(crate) fn is_any(names: &[&str], name: &OsStr) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Folders in which packages lie, whose settings no program reads there.
const PACKAGES: &[&str] = &["node_modules", "site-packages", "dist-packages"];

/// What a Python that starts from here has: an environment's settings (PEP 405), or
/// a folder in which it looks for start-up files.
const PYTHON: &[&str] = &["pyvenv.cfg", "site-packages", "dist-packages"];

/// What was found; links are not followed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) sockets: BTreeSet<PathBuf>,
    /// Settings of editors and agents, and Python's start-up files.
    pub(crate) settings: BTreeSet<PathBuf>,
    /// What git takes for a repository: `.git`, whatever it is, and folders that
    /// look like one.
    pub(crate) repositories: BTreeSet<PathBuf>,
    /// What people execute knowingly, or tell agents by: build files and the like.
    pub(crate) built_from: BTreeSet<PathBuf>,
    /// Whether there is anything of [`PYTHON`].
    pub(crate) has_python: bool,
    /// Folders that cannot be looked into. Without the right to list a folder one
    /// can still use what lies in it, by name.
    pub(crate) shut: BTreeSet<PathBuf>,
}

/// Looks through the folder, before a run.
///
/// # Errors
/// When the folder itself cannot be read, or holds more than [`MOST_ENTRIES`].
pub(crate) fn walk(folder: &Path) -> io::Result<Found> {
    std::fs::read_dir(folder)?;
    through(folder, Some(MOST_ENTRIES), &BTreeSet::new()).ok_or_else(|| {
        io::Error::other(format!(
            "{} holds more than {MOST_ENTRIES} files; let the agent work in a smaller folder",
            folder.display()
        ))
    })
}

/// Looks through a folder that a run has left, whatever it left there: folders that
/// cannot be looked into are opened up, if they are this user's; but for those to
/// be left as they are.
pub(crate) fn walk_after(folder: &Path, leave: &BTreeSet<PathBuf>) -> Found {
    through(folder, None, leave).unwrap_or_default()
}

/// `None` when it holds more than `most`. Without that, folders are opened up.
fn through(folder: &Path, most: Option<usize>, leave: &BTreeSet<PathBuf>) -> Option<Found> {
    let mut found = Found::default();
    let mut folders = vec![(folder.to_owned(), Inside::Nothing)];
    let mut seen = 0_usize;
    while let Some((next, inside)) = folders.pop() {
        let open_up = most.is_none() && !leave.contains(&next);
        let Some(entries) = list(&next, open_up) else {
            found.shut.insert(next);
            continue;
        };
        seen += entries.len();
        if most.is_some_and(|most| seen > most) {
            return None;
        }
        let is_repository = is_repository(&entries);
        for (name, kind) in entries {
            let path = next.join(&name);
            if kind.is_socket() {
                found.sockets.insert(path);
                continue;
            }
            found.has_python |= is_any(PYTHON, &name);
            let mut below = inside;
            if is_any(&[".git"], &name) {
                found.repositories.insert(path.clone());
                below = Inside::Taken;
            } else if inside != Inside::Taken {
                if is_setting(&name, kind.is_dir(), inside, &next) {
                    found.settings.insert(path.clone());
                    below = Inside::Taken;
                } else if is_any(PACKAGES, &name) {
                    below = Inside::Packages;
                } else if inside != Inside::Packages && is_built_from(&name, kind.is_dir(), inside)
                {
                    found.built_from.insert(path.clone());
                } else if inside == Inside::Nothing
                    && kind.is_dir()
                    && is_any(BUILT_FROM_FOLDERS, &name)
                {
                    below = Inside::BuiltFrom;
                }
            }
            if kind.is_dir() {
                folders.push((path, below));
            }
        }
        if is_repository && next.file_name() != Some(OsStr::new(".git")) {
            found.repositories.insert(next);
        }
    }
    Some(found)
}

/// What is in the folder; `None` when not all of that can be seen.
fn list(folder: &Path, open_up: bool) -> Option<Vec<(OsString, FileType)>> {
    let may = || rustix::fs::access(folder, Access::READ_OK | Access::EXEC_OK);
    if may().is_err() && !(open_up && open(folder).is_ok()) {
        return None;
    }
    std::fs::read_dir(folder)
        .ok()?
        .map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name(), entry.file_type().ok()?))
        })
        .collect()
}

/// Gives this user, whose folder it is, all rights to it.
pub(crate) fn open(folder: &Path) -> io::Result<()> {
    let found = folder.symlink_metadata()?;
    if !found.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let mode = found.permissions().mode();
    if mode & 0o700 == 0o700 {
        return Ok(());
    }
    std::fs::set_permissions(folder, PermissionsExt::from_mode(mode | 0o700))
}

/// By what git knows a repository: `HEAD`, and its objects and references, here or
/// where `commondir` leads to. And the folder that this may lead to, which needs no
/// `HEAD`. Source: gitrepository-layout(5); git's `is_git_directory`.
fn is_repository(entries: &[(OsString, FileType)]) -> bool {
    let has = |part: &str| entries.iter().any(|(name, _)| is_any(&[part], name));
    let holds_all = has("objects") && has("refs");
    let leads = has("HEAD") && (holds_all || has("commondir"));
    leads || (holds_all && (has("config") || has("config.worktree") || has("hooks")))
}

/// Where the walk is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Nothing,
    /// Of [`PACKAGES`].
    Packages,
    /// Of [`BUILT_FROM_FOLDERS`].
    BuiltFrom,
    /// Of something that was found already, as a whole.
    Taken,
}

fn is_setting(name: &OsStr, is_folder: bool, inside: Inside, parent: &Path) -> bool {
    if inside == Inside::Packages {
        let is_start_up = Path::new(name).extension() == Some(OsStr::new("pth"))
            || is_any(&["sitecustomize.py", "usercustomize.py"], name);
        let is_pythons = |name: &OsStr| name == "site-packages" || name == "dist-packages";
        return is_start_up && parent.file_name().is_some_and(is_pythons);
    }
    let names = if is_folder {
        SETTINGS_FOLDERS
    } else {
        SETTINGS_FILES
    };
    // A link may lead to either.
    is_any(names, name) || (!is_folder && is_any(SETTINGS_FOLDERS, name))
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
            "node_modules/.husky",
            "led",
            "venv/lib/python3/site-packages",
            "a/.git/modules/m/objects",
            "a/.git/modules/m/refs",
            "common/objects",
            "common/refs",
            "common/hooks",
            "plain/objects",
            "plain/refs",
            ".husky/_/deep",
            "a/.vscode/inner/.git",
            "a/.VSCode",
            "src/.Git",
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
            "led/HEAD",
            "led/commondir",
            ".husky/_/deep/pre-commit",
            "node_modules/.husky/x",
            "src/Vite.config.ts",
            "src/.eslintrc.js",
            "src/rc.js",
            "src/main.ts",
            "a/.VSCode/x",
            "venv/lib/python3/site-packages/sitecustomize.py",
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
            "a/.VSCode",
            "a/.vscode",
            "venv/lib/python3/site-packages/a.pth",
            "venv/lib/python3/site-packages/sitecustomize.py",
        ];
        assert_eq!(found.settings, settings.map(path).into());
        let repositories = [
            "a/.git",
            "a/.git/modules/m",
            "a/.vscode/inner/.git",
            "bare",
            "common",
            "led",
            "node_modules/y/.git",
            "src/.Git",
        ];
        assert_eq!(found.repositories, repositories.map(path).into());
        let built_from = [
            ".husky/_/deep/pre-commit",
            "src/.eslintrc.js",
            "src/Vite.config.ts",
        ];
        assert_eq!(found.built_from, built_from.map(path).into());
        assert_eq!(walk_after(root.path(), &BTreeSet::new()), found);
    }
}
