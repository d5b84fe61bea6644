//! The same command as the plain user. Never called contained.
//!
//! It has proxy and CA variables, and that is all: it can read what the user
//! can read, go around the gateway, and leave its process group. What it does
//! through the gateway is judged and recorded like anything else.

use crate::environment::{self, WayOut};
use crate::relay::{self, Relay};
use crate::session::{die_with_parent, lead};
use crate::terminal;
use crate::tree::Root;
use crate::{
    ContainmentError, Exit, HandOver, HandedOver, ProcessTree, RunSpec, Running, git, trust,
};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError, mpsc};

/// Starts the command as the user. Of the spec it heeds command, folder,
/// gateway, ask socket, CA and placeholders; nothing is hidden or limited.
///
/// The run's port is one of this machine's loopback, which others can reach too:
/// whoever it is handed over to turns other users' processes away.
///
/// # Errors
/// When the command cannot be started.
pub fn uncontained(spec: RunSpec, hand_over: HandOver) -> Result<Running, ContainmentError> {
    let (tell, told) = mpsc::channel();
    let keeper = std::thread::Builder::new()
        .name("run-keeper".into())
        .spawn(move || keep(&spec, hand_over, &tell))
        .map_err(ContainmentError::system("start a thread"))?;
    match told.recv() {
        Ok(tree) => Ok(Running::new(tree, false, keeper)),
        Err(_) => match keeper.join() {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) | Err(_) => Err(ContainmentError::Setup("the launch failed".into())),
        },
    }
}

fn keep(
    spec: &RunSpec,
    hand_over: HandOver,
    tell: &mpsc::Sender<ProcessTree>,
) -> Result<Exit, ContainmentError> {
    let [program, arguments @ ..] = spec.argv.as_slice() else {
        return Err(ContainmentError::Spec("there is no command to run"));
    };
    let certificates = trust::certificates(&spec.ca_pem)
        .ok_or(ContainmentError::Spec("the run's CA is no PEM certificate"))?;
    let kept = tempfile::Builder::new()
        .prefix("countersign-run-")
        .tempdir()
        .map_err(ContainmentError::system("make a temporary folder"))?;
    let write = |name: &str, content: &[u8]| -> Result<PathBuf, ContainmentError> {
        let path = kept.path().join(name);
        std::fs::write(&path, content)
            .map_err(ContainmentError::system("write the run's CA certificate"))?;
        Ok(path)
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(ContainmentError::system("open a port for the gateway"))?;
    let address = listener
        .local_addr()
        .map_err(ContainmentError::system("open a port for the gateway"))?;
    let way_out = WayOut {
        port: address.port(),
        ca_pem: write("ca.pem", trust::pem(&certificates).as_bytes())?,
        ca_jks: write("ca.jks", &trust::jks(&certificates))?,
        ask: spec.ask.clone(),
    };
    let handed_over = HandedOver {
        ports: vec![listener.into()],
        passages: crate::Passages::default(),
        tree: None,
    };
    hand_over(handed_over).map_err(ContainmentError::system("hand the run over"))?;
    let (inner, outer) =
        terminal::arrange().map_err(ContainmentError::system("make a terminal for the run"))?;

    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(spec.placeholders.iter().map(|(name, value)| (name, value)))
        // Who the user is, git reads from the home folder itself here.
        .envs(environment::settings(&way_out, &git::Settings::default()))
        .env("COUNTERSIGN_RUN", "uncontained")
        .current_dir(&spec.folder)
        .stdin(inner.stdin)
        .stdout(inner.stdout)
        .stderr(inner.stderr);
    lead(&mut command, outer.master.is_some(), None);
    die_with_parent(&mut command);
    let caught = relay::catch().map_err(ContainmentError::system("catch signals"))?;
    let spawned = command.spawn();
    drop(command);
    let mut child = spawned.map_err(|source| ContainmentError::Command {
        program: OsString::from(program),
        source,
    })?;
    let leader = Pid::from_child(&child);
    let tree = ProcessTree::new(Root::Group(Mutex::new(Some(leader))));

    let relay = Relay::begin(outer, caught, move |signal| {
        if let Some(signal) = Signal::from_named_raw(signal) {
            let _ = rustix::process::kill_process_group(leader, signal);
        }
    });
    let relay = match relay {
        Ok(relay) => relay,
        Err(source) => {
            let _ = tree.kill();
            let _ = child.wait();
            return Err(ContainmentError::system("relay the run's terminal")(source));
        }
    };
    if tell.send(tree.clone()).is_err() {
        let _ = tree.kill();
    }

    // Seen to end, but not reaped: its number stays its own until nobody can
    // kill by it any more.
    let waiting = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(WaitId::Pid(leader), waiting) {
    }
    let _ = tree.kill();
    #[allow(
        irrefutable_let_patterns,
        reason = "a tree has another root on Linux only"
    )]
    if let Root::Group(leader) = tree.root() {
        *leader.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
    let status = child
        .wait()
        .map_err(ContainmentError::system("wait for the command"));
    relay.end();
    let status = status?;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ok(Exit::Code(code)),
        (None, Some(signal)) => Ok(Exit::Signal(signal)),
        (None, None) => Err(ContainmentError::system("learn how the command ended")(
            io::Error::from(io::ErrorKind::InvalidData),
        )),
    }
}
