//! A run's lease: the connection on which `countersign run` began it. The run's
//! ports come by it. When it closes, the run is over; when the run is over, it
//! says so.

use super::control::failed;
use super::folders::Taken;
use super::{Authority, placeholders, wire};
use crate::exit;
use crate::handover;
use crate::home::make_private;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_broker::{Countersigner as _, Run, Secret};
use countersign_gateway_http::{Limits, Ports, RunCa, RunGateway};
use countersign_model::{AgentId, Foreign, ReasonCode, RunFacts, RunId};
use countersign_protocol::control::{Ask, Loopback, Reply, RunBegun};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::unix::ReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How long a launcher may take to end its run after it was told to; then it is
/// ended, and the run with it.
const OBEYS: Duration = Duration::from_secs(1);
/// How long the kernel may take to close what an ended launcher held.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What `countersign run` asked for.
pub(super) struct Wanted {
    pub(super) agent: AgentId,
    pub(super) task: Foreign,
    pub(super) argv: Vec<Foreign>,
    pub(super) folder: Foreign,
    pub(super) contained: bool,
    pub(super) loopback: bool,
}

/// Process ids of the launchers of live runs: their children may not command
/// the authority.
#[derive(Debug, Default)]
pub(crate) struct Launchers(Mutex<Vec<i32>>);

impl Launchers {
    /// Whether this process launched a live run.
    pub(super) fn has(&self, pid: i32) -> bool {
        self.all().contains(&pid)
    }
    fn all(&self) -> MutexGuard<'_, Vec<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a run and holds it until its connection closes.
pub(super) async fn hold(
    authority: &Arc<Authority>,
    mut stream: UnixStream,
    wanted: Wanted,
) -> io::Result<()> {
    let launcher = stream.peer_cred()?.pid();
    // Its own handle, so that it is this process that is ended and no other
    // that has its number by then.
    let handle = launcher
        .and_then(rustix::process::Pid::from_raw)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let begun = match begin(authority, wanted).await {
        Ok(begun) => begun,
        Err((code, sentence)) => return wire::write(&mut stream, &failed(code, sentence)).await,
    };
    let _launcher = launcher.map(|pid| Launcher::new(authority, pid));
    let Begun {
        run,
        reply,
        folder: _folder,
        taken: _taken,
        gateway: _gateway,
        ports,
    } = begun;
    let end = match wire::write(&mut stream, &reply).await {
        Err(_) => End::because("its launcher was gone before it began"),
        Ok(()) => until_over(&mut stream, &run, handle.as_ref(), ports).await,
    };
    authority
        .broker
        .end_run(&run.facts.run, end.exit_code, end.why);
    Ok(())
}

/// How a run ended.
struct End {
    why: &'static str,
    exit_code: Option<i32>,
}

impl End {
    const BROKEN: Self = Self::because("its launcher broke the protocol");
    const GONE: Self = Self::because("its launcher ended");

