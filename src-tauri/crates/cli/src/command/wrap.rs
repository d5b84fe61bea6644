//! `countersign wrap claude`: afterwards `claude`, typed as ever, is contained.
//!
//! A launcher of this name lies in a folder of Countersign's, which comes first
//! in `PATH`. In a run that folder does not exist, so that the same name leads to
//! the program itself.

use super::ask::home;
use crate::client::Failure;
use crate::home::{Home, make_private};
use crate::say;
use crate::serve::accepted;
use countersign_model::{AgentId, Recipe};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// By this line a launcher is known to be ours.
const MARK: &str = "# Written by: countersign wrap";
/// By these, what we added to a start-up file.
const BEGIN: &str = "# countersign wrap: contained programs come first";
const END: &str = "# countersign wrap: end";

/// What to do.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) program: String,
    /// Say yes beforehand to a line in the shell's start-up file.
    pub(crate) path: bool,
    pub(crate) undo: bool,
}

pub(crate) fn wrap(wish: &Wish) -> Result<(), Failure> {
    let home = home()?;
    let name: AgentId = wish.program.parse().map_err(|rule| {
        Failure::usage(format!("{} is no name of a program: {rule}", wish.program))
    })?;
    let launcher = home.wrapped().join(name.as_str());
    if wish.undo {
        return undo(&home, &launcher);
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    if found(&without(&search, &home.wrapped()), name.as_str()).is_none() {
        return Err(Failure::new(format!("There is no {name} in your PATH.")));
    }
    let has_recipe = name.as_str().parse::<Recipe>().is_ok();
    if !has_recipe && accepted::read_disk(&home).is_ok_and(|c| !c.config.agents.contains_key(&name))
    {
        return Err(Failure::new(format!(
            "{name} has no recipe, and there is no agent of this name. Add it with: countersign agent add {name}"
        )));
    }
    let this = std::env::current_exe().map_err(|e| Failure::new(format!("This program: {e}")))?;
    make_private(&home.wrapped()).map_err(|e| Failure::new(e.to_string()))?;
    write(&launcher, &script(&this, name.as_str()))?;
    say::line(&format!("{} starts {name} in a run.", launcher.display()));
    if found(&search, name.as_str()).as_deref() == Some(launcher.as_path()) {
        return Ok(());
    }
    come_first(&home, wish.path)
}

/// What the launcher does.
fn script(countersign: &Path, name: &str) -> String {
    let countersign = quoted(&countersign.to_string_lossy());
    format!(
        "#!/bin/sh\n{MARK} {name} (undo: countersign wrap --undo {name})\n\
         exec {countersign} run --agent {name} -- {name} \"$@\"\n"
    )
}

/// As one word of a shell's.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Writes the launcher. What somebody else put there stays.
fn write(launcher: &Path, script: &str) -> Result<(), Failure> {
    if !is_ours_or_none(launcher)? {
        return Err(Failure::new(format!(
            "{} was not written by countersign wrap, and is left as it is.",
            launcher.display()
        )));
    }
    let say = |e: io::Error| Failure::new(format!("{}: {e}", launcher.display()));
    let beside = launcher.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o700)
        .open(&beside)
        .map_err(say)?;
    file.write_all(script.as_bytes()).map_err(say)?;
    fs::rename(&beside, launcher).map_err(say)
}

fn is_ours_or_none(launcher: &Path) -> Result<bool, Failure> {
    match launcher.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Ok(found) if found.is_file() => Ok(fs::read_to_string(launcher).is_ok_and(|text| {
            text.lines()
                .nth(1)
                .is_some_and(|line| line.starts_with(MARK))
        })),
        Ok(_) => Ok(false),
        Err(e) => Err(Failure::new(format!("{}: {e}", launcher.display()))),
    }
}

fn undo(home: &Home, launcher: &Path) -> Result<(), Failure> {
    if launcher.symlink_metadata().is_err() {
        return Err(Failure::new(format!(
            "{} is not there.",
            launcher.display()
        )));
    }
    if !is_ours_or_none(launcher)? {
        return Err(Failure::new(format!(
            "{} was not written by countersign wrap, and is left as it is.",
            launcher.display()
        )));
    }
    fs::remove_file(launcher).map_err(|e| Failure::new(format!("{}: {e}", launcher.display())))?;
    say::line(&format!("{} is gone.", launcher.display()));
    let is_last = fs::read_dir(home.wrapped()).is_ok_and(|mut left| left.next().is_none());
    if let Some(file) = start_up_file()
        && is_last
        && let Ok(text) = fs::read_to_string(&file)
        && let Some(rest) = without_ours(&text)
    {
        fs::write(&file, rest).map_err(|e| Failure::new(format!("{}: {e}", file.display())))?;
        say::line(&format!("Its lines in {} are gone too.", file.display()));
    }
    Ok(())
}

