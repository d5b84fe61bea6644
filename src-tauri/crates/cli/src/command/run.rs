//! `countersign run`: asks the authority for a run, contains the command, and
//! holds the lease until it ends. Without the authority there is no run.

use super::ask::home;
use super::{propose, wrap};
use crate::caches;
use crate::cli::Run;
use crate::client::{Client, Failure};
use crate::exit;
use crate::handover;
use crate::recipe;
use crate::say;
use crate::serve::accepted;
use countersign_containment::{
    Exit, FreezerKind, Group, HandOver, HandedOver, Limits, OwnFile, RunSpec, Running, Support,
    explain, platform, read_plain, uncontained,
};
use countersign_model::{AgentId, Foreign, Recipe, StopMeans};
use countersign_protocol::control::{Ask, Reply, RunBegun};
use countersign_protocol::frame;
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// `.git/HEAD` is one line.
const HEAD_BYTES: u64 = 4096;

/// How long a run that was killed waits to hear by whom.
const BY_WHOM: Duration = Duration::from_secs(1);

/// Runs the command to its end and gives its exit code.
pub(crate) fn run(wanted: Run) -> ExitCode {
    match begin_and_wait(wanted) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn begin_and_wait(wanted: Run) -> Result<ExitCode, Failure> {
    let folder =
        std::env::current_dir().map_err(|e| Failure::new(format!("The working folder: {e}")))?;
    let agent = agent_of(&wanted)?;
    if wanted.explain {
        return explain_only(&agent, wanted, folder);
    }
    if !wanted.uncontained && !wanted.loopback {
        // Before anything is begun: what cannot be contained is not run.
        if let Support::NotContained { why, fix } = platform().support() {
            return Err(Failure::new(format!(
                "This run cannot be contained: {why}\n{fix}\nOr run it with --uncontained: it then has everything that you have."
            )));
        }
    }
    let home = home()?;
    if !wanted.uncontained && !wanted.loopback {
        propose::if_new(&home, &agent, &wanted.argv)?;
    }
    super::kept::recover(&home);
    let mut client = Client::connect(&home)?;
    let name = agent.clone();
    let contained = !wanted.uncontained && !wanted.loopback;
    if contained {
        handover::make_room();
    }
    let group = contained.then(Group::make).flatten().map(Arc::new);
    // Taken before it answers, so that it is a handle of who answers.
    let authority = client.authority()?;
    let again = say::command_again(&name, &wanted.argv);
    client.send(&Ask::BeginRun {
        agent,
        task: Foreign::new(wanted.task.unwrap_or_else(|| default_task(&folder))),
        argv: wanted
            .argv
            .iter()
            .map(|a| Foreign::new(a.to_string_lossy()))
            .collect(),
        folder: Foreign::new(folder.to_string_lossy()),
        contained,
        loopback: wanted.loopback,
        stop: match (contained, group.as_deref().map(Group::kind)) {
            (false, _) => StopMeans::Launcher,
            (true, Some(FreezerKind::V2)) => StopMeans::FreezeV2,
            (true, Some(FreezerKind::V1)) => StopMeans::FreezeV1,
            (true, None) => StopMeans::Kill,
        },
    })?;
    let Reply::RunBegun(begun) = client.reply()? else {
        return Err(super::ask::unexpected());
    };
    let mut lease = client.into_stream();
    if let Some(loopback) = &begun.loopback {
        say::loopback(&name, loopback);
        return until_over(&mut lease, &again);
    }
    let again = match begun.recipe {
        Some(recipe) => format!("countersign run {}", recipe::facts(recipe).go_on),
        None => again,
    };
    say::without_credential(&begun.without_credential);
    say_passages(&begun);
    let mut spec = spec(wanted.argv, folder, &begun)?;
    spec.group = group;
    spec.ends_with = Some(Arc::new(authority));
    if !wanted.uncontained {
        what_it_keeps(begun.recipe, Path::new(&begun.kept), &mut spec)?;
    }
    let keep = if wanted.uncontained {
        None
    } else {
        Some(super::kept::make(&home, begun.run.as_str(), &name)?)
    };
    spec.keep.clone_from(&keep);
    let giver = lease.try_clone().map_err(|e| Failure::new(e.to_string()))?;
    let hand_over: HandOver = Box::new(move |handed_over| give(&giver, handed_over));
    let started = if wanted.uncontained {
        say::uncontained();
        keep_orphans()?;
        // The program itself, past its launcher.
        let search = std::env::var_os("PATH").unwrap_or_default();
        let search = wrap::without(&search, &home.wrapped());
        let pair = ("PATH".to_owned(), search.to_string_lossy().into_owned());
        spec.placeholders.push(pair);
        uncontained(spec, hand_over)
    } else {
        platform().spawn(spec, hand_over)
    };
    let running = match started {
        Ok(running) => running,
        Err(error) => {
            // Nothing ran; what was made for it is put back.
            drop(keep);
            super::kept::recover(&home);
            return Err(Failure::new(error.to_string()));
        }
    };
    let tree = running.tree();
    // A tree that is gone already cannot be killed twice.
    let heard = end_with_lease(&lease, move || {
        let _ = tree.kill();
    })?;
    let exit = wait(running)?;
    let stopped = say_end(&mut lease, exit, &heard);
    let settled = keep.map_or(Ok(()), |keep| {
        super::kept::after(&keep, begun.run.as_str(), &name, &home, stopped)
    });
    let settled = settled.map_err(|failure| failure.report());
    if stopped {
        return Err(was_stopped(&again));
    }
    Ok(match (exit.shell_code(), settled) {
        (0, Err(code)) => code,
        (code, _) => ExitCode::from(code),
    })
}

/// Waits for the end of a run that nobody launched. Whoever ends this command
/// ends it too: the lease closes.
fn until_over(lease: &mut UnixStream, again: &str) -> Result<ExitCode, Failure> {
    match frame::read::<Reply>(lease) {
        Ok(Some(Reply::RunKill { .. })) => Err(was_stopped(again)),
        _ => Err(Failure::new(
            "The authority has ended, and the run with it.",
        )),
    }
}

fn was_stopped(again: &str) -> Failure {
    Failure(
        exit::STOPPED,
        format!("The run was stopped. Go on with: countersign resume — and start it anew: {again}"),
    )
}

/// What ends the run first, so that nothing of it is served that cannot be
/// stopped.
fn give(lease: &UnixStream, handed_over: HandedOver<'_>) -> std::io::Result<()> {
    if let Some((init, group)) = handed_over.tree {
        handover::give_tree(lease, init, group)?;
    }
    let passages = handed_over.passages;
    if passages.sockets.is_some() || !passages.listeners.is_empty() {
        handover::give_passages(lease, passages)?;
    }
    handover::give(lease, handed_over.ports)
}

/// What an uncontained run leaves behind becomes a child of this process, not
/// of process 1: as long as the run lives, the authority sees that it is of it.
/// Source: prctl(2), `PR_SET_CHILD_SUBREAPER`.
fn keep_orphans() -> Result<(), Failure> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|e| Failure::new(format!("The run could not be begun: {e}")))?;
    Ok(())
}

