//! Passages between this machine's loopback and a run's: ports of the run that are
//! shown here, and ports of this machine that the run reaches (`ports` and
//! `host_ports` of an agent, as the human accepted them).
//!
//! What goes through is not read and not judged. So a passage to this machine is
//! recorded before its first use, and the traffic of each at the run's end. They
//! hang on the run's cut, as its requests do: what the stop cuts is reset, with
//! what was still under way or waited to be accepted. What comes while a run is
//! frozen is reset before anything is let through again.
//!
//! A run that has any is served on a thread of its own.

use countersign_broker::{Broker, Run};
use countersign_containment::Sockets;
use countersign_gateway_http::{is_of_user, is_own};
use countersign_model::{Agent, Event, PassageTo as To, Passed, ReasonCode};
use rustix::net::{SocketType, sockopt};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Mutex, OnceCell, Semaphore};
use tokio::task::JoinSet;

/// Connections of one run that go on at once; further ones wait.
const MOST: usize = 256;
/// How long a run's init may take to make a socket: next to nothing, unless it is
/// frozen.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a failure to accept: out of descriptors, most likely.
const REST: Duration = Duration::from_millis(50);
/// More than wait in a listener's queue, but where `net.core.somaxconn` was raised
/// beyond that; no more are reset at once, so that nobody holds this up for ever.
const QUEUE: usize = 1 << 16;
/// What is read at once, in bytes.
const PIECE: usize = 16 << 10;

/// The passages of one run, whatever id it goes by.
#[derive(Debug)]
pub(super) struct Passages {
    /// Ports of the run, and where each is shown on this machine.
    shown: Vec<(u16, StdListener)>,
    host_ports: Vec<u16>,
    handed: OnceLock<Handed>,
    /// The thread that serves them, from the first time on.
    serving: StdMutex<Option<JoinHandle<()>>>,
}

/// The run's side of them.
#[derive(Debug)]
struct Handed {
    sockets: Option<Arc<Sockets>>,
    /// Ports of this machine, and where the run finds each.
    listeners: Vec<(u16, StdListener)>,
}

/// One passage in use.
struct Passage {
    to: To,
    port: u16,
    broker: Broker,
    run: Arc<Run>,
    sockets: Option<Arc<Sockets>>,
    /// Held while it is looked up whose a connection is: the run's, so that nobody
    /// can have more than one looked up at once.
    lookups: Arc<Mutex<()>>,
    /// Whether its first use was recorded.
    recorded: OnceCell<()>,
    connections: AtomicU64,
    /// Bytes that went to what it leads to, and that came from there.
    there: AtomicU64,
    back: AtomicU64,
}

impl Passages {
    /// What the agent was allowed, with its ports shown; and why some are not. `None`
    /// when there is nothing.
    pub(super) fn of(agent: &Agent) -> (Option<Arc<Self>>, Vec<String>) {
        let (mut shown, mut not_shown) = (Vec::new(), Vec::new());
        for port in &agent.ports {
            match StdListener::bind((Ipv4Addr::LOCALHOST, *port)) {
                Ok(listener) => shown.push((*port, listener)),
                Err(e) => not_shown.push(format!(
                    "Port {port} of the run is not shown on this machine: {e}"
                )),
            }
        }
        let host_ports = agent.host_ports.clone();
        let any = !shown.is_empty() || !host_ports.is_empty();
        let passages = any.then(|| {
            Arc::new(Self {
                shown,
                host_ports,
                handed: OnceLock::new(),
                serving: StdMutex::default(),
            })
        });
        (passages, not_shown)
    }

    /// The ports of the run that are shown.
    pub(super) fn ports(&self) -> Vec<u16> {
        self.shown.iter().map(|(port, _)| *port).collect()
    }

    /// The ports of this machine that the run reaches.
    pub(super) fn host_ports(&self) -> Vec<u16> {
        self.host_ports.clone()
    }

