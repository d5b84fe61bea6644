//! The folders that an agent keeps between its runs: made once, seeded from the
//! user's own, and from then on the agent's alone.

use super::{Facts, Folder, seed};
use countersign_containment::{OwnFile, OwnFolder};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// What a run gets by its recipe.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) own: Vec<OwnFolder>,
    pub(crate) files: Vec<OwnFile>,
    pub(crate) environment: Vec<(String, String)>,
    /// What was taken over from the user's folders just now, for people.
    pub(crate) taken_over: Vec<String>,
}

/// The folders as a run has them; they may not be there yet.
pub(crate) fn folders(facts: &Facts, kept: &Path) -> Vec<OwnFolder> {
    let own = |folder: &Folder| OwnFolder {
        kept: kept.join(folder.place),
        below_home: folder.place.into(),
    };
    facts.folders.iter().map(own).collect()
}

/// Lays everything out; what is there already stays as it is. `kept` is the
/// folder of what this agent keeps, `home` the user's home folder.
///
/// Nothing is ever written to a folder that an agent could have written to: what
/// it made there (a link, say) would decide where that goes.
pub(crate) fn lay_out(facts: &Facts, kept: &Path, home: &Path) -> io::Result<Kept> {
    let mut all = Kept {
        own: folders(facts, kept),
        ..Kept::default()
    };
    for folder in facts.folders {
        let place = kept.join(folder.place);
        if !is_there(&place)? {
            let taken = make(folder, &place, &home.join(folder.place))?;
            let named = taken
                .iter()
                .map(|name| format!("~/{}/{name}", folder.place));
            all.taken_over.extend(named);
        }
    }
    all.files = facts
        .files
        .iter()
        .map(|(path, content)| OwnFile {
            path: path.into(),
            content: (*content).to_owned(),
        })
        .collect();
    all.environment = facts
        .environment
        .iter()
        .map(|(name, value)| {
            let value = match value.strip_prefix("~/") {
                Some(below) => home.join(below).to_string_lossy().into_owned(),
                None => (*value).to_owned(),
            };
            ((*name).to_owned(), value)
        })
        .collect();
    Ok(all)
}

fn is_there(place: &Path) -> io::Result<bool> {
    match place.symlink_metadata() {
        Ok(found) if found.is_dir() => Ok(true),
        Ok(_) => Err(io::Error::other(format!(
            "{} is no folder",
            place.display()
        ))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Makes a folder beside its place, and moves it there whole: of two runs that
/// begin at once, the first to be done wins.
fn make(folder: &Folder, place: &Path, users: &Path) -> io::Result<Vec<String>> {
    let parent = place.parent().unwrap_or(place);
    private(parent)?;
    let beside = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(parent)?;
    let mut taken = Vec::new();
    for each in folder.seeds {
        taken.extend(seed::take_over(each, users, beside.path())?);
    }
    for (name, content) in folder.first {
        seed::write(&beside.path().join(name), content.as_bytes())?;
    }
    let made: PathBuf = beside.keep();
    match fs::rename(&made, place) {
        Ok(()) => Ok(taken),
        Err(e) => {
            let _ = fs::remove_dir_all(&made);
            if is_there(place)? {
                Ok(Vec::new())
            } else {
                Err(e)
            }
        }
    }
}

fn private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::facts;
    use countersign_model::Recipe;

    #[test]
    fn an_agents_folders_are_seeded_once_without_credentials_and_then_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let (home, kept) = (root.path().join("home"), root.path().join("kept"));
        for (name, text) in [
            (".claude/CLAUDE.md", "Be brief."),
            (".claude/.credentials.json", "secret-a"),
            (
                ".claude/settings.json",
                r#"{"theme":"dark","env":{"T":"secret-b"}}"#,
            ),
            (".claude/projects/x.jsonl", "secret-c"),
        ] {
            seed::write(&home.join(name), text.as_bytes()).unwrap();
        }
        let claude = facts(Recipe::Claude);
        let first = lay_out(claude, &kept, &home).unwrap();
        assert_eq!(
            first.taken_over,
            ["~/.claude/CLAUDE.md", "~/.claude/settings.json"]
        );
        let place = kept.join(".claude");
        assert_eq!(first.own[0].kept, place);
        let read = |name: &str| fs::read_to_string(place.join(name)).unwrap();
        assert_eq!(read("settings.json"), r#"{"theme":"dark"}"#);
        assert!(read(".claude.json").contains("hasCompletedOnboarding"));
        let names = fs::read_dir(&place).unwrap().count();
        assert_eq!(names, 3, "nothing else came along");

        fs::write(place.join("settings.json"), "the agent's own").unwrap();
        let again = lay_out(claude, &kept, &home).unwrap();
        assert!(again.taken_over.is_empty());
        assert_eq!(read("settings.json"), "the agent's own");
        let config = home.join(".claude").to_string_lossy().into_owned();
        assert!(
            again
                .environment
                .contains(&("CLAUDE_CONFIG_DIR".into(), config))
        );
    }

    #[test]
    fn agents_that_begin_at_once_share_one_folder() {
        let root = tempfile::tempdir().unwrap();
        let (home, kept) = (root.path().join("home"), root.path().join("kept"));
        seed::write(&home.join(".codex/AGENTS.md"), b"words").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| lay_out(facts(Recipe::Codex), &kept, &home).unwrap());
            }
        });
        let left = fs::read_dir(&kept).unwrap().count();
        assert_eq!(left, 1, "nothing half made is left");
        assert!(kept.join(".codex/AGENTS.md").is_file());
    }
}