    const fn because(why: &'static str) -> Self {
        Self {
            why,
            exit_code: None,
        }
    }
}

/// Waits for the end, from whichever side it comes.
async fn until_over(
    stream: &mut UnixStream,
    run: &Run,
    launcher: Option<&OwnedFd>,
    ports: Option<Handing>,
) -> End {
    let (mut read, mut write) = stream.split();
    // One from beginning to end: what the stop comes between is half read.
    let heeded = heed(&mut read, run.facts.contained, ports);
    tokio::pin!(heeded);
    tokio::select! {
        end = &mut heeded => return end,
        () = run.cut.cancelled() => {}
    }
    let kill = Reply::RunKill {
        why: "stopped by the user".into(),
    };
    // A launcher that is gone has taken its run with it.
    let _ = wire::write(&mut write, &kill).await;
    let exit_code = match tokio::time::timeout(OBEYS, &mut heeded).await {
        Ok(end) => end.exit_code,
        // It does not listen (a shell may have suspended it). The run dies with
        // it: bubblewrap is told to die with its parent.
        Err(_) => {
            if let Some(launcher) = launcher {
                let _ = pidfd_send_signal(launcher, Signal::KILL);
                let _ = tokio::time::timeout(LAST_WORDS, heeded).await;
            }
            None
        }
    };
    End {
        why: "stopped",
        exit_code,
    }
}

/// Does what the launcher says, until that is the end.
async fn heed(lease: &mut ReadHalf<'_>, contained: bool, mut ports: Option<Handing>) -> End {
    loop {
        match wire::read::<Ask>(lease).await {
            Ok(Some(Ask::EndRun { exit_code })) => {
                return End {
                    why: "its command ended",
                    exit_code,
                };
            }
            Ok(Some(Ask::Listening {})) => {
                let Some(ports) = ports.take() else {
                    return End::BROKEN;
                };
                match take_ports((*lease).as_ref(), contained, &ports.lane).await {
                    // A gateway that has ended closes them.
                    Ok(taken) => drop(ports.to.send(taken)),
                    Err(e) if e.kind() == io::ErrorKind::InvalidInput => return End::BROKEN,
                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return End::GONE,
                    Err(_) => return End::because("its ports could not be taken"),
                }
            }
            Ok(Some(_)) => return End::BROKEN,
            Ok(None) | Err(_) => return End::GONE,
        }
    }
}

async fn take_ports(lease: &UnixStream, contained: bool, lane: &Handle) -> io::Result<Ports> {
    let sockets = handover::take(lease).await?;
    let uid = nix::unistd::getuid().as_raw();
    lane.spawn(Ports::handed_over(sockets, contained, uid))
        .await
        .map_err(io::Error::other)?
}

struct Begun {
    run: Arc<Run>,
    reply: Reply,
    folder: RunFolder,
    /// The working folder, as long as it is this agent's.
    taken: Option<Taken>,
    gateway: Serving,
    /// Where the run's ports go when they come. `None` when none are to come.
    ports: Option<Handing>,
}

/// Where a run's ports go.
struct Handing {
    to: oneshot::Sender<Ports>,
    /// The run's lane.
    lane: Handle,
}

async fn begin(authority: &Arc<Authority>, wanted: Wanted) -> Result<Begun, (u8, String)> {
    let broker = &authority.broker;
    let internal =
        |e: &dyn std::fmt::Display| (exit::FAILED, format!("The run could not be begun: {e}"));
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|e| internal(&e))?;
    let taken = wanted
        .contained
        .then(|| authority.folders.take(&wanted.agent, &wanted.folder))
        .transpose()
        .map_err(|sentence| (exit::FAILED, sentence))?;
    let door = if wanted.loopback {
        Some(Door::open(authority)?)
    } else {
        None
    };
    let facts = RunFacts {
        run: RunId::from_random(random),
        agent: wanted.agent,
        task: wanted.task,
        argv: wanted.argv,
        folder: wanted.folder,
        contained: wanted.contained,
    };
    let folder = RunFolder::make(&authority.home.runs().join(facts.run.as_str()))
        .map_err(|e| internal(&e))?;
    let socket = folder.0.join("gateway.sock");
    let (http, lane) = authority.lanes.next().map_err(|e| internal(&e))?;
    let listener = {
        let _there = lane.enter();
        UnixListener::bind(&socket).map_err(|e| internal(&e))?
    };
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))
        .map_err(|e| internal(&e))?;
    let ca_file = folder.0.join("ca.pem");

    let agent = facts.agent.clone();
    let run = broker
        .begin_run(facts)
        .await
        .map_err(|reason| refused(reason, &agent))?;
    let accounts = broker.accounts(&run.facts.run);
    let ended = |e: &dyn std::fmt::Display| {
        broker.end_run(&run.facts.run, None, "it could not be begun");
        internal(e)
    };
    let ca = RunCa::for_accounts(&accounts).map_err(|e| ended(&e))?;
    let ca_pem = ca.cert_pem().to_owned();
    let gateway = RunGateway {
        run: run.facts.run.clone(),
        ca,
        port: Arc::new(broker.clone()),
        limits: Limits::default(),
    };
    let mut loopback = None;
    let mut ports = None;
    let serving = Serving(match door {
        None => {
            let (sender, to_come) = oneshot::channel();
            ports = Some(sender);
            lane.spawn(async move { http.serve_run(listener, to_come, gateway).await })
        }
        Some(door) => {
            std::fs::write(&ca_file, &ca_pem).map_err(|e| ended(&e))?;
            loopback = Some(Loopback {
                port: door.port,
                token: door.token.clone(),
                ca_file: ca_file.to_string_lossy().into_owned(),
            });
            let (token, uid) = (Secret::new(door.token.into_bytes()), nix::unistd::getuid());
            let ports = Ports::of_user(door.listener, uid.as_raw()).map_err(|e| ended(&e))?;
            lane.spawn(async move { http.serve_tcp(ports, gateway, token).await })
        }
    });
    let reply = Reply::RunBegun(Box::new(RunBegun {
        run: run.facts.run.clone(),
        gateway: socket.to_string_lossy().into_owned(),
        ca_pem,
        ports: host_ports(&accounts),
        placeholders: placeholders::variables(&accounts),
        placeholder_files: placeholders::files(&accounts),
        without_credential: accounts
            .iter()
            .filter(|view| !view.account.is_site() && view.credential.is_none())
            .map(|view| view.account.id.clone())
            .collect(),
        recipe: authority
            .broker
            .force()
            .and_then(|force| force.config.agents.get(&run.facts.agent)?.recipe),
        kept: authority
            .home
            .kept(&run.facts.agent)
            .to_string_lossy()
            .into_owned(),
        hidden: authority
            .home
            .hidden()
            .iter()
            .map(|p| p.to_string_lossy().into_owned())
            .collect(),
        loopback,
    }));
    Ok(Begun {
        run,
        reply,
        folder,
        taken,
        gateway: serving,
        ports: ports.map(|to| Handing { to, lane }),
    })
}

