//! The authority's side of a gateway: begins the process, serves what it asks for,
//! and begins another when it ends before its run does.

use super::datagram;
use super::lane;
use super::message::{Order, View, Wish};
use super::process::SUBCOMMAND;
use countersign_broker::{Broker, Carrier, Countersigner as _, Destination, LineHeld};
use countersign_containment::inherit_nothing;
use countersign_gateway_http::{CaParts, Checked, Key, RunCa};
use countersign_model::{RunFacts, RunId};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A gateway that ends so often by itself is not begun again.
const MOST_ENDS: u32 = 20;
/// Between the end of one and the beginning of the next.
const REST: Duration = Duration::from_millis(50);
/// How long a gateway may take to end what goes on, and to say how it ended, when
/// it is told to. Then it is killed, and what it had is unknown. It needs a few
/// milliseconds, and longer where many gateways end on few processors; where it does
/// not get to that, it would not get to its death any sooner.
const LAST_WORDS: Duration = Duration::from_millis(150);
/// Connections and files that one gateway may be waiting for.
const MOST_WISHES: usize = 256;

/// What a gateway is begun with.
pub(crate) struct Parts {
    pub(crate) broker: Broker,
    pub(crate) ca: RunCa,
    pub(crate) placeholder: Key,
    /// The run's socket.
    pub(crate) socket: UnixListener,
    /// The run's ports, when they come.
    pub(crate) ports: oneshot::Receiver<Checked>,
    /// The event loops that serve it here, one for each stream of requests.
    pub(crate) lanes: Vec<Handle>,
}

/// The gateway of one run, as the authority holds it; and of those that it goes on
/// as, after a stop. Sockets and CA stay here too, for the next process.
pub(crate) struct Apart {
    broker: Broker,
    ca: CaParts,
    ca_key: OwnedFd,
    placeholder: Key,
    socket: UnixListener,
    to_come: Option<oneshot::Receiver<Checked>>,
    ports: Vec<OwnedFd>,
    lanes: Vec<Handle>,
}

/// Why a process ended.
enum Ended {
    /// Its run has been cut off: it was to.
    Cut,
    /// By itself.
    Crashed(String),
}

