//! Whether git may look at a repository without running anything of it.
//!
//! `git status`, which a shell's prompt runs, starts what the repository's settings
//! name. Only settings that are known to start nothing count as harmless; whatever
//! is not understood does not. Source: git-config(1), gitrepository-layout(5).

use crate::entries::{self as tree, Entry, Tree};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What git reads of a repository that can start a program, or lead to settings
/// elsewhere.
pub(crate) const PARTS: &[&str] = &[
    "commondir",
    "config",
    "config.worktree",
    // Of a work tree: which folder git takes for it.
    "gitdir",
    "hooks",
];

/// The parts of one repository.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// What could be read.
    pub(crate) tree: Tree,
    /// Those of [`PARTS`] that could not, or are too large to be; the empty path for
    /// the repository itself.
    pub(crate) unread: Vec<OsString>,
}

/// These parts of a repository; of `.git` that is a file or a link, that itself.
pub(crate) fn parts(repository: &Path) -> Parts {
    let mut all = Parts::default();
    let is_folder = repository
        .symlink_metadata()
        .is_ok_and(|found| found.is_dir());
    let wanted = if is_folder { PARTS } else { &[""] };
    for part in wanted {
        let Ok(tree) = tree::read(&tree::join(repository, Path::new(part))) else {
            all.unread.push(part.into());
            continue;
        };
        for (below, entry) in tree {
            let path = tree::join(Path::new(part), Path::new(&below));
            all.tree.insert(path.into(), entry);
        }
    }
    // What git puts there itself, and never starts.
    all.tree
        .retain(|path, _| Path::new(path).extension() != Some(OsStr::new("sample")));
    all
}

/// Whether all that is new since `was` is known to start nothing. `repository` is
/// where it lies: an entry for a work tree leads to the repository that it is of.
pub(crate) fn is_harmless(repository: &Path, was: &Tree, now: &Tree) -> bool {
    let mut above = repository.components().rev().skip(1);
    let is_of_work_tree = above
        .next()
        .is_some_and(|part| part.as_os_str() == "worktrees");
    now.iter().all(|(path, entry)| {
        if was.get(path) == Some(entry) {
            return true;
        }
        match entry {
            Entry::File { content, .. } if path == "config" => {
                let before = match was.get(path) {
                    Some(Entry::File { content, .. }) => settings(content).unwrap_or_default(),
                    _ => BTreeSet::new(),
                };
                settings(content).is_some_and(|after| {
                    let remotes = remotes(&after);
                    let mut new = after.difference(&before);
                    new.all(|setting| setting.is_harmless(&remotes))
                })
            }
            // What git takes for granted without it, and what it writes itself.
            Entry::File { content, .. } => {
                path == "commondir"
                    && (content == b".\n" || (is_of_work_tree && content == b"../..\n"))
            }
            Entry::Link { .. } => false,
        }
    })
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Setting {
    section: String,
    /// The name in quotes behind it.
    of: String,
    key: String,
    value: String,
}

/// `None` when there is anything that is not understood.
fn settings(config: &[u8]) -> Option<BTreeSet<Setting>> {
    let (mut section, mut of) = (String::new(), String::new());
    let mut all = BTreeSet::new();
    for line in std::str::from_utf8(config).ok()?.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        // A line that goes on in the next, and quoting.
        if line.contains('\\') {
            return None;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.strip_suffix(']')?;
            let (kind, rest) = name
                .find([' ', '\t', '"', '.'])
                .map_or((name, ""), |at| name.split_at(at));
            section = kind.to_ascii_lowercase();
            rest.trim_matches([' ', '\t', '"', '.']).clone_into(&mut of);
            if name.contains(']') {
                return None;
            }
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, "true"));
        all.insert(Setting {
            section: section.clone(),
            of: of.clone(),
            key: key.trim().to_ascii_lowercase(),
            value: value.trim().to_owned(),
        });
    }
    Some(all)
}

/// Of which remotes it is said where they are. A name without that is a path to git.
fn remotes(all: &BTreeSet<Setting>) -> BTreeSet<&str> {
    let named = all
        .iter()
        .filter(|setting| setting.section == "remote" && setting.key == "url");
    named.map(|setting| setting.of.as_str()).collect()
}

/// Whether it leads to another machine: what git pushes to on this one runs the hooks
/// there. Source: gitprotocol-pack(5), git-clone(1) "GIT URLS".
fn is_far(url: &str) -> bool {
    const SCHEMES: [&str; 4] = ["https://", "http://", "ssh://", "git://"];
    let plain = |part: &str| {
        !part.starts_with('-') && !part.contains(|c: char| c.is_whitespace() || "\"'`".contains(c))
    };
    // As scp(1) has it: `host:path`, no slash before the colon.
    let short = url.split_once(':').is_some_and(|(host, path)| {
        !host.is_empty() && !host.contains('/') && !path.starts_with(':') && !path.starts_with("//")
    });
    plain(url) && !url.contains("::") && (short || SCHEMES.iter().any(|s| url.starts_with(s)))
}

