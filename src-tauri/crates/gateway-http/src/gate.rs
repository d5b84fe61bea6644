//! Who may speak on a listener. A run's Unix socket needs no token: who reaches
//! it is the run. On loopback TCP, which every process of the machine reaches,
//! the peer must belong to the user and know the agent's token.

use crate::accept::Source;
use crate::head::Head;
use crate::wire::Io;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_broker::Secret;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use subtle::ConstantTimeEq as _;
use tokio::net::{TcpListener, UnixListener};

/// What a connection must show before its first request is read further.
#[derive(Debug, Clone)]
pub(crate) enum Gate {
    /// The socket is the identity.
    Open,
    /// `Proxy-Authorization` with this token, as Bearer or as a Basic password.
    Token(Arc<Secret>),
}

impl Gate {
    /// Tells clients that hold the token for later to send it.
    pub(crate) const REFUSAL: &'static [u8] = b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"countersign\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    pub(crate) fn admits(&self, head: &Head) -> bool {
        let Self::Token(token) = self else {
            return true;
        };
        let Some(value) = head.first("proxy-authorization") else {
            return false;
        };
        let Some(space) = value.iter().position(|&b| b == b' ') else {
            return false;
        };
        let (scheme, given) = (&value[..space], value[space..].trim_ascii());
        let is = |given: &[u8]| bool::from(given.ct_eq(token.expose()));
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return is(given);
        }
        scheme.eq_ignore_ascii_case(b"basic")
            && STANDARD.decode(given).is_ok_and(|pair| {
                let at = pair.iter().position(|&b| b == b':');
                at.is_some_and(|at| is(&pair[at + 1..]))
            })
    }
}

impl Source for UnixListener {
    async fn next(&self) -> io::Result<(Io, Gate)> {
        let (stream, _) = self.accept().await?;
        Ok((Box::new(stream), Gate::Open))
    }
}

/// A loopback listener for an agent that is not contained.
pub(crate) struct Loopback {
    pub(crate) listener: TcpListener,
    pub(crate) token: Arc<Secret>,
    /// The user to whom peers must belong.
    pub(crate) uid: u32,
}

impl Source for Loopback {
    async fn next(&self) -> io::Result<(Io, Gate)> {
        loop {
            let (stream, peer) = self.listener.accept().await?;
            let _ = stream.set_nodelay(true);
            let (SocketAddr::V4(peer), SocketAddr::V4(local)) = (peer, stream.local_addr()?) else {
                continue;
            };
            if uid_of(peer, local).await == Some(self.uid) {
                return Ok((Box::new(stream), Gate::Token(Arc::clone(&self.token))));
            }
        }
    }
}

/// To whom the other end of a loopback connection belongs, by the kernel's table
/// of IPv4 sockets. `None` where there is none, or the peer has gone.
async fn uid_of(peer: SocketAddrV4, local: SocketAddrV4) -> Option<u32> {
    let table = tokio::fs::read_to_string("/proc/net/tcp").await.ok()?;
    owner_in(&table, peer, local)
}

fn owner_in(table: &str, peer: SocketAddrV4, local: SocketAddrV4) -> Option<u32> {
    // The kernel prints an address as the number that its bytes are in memory.
    let hex = |a: SocketAddrV4| {
        format!(
            "{:08X}:{:04X}",
            u32::from_ne_bytes(Ipv4Addr::octets(a.ip())),
            a.port()
        )
    };
    let (ours, theirs) = (hex(local), hex(peer));
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let matches =
            fields.next() == Some(theirs.as_str()) && fields.next() == Some(ours.as_str());
        if matches {
            fields.nth(4)?.parse().ok()
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Framing;
    use countersign_model::HeaderField;

    fn admits(value: &str) -> bool {
        let gate = Gate::Token(Arc::new(Secret::new(b"t0ken".to_vec())));
        gate.admits(&Head {
            method: "CONNECT".into(),
            target: "a.example:443".into(),
            http_11: true,
            headers: vec![HeaderField {
                name: "proxy-authorization".into(),
                value: value.into(),
            }],
            framing: Framing::None,
            keep_alive: true,
        })
    }

    #[test]
    fn only_the_agents_token_opens_a_loopback_listener() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert!(
            admits("Bearer t0ken")
                && admits("bearer  t0ken")
                && admits(&basic("agent:t0ken"))
                && admits(&basic(":t0ken"))
        );
        for no in [
            "Bearer t0ke",
            "Bearer t0kenx",
            "Bearer ",
            "t0ken",
            "Digest t0ken",
            &basic("t0ken"),
            &basic("t0ken:"),
            "Basic !",
        ] {
            assert!(!admits(no), "{no}");
        }
    }

    #[tokio::test]
    async fn the_kernel_says_whose_a_loopback_connection_is() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (SocketAddr::V4(peer), SocketAddr::V4(local)) =
            (client.local_addr().unwrap(), server.local_addr().unwrap())
        else {
            unreachable!("bound to IPv4")
        };
        use std::os::unix::fs::MetadataExt as _;
        let me = std::fs::metadata("/proc/self").unwrap().uid();
        assert_eq!(uid_of(peer, local).await, Some(me));
        assert_eq!(uid_of(SocketAddrV4::new(*peer.ip(), 1), local).await, None);
    }
}