impl Apart {
    /// # Errors
    /// What the system says.
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let (ca, key) = parts.ca.parts();
        Ok(Self {
            broker: parts.broker,
            ca,
            ca_key: datagram::file(key.expose())?,
            placeholder: parts.placeholder,
            socket: parts.socket,
            to_come: Some(parts.ports),
            ports: Vec::new(),
            lanes: parts.lanes,
        })
    }

    /// Serves a run until it has been cut off, and `over` says that it has ended.
    /// Dropping the future ends the process.
    pub(crate) async fn serve(mut self, facts: RunFacts, over: CancellationToken) -> Self {
        let run = &facts.run;
        for _ in 0..MOST_ENDS {
            let ended = self.one_process(&facts).await;
            self.broker.gateway_ended(run);
            let why = match ended {
                Ok(Ended::Cut) => {
                    over.cancelled().await;
                    return self;
                }
                Ok(Ended::Crashed(why)) => why,
                Err(error) => error.to_string(),
            };
            let what = format!("the gateway of run {run} ended by itself; another takes its place");
            self.broker.note(&what, &why);
            tokio::select! {
                () = over.cancelled() => return self,
                () = tokio::time::sleep(REST) => {}
            }
        }
        self.broker.warn(
            &format!("gateway/{run}"),
            &format!("The gateway of {run} ends again and again, so that run has none any more. Start it anew."),
        );
        over.cancelled().await;
        self
    }

    /// One process, from its beginning to its end.
    async fn one_process(&mut self, facts: &RunFacts) -> io::Result<Ended> {
        let (ours, theirs) = datagram::pair()?;
        let mut child = start(theirs)?;
        let _held = self
            .broker
            .carried_by(facts, Box::new(Process::of(&child)?));
        let ended = self.attend(facts, ours, &mut child).await;
        // Whatever it still held is closed when the kernel has ended it.
        let _ = child.kill().await;
        ended
    }

    async fn attend(
        &mut self,
        facts: &RunFacts,
        ours: OwnedFd,
        child: &mut Child,
    ) -> io::Result<Ended> {
        // What was said before the change was noticed is said again.
        let mut changed = self.broker.changed();
        changed.mark_unchanged();
        let mut lanes = JoinSet::new();
        self.begin(facts, ours.as_fd(), &mut lanes)?;
        // Of a stream it has the readiness, and nothing else is used.
        let ours = std::os::unix::net::UnixStream::from(ours);
        ours.set_nonblocking(true)?;
        let control = UnixStream::from_std(ours)?;
        let broker = self.broker.clone();
        let cut = broker.cut(&facts.run);
        // What is said waits for a gateway that does not listen. The cut does not.
        let ended = tokio::select! { biased;
            () = cut.cancelled() => None,
            ended = self.until_it_ends(&facts.run, &control, &mut lanes, changed, child) => {
                Some(ended)
            }
        };
        if let Some(ended) = ended {
            return ended.map(Ended::Crashed);
        }
        let reason = broker.cut_reason(&facts.run);
        // It ends what goes on, and says how; or it does not.
        let last_words = async {
            say(&control, &Order::Cut { reason }, &[]).await?;
            while lanes.join_next().await.is_some() {}
            io::Result::Ok(())
        };
        // What it wishes is not done any more, but taken: else it would wait for that.
        let unheard = async {
            while let Ok(Some(_)) = hear(&control).await {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = tokio::time::timeout(LAST_WORDS, last_words) => {}
            () = unheard => {}
        }
        Ok(Ended::Cut)
    }

    /// Serves what a process wishes, until it ends by itself: why.
    async fn until_it_ends(
        &mut self,
        run: &RunId,
        control: &UnixStream,
        lanes: &mut JoinSet<io::Result<()>>,
        mut changed: watch::Receiver<()>,
        child: &mut Child,
    ) -> io::Result<String> {
        if !self.ports.is_empty() {
            self.hand_over_ports(control).await?;
        }
        let mut wishes = JoinSet::new();
        // The connections that it has, by the call that wished for each; and of those
        // that are being made, the calls.
        let mut lines: HashMap<u64, Held> = HashMap::new();
        let crashed = |why: &str| Ok(why.to_owned());
        loop {
            tokio::select! { biased;
                ended = child.wait() => {
                    ended?;
                    return crashed("its process has ended");
                }
                Some(ended) = lanes.join_next() => {
                    return match ended {
                        Ok(Ok(())) => crashed("it closed a connection"),
                        Ok(Err(error)) => Err(error),
                        Err(_) => crashed("serving it failed"),
                    };
                }
                wish = hear(control) => match wish? {
                    None => return crashed("it closed its connection"),
                    Some(Wish::Closed { call, in_order }) => {
                        if let Some(Some(held)) = lines.remove(&call) {
                            held.closed(in_order);
                        }
                    }
                    Some(_) if wishes.len() >= MOST_WISHES => {
                        return crashed("it asked for too much at once");
                    }
                    Some(Wish::Connect { call, to }) => {
                        lines.insert(call, None);
                        let (broker, run) = (self.broker.clone(), run.clone());
                        wishes.spawn(async move { connected(&broker, &run, call, &to).await });
                    }
                    Some(Wish::Spool { call }) => {
                        let (broker, run) = (self.broker.clone(), run.clone());
                        wishes.spawn(async move { spooled(&broker, &run, call).await });
                    }
                },
                Some(Ok((order, carried, held))) = wishes.join_next() => {
                    if let Order::Connected { call, .. } = order {
                        match (lines.get_mut(&call), held) {
                            (Some(line), held @ Some(_)) => *line = held,
                            // It failed, or was closed before it was made.
                            _ => drop(lines.remove(&call)),
                        }
                    }
                    let carried: Vec<_> = carried.iter().map(OwnedFd::as_fd).collect();
                    say(control, &order, &carried).await?;
                }
                ports = handed(self.to_come.as_mut()) => {
                    self.to_come = None;
                    // Ports that are not of a network of the run's own are no
                    // contained run's.
                    if let Some(Ok(sockets)) = ports.map(Checked::into_sockets) {
                        self.ports = sockets;
                        self.hand_over_ports(control).await?;
                    }
                }
                Ok(()) = changed.changed() => {
                    let accounts = self.accounts(run);
                    say(control, &Order::Accounts { accounts }, &[]).await?;
                }
            }
        }
    }

    async fn hand_over_ports(&self, control: &UnixStream) -> io::Result<()> {
        let ports: Vec<_> = self.ports.iter().map(OwnedFd::as_fd).collect();
        say(control, &Order::Ports {}, &ports).await
    }

    /// Sends all that the process needs to begin, and serves its streams of
    /// requests on the lanes.
    fn begin(
        &self,
        facts: &RunFacts,
        control: BorrowedFd<'_>,
        lanes: &mut JoinSet<io::Result<()>>,
    ) -> io::Result<()> {
        let mut theirs = Vec::new();
        for lane in &self.lanes {
            let (ours, their) = std::os::unix::net::UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let (broker, run) = (self.broker.clone(), facts.run.clone());
            let serve = async move { lane::serve(broker, run, UnixStream::from_std(ours)?).await };
            lanes.spawn_on(serve, lane);
            theirs.push(OwnedFd::from(their));
        }
        let begin = Order::Begin {
            facts: Box::new(facts.clone()),
            ca: self.ca.clone(),
            placeholder: (
                self.placeholder.id().to_owned(),
                String::from_utf8_lossy(self.placeholder.expose()).into_owned(),
            ),
            accounts: self.accounts(&facts.run),
        };
        let mut carry = vec![self.socket.as_fd(), self.ca_key.as_fd()];
        carry.extend(theirs.iter().map(OwnedFd::as_fd));
        datagram::send(control, &begin, &carry)
    }

    fn accounts(&self, run: &RunId) -> Vec<View> {
        let views = self.broker.accounts(run);
        views.into_iter().map(View::from).collect()
    }
}

