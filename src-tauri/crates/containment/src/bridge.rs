//! From a TCP port on loopback to the gateway's Unix socket. Clients speak TCP
//! to a proxy; the gateway listens on a socket whose identity is the run.
//!
//! In a contained run the port is the run's own. Uncontained, it is the host's,
//! so that connections of other users of the machine are turned away.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// Connections at a time. Further ones wait in the listener's queue. Each may
/// be held for as long as a human thinks, so there are more than a busy agent
/// opens; each costs two small threads.
const MOST_CONNECTIONS: usize = 256;

/// Bytes copied at a time, on the thread's stack.
const BUFFER: usize = 16 * 1024;

/// Stack of a copying thread: its buffer and room to spare.
const STACK: usize = 128 * 1024;

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callers {
    /// Anyone who can reach the port: in a run's own network.
    Anyone,
    /// Only processes of this user id.
    Only(u32),
}

/// A bridge that serves until it is dropped (at the latest a moment later).
#[derive(Debug)]
pub(crate) struct Bridge {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Bridge {
    /// Listens on this port of 127.0.0.1 (0: any free one).
    pub(crate) fn open(port: u16, gateway: &Path, callers: Callers) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let bridge = Self {
            address: listener.local_addr()?,
            ended: Arc::default(),
        };
        let (gateway, ended) = (gateway.to_owned(), bridge.ended.clone());
        Builder::new()
            .name("bridge".into())
            .stack_size(STACK)
            .spawn(move || serve(&listener, gateway, callers, &ended))?;
        Ok(bridge)
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // One more connection, for the thread to see it.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(listener: &TcpListener, gateway: PathBuf, callers: Callers, ended: &AtomicBool) {
    let slots = Arc::new(Slots::default());
    let gateway = Arc::new(gateway);
    while !ended.load(Ordering::Acquire) {
        let slot = Slots::take(&slots);
        let Ok((client, address)) = listener.accept() else {
            // Out of descriptors, say: try again when some may be free.
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        if let Callers::Only(uid) = callers
            && owner_of(address, listener) != Some(uid)
        {
            continue;
        }
        let gateway = Arc::clone(&gateway);
        // Without a thread to spare the client sees its connection closed.
        let _ = Builder::new()
            .name("bridge-connection".into())
            .stack_size(STACK)
            .spawn(move || {
                let _slot = slot;
                if let Ok(gateway) = UnixStream::connect(&*gateway) {
                    let _ = client.set_nodelay(true);
                    copy_both(&client, &gateway);
                }
            });
    }
}

/// Copies both ways until both have ended. The end of one way is passed on and
/// leaves the other open; an error ends both.
fn copy_both(client: &TcpStream, gateway: &UnixStream) {
    std::thread::scope(|scope| {
        let upwards = Builder::new().stack_size(STACK).spawn_scoped(scope, || {
            if copy(client, gateway).is_ok() {
                let _ = gateway.shutdown(Shutdown::Write);
            } else {
                abort(client, gateway);
            }
        });
        if upwards.is_ok() && copy(gateway, client).is_ok() {
            let _ = client.shutdown(Shutdown::Write);
        } else {
            abort(client, gateway);
        }
    });
}

fn abort(client: &TcpStream, gateway: &UnixStream) {
    let _ = client.shutdown(Shutdown::Both);
    let _ = gateway.shutdown(Shutdown::Both);
}

fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A count of free connections that can be waited for.
#[derive(Default)]
struct Slots {
    taken: Mutex<usize>,
    freed: Condvar,
}

/// One of them; free again when dropped.
struct Slot(Arc<Slots>);

impl Slots {
    fn take(slots: &Arc<Self>) -> Slot {
        let mut taken = slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken >= MOST_CONNECTIONS {
            taken = slots
                .freed
                .wait(taken)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *taken += 1;
        Slot(Arc::clone(slots))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_one();
    }
}

/// The user id that owns the other end of a connection on this machine, from
/// the kernel's table (`proc_net_tcp(5)`).
#[cfg(target_os = "linux")]
fn owner_of(client: SocketAddr, listener: &TcpListener) -> Option<u32> {
    let text = |address: SocketAddr| match address {
        // As the table has it: the address's bytes read as a native integer.
        SocketAddr::V4(v4) => Some(format!(
            "{:08X}:{:04X}",
            u32::from_ne_bytes(v4.ip().octets()),
            v4.port()
        )),
        SocketAddr::V6(_) => None,
    };
    let (local, remote) = (text(client)?, text(listener.local_addr().ok()?)?);
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let matches = fields.next() == Some(&local) && fields.next() == Some(&remote);
        // Then: state, queues, timer, retransmits, uid.
        matches.then(|| fields.nth(4)?.parse().ok()).flatten()
    })
}

/// Elsewhere there is no such table: whoever is on the machine may connect.
/// The run is uncontained there, and is shown as such.
#[cfg(not(target_os = "linux"))]
fn owner_of(_client: SocketAddr, _listener: &TcpListener) -> Option<u32> {
    Some(nix::unistd::Uid::current().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A gateway that reads to the end, then answers with what it got, twice.
    fn gateway(path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(8) {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut all = Vec::new();
                    stream.read_to_end(&mut all).unwrap();
                    stream.write_all(&all).unwrap();
                    stream.write_all(&all).unwrap();
                });
            }
        });
    }

    fn bridge(callers: Callers) -> (tempfile::TempDir, Bridge) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway");
        gateway(&path);
        let bridge = Bridge::open(0, &path, callers).unwrap();
        (folder, bridge)
    }

    #[test]
    fn the_end_of_one_way_leaves_the_other_open() {
        let (_folder, bridge) = bridge(Callers::Anyone);
        let mut client = TcpStream::connect(bridge.address).unwrap();
        let sent = vec![7; 300_000];
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert_eq!(back.len(), 2 * sent.len());
    }

    #[test]
    fn the_users_own_processes_may_connect_and_those_of_another_may_not() {
        let uid = nix::unistd::Uid::current().as_raw();
        for (allowed, length) in [(uid, 2), (uid + 1, 0)] {
            let (_folder, bridge) = bridge(Callers::Only(allowed));
            let mut client = TcpStream::connect(bridge.address).unwrap();
            let _ = client.write_all(b"x");
            let _ = client.shutdown(Shutdown::Write);
            let mut back = Vec::new();
            let _ = client.read_to_end(&mut back);
            assert_eq!(back.len(), length, "uid {allowed}");
        }
    }

    #[test]
    fn a_dropped_bridge_stops_listening() {
        let (_folder, bridge) = bridge(Callers::Anyone);
        let address = bridge.address;
        drop(bridge);
        let gone = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            TcpStream::connect(address).is_err()
        });
        assert!(gone);
    }
}
