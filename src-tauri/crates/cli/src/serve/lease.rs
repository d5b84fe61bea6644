//! A run's lease: the connection on which `countersign run` began it. What ends
//! the run comes by it, and its ports. When it closes, the run is over; when the
//! run is over, it says so (`life`).

use super::control::failed;
use super::folders::Taken;
use super::life::{End, Life};
use super::passages::Passages;
use super::serving::{Own, Serves, Serving};
use super::{Authority, placeholders, wire};
use crate::exit;
use crate::home::make_private;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_broker::{Countersigner as _, Secret};
use countersign_gateway_http::{Checked, Ports, RunCa};
use countersign_model::{AgentId, Foreign, ReasonCode, RunFacts, RunId, StopMeans};
use countersign_protocol::control::{Loopback, Reply, RunBegun};
use rustix::process::{PidfdFlags, pidfd_open};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

/// How long a run that begins waits for its working folder, and how often it looks.
const IS_GIVEN_BACK: Duration = Duration::from_secs(2);
const LOOKS: Duration = Duration::from_millis(50);

/// What `countersign run` asked for.
pub(super) struct Wanted {
    pub(super) agent: AgentId,
    pub(super) task: Foreign,
    pub(super) argv: Vec<Foreign>,
    pub(super) folder: Foreign,
    pub(super) contained: bool,
    pub(super) loopback: bool,
    pub(super) stop: StopMeans,
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
        mut life,
        reply,
        folder: _folder,
        taken: _taken,
        ports,
    } = begun;
    let end = match wire::write(&mut stream, &reply).await {
        Err(_) => End::because("its launcher was gone before it began"),
        Ok(()) => life.until_over(&mut stream, handle.as_ref(), ports).await,
    };
    life.over(&end).await;
    Ok(())
}

struct Begun {
    life: Life,
    reply: Reply,
    folder: RunFolder,
    /// The working folder, as long as it is this run's.
    taken: Option<Taken>,
    /// Where the run's ports go when they come. `None` when none are to come.
    ports: Option<Handing>,
}

/// Where a run's ports go.
pub(super) type Handing = oneshot::Sender<Checked>;

async fn begin(authority: &Arc<Authority>, wanted: Wanted) -> Result<Begun, (u8, String)> {
    let broker = &authority.broker;
    let internal =
        |e: &dyn std::fmt::Display| (exit::FAILED, format!("The run could not be begun: {e}"));
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|e| internal(&e))?;
    if !broker.may_run(&wanted.agent) {
        return Err(refused(ReasonCode::Stopped, &wanted.agent));
    }
    let taken = if wanted.contained {
        let taken = take(authority, &wanted).await;
        Some(taken.map_err(|sentence| (exit::FAILED, sentence))?)
    } else {
        None
    };
    let door = if wanted.loopback {
        Some(Door::open(authority)?)
    } else {
        None
    };
    let force = broker.force().filter(|_| wanted.contained);
    let (passages, not_shown) = force
        .and_then(|force| force.config.agents.get(&wanted.agent).map(Passages::of))
        .unwrap_or_default();
    let facts = RunFacts {
        run: RunId::from_random(random),
        agent: wanted.agent,
        task: wanted.task,
        argv: wanted.argv,
        folder: wanted.folder,
        contained: wanted.contained,
        stop: if wanted.loopback {
            StopMeans::CutOff
        } else {
            wanted.stop
        },
        goes_on_from: None,
        ports: passages.as_ref().map(|p| p.ports()).unwrap_or_default(),
        host_ports: passages
            .as_ref()
            .map(|p| p.host_ports())
            .unwrap_or_default(),
    };
    let folder = RunFolder::make(&authority.home.runs().join(facts.run.as_str()))
        .map_err(|e| internal(&e))?;
    let socket = folder.0.join("gateway.sock");
    let (http, lane) = authority.lanes.next().map_err(|e| internal(&e))?;
    let listener = UnixListener::bind(&socket).map_err(|e| internal(&e))?;
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
    let placeholder = placeholders::access_key().map_err(|e| ended(&e))?;
    let variables = placeholders::variables(&accounts, &placeholder);
    let own = Own { ca, placeholder };
    let mut loopback = None;
    let mut ports = None;
    let serves = match door {
        None => {
            let (sender, to_come) = oneshot::channel();
            ports = Some(sender);
            Serves::run(authority, run.facts.contained, http, own, listener, to_come)
        }
        Some(door) => {
            std::fs::write(&ca_file, &ca_pem).map_err(|e| ended(&e))?;
            loopback = Some(Loopback {
                port: door.port,
                token: door.token.clone(),
                ca_file: ca_file.to_string_lossy().into_owned(),
            });
            let (token, uid) = (Secret::new(door.token.into_bytes()), nix::unistd::getuid());
            Ports::of_user(door.listener, uid.as_raw())
                .map(|ports| Serves::loopback(http, own, ports, token))
        }
    };
    let serves = serves.map_err(|e| ended(&e))?;
    let serving = Serving::begin(serves, &lane, authority, run.facts.clone());
    let reply = Reply::RunBegun(Box::new(RunBegun {
        run: run.facts.run.clone(),
        gateway: socket.to_string_lossy().into_owned(),
        ca_pem,
        ports: host_ports(&accounts),
        shown: run.facts.ports.clone(),
        not_shown,
        host_ports: run.facts.host_ports.clone(),
        placeholders: variables,
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
    let life = Life::new(authority, run, serving, passages, lane);
    Ok(Begun {
        life,
        reply,
        folder,
        taken,
        ports,
    })
}

/// Takes the working folder; waits a little for a run that is just ending.
async fn take(authority: &Authority, wanted: &Wanted) -> Result<Taken, String> {
    let left = authority.home.left();
    let began = Instant::now();
    loop {
        match authority.folders.take(&wanted.agent, &wanted.folder, &left) {
            Err(_) if began.elapsed() < IS_GIVEN_BACK => tokio::time::sleep(LOOKS).await,
            taken => return taken,
        }
    }
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