    /// Takes the run's side of them, once.
    ///
    /// # Errors
    /// `InvalidInput` when it is not what this run has.
    pub(super) fn take(&self, handed_over: Vec<OwnedFd>) -> io::Result<()> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let mut handed = Handed {
            sockets: None,
            listeners: Vec::new(),
        };
        for descriptor in handed_over {
            if sockopt::socket_type(&descriptor)? == SocketType::SEQPACKET {
                let sockets = Sockets::at(descriptor)?;
                if handed.sockets.replace(Arc::new(sockets)).is_some() {
                    return Err(invalid());
                }
                continue;
            }
            let listener = StdListener::from(descriptor);
            let SocketAddr::V4(at) = listener.local_addr()? else {
                return Err(invalid());
            };
            let is_one = *at.ip() == Ipv4Addr::LOCALHOST
                && self.host_ports.contains(&at.port())
                && sockopt::socket_type(&listener)? == SocketType::STREAM
                && sockopt::socket_acceptconn(&listener)?;
            if !is_one {
                return Err(invalid());
            }
            handed.listeners.push((at.port(), listener));
        }
        self.handed.set(handed).map_err(|_| invalid())
    }

    /// Serves the run, until it is cut: by its end, or by the stop. Nothing is served
    /// before the run's side of it was taken. Where another was served before it (the
    /// one that it goes on from, which was cut), what came since then is reset.
    ///
    /// # Errors
    /// When there is no thread to be had, or no descriptor.
    pub(super) fn serve(&self, broker: &Broker, run: &Arc<Run>) -> io::Result<()> {
        let Some(handed) = self.handed.get() else {
            return Ok(());
        };
        let (mut passages, lookups) = (Vec::new(), Arc::default());
        let shown = self.shown.iter().map(|at| (To::Run, at));
        let reached = handed.listeners.iter().map(|at| (To::Machine, at));
        for (to, (port, listener)) in shown.chain(reached) {
            let passage = Passage {
                to,
                port: *port,
                broker: broker.clone(),
                run: Arc::clone(run),
                sockets: handed.sockets.clone(),
                lookups: Arc::clone(&lookups),
                recorded: OnceCell::new(),
                connections: AtomicU64::new(0),
                there: AtomicU64::new(0),
                back: AtomicU64::new(0),
            };
            passages.push((Arc::new(passage), listener.try_clone()?));
        }
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        let before = serving.take();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (run, unsaid) = (Arc::clone(run), broker.unsaid());
        let doors = passages.iter().map(|(_, listener)| listener.try_clone());
        let doors: Vec<StdListener> = doors.collect::<io::Result<_>>()?;
        let thread = std::thread::Builder::new()
            .name("passages".into())
            .spawn(move || {
                let all: Vec<_> = passages.iter().map(|(at, _)| Arc::clone(at)).collect();
                // Here, and not where the run begins again: a launcher that kept a copy
                // of a listener can make it block, and then makes only its own wait.
                if let Some(before) = before {
                    let _ = before.join();
                    reset_waiting(&doors);
                }
                runtime.block_on(async {
                    tokio::select! { biased;
                        () = run.cut.cancelled() => {}
                        () = accept_all(passages) => {}
                    }
                });
                // Whatever was under way is reset here; a socket that is being waited
                // for is nobody's any more.
                runtime.shutdown_background();
                reset_waiting(&doors);
                for passage in all {
                    passage.sum_up();
                }
                drop(unsaid);
            })?;
        *serving = Some(thread);
        Ok(())
    }
}