/// The agent that was named, or the one that is named like the command.
fn agent_of(wanted: &Run) -> Result<AgentId, Failure> {
    if let Some(agent) = &wanted.agent {
        return Ok(agent.clone());
    }
    wanted
        .argv
        .first()
        .and_then(|program| Path::new(program).file_stem())
        .and_then(|name| name.to_str())
        .and_then(|name| name.parse().ok())
        .ok_or_else(|| Failure::usage("Which agent is it? countersign run --agent NAME -- CMD…"))
}

/// The folder, and the branch where it is a git work tree. Read from the file,
/// since a `git` of the folder's own choosing is not ours to start; an earlier run
/// may have left anything there.
fn default_task(folder: &Path) -> String {
    let name = folder
        .file_name()
        .unwrap_or(folder.as_os_str())
        .to_string_lossy()
        .into_owned();
    let branch = folder
        .ancestors()
        .find_map(|f| read_plain(&f.join(".git/HEAD"), HEAD_BYTES).ok())
        .and_then(|head| String::from_utf8(head).ok());
    match branch
        .as_deref()
        .and_then(|head| head.trim().strip_prefix("ref: refs/heads/"))
    {
        Some(branch) => format!("{name} ({branch})"),
        None => name,
    }
}

fn spec(argv: Vec<OsString>, folder: PathBuf, begun: &RunBegun) -> Result<RunSpec, Failure> {
    Ok(RunSpec {
        argv,
        folder,
        gateway: PathBuf::from(&begun.gateway),
        ask: None,
        ca_pem: begun.ca_pem.clone(),
        placeholders: begun
            .placeholders
            .iter()
            .cloned()
            .chain(begun.placeholder_files.iter().map(|file| {
                let path = laid(&file.name).to_string_lossy().into_owned();
                (file.variable.clone(), path)
            }))
            .collect(),
        program: std::env::current_exe().map_err(|e| Failure::new(format!("This program: {e}")))?,
        limits: Limits::default(),
        hidden: begun.hidden.iter().map(PathBuf::from).collect(),
        read_only: Vec::new(),
        keep: None,
        ports: begun.ports.clone(),
        shown: begun.shown.clone(),
        host_ports: begun.host_ports.clone(),
        own: Vec::new(),
        files: begun
            .placeholder_files
            .iter()
            .map(|file| OwnFile {
                path: laid(&file.name),
                content: file.content.clone(),
            })
            .collect(),
        group: None,
        ends_with: None,
    })
}