/// Has the folder come first in `PATH`, if the human says so.
fn come_first(home: &Home, agreed: bool) -> Result<(), Failure> {
    let folder = home.wrapped();
    let line = format!(
        "export PATH={}:\"$PATH\"",
        quoted(&folder.to_string_lossy())
    );
    let by_hand = format!("Put it first in your PATH, in a start-up file of your shell:\n  {line}");
    let Some(file) = start_up_file() else {
        say::line(&by_hand);
        return Ok(());
    };
    let say = |e: io::Error| Failure::new(format!("{}: {e}", file.display()));
    let is_there = fs::read_to_string(&file).is_ok_and(|text| text.contains(BEGIN));
    let question = format!("Add to {}: {line} ? [y/N] ", file.display());
    if !(is_there || agreed || is_agreed(&question)) {
        say::line(&by_hand);
        return Ok(());
    }
    if !is_there {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&file)
            .map_err(say)?;
        write!(file, "\n{BEGIN}\n{line}\n{END}\n").map_err(say)?;
    }
    say::line(&format!(
        "{} puts it first in the PATH of every shell that is opened from now on.",
        file.display()
    ));
    Ok(())
}

/// The file that the user's shell reads when it begins; of shells that we know.
fn start_up_file() -> Option<PathBuf> {
    let shell = PathBuf::from(std::env::var_os("SHELL")?);
    let name = match shell.file_name()?.to_str()? {
        "bash" => ".bashrc",
        "zsh" => ".zshrc",
        "sh" | "dash" | "ksh" => ".profile",
        _ => return None,
    };
    Some(std::env::home_dir()?.join(name))
}

/// Only a person at a terminal can say yes here.
fn is_agreed(question: &str) -> bool {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return false;
    }
    say::notice(question);
    let mut line = String::new();
    io::stdin().read_line(&mut line).is_ok() && matches!(line.trim(), "y" | "Y" | "yes")
}

/// The text without what we added; `None` when nothing of it is ours.
fn without_ours(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(&format!("\n{BEGIN}\n"))?;
    let (_, after) = rest.split_once(&format!("{END}\n"))?;
    Some(format!("{before}{after}"))
}

/// Where a program is found.
fn found(search: &OsStr, name: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(search)
        .map(|folder| folder.join(name))
        .find(is_program)
}

/// A search path without this folder: whoever starts a program past its launcher
/// looks there.
pub(super) fn without(search: &OsStr, folder: &Path) -> std::ffi::OsString {
    let kept = std::env::split_paths(search).filter(|entry| entry != folder);
    std::env::join_paths(kept).unwrap_or_else(|_| search.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_to_a_start_up_file_is_taken_out_and_nothing_else() {
        let before = "alias a=b\n";
        let text = format!("{before}\n{BEGIN}\nexport PATH='x':\"$PATH\"\n{END}\nafter\n");
        assert_eq!(without_ours(&text).unwrap(), "alias a=b\nafter\n");
        assert_eq!(without_ours(before), None);
    }

    #[test]
    fn a_launcher_of_somebody_elses_is_neither_replaced_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let launcher = folder.path().join("claude");
        write(
            &launcher,
            &script(Path::new("/opt/it's/countersign"), "claude"),
        )
        .unwrap();
        write(&launcher, "#!/bin/sh\n").unwrap();
        assert!(write(&launcher, "x").is_err());
        assert_eq!(fs::read_to_string(&launcher).unwrap(), "#!/bin/sh\n");
        fs::remove_file(&launcher).unwrap();
        std::os::unix::fs::symlink("/bin/true", &launcher).unwrap();
        assert!(write(&launcher, "x").is_err());
    }

    #[test]
    fn a_search_path_is_looked_through_without_the_launchers() {
        let search = OsStr::new("/a:/launchers:/b");
        assert_eq!(
            without(search, Path::new("/launchers")),
            OsStr::new("/a:/b")
        );
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