/// A gateway's process, to be paused.
#[derive(Debug)]
struct Process(OwnedFd);

impl Process {
    fn of(child: &Child) -> io::Result<Self> {
        let id = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let id = id.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self(pidfd_open(id, PidfdFlags::empty())?))
    }
}

impl Carrier for Process {
    fn pause(&self) {
        // One that has ended needs none of it.
        let _ = pidfd_send_signal(&self.0, Signal::STOP);
    }
    fn go_on(&self) {
        let _ = pidfd_send_signal(&self.0, Signal::CONT);
    }
}

/// The process, with its end as standard input and nothing else of ours.
fn start(theirs: OwnedFd) -> io::Result<Child> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command
        .arg(SUBCOMMAND)
        .env_clear()
        .current_dir("/")
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    inherit_nothing(&mut command);
    Command::from(command).kill_on_drop(true).spawn()
}

async fn hear(control: &UnixStream) -> io::Result<Option<Wish>> {
    let heard = control
        .async_io(Interest::READABLE, || datagram::receive(control.as_fd()))
        .await?;
    Ok(heard.map(|(wish, _)| wish))
}

async fn say(control: &UnixStream, order: &Order, carry: &[BorrowedFd<'_>]) -> io::Result<()> {
    control
        .async_io(Interest::WRITABLE, || {
            datagram::send(control.as_fd(), order, carry)
        })
        .await
}

/// The broker's hold on a connection.
type Held = Option<Box<dyn LineHeld>>;

/// What is said of a wish, what that carries, and what is held of it here.
type Granted = (Order, Vec<OwnedFd>, Held);

async fn connected(broker: &Broker, run: &RunId, call: u64, to: &Destination) -> Granted {
    let (failed, carried, held) = match broker.connect(run, to).await {
        Ok(line) => (None, vec![line.tcp.into()], Some(line.held)),
        Err(why) => (Some(why), Vec::new(), None),
    };
    (Order::Connected { call, failed }, carried, held)
}

async fn spooled(broker: &Broker, run: &RunId, call: u64) -> Granted {
    let file = broker.spool(run).await.ok().map(OwnedFd::from);
    (Order::Spooled { call }, file.into_iter().collect(), None)
}

async fn handed(ports: Option<&mut oneshot::Receiver<Checked>>) -> Option<Checked> {
    match ports {
        // Whoever was to hand them over may have ended.
        Some(ports) => ports.await.ok(),
        None => std::future::pending().await,
    }
}
