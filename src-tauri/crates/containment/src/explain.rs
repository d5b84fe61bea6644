//! What a run will and will not reach, in words, before it begins.

use crate::places::{Owner, Places};
use crate::{ContainmentError, RunSpec};

/// What a contained run of this spec can reach and what it cannot, one sentence
/// a line. It begins nothing.
///
/// # Errors
/// The refusal that starting the run would meet because of its folders.
pub fn explain(spec: &RunSpec) -> Result<Vec<String>, ContainmentError> {
    let owner = Owner::of_this_process().map_err(ContainmentError::system("look up this user"))?;
    let places = Places::of(&owner, |name| std::env::var_os(name), &spec.hidden);
    let folder = places.working_folder(&spec.folder)?;
    let mut lines = vec![
        format!("It reads and writes {}.", folder.display()),
        "It reads the system's programs (/usr) and a few settings of /etc.".to_owned(),
    ];
    if folder.join(".git").is_dir() {
        lines.push("It cannot change this repository's git hooks and git config.".into());
    } else if folder.join(".git").is_file() {
        lines.push(
            "git will not work in it: this folder is a linked worktree, and its repository lies elsewhere."
                .into(),
        );
    }
    lines.push(
        "It can change everything else there: look at build files and editor settings before you run them yourself."
            .into(),
    );
    for (seen, _) in &places.tool_chains {
        lines.push(format!("It reads the tool chain {}.", seen.display()));
    }
    for path in &spec.read_only {
        lines.push(format!("It reads {}.", places.readable(path)?.display()));
    }
    lines.extend([
        format!("Its home folder {} is empty, and is gone when the run ends.", owner.home.display()),
        "It sees none of your keys, tokens, keyrings, browser profiles or histories, and nothing of Countersign's."
            .to_owned(),
        "It reaches no session bus, display, SSH agent, container engine or other socket of yours.".to_owned(),
        "It reaches no network but its gateway: the accounts and sites of its agent, judged request by request."
            .to_owned(),
        "Whatever an account or site that you allow accepts, it can send there.".to_owned(),
        format!(
            "It has at most {} processes, and each at most {} MiB of memory and {} open files.",
            spec.limits.processes,
            spec.limits.memory_bytes >> 20,
            spec.limits.open_files
        ),
        "Debuggers (ptrace) and programs of other architectures do not work in it.".to_owned(),
        "Stopping it kills every process it has started, at once.".to_owned(),
    ]);
    Ok(lines)
}