fn refused(reason: ReasonCode, agent: &AgentId) -> (u8, String) {
    match reason {
        ReasonCode::Stopped => (
            exit::STOPPED,
            "The stop is engaged. Go on with: countersign resume".into(),
        ),
        ReasonCode::NotAssigned => (
            exit::FAILED,
            format!(
                "No agent {agent} is in the accepted configuration. Add it with: countersign agent add {agent}"
            ),
        ),
        ReasonCode::NotAccepted => (
            exit::FAILED,
            "No configuration is in force. See: countersign config check".into(),
        ),
        ReasonCode::LedgerFailed => (
            exit::FAILED,
            "The audit trail cannot be written, so no run begins. See: countersign status".into(),
        ),
        other => (
            exit::FAILED,
            format!("The run could not be begun ({other})."),
        ),
    }
}

/// A port on loopback for an agent that nobody launches, and its token.
struct Door {
    listener: std::net::TcpListener,
    port: u16,
    token: String,
}

impl Door {
    /// How many runs may listen at once: ports from the configured one on.
    const PORTS: u16 = 16;

    fn open(authority: &Authority) -> Result<Self, (u8, String)> {
        let failed = |sentence: String| (exit::FAILED, sentence);
        let first = authority.broker.force().and_then(|f| f.config.gateway.tcp);
        let first = first.ok_or_else(|| {
            failed("Loopback TCP is switched off. Switch it on in countersign.toml ([gateway] tcp = 8807), and accept that.".into())
        })?;
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|e| failed(format!("The run could not be begun: {e}")))?;
        for port in first..=first.saturating_add(Self::PORTS - 1) {
            if let Ok(listener) = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                return Ok(Self {
                    listener,
                    port,
                    token: URL_SAFE_NO_PAD.encode(random),
                });
            }
        }
        Err(failed(format!(
            "None of the {} ports from {first} on is free.",
            Self::PORTS
        )))
    }
}

/// The ports at which the run's programs find its accounts' and sites' hosts. Those
/// of HTTP are always among them, so that whoever tries another host, or the wrong
/// scheme, is told.
fn host_ports(accounts: &[countersign_broker::AccountView]) -> Vec<u16> {
    let mut ports = vec![443, 80];
    ports.extend(accounts.iter().map(|view| view.account.port));
    let mut seen = std::collections::HashSet::new();
    ports.retain(|port| seen.insert(*port));
    ports
}

/// The folder of a run's sockets; gone with the run.
struct RunFolder(PathBuf);

impl RunFolder {
    fn make(path: &Path) -> Result<Self, crate::home::HomeError> {
        make_private(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The task that serves a run's gateway; ended with the run.
struct Serving(tokio::task::JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps a launcher's process id listed while its run lives.
struct Launcher {
    authority: Arc<Authority>,
    pid: i32,
}

impl Launcher {
    fn new(authority: &Arc<Authority>, pid: i32) -> Self {
        authority.launchers.all().push(pid);
        Self {
            authority: Arc::clone(authority),
            pid,
        }
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let mut all = self.authority.launchers.all();
        if let Some(place) = all.iter().position(|&p| p == self.pid) {
            all.swap_remove(place);
        }
    }
}