/// Where a run finds a file that stands in place of a credential.
fn laid(name: &str) -> PathBuf {
    Path::new("/run/countersign").join(name)
}

/// Where its ports are to be found on this machine.
fn say_passages(begun: &RunBegun) {
    for port in &begun.shown {
        say::notice(&format!(
            "Its port {port} is shown at http://127.0.0.1:{port}"
        ));
    }
    for sentence in &begun.not_shown {
        say::notice(sentence);
    }
}

/// What the agent keeps between its runs: its caches, and by its recipe its
/// settings; and their variables. A variable that stands in place of a credential
/// stays.
fn what_it_keeps(recipe: Option<Recipe>, kept: &Path, spec: &mut RunSpec) -> Result<(), Failure> {
    let home = users_home()?;
    let failed = |e: &dyn std::fmt::Display| {
        Failure::new(format!(
            "What the agent keeps between its runs ({}): {e}",
            kept.display()
        ))
    };
    spec.own
        .extend(caches::lay_out(kept).map_err(|e| failed(&e))?);
    spec.placeholders.splice(0..0, caches::variables(&home));
    let Some(recipe) = recipe else {
        return Ok(());
    };
    let laid = recipe::lay_out(recipe::facts(recipe), kept, &home).map_err(|e| failed(&e))?;
    if !laid.taken_over.is_empty() {
        say::taken_over(&laid.taken_over);
    }
    spec.own.extend(laid.own);
    spec.files.extend(laid.files);
    spec.placeholders.splice(0..0, laid.environment);
    Ok(())
}

fn users_home() -> Result<PathBuf, Failure> {
    std::env::home_dir()
        .and_then(|home| home.canonicalize().ok())
        .ok_or_else(|| Failure::new("There is no home folder."))
}

fn explain_only(agent: &AgentId, wanted: Run, folder: PathBuf) -> Result<ExitCode, Failure> {
    let home = home()?;
    let begun = RunBegun {
        run: countersign_model::RunId::from_random([0; 8]),
        gateway: home
            .runs()
            .join("run/gateway.sock")
            .to_string_lossy()
            .into_owned(),
        ca_pem: String::new(),
        placeholders: Vec::new(),
        ports: Vec::new(),
        shown: Vec::new(),
        not_shown: Vec::new(),
        host_ports: Vec::new(),
        placeholder_files: Vec::new(),
        without_credential: Vec::new(),
        recipe: None,
        kept: String::new(),
        hidden: home
            .hidden()
            .iter()
            .map(|p| p.to_string_lossy().into_owned())
            .collect(),
        loopback: None,
    };
    let kept = home.kept(agent);
    let mut spec = spec(wanted.argv, folder, &begun)?;
    spec.own.extend(caches::folders(&kept));
    let known = accepted::unsealed(&home).and_then(|all| all.config.agents.get(agent).cloned());
    if let Some(known) = known {
        let recipe = known.recipe.map(recipe::facts);
        let folders = recipe.map(|recipe| recipe::folders(recipe, &kept));
        spec.own.extend(folders.into_iter().flatten());
        (spec.shown, spec.host_ports) = (known.ports, known.host_ports);
    }
    for line in explain(&spec).map_err(|e| Failure::new(e.to_string()))? {
        say::line(&line);
    }
    Ok(ExitCode::SUCCESS)
}

