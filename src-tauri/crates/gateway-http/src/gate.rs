//! The ways in, and what is shown at them. A run's Unix socket and its ports need
//! no token: who is let in there is the run. An agent that nobody launched comes
//! by a port that every process of the user reaches, so it must know a token.

use crate::accept::{Arrived, Source};
use crate::head::Head;
use crate::names::Names;
use crate::port::{By, Checked, Ports};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_broker::Secret;
use std::io;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

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

/// What whoever connects is taken for.
pub(crate) enum Wants {
    /// A client of a proxy.
    Proxy(Gate),
    /// A client of the host whose address it connected to: of this name, or of
    /// none that was asked for, and this port.
    Host(Option<Arc<str>>, u16),
    /// One that asks for names.
    Names(Arc<Names>),
}

/// The ways into a run: its Unix socket, and its ports once they were handed over.
#[derive(Debug)]
pub struct Doors {
    socket: UnixListener,
    ports: Option<Ports>,
    /// `None` when they have come, or never will.
    to_come: Option<oneshot::Receiver<Checked>>,
}

impl Doors {
    /// A socket, and ports that may come.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Panics
    /// Outside of an event loop.
    pub fn new(
        socket: std::os::unix::net::UnixListener,
        ports: oneshot::Receiver<Checked>,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UnixListener::from_std(socket)?,
            ports: None,
            to_come: Some(ports),
        })
    }
}

impl Source for Doors {
    async fn next(&mut self) -> io::Result<(Arrived, Wants)> {
        loop {
            // Not biased, so that neither way keeps the other waiting.
            tokio::select! {
                accepted = self.socket.accept() => {
                    let arrived = Arrived::Unix(accepted?.0.into_std()?);
                    return Ok((arrived, Wants::Proxy(Gate::Open)));
                }
                accepted = by_ports(self.ports.as_mut()) => {
                    let (stream, by) = accepted?;
                    let wants = match by {
                        By::Proxy => Wants::Proxy(Gate::Open),
                        By::Host(name, port) => Wants::Host(name, port),
                        By::Names(names) => Wants::Names(names),
                    };
                    return Ok((Arrived::Tcp(stream), wants));
                }
                ports = handed(self.to_come.as_mut()) => {
                    self.ports = ports;
                    self.to_come = None;
                }
            }
        }
    }
}

async fn by_ports(ports: Option<&mut Ports>) -> io::Result<(std::net::TcpStream, By)> {
    match ports {
        Some(ports) => ports.accept().await,
        None => std::future::pending().await,
    }
}

async fn handed(ports: Option<&mut oneshot::Receiver<Checked>>) -> Option<Ports> {
    match ports {
        // Whoever was to hand them over may have ended; and a thread for them may
        // not be had: then there are none.
        Some(ports) => ports.await.ok()?.open().ok(),
        None => std::future::pending().await,
    }
}

/// A loopback port for an agent that nobody launched.
pub(crate) struct Loopback {
    pub(crate) ports: Ports,
    pub(crate) token: Arc<Secret>,
}

impl Source for Loopback {
    async fn next(&mut self) -> io::Result<(Arrived, Wants)> {
        // It has no other door than the proxy's.
        let (stream, _) = self.ports.accept().await?;
        let gate = Gate::Token(Arc::clone(&self.token));
        Ok((Arrived::Tcp(stream), Wants::Proxy(gate)))
    }
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
}