impl Setting {
    fn is_harmless(&self, remotes: &BTreeSet<&str>) -> bool {
        let known: &[&str] = match self.section.as_str() {
            "core" => &[
                "abbrev",
                "autocrlf",
                "bare",
                "eol",
                "filemode",
                "ignorecase",
                "logallrefupdates",
                "precomposeunicode",
                "preloadindex",
                "quotepath",
                "repositoryformatversion",
                "safecrlf",
                "symlinks",
                "untrackedcache",
            ],
            "extensions" => &["objectformat", "refstorage"],
            "user" => &["name", "email"],
            // A partial clone would fetch by itself, whenever git looks at something.
            "remote" => match self.key.as_str() {
                "url" | "pushurl" => return is_far(&self.value),
                _ => &["fetch", "tagopt", "prune", "mirror"],
            },
            "branch" => match self.key.as_str() {
                "remote" | "pushremote" => return remotes.contains(self.value.as_str()),
                _ => &["merge", "rebase", "description"],
            },
            "submodule" => match self.key.as_str() {
                "url" => return is_far(&self.value),
                _ => &["active", "branch", "ignore", "path"],
            },
            "init" => &["defaultbranch"],
            "pull" => &["rebase", "ff"],
            "push" => &["default", "autosetupremote"],
            "advice" | "color" => return true,
            _ => &[],
        };
        // "ext::" and the like name a program.
        known.contains(&self.key.as_str())
            && !self.value.contains("::")
            && !self.value.starts_with('!')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Tree {
        let content = text.as_bytes().to_vec();
        [(
            "config".into(),
            Entry::File {
                content,
                executable: false,
            },
        )]
        .into()
    }

    #[test]
    fn what_git_itself_writes_is_harmless() {
        let fresh = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\
                     \tlogallrefupdates = true\n[remote \"origin\"]\n\turl = https://host.example/x.git\n\
                     \tfetch = +refs/heads/*:refs/remotes/origin/*\n[branch \"main\"]\n\tremote = origin\n\
                     \tmerge = refs/heads/main\n[user]\n\tname = A\n";
        assert!(is_harmless(Path::new(".git"), &Tree::new(), &config(fresh)));
        assert!(is_harmless(Path::new(".git"), &Tree::new(), &Tree::new()));
    }

    #[test]
    fn what_starts_a_program_or_leads_elsewhere_is_not() {
        for bad in [
            "[core]\n\tfsmonitor = ./x\n",
            "[core]\n\tfsmonitor\n",
            "[CORE]\nFsMonitor=x\n",
            "[core]\nhooksPath = h\n",
            "[core]\nworktree = ..\n",
            "[include]\npath = x\n",
            "[includeIf \"gitdir:/\"]\npath = x\n",
            "[filter \"x\"]\nclean = x\n",
            "[alias]\nst = !x\n",
            "[core] fsmonitor = x\n",
            "[core]\nbare = \\\nfalse\n",
            "[diff \"x\"]\ntextconv = x\n",
            "[remote \"x\"]\nurl = ext::sh -c x\n",
            "[remote \"x\"]\nurl = ext\":\"\":\"sh\n",
            "[remote \"x\"]\nurl = ../x.git\n",
            "[remote \"x\"]\nurl = /home/x.git\n",
            "[remote \"x\"]\nurl = x\n",
            "[remote \"x\"]\nurl = file:///home/x.git\n",
            "[remote \"x\"]\nurl = ./host:x\n",
            "[remote \"x\"]\nurl = -oProxyCommand=x:y\n",
            "[remote \"x\"]\npushurl = ../x.git\n",
            "[remote \"x\"]\npromisor = true\n",
            "[branch \"x\"]\nremote = ../x.git\n",
            "[branch \"x\"]\nremote = .\n",
            "[remote \"x\"]\nfetch = a\n[branch \"x\"]\npushRemote = x\n",
            "[submodule \"x\"]\nurl = ../x.git\n",
            "[submodule \"x\"]\nupdate = !x\n",
            "[credential]\nhelper = x\n",
            "[core]\nsshCommand = x\n",
            "[core \"x\"]\neditor = y\n",
            "[gpg]\nprogram = x\n",
            "[x]\n\u{0}",
            "[extensions]\nworktreeConfig = true\n",
            "[core]\nbare = false # \\",
            "[remote.x]\nvcs = y",
        ] {
            assert!(
                !is_harmless(Path::new(".git"), &Tree::new(), &config(bad)),
                "{bad}"
            );
        }
        let file = |content: &[u8]| Entry::File {
            content: content.to_vec(),
            executable: true,
        };
        for (path, entry) in [
            ("hooks/pre-commit", file(b"x")),
            ("commondir", file(b"c\n")),
            ("commondir", file(b"../..\n")),
            ("gitdir", file(b"/elsewhere/.git\n")),
            ("config.worktree", file(b"")),
            ("config", Entry::Link { target: "x".into() }),
            ("", file(b"gitdir: x\n")),
        ] {
            assert!(
                !is_harmless(
                    Path::new(".git"),
                    &Tree::new(),
                    &[(path.into(), entry)].into()
                ),
                "{path}"
            );
        }
    }

    #[test]
    fn what_was_there_before_may_stay() {
        let was = config("[core]\n\tfsmonitor = true\n[filter \"lfs\"]\n\tclean = git-lfs\n");
        assert!(is_harmless(Path::new(".git"), &was, &was));
        let more = config(
            "[core]\n\tfsmonitor = true\n[filter \"lfs\"]\n\tclean = git-lfs\n[remote \"o\"]\nurl = git@host.example:x.git\n[branch \"x\"]\nremote = o\n",
        );
        assert!(is_harmless(Path::new(".git"), &was, &more));
        assert!(!is_harmless(
            Path::new(".git"),
            &was,
            &config("[core]\n\tfsmonitor = other\n")
        ));
    }

    #[test]
    fn an_entry_for_a_work_tree_may_lead_to_its_own_repository_alone() {
        let leads = |to: &str| -> Tree {
            let content = to.as_bytes().to_vec();
            let entry = Entry::File {
                content,
                executable: false,
            };
            [("commondir".into(), entry)].into()
        };
        let entry = Path::new(".git/worktrees/a");
        assert!(is_harmless(entry, &Tree::new(), &leads("../..\n")));
        assert!(!is_harmless(entry, &Tree::new(), &leads("../../e\n")));
    }
}