/// What a thread on the lease has heard of the stop.
struct Heard {
    stopped: Arc<AtomicBool>,
    /// Ends with that thread.
    over: mpsc::Receiver<()>,
}

/// A thread on the lease: when the authority says so, or is gone, the run ends.
fn end_with_lease(
    lease: &UnixStream,
    kill: impl FnOnce() + Send + 'static,
) -> Result<Heard, Failure> {
    let (sender, over) = mpsc::channel();
    let mut lease = lease.try_clone().map_err(|e| Failure::new(e.to_string()))?;
    let stopped = Arc::new(AtomicBool::new(false));
    let heard = Heard {
        stopped: Arc::clone(&stopped),
        over,
    };
    std::thread::Builder::new()
        .name("lease".into())
        .spawn(move || {
            loop {
                match frame::read::<Reply>(&mut lease) {
                    Ok(Some(Reply::RunFrozen {})) => say::frozen(),
                    Ok(Some(Reply::RunGoesOn { run })) => say::goes_on(&run),
                    Ok(Some(Reply::RunKill { .. })) => {
                        stopped.store(true, Ordering::SeqCst);
                        break;
                    }
                    _ => break,
                }
            }
            // Whatever was heard, the lease is over.
            kill();
            drop(sender);
        })
        .map(|_| heard)
        .map_err(|e| Failure::new(format!("No thread to be had: {e}")))
}

/// Tells the authority how the command ended, and says whether the stop ended it.
fn say_end(lease: &mut UnixStream, exit: Exit, heard: &Heard) -> bool {
    let exit_code = match exit {
        Exit::Code(code) => Some(code),
        Exit::Signal(_) | Exit::Killed => None,
    };
    // The authority may be gone; the run is over either way.
    let _ = frame::write(lease, &Ask::EndRun { exit_code });
    if exit == Exit::Killed {
        // By the authority itself, perhaps, which says so only then.
        let _ = heard.over.recv_timeout(BY_WHOM);
    }
    heard.stopped.load(Ordering::SeqCst)
}

fn wait(running: Running) -> Result<Exit, Failure> {
    running.wait().map_err(|e| Failure::new(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a run that was killed was stopped, and whether its end of the lease has
    /// killed it too. `authority` has the other end.
    fn killed(authority: impl FnOnce(&mut UnixStream) + Send) -> (bool, bool) {
        let (mut lease, mut theirs) = UnixStream::pair().unwrap();
        let killed = Arc::new(AtomicBool::new(false));
        let by_lease = Arc::clone(&killed);
        let heard = end_with_lease(&lease, move || by_lease.store(true, Ordering::SeqCst));
        let stopped = std::thread::scope(|scope| {
            scope.spawn(move || authority(&mut theirs));
            say_end(&mut lease, Exit::Killed, &heard.unwrap())
        });
        (stopped, killed.load(Ordering::SeqCst))
    }

    fn hear_the_end(lease: &mut UnixStream) {
        let said = frame::read::<Ask>(lease).unwrap();
        assert_eq!(said, Some(Ask::EndRun { exit_code: None }));
    }

    #[test]
    fn a_run_that_was_killed_was_stopped_whether_that_is_said_before_its_end_or_after() {
        let kill = |lease: &mut UnixStream| {
            let why = "stopped by the user".into();
            frame::write(lease, &Reply::RunKill { why }).unwrap();
        };
        let before = killed(|lease| {
            kill(lease);
            hear_the_end(lease);
        });
        let after = killed(|lease| {
            hear_the_end(lease);
            kill(lease);
        });
        let never = killed(hear_the_end);
        assert_eq!((before, after), ((true, true), (true, true)));
        assert_eq!(never, (false, true), "by somebody else");
    }

    #[test]
    fn the_task_names_the_branch_and_whatever_was_left_in_its_place_is_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("project");
        let head = folder.join(".git/HEAD");
        std::fs::create_dir_all(folder.join(".git")).unwrap();
        std::fs::write(&head, "ref: refs/heads/main\n").unwrap();
        assert_eq!(default_task(&folder), "project (main)");
        std::fs::remove_file(&head).unwrap();
        let fifo = std::process::Command::new("mkfifo").arg(&head).status();
        assert!(fifo.unwrap().success());
        assert_eq!(default_task(&folder), "project");
        std::fs::remove_file(&head).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &head).unwrap();
        assert_eq!(default_task(&folder), "project");
    }
}
