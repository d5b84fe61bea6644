//! TCP ports on loopback, and who may come in by them.
//!
//! A run's ports are made by the run's launcher, in the run's own network where it
//! has one, and handed over as sockets. A listener is handed over and not each
//! connection: what is accepted here is made here, so that nobody else holds its
//! file description. Of the listener's somebody may have kept a copy, and may make
//! it block whoever accepts: that is a thread which does nothing else, one for
//! each run. It also answers the run's questions for names ([`crate::names`]).

use crate::names::{self, Names};
use crate::whose::{is_of_user, rows, table};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;

/// How many accepted connections wait to be taken; further ones wait in the
/// listener's queue.
const WAITING: usize = 16;
/// What the thread that accepts needs: next to nothing.
const STACK: usize = 64 << 10;
/// After a failure: out of descriptors, most likely.
const REST: Duration = Duration::from_millis(50);
/// Where a run's name server listens, on its loopback.
const NAME_SERVER: u16 = 53;

/// The ports of a run. Dropping them closes them.
pub struct Ports {
    arriving: mpsc::Receiver<Came>,
    callers: Callers,
    /// The connection that is being asked about. It lies here so that it is not
    /// lost when nobody waits for the answer any more.
    asked: Option<Asked>,
    names: Arc<Names>,
    _open: Open,
}

type Asked = Pin<Box<dyn Future<Output = Option<Came>> + Send>>;

/// A connection that was accepted, from this address.
struct Came {
    stream: TcpStream,
    peer: SocketAddr,
    door: Door,
}

/// What somebody wants who connects to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// A proxy.
    Proxy,
    /// The host of the address that was connected to.
    Hosts,
    /// The name server.
    Names,
}

/// By what door a connection came.
pub(crate) enum By {
    Proxy,
    /// To an address that was given out for this name, or for none, and a port.
    Host(Option<Arc<str>>, u16),
    Names(Arc<Names>),
}

/// The sockets, open. Dropped, they are closed, and their thread ends.
struct Open {
    sockets: Arc<Sockets>,
    closed: Arc<AtomicBool>,
}

/// What was handed over, by what it is for.
struct Sockets {
    listeners: Vec<(TcpListener, Door)>,
    /// The name server's other side.
    questions: Option<UdpSocket>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes whoever accepts, also where a copy of a listener lives on.
        for (listener, _) in &self.sockets.listeners {
            let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
        }
    }
}

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Callers {
    /// Whoever reaches the port: it is in a run's own network.
    Anyone,
    /// Processes of this user: every user of the machine reaches it.
    Only(u32),
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports")
            .field("callers", &self.callers)
            .finish_non_exhaustive()
    }
}

impl Ports {
    /// A listener of this process's own, for processes of `uid`.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn of_user(listener: TcpListener, uid: u32) -> io::Result<Self> {
        let sockets = Sockets {
            listeners: vec![(listener, Door::Proxy)],
            questions: None,
        };
        Self::open(sockets, Callers::Only(uid))
    }

    fn open(sockets: Sockets, callers: Callers) -> io::Result<Self> {
        let names = Arc::<Names>::default();
        let open = Open {
            sockets: Arc::new(sockets),
            closed: Arc::default(),
        };
        let (to, arriving) = mpsc::channel(WAITING);
        let attendant = Attendant {
            sockets: Arc::clone(&open.sockets),
            closed: Arc::clone(&open.closed),
            names: Arc::clone(&names),
            to,
        };
        thread::Builder::new()
            .name("ports".into())
            .stack_size(STACK)
            .spawn(move || attendant.work())?;
        Ok(Self {
            arriving,
            callers,
            asked: None,
            names,
            _open: open,
        })
    }

    /// The next connection of somebody who may connect. Cancelling it loses none.
    pub(crate) async fn accept(&mut self) -> io::Result<(TcpStream, By)> {
        loop {
            // One at a time: others cannot have more than one looked up at once.
            if let Some(asked) = &mut self.asked {
                let admitted = asked.as_mut().await;
                self.asked = None;
                if let Some(came) = admitted {
                    return Ok(self.by(came));
                }
            }
            let came = self.arriving.recv().await;
            let came = came.ok_or(io::ErrorKind::BrokenPipe)?;
            match self.callers {
                Callers::Anyone => return Ok(self.by(came)),
                Callers::Only(uid) => {
                    self.asked = Some(Box::pin(if_of(uid, came)));
                }
            }
        }
    }

    fn by(&self, came: Came) -> (TcpStream, By) {
        let by = match came.door {
            Door::Proxy => By::Proxy,
            Door::Names => By::Names(Arc::clone(&self.names)),
            Door::Hosts => match came.stream.local_addr() {
                Ok(SocketAddr::V4(at)) => By::Host(self.names.of(*at.ip()), at.port()),
                Ok(SocketAddr::V6(_)) | Err(_) => By::Host(None, 0),
            },
        };
        (came.stream, by)
    }
}

/// The sockets of a run, which are what they should be.
pub struct Checked {
    sockets: Sockets,
    callers: Callers,
}

