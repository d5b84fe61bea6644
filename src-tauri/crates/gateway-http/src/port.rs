//! TCP ports on loopback, and who may come in by them.
//!
//! A run's port is made by the run's launcher, in the run's own network where it
//! has one, and handed over as a listening socket. The listener is handed over
//! and not each connection: what is accepted here is made here, so that nobody
//! else holds its file description. Of the listener's somebody may have kept a
//! copy, and may make it block whoever accepts: that is a thread which does
//! nothing else, one for each port.

use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
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

/// A listener on loopback. Dropping it closes the port.
pub struct Port {
    arriving: mpsc::Receiver<(TcpStream, SocketAddr)>,
    callers: Callers,
    /// The connection that is being asked about. It lies here so that it is not
    /// lost when nobody waits for the answer any more.
    asked: Option<Asked>,
    _open: Open,
}

type Asked = Pin<Box<dyn Future<Output = Option<TcpStream>> + Send>>;

/// The port, open. Dropped, it is closed, and its thread ends.
struct Open {
    listener: Arc<TcpListener>,
    closed: Arc<AtomicBool>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes whoever accepts, also where a copy of the listener lives on.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
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

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("callers", &self.callers)
            .finish_non_exhaustive()
    }
}

impl Port {
    /// What a launcher handed over, if it is what it should be: a TCP socket
    /// that listens on a loopback address. Only processes of `uid` are let in
    /// where the run is not contained; and where the port lies in this process's
    /// own network, whatever the launcher says of the run. (Whose a process of
    /// another network is cannot be told: then it is not let in.)
    ///
    /// # Errors
    /// `InvalidInput` when it is anything else; others when that cannot be told.
    pub async fn handed_over(socket: OwnedFd, contained: bool, uid: u32) -> io::Result<Self> {
        let (listener, inode) =
            checked(socket).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let callers = if contained && !is_of_this_network(inode).await? {
            Callers::Anyone
        } else {
            only(uid)
        };
        Self::open(listener, callers)
    }

    /// A listener of this process's own, for processes of `uid`.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn of_user(listener: TcpListener, uid: u32) -> io::Result<Self> {
        Self::open(listener, Callers::Only(uid))
    }

    fn open(listener: TcpListener, callers: Callers) -> io::Result<Self> {
        let open = Open {
            listener: Arc::new(listener),
            closed: Arc::default(),
        };
        let (listener, closed) = (Arc::clone(&open.listener), Arc::clone(&open.closed));
        let (to, arriving) = mpsc::channel(WAITING);
        thread::Builder::new()
            .name("port".into())
            .stack_size(STACK)
            .spawn(move || accept_all(&listener, &closed, &to))?;
        Ok(Self {
            arriving,
            callers,
            asked: None,
            _open: open,
        })
    }

    /// The next connection of somebody who may connect. Cancelling it loses none.
    pub(crate) async fn accept(&mut self) -> io::Result<TcpStream> {
        loop {
            // One at a time: others cannot have more than one looked up at once.
            if let Some(asked) = &mut self.asked {
                let admitted = asked.as_mut().await;
                self.asked = None;
                if let Some(stream) = admitted {
                    return Ok(stream);
                }
            }
            let arrived = self.arriving.recv().await;
            let (stream, peer) = arrived.ok_or(io::ErrorKind::BrokenPipe)?;
            match self.callers {
                Callers::Anyone => return Ok(stream),
                Callers::Only(uid) => {
                    self.asked = Some(Box::pin(if_of(uid, stream, peer)));
                }
            }
        }
    }
}

/// Accepts until the port is closed. Whatever holds it up holds up nobody else.
fn accept_all(
    listener: &TcpListener,
    closed: &AtomicBool,
    to: &mpsc::Sender<(TcpStream, SocketAddr)>,
) {
    while !closed.load(Ordering::SeqCst) {
        // By the listener's flags, accepting waits or does not: so it is waited
        // for here.
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        let arrived = poll(&mut ready, LOOK_AGAIN.as_ref())
            .map_err(io::Error::from)
            .and_then(|_| listener.accept())
            .and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                // Heads and small replies are not to wait for an acknowledgement.
                stream.set_nodelay(true)?;
                Ok((stream, peer))
            });
        match arrived {
            Ok(arrived) => {
                if to.blocking_send(arrived).is_err() {
                    return;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => thread::sleep(REST),
        }
    }
}

/// Linux wakes whoever accepts when the port is closed; elsewhere it is looked
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

/// The socket as a listener, and its inode.
fn checked(socket: OwnedFd) -> io::Result<(TcpListener, u64)> {
    use rustix::net::{SocketType, sockopt};
    let no = |what| Err(io::Error::other(what));
    if sockopt::socket_type(&socket)? != SocketType::STREAM {
        return no("it is no stream socket");
    }
    #[cfg(target_os = "linux")]
    if sockopt::socket_protocol(&socket)? != Some(rustix::net::ipproto::TCP) {
        return no("it does not speak TCP");
    }
    // Apple's systems do not say it; there, accepting fails.
    #[cfg(not(target_vendor = "apple"))]
    if !sockopt::socket_acceptconn(&socket)? {
        return no("it does not listen");
    }
    let inode = rustix::fs::fstat(&socket)?.st_ino;
    let listener = TcpListener::from(socket);
    match listener.local_addr()? {
        SocketAddr::V4(address) if address.ip().is_loopback() => {}
        _ => return no("it is not bound to a loopback address"),
    }
    Ok((listener, inode))
}

/// The connection, if its other end is of this user's.
async fn if_of(uid: u32, stream: TcpStream, peer: SocketAddr) -> Option<TcpStream> {
    let (SocketAddr::V4(peer), SocketAddr::V4(local)) = (peer, stream.local_addr().ok()?) else {
        return None;
    };
    let table = table().await.ok()?;
    (owner(&table, peer, local) == Some(uid)).then_some(stream)
}

/// Whether the socket belongs to the network of this process.
async fn is_of_this_network(inode: u64) -> io::Result<bool> {
    Ok(rows(&table().await?).any(|row| row.inode == inode))
}

/// The kernel's table of this network's TCP sockets (IPv4).
async fn table() -> io::Result<String> {
    tokio::fs::read_to_string("/proc/net/tcp").await
}

/// What is known of a socket. Addresses are as the table spells them.
struct Row<'t> {
    local: &'t str,
    remote: &'t str,
    uid: u32,
    /// 0 when no process has it any more.
    inode: u64,
}

/// Source: `proc_net_tcp(5)`.
fn rows(table: &str) -> impl Iterator<Item = Row<'_>> {
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        Some(Row {
            local: fields.next()?,
            remote: fields.next()?,
            // After: state, queues, timer, retransmits.
            uid: fields.nth(4)?.parse().ok()?,
            // After: time-outs.
            inode: fields.nth(1)?.parse().ok()?,
        })
    })
}

/// To whom the other end of a connection belongs. `None` where there is none, or
/// the peer has gone: what no process has is listed as root's.
fn owner(table: &str, peer: SocketAddrV4, local: SocketAddrV4) -> Option<u32> {
    // The kernel prints an address as the number that its bytes are in memory.
    let hex = |a: SocketAddrV4| {
        format!(
            "{:08X}:{:04X}",
            u32::from_ne_bytes(a.ip().octets()),
            a.port()
        )
    };
    let (ours, theirs) = (hex(local), hex(peer));
    rows(table)
        .find(|row| row.local == theirs && row.remote == ours)
        .filter(|row| row.inode != 0)
        .map(|row| row.uid)
}

#[cfg(test)]
#[path = "port_tests.rs"]
mod tests;
