//! Where git's settings lead: hooks in a folder of their own (`core.hooksPath`, as
//! husky has it), settings in further files (`include.path`), programs by their path.
//!
//! Not git's whole grammar, but more than it writes: what is found too much is
//! protected too much. Source: git-config(1).

use crate::entries::read_plain;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// So many files of settings are read; git itself gives up at ten levels.
const MOST_FILES: usize = 2_000;
/// None is larger.
const MOST_BYTES: u64 = 1 << 20;

/// What lies in the working folder and a setting leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Led {
    /// Folders of hooks.
    pub(crate) hooks: BTreeSet<PathBuf>,
    /// Files of settings.
    pub(crate) settings: BTreeSet<PathBuf>,
    /// Files that a value names: programs, mostly.
    pub(crate) named: BTreeSet<PathBuf>,
    /// Links on the way there.
    pub(crate) links: BTreeSet<PathBuf>,
}

/// Of these repositories, and of the user's own settings.
pub(crate) fn led(folder: &Path, repositories: &BTreeSet<PathBuf>, home: &Path) -> Led {
    let mut search = Search {
        folder,
        home,
        seen: BTreeSet::new(),
        led: Led::default(),
    };
    let of_user = [".gitconfig", ".config/git/config"].map(|name| home.join(name));
    search.file(&of_user[0], folder);
    search.file(&of_user[1], folder);
    for repository in repositories {
        let is_git = repository.file_name().is_some_and(|name| name == ".git");
        let top = match repository.parent() {
            Some(parent) if is_git => parent,
            _ => repository,
        };
        for name in ["config", "config.worktree"] {
            search.file(&repository.join(name), top);
        }
        // Relative to each, if it is the user's.
        for file in &of_user {
            search.seen.remove(&(file.clone(), top.to_owned()));
            search.file(file, top);
        }
    }
    search.led
}

struct Search<'a> {
    folder: &'a Path,
    home: &'a Path,
    /// Files, and the top of the work tree for which they were read.
    seen: BTreeSet<(PathBuf, PathBuf)>,
    led: Led,
}

impl Search<'_> {
    /// Of one file of settings; `top` is where hooks would run.
    fn file(&mut self, file: &Path, top: &Path) {
        let is_new = self.seen.insert((file.to_owned(), top.to_owned()));
        if !is_new || self.seen.len() > MOST_FILES {
            return;
        }
        let Ok(text) = read_plain(file, MOST_BYTES) else {
            return;
        };
        let above = file.parent().unwrap_or(top);
        let all = settings(&String::from_utf8_lossy(&text));
        // A work tree that lies elsewhere, as those of submodules do.
        let elsewhere = all.iter().find(|setting| setting.is("core", "worktree"));
        let top = elsewhere.map_or(top.to_owned(), |setting| self.path(above, &setting.value));
        for setting in &all {
            if setting.is("core", "hookspath") {
                let path = self.path(&top, &setting.value);
                let path = self.within(&path);
                self.led.hooks.extend(path);
            } else if setting.key == "path"
                && (setting.section == "include" || setting.section == "includeif")
            {
                let path = self.path(above, &setting.value);
                self.file(&path, &top);
                let path = self.within(&path);
                self.led.settings.extend(path);
            } else {
                for word in setting.value.split([' ', '\t', '\'', '!', ';', '=']) {
                    let path = self.path(&top, word);
                    if !word.is_empty() && path.starts_with(self.folder) && path.is_file() {
                        self.led.named.insert(path);
                    }
                }
            }
        }
    }

    /// Without links being followed.
    fn path(&self, from: &Path, value: &str) -> PathBuf {
        let path = match value.strip_prefix("~/") {
            Some(below) => self.home.join(below),
            None => from.join(value),
        };
        let mut plain = PathBuf::new();
        for part in path.components() {
            match part {
                Component::ParentDir => drop(plain.pop()),
                Component::CurDir => {}
                part => plain.push(part),
            }
        }
        plain
    }

    /// Where it really is, if that is in the working folder; notes the link by which
    /// it lies there.
    fn within(&mut self, path: &Path) -> Option<PathBuf> {
        let mut there: Vec<&Path> = path.ancestors().collect();
        there.reverse();
        let is_link = |path: &&&Path| {
            path.symlink_metadata()
                .is_ok_and(|found| found.is_symlink())
        };
        let link = there
            .iter()
            .find(|path| is_link(path) && path.starts_with(self.folder));
        self.led.links.extend(link.map(|path| path.to_path_buf()));
        let known = there
            .iter()
            .rev()
            .find_map(|above| Some((above.canonicalize().ok()?, path.strip_prefix(above).ok()?)));
        let (above, below) = known?;
        let real = if below.as_os_str().is_empty() {
            above
        } else {
            above.join(below)
        };
        real.starts_with(self.folder).then_some(real)
    }
}

