//! What a run will and will not reach, in words, before it begins.

use crate::places::{Owner, Places};
use crate::walk::walk;
use crate::{ContainmentError, RunSpec, Support, platform};

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
        format!(
            "It reads and writes {}, and any secret that lies there (a .env file, say).",
            folder.display()
        ),
        "It reads the system's programs (/usr) and a few settings of /etc.".to_owned(),
    ];
    lines.extend(walls());
    if folder.join(".git").is_file() {
        lines.push(
            "git will not work in it: this folder is a linked worktree, and its repository lies elsewhere."
                .into(),
        );
    }
    lines.push(
        "What your other programs would execute is a copy of its own there, until you accept it at the run's end: git's settings and hooks, .envrc, .mcp.json, and the settings of editors and agents (.vscode, .idea, .claude, .cursor, .codex, .gemini, …). An .envrc or .mcp.json that was not there before, and what it makes in folders below, is there until then. In a repository below that was there before, `git config` does not work."
            .into(),
    );
    lines.push(
        "Repositories and settings that it makes in other folders below, and Python's *.pth, are taken away at its end until you accept them. (Not those of a virtual environment that it makes as a whole, where there was none and no Python of yours looks: whatever you run of that, or your editor does, is its work.) While it goes on they are there: use neither git nor an editor in folders that it makes."
            .into(),
    );
    lines.push(
        "It can change everything else there. Build files, CI and agents' instructions that changed are listed at its end."
            .into(),
    );
    let found =
        walk(&folder).map_err(ContainmentError::system("look through the working folder"))?;
    for socket in &found.sockets {
        lines.push(format!(
            "It cannot connect to {}: an empty file lies over it.",
            socket.display()
        ));
    }
    for (seen, _) in &places.tool_chains {
        lines.push(format!("It reads the tool chain {}.", seen.display()));
    }
    for path in &spec.read_only {
        lines.push(format!("It reads {}.", places.readable(path)?.display()));
    }
    for path in places.not_to_be_changed_in(&folder) {
        lines.push(format!(
            "It reads {}, which it cannot change: your own programs start from there.",
            path.display()
        ));
    }
    for own in &spec.own {
        lines.push(format!(
            "It reads and writes ~/{}, which is the agent's own: it lies in {}, is there in its next run, and nobody else's programs look into it.",
            own.below_home.display(),
            own.kept.display()
        ));
    }
    for port in &spec.shown {
        lines.push(format!(
            "Its port {port} is shown at 127.0.0.1:{port} of this machine, to you alone. What it serves there your browser runs, and sends along what other servers at that address have set as cookies."
        ));
    }
    for port in &spec.host_ports {
        lines.push(format!(
            "It reaches port {port} of this machine's loopback: what listens there is told whatever the agent likes, unread, without a question."
        ));
    }
    let reaches = match spec.host_ports.as_slice() {
        [] => "It reaches",
        _ => "Besides that it reaches",
    };
    lines.extend([
        format!(
            "Its home folder {} is empty but for that, and what else it writes there is gone when the run ends.",
            owner.home.display()
        ),
        "It sees none of your keys, tokens, keyrings, browser profiles or histories, and nothing of Countersign's."
            .to_owned(),
        "It reaches no session bus, display, SSH agent, container engine or other socket of yours.".to_owned(),
        format!(
            "{reaches} no network but its gateway: the accounts and sites of its agent, judged request by request."
        ),
        "Programs that ignore proxies come by the gateway too; every name leads there. The ports of those hosts, 80 and 443 among them, cannot be used by servers of its own."
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

/// What a run stands behind on this machine.
fn walls() -> Vec<String> {
    match platform().support() {
        Support::Contained { layers } => vec![format!("Its walls: {}.", layers.join("; "))],
        Support::NotContained { why, fix } => vec![
            format!("It would not be contained here, and is not begun: {why}."),
            format!("{fix}."),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(folder: &std::path::Path) -> RunSpec {
        RunSpec {
            argv: vec!["agent".into()],
            folder: folder.into(),
            gateway: "/nowhere/gateway".into(),
            ask: None,
            ca_pem: String::new(),
            placeholders: Vec::new(),
            program: "/nowhere/program".into(),
            limits: crate::Limits::default(),
            hidden: Vec::new(),
            read_only: Vec::new(),
            keep: None,
            ports: Vec::new(),
            shown: Vec::new(),
            host_ports: Vec::new(),
            own: Vec::new(),
            files: Vec::new(),
            group: None,
            ends_with: None,
        }
    }

    #[test]
    fn the_explanation_names_the_folder_and_the_only_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let words = explain(&spec(folder.path())).unwrap().join("\n");
        assert!(words.contains(folder.path().to_str().unwrap()), "{words}");
        assert!(words.contains("no network but its gateway"), "{words}");
        let walls = if nix::unistd::Uid::effective().is_root() {
            "It would not be contained here, and is not begun: root cannot be contained"
        } else {
            "(Landlock)"
        };
        assert!(words.contains(walls), "{words}");
    }

    #[test]
    fn a_folder_that_would_be_refused_is_refused_here_too() {
        assert!(explain(&spec(std::path::Path::new("/"))).is_err());
    }
}
