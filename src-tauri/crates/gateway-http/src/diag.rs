//! Whose a TCP connection within this machine is, asked of the kernel directly: one
//! question, where its table of all connections would have to be read.
//!
//! Sources: sock_diag(7); the kernel's `linux/inet_diag.h`.

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;
const TCP: u8 = 6;
/// `TCP_ESTABLISHED`, and what it can have become since: its other end was closed.
const OPEN: [u8; 2] = [1, 8];

/// Lengths of `struct nlmsghdr`, `struct inet_diag_sockid` and `struct inet_diag_msg`.
const HEADER: usize = 16;
const SOCKET_ID: usize = 48;
const MESSAGE: usize = 72;

/// The kernel answers at once, or not at all.
const PATIENCE: Duration = Duration::from_millis(100);

/// The user id of the socket that is at `peer` and connected to `local`. `None` where
/// the kernel does not say.
pub(crate) fn owner(peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    ask(peer, local).ok().flatten()
}

fn ask(peer: SocketAddr, local: SocketAddr) -> io::Result<Option<u32>> {
    let diag = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    sockopt::set_socket_timeout(&diag, sockopt::Timeout::Recv, Some(PATIENCE))?;
    let id = socket_id(peer, local);
    send(&diag, &question(family(peer), &id), SendFlags::empty())?;
    let mut reply = [0; 512];
    let (length, _) = recv(&diag, &mut reply, RecvFlags::empty())?;
    Ok(reply.get(..length).and_then(|reply| answer(reply, &id)))
}

fn family(at: SocketAddr) -> u8 {
    match at {
        SocketAddr::V4(_) => 2,
        SocketAddr::V6(_) => 10,
    }
}

/// `struct inet_diag_sockid`, without an interface and a cookie.
fn socket_id(peer: SocketAddr, local: SocketAddr) -> [u8; SOCKET_ID] {
    let mut id = [0; SOCKET_ID];
    id[0..2].copy_from_slice(&peer.port().to_be_bytes());
    id[2..4].copy_from_slice(&local.port().to_be_bytes());
    for (from, at) in [(4, peer), (20, local)] {
        match at.ip() {
            IpAddr::V4(ip) => id[from..from + 4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => id[from..from + 16].copy_from_slice(&ip.octets()),
        }
    }
    // `INET_DIAG_NOCOOKIE`
    id[40..48].fill(0xff);
    id
}

/// `struct inet_diag_req_v2` in a message of its own.
fn question(family: u8, id: &[u8; SOCKET_ID]) -> Vec<u8> {
    let length = (HEADER + 8 + SOCKET_ID) as u32;
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    // Number and port: none.
    bytes.extend([0; 8]);
    bytes.extend([family, TCP, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(id);
    bytes
}

/// The user of the socket that the kernel tells of, if it is the one that was meant:
/// it may tell of one that listens there instead.
fn answer(reply: &[u8], asked: &[u8; SOCKET_ID]) -> Option<u32> {
    let (header, rest) = reply.split_at_checked(HEADER)?;
    let message = rest.get(..MESSAGE)?;
    let kind = u16::from_ne_bytes(header.get(4..6)?.try_into().ok()?);
    // Ports and addresses.
    let (found, meant) = (message.get(4..40)?, asked.get(..36)?);
    if kind != BY_FAMILY || !OPEN.contains(message.get(1)?) || found != meant {
        return None;
    }
    Some(u32::from_ne_bytes(message.get(64..68)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn own() -> u32 {
        rustix::process::getuid().as_raw()
    }

    #[test]
    fn the_kernel_says_whose_a_connection_is() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(any).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            let local = server.local_addr().unwrap();
            assert_eq!(owner(peer, local), Some(own()), "{any}");
            drop(client);
            drop(server);
        }
    }

    #[test]
    fn of_what_is_not_connected_so_it_says_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let _client = TcpStream::connect(at).unwrap();
        let (_server, peer) = listener.accept().unwrap();
        let nobody = SocketAddr::new(peer.ip(), 9);
        // The one that listens is there, and is not the one that is connected so.
        assert_eq!(owner(at, nobody), None);
        assert_eq!(owner(peer, nobody), None);
        assert_eq!(owner(nobody, at), None);
    }

    #[test]
    fn a_broken_answer_is_none() {
        let id = socket_id(
            "127.0.0.1:1".parse().unwrap(),
            "127.0.0.1:2".parse().unwrap(),
        );
        let mut whole = vec![0; HEADER + MESSAGE];
        whole[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        whole[HEADER + 1] = OPEN[0];
        whole[HEADER + 4..HEADER + 52].copy_from_slice(&id);
        assert_eq!(answer(&whole, &id), Some(0));
        for length in 0..whole.len() {
            assert_eq!(answer(&whole[..length], &id), None, "{length}");
        }
    }
}