struct Setting {
    section: String,
    key: String,
    value: String,
}

impl Setting {
    fn is(&self, section: &str, key: &str) -> bool {
        self.section == section && self.key == key
    }
}

fn settings(text: &str) -> Vec<Setting> {
    let mut section = String::new();
    let mut all = Vec::new();
    // A line may go on in the next.
    for line in text.replace("\\\r\n", "").replace("\\\n", "").lines() {
        let mut line = line.trim();
        if let Some(rest) = line.strip_prefix('[') {
            let (name, after) = rest.split_once(']').unwrap_or((rest, ""));
            let name = name.split([' ', '\t', '"', '.']).next();
            section = name.unwrap_or_default().to_ascii_lowercase();
            line = after.trim();
        }
        if let Some((key, value)) = line.split_once('=') {
            all.push(Setting {
                section: section.clone(),
                key: key.trim().to_ascii_lowercase(),
                value: plain(value.trim()),
            });
        }
    }
    all
}

/// Without quotes, escapes and what is said behind it.
fn plain(value: &str) -> String {
    let mut plain = String::new();
    let mut is_quoted = false;
    let mut all = value.chars();
    while let Some(next) = all.next() {
        match next {
            '"' => is_quoted = !is_quoted,
            '#' | ';' if !is_quoted => break,
            '\\' => plain.extend(all.next()),
            next => plain.push(next),
        }
    }
    plain.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_settings_and_programs_in_the_folder_are_found_by_whatever_leads_there() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let (home, folder) = (root.join("home"), root.join("home/work"));
        let path = |name: &str| folder.join(name);
        for at in [
            ".git",
            "sub/.git",
            "real/hooks",
            ".git/modules/m",
            "m",
            "tools",
        ] {
            std::fs::create_dir_all(path(at)).unwrap();
        }
        std::os::unix::fs::symlink("real", path("link")).unwrap();
        for (file, text) in [
            (
                ".git/config",
                "[core]\n\thooksPath = \".husky/_\" ; husky\n[include]\n\tpath = ../.gitconfig\n\
                 [includeIf \"gitdir:/\"]\n\tpath = ~/work/\\\nmore\n[filter \"x\"]\n\tclean = ./tools/clean.sh %f\n",
            ),
            ("more", "[Core] HooksPath = link/hooks\n"),
            (
                "sub/.git/config",
                "[core]\n\thookspath = ../tools\n\tfsmonitor = true\n",
            ),
            (
                ".git/modules/m/config",
                "[core]\n\tworktree = ../../../m\n\thooksPath = h\n",
            ),
            ("tools/clean.sh", ""),
        ] {
            std::fs::write(path(file), text).unwrap();
        }
        let of_user = "[core]\n\thooksPath = .githooks\n[include]\n\tpath = work/global\n[include]\n\tpath = /etc/x\n";
        std::fs::write(home.join(".gitconfig"), of_user).unwrap();
        let repositories = [".git", "sub/.git", ".git/modules/m"].map(path).into();
        let found = led(&folder, &repositories, &home);
        let all = |names: &[&str]| names.iter().map(|name| path(name)).collect();
        let expected = Led {
            hooks: all(&[
                ".husky/_",
                "real/hooks",
                "tools",
                "m/h",
                ".githooks",
                "sub/.githooks",
                ".git/modules/m/.githooks",
            ]),
            settings: all(&[".gitconfig", "more", "global"]),
            named: all(&["tools/clean.sh"]),
            links: all(&["link"]),
        };
        assert_eq!(found, expected);
    }
}