impl std::fmt::Debug for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checked")
            .field("callers", &self.callers)
            .finish_non_exhaustive()
    }
}

impl Checked {
    /// What a launcher handed over, if it is what it should be: a TCP socket that
    /// listens on a loopback address, which is the proxy's; and of a contained run
    /// also TCP sockets that listen on every address, which are its hosts' ports,
    /// and a UDP and a TCP socket at port 53 of loopback, which are its name
    /// server. What each is for is not said: the kernel knows.
    ///
    /// Only processes of `uid` are let in where the run is not contained; and
    /// where the proxy's port lies in this process's own network, whatever the
    /// launcher says of the run. (Whose a process of another network is cannot be
    /// told: then it is not let in.) The other ports are not taken there at all.
    ///
    /// # Errors
    /// `InvalidInput` when it is anything else; others when that cannot be told.
    pub async fn handed_over(sockets: Vec<OwnedFd>, contained: bool, uid: u32) -> io::Result<Self> {
        let invalid = |e| io::Error::new(io::ErrorKind::InvalidInput, e);
        let found: Vec<Found> = sockets
            .into_iter()
            .map(checked)
            .collect::<io::Result<_>>()
            .map_err(invalid)?;
        let elsewhere = contained && !any_is_of_this_network(&found).await?;
        let sockets = sorted(found).map_err(invalid)?;
        let more = sockets.questions.is_some() || sockets.listeners.len() > 1;
        if more && !elsewhere {
            return Err(invalid(io::Error::other(
                "it is not of a run's own network",
            )));
        }
        Ok(Self {
            sockets,
            callers: if elsewhere {
                Callers::Anyone
            } else {
                only(uid)
            },
        })
    }

    /// Opens them.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn open(self) -> io::Result<Ports> {
        Ports::open(self.sockets, self.callers)
    }

    /// Whether they lie in a network of the run's own, where whoever connects is
    /// the run.
    #[must_use]
    pub fn is_of_own_network(&self) -> bool {
        self.callers == Callers::Anyone
    }

    /// The sockets, for a process that opens them with [`Checked::of_own_network`];
    /// or this again, when it takes more than the sockets to know who may connect.
    ///
    /// # Errors
    /// This again.
    pub fn into_sockets(self) -> Result<Vec<OwnedFd>, Self> {
        if self.callers != Callers::Anyone {
            return Err(self);
        }
        let Sockets {
            listeners,
            questions,
        } = self.sockets;
        let listeners = listeners.into_iter().map(|(listener, _)| listener.into());
        Ok(listeners.chain(questions.map(OwnedFd::from)).collect())
    }

    /// Sockets of a run's own network, which were checked elsewhere.
    ///
    /// # Errors
    /// When they are not what a run has.
    pub fn of_own_network(sockets: Vec<OwnedFd>) -> io::Result<Self> {
        let found = sockets.into_iter().map(checked);
        Ok(Self {
            sockets: sorted(found.collect::<io::Result<_>>()?)?,
            callers: Callers::Anyone,
        })
    }
}

/// The thread at a run's ports. Whatever holds it up holds up nobody else.
struct Attendant {
    sockets: Arc<Sockets>,
    closed: Arc<AtomicBool>,
    names: Arc<Names>,
    to: mpsc::Sender<Came>,
}

impl Attendant {
    /// Accepts and answers until the ports are closed.
    fn work(&self) {
        let Sockets {
            listeners,
            questions,
        } = &*self.sockets;
        let mut ready: Vec<PollFd<'_>> = listeners
            .iter()
            .map(|(listener, _)| PollFd::new(listener, PollFlags::IN))
            .chain(questions.iter().map(|q| PollFd::new(q, PollFlags::IN)))
            .collect();
        while !self.closed.load(Ordering::SeqCst) {
            // By a listener's flags, accepting waits or does not: so it is waited
            // for here.
            match poll(&mut ready, LOOK_AGAIN.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => thread::sleep(REST),
            }
            let due = ready.iter().map(|socket| !socket.revents().is_empty());
            for (at, _) in due.enumerate().filter(|&(_, due)| due) {
                let done = match (listeners.get(at), questions) {
                    (Some((listener, door)), _) => {
                        accept(listener, *door).map(|came| self.to.blocking_send(came))
                    }
                    (None, Some(questions)) => self.answer(questions).map(Ok),
                    (None, None) => Ok(Ok(())),
                };
                match done {
                    Ok(Ok(())) => {}
                    // Nobody takes connections any more.
                    Ok(Err(_)) => return,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => thread::sleep(REST),
                }
            }
        }
    }

    /// Answers one question for a name. Nobody is waited for, whatever flags a
    /// copy of the socket has set: an answer that cannot leave is asked for again.
    fn answer(&self, questions: &UdpSocket) -> io::Result<()> {
        let mut message = [0; names::LONGEST];
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let (_, length, from) = match rustix::net::recvfrom(questions, &mut message, flags) {
            // It is said to be ready and has nothing: somebody with a copy of it has
            // shut it down, say, and would have it said for ever.
            Err(rustix::io::Errno::AGAIN) => {
                thread::sleep(REST);
                return Ok(());
            }
            received => received?,
        };
        if let (Some(message), Some(from)) = (message.get(..length), from)
            && let Some(answer) = self.names.answer(message)
        {
            let _ = rustix::net::sendto(questions, &answer, SendFlags::DONTWAIT, &from);
        }
        Ok(())
    }
}