/// Resets what waits to be accepted, with what it brought along.
fn reset_waiting<'l>(listeners: impl IntoIterator<Item = &'l StdListener>) {
    for listener in listeners {
        if listener.set_nonblocking(true).is_err() {
            continue;
        }
        for _ in 0..QUEUE {
            match listener.accept() {
                Ok((stream, _)) => {
                    let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
                }
                // Whoever connected has gone.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }
}

async fn accept_all(passages: Vec<(Arc<Passage>, StdListener)>) {
    let room = Arc::new(Semaphore::new(MOST));
    let mut doors = JoinSet::new();
    for (passage, listener) in passages {
        doors.spawn(passage.accept(listener, Arc::clone(&room)));
    }
    while doors.join_next().await.is_some() {}
}

impl Passage {
    async fn accept(self: Arc<Self>, listener: StdListener, room: Arc<Semaphore>) {
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(listener));
        let Ok(listener) = listener else { return };
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(REST).await;
                continue;
            };
            // Dropped before its end, it is reset, and nothing more is delivered.
            let resets = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
            if resets.is_err() || !self.admits(&stream, peer).await {
                continue;
            }
            // Who is not admitted takes no place.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            let passage = Arc::clone(&self);
            connections.spawn(async move {
                let _place = place;
                // Whoever connected sees that it is closed.
                let _ = passage.connect(stream).await;
            });
        }
    }

    /// Whether this connection may come through.
    async fn admits(&self, from: &TcpStream, peer: SocketAddr) -> bool {
        // Every user of the machine reaches its loopback.
        let is_users = match (self.to, from.local_addr()) {
            (To::Machine, _) => true,
            (To::Run, Ok(local)) => {
                let _one = self.lookups.lock().await;
                is_of_user(nix::unistd::getuid().as_raw(), from, peer, local).await
            }
            (To::Run, Err(_)) => false,
        };
        is_users && self.is_allowed()
    }

    /// Leads one connection through.
    async fn connect(&self, from: TcpStream) -> io::Result<()> {
        let to = match self.to {
            To::Run => self.to_run().await?,
            To::Machine => {
                let first = || self.broker.record_passage(&self.run, self.port);
                let recorded = self.recorded.get_or_try_init(first).await;
                recorded.map_err(|reason: ReasonCode| io::Error::other(reason.to_string()))?;
                let to = to_machine(self.port).await?;
                // There it would be another run's request: the port of an uncontained
                // one's gateway, or one of another's that is shown.
                let _one = self.lookups.lock().await;
                if is_own(self.port).await? {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                to
            }
        };
        sockopt::set_socket_linger(&to, Some(Duration::ZERO))?;
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.lead(from, to).await
    }

    /// What was taken back meanwhile is reached no more, and shown no more.
    fn is_allowed(&self) -> bool {
        let agent = &self.run.facts.agent;
        self.broker.force().is_some_and(|force| {
            let known = force.config.agents.get(agent);
            known.is_some_and(|known| match self.to {
                To::Run => known.ports.contains(&self.port),
                To::Machine => known.host_ports.contains(&self.port),
            })
        })
    }

    /// Connects to whatever listens at the port in the run.
    async fn to_run(&self) -> io::Result<TcpStream> {
        let sockets = self.sockets.clone().ok_or(io::ErrorKind::NotConnected)?;
        let mut last = io::ErrorKind::ConnectionRefused.into();
        for ip in [Ipv4Addr::LOCALHOST.to_ipv6_mapped(), Ipv6Addr::LOCALHOST] {
            let sockets = Arc::clone(&sockets);
            let socket = tokio::task::spawn_blocking(move || sockets.next(PATIENCE));
            let socket = socket.await.map_err(io::Error::other)??;
            let has_v6 = sockopt::socket_domain(&socket)? == rustix::net::AddressFamily::INET6;
            let to = match ip.to_ipv4_mapped() {
                Some(ip) if !has_v6 => SocketAddr::from((ip, self.port)),
                _ => SocketAddr::from((ip, self.port)),
            };
            let socket = std::net::TcpStream::from(socket);
            socket.set_nonblocking(true)?;
            match TcpSocket::from_std_stream(socket).connect(to).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Carries everything both ways until both have ended.
    async fn lead(&self, mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
        for stream in [&from, &to] {
            stream.set_nodelay(true)?;
        }
        let (from_read, from_write) = from.split();
        let (to_read, to_write) = to.split();
        tokio::try_join!(
            self.pour(from_read, to_write, &self.there),
            self.pour(to_read, from_write, &self.back),
        )?;
        for stream in [&from, &to] {
            sockopt::set_socket_linger(stream, None)?;
        }
        Ok(())
    }

    async fn pour(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        gone: &AtomicU64,
    ) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            let length = from.read(&mut piece).await?;
            // The stop kills before it cuts: how a killed run's connections end is
            // no orderly end.
            if !self.broker.may_run(&self.run.facts.agent) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if length == 0 {
                return to.shutdown().await;
            }
            to.write_all(&piece[..length]).await?;
            gone.fetch_add(length as u64, Ordering::Relaxed);
        }
    }

    /// Records what went through, if anything did.
    fn sum_up(&self) {
        let connections = self.connections.load(Ordering::Relaxed);
        if connections > 0 {
            let facts = &self.run.facts;
            self.broker.record_later(Event::PassageClosed(Passed {
                run: facts.run.clone(),
                agent: facts.agent.clone(),
                to: self.to,
                port: self.port,
                connections,
                bytes_there: self.there.load(Ordering::Relaxed),
                bytes_back: self.back.load(Ordering::Relaxed),
            }));
        }
    }
}

async fn to_machine(port: u16) -> io::Result<TcpStream> {
    match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
        Ok(stream) => Ok(stream),
        Err(error) => TcpStream::connect((Ipv6Addr::LOCALHOST, port))
            .await
            .map_err(|_| error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::unix::net::UnixStream;

    fn passages(host_port: u16) -> Passages {
        Passages {
            shown: Vec::new(),
            host_ports: vec![host_port],
            handed: OnceLock::new(),
            serving: StdMutex::default(),
        }
    }

    #[test]
    fn what_is_not_the_runs_side_of_its_passages_is_refused() {
        let listen = || StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (listener, other) = (listen(), listen());
        let at = listener.local_addr().unwrap();
        let connected = std::net::TcpStream::connect(at).unwrap();
        let datagrams = UdpSocket::bind(at).unwrap();
        let (stream, _end) = UnixStream::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let wrong: [OwnedFd; 5] = [
            other.into(),
            connected.into(),
            datagrams.into(),
            stream.into(),
            file.into(),
        ];
        for descriptor in wrong {
            assert!(passages(at.port()).take(vec![descriptor]).is_err());
        }
        let passages = passages(at.port());
        let copy = listener.try_clone().unwrap();
        passages.take(vec![listener.into()]).unwrap();
        assert!(passages.take(vec![copy.into()]).is_err(), "only once");
    }

    #[test]
    fn a_port_that_is_taken_is_not_shown_and_that_is_said() {
        let taken = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let agent = Agent {
            id: "a".parse().unwrap(),
            groups: Vec::new(),
            accounts: Vec::new(),
            recipe: None,
            ports: vec![port],
            host_ports: Vec::new(),
        };
        let (passages, not_shown) = Passages::of(&agent);
        assert!(passages.is_none());
        assert!(not_shown[0].contains(&port.to_string()), "{not_shown:?}");
    }
}