fn accept(listener: &TcpListener, door: Door) -> io::Result<Came> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    // Heads and small replies are not to wait for an acknowledgement.
    stream.set_nodelay(true)?;
    Ok(Came { stream, peer, door })
}

/// Linux wakes whoever accepts when a port is closed; elsewhere it is looked
/// for now and again.
const LOOK_AGAIN: Option<rustix::event::Timespec> = if cfg!(target_os = "linux") {
    None
} else {
    Some(rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 500_000_000,
    })
};

/// Only that user, where the kernel tells whose a connection is. Elsewhere
/// whoever is on the machine may connect to a run's port; such a run is not
/// contained, and is shown as such.
fn only(uid: u32) -> Callers {
    if cfg!(target_os = "linux") {
        Callers::Only(uid)
    } else {
        Callers::Anyone
    }
}

/// A socket that may be one of a run's, and its inode.
struct Found {
    socket: Socket,
    inode: u64,
}

enum Socket {
    Listener(TcpListener, Door),
    Questions(UdpSocket),
}

/// What the kernel says that it is.
fn checked(socket: OwnedFd) -> io::Result<Found> {
    use rustix::net::{SocketType, sockopt};
    let no = |what| Err(io::Error::other(what));
    let inode = rustix::fs::fstat(&socket)?.st_ino;
    let kind = sockopt::socket_type(&socket)?;
    if kind != SocketType::STREAM && kind != SocketType::DGRAM {
        return no("it is neither a stream nor a datagram socket");
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::net::ipproto;
        let speaks = sockopt::socket_protocol(&socket)?;
        if speaks != Some(ipproto::TCP) && speaks != Some(ipproto::UDP) {
            return no("it speaks neither TCP nor UDP");
        }
    }
    // The same call for both; a datagram socket is told apart below.
    let listener = TcpListener::from(socket);
    let SocketAddr::V4(at) = listener.local_addr()? else {
        return no("it is not bound to an address of IPv4");
    };
    let at_name_server = *at.ip() == Ipv4Addr::LOCALHOST && at.port() == NAME_SERVER;
    if kind == SocketType::DGRAM {
        return if at_name_server {
            let socket = Socket::Questions(OwnedFd::from(listener).into());
            Ok(Found { socket, inode })
        } else {
            no("it is a datagram socket, and not the name server's")
        };
    }
    // Apple's systems do not say it; there, accepting fails.
    #[cfg(not(target_vendor = "apple"))]
    if !sockopt::socket_acceptconn(&listener)? {
        return no("it does not listen");
    }
    let door = match IpAddr::V4(*at.ip()) {
        _ if at_name_server => Door::Names,
        ip if ip.is_loopback() => Door::Proxy,
        ip if ip.is_unspecified() => Door::Hosts,
        _ => return no("it is bound to an address that is not loopback"),
    };
    Ok(Found {
        socket: Socket::Listener(listener, door),
        inode,
    })
}

/// One proxy's port, at most one name server, and any number of hosts' ports (no
/// two of which can be the same).
fn sorted(found: Vec<Found>) -> io::Result<Sockets> {
    let mut sockets = Sockets {
        listeners: Vec::new(),
        questions: None,
    };
    for Found { socket, .. } in found {
        let twice = match socket {
            Socket::Listener(listener, door) => {
                let one = |(_, other): &(TcpListener, Door)| *other == door;
                let twice = door != Door::Hosts && sockets.listeners.iter().any(one);
                sockets.listeners.push((listener, door));
                twice
            }
            Socket::Questions(questions) => sockets.questions.replace(questions).is_some(),
        };
        if twice {
            return Err(io::Error::other("two are for the same"));
        }
    }
    if sockets
        .listeners
        .iter()
        .all(|(_, door)| *door != Door::Proxy)
    {
        return Err(io::Error::other("there is no port for a proxy"));
    }
    Ok(sockets)
}

/// The connection, if its other end is of this user's.
async fn if_of(uid: u32, came: Came) -> Option<Came> {
    let local = came.stream.local_addr().ok()?;
    is_of_user(uid, &came.stream, came.peer, local)
        .await
        .then_some(came)
}

/// Whether one of the sockets belongs to the network of this process.
async fn any_is_of_this_network(found: &[Found]) -> io::Result<bool> {
    let (tcp, udp) = (table("tcp").await?, table("udp").await?);
    let mut rows = rows(&tcp).chain(rows(&udp));
    Ok(rows.any(|row| row.inode != 0 && found.iter().any(|socket| socket.inode == row.inode)))
}

#[cfg(test)]
#[path = "port_tests.rs"]
mod tests;
