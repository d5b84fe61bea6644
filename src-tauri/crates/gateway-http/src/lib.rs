//! The HTTP enforcement point: a forward proxy that judges before it injects.
//!
//! An agent's run speaks HTTP/1.1 to it on a socket or port of its own, as to any
//! proxy, and HTTP/2 inside a tunnel if it likes. CONNECT is answered, but there
//! is no tunnel: TLS ends here, under a CA that exists in memory for this run
//! alone, and every request is read, recognised, judged by the broker, recorded,
//! and only then sent, once, with the real credential. `forward.rs` is that way
//! from top to bottom. A contained run's programs that know nothing of proxies
//! come the same way: its name server (`names`) gives every name an address that
//! leads here (`transparent`).
//!
//! # Invariants
//!
//! - **What was shown is what runs (G3).** The upstream request is made in one
//!   function, from the [`ExactRequest`](countersign_model::ExactRequest) that
//!   the permit is bound to; only the credential and the account's cookies are
//!   added. There are no retries and no redirects: one permit, one send.
//! - **No credential comes back (G1).** Replies are searched for the credential
//!   and for session cookies in every common encoding; one that holds them is
//!   cut. `Set-Cookie` stays here. Token endpoints of known kinds are answered
//!   here, with a placeholder.
//! - **Doubt is refused.** Of HTTP/1.1 a strict subset is taken that no two
//!   parsers read differently; target, Host, CONNECT, SNI
//!   and the name that was asked for must agree.
//! - **The stop wins (G5).** The run's cut is taken before anything else of a
//!   request, and everything that waits or moves is raced against it.
//! - **Every release is settled** exactly once, by a guard that also settles
//!   when its task is dropped.
//! - Nothing here is unbounded: connections, heads, judged bodies, certificate
//!   and cookie stores have limits; everything else streams with back-pressure.
//! - **An agent signs with a placeholder.** What goes to AWS is checked to be signed
//!   by the run's own, and leaves with a signature that was made in the vault (`aws`).
//!
//! A WebSocket is one request of unknown content (`websocket`). Every other
//! `Upgrade` is `unsupported`, and an unasked 101 is a failed upstream.

mod abrupt;
mod accept;
mod agent;
mod ask;
mod assign;
mod aws;
mod body;
mod ca;
mod cookies;
#[cfg(target_os = "linux")]
mod diag;
mod dial;
mod escape;
mod forward;
#[cfg(test)]
mod fuzz_tests;
mod gate;
mod head;
mod headers;
mod limits;
mod names;
mod normalise;
mod port;
mod problem;
mod refuse;
mod reply;
mod run;
mod scrub;
mod send;
mod settle;
mod spool;
mod tls;
mod tokens;
mod transparent;
mod two;
mod upstream;
mod websocket;
mod whose;
mod wire;

pub use ca::{CaError, CaParts, RunCa};
pub use gate::Doors;
pub use limits::Limits;
pub use port::{Checked, Ports};
pub use run::RunGateway;
pub use whose::{is_of_user, is_own};

pub use countersign_sigv4::Key;

use countersign_broker::{Countersigner, Secret};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Handle;

/// The gateway: what all runs share, which is the system's list of CAs, and the
/// event loops that their connections are dealt out to.
#[derive(Debug, Clone, Default)]
pub struct Gateway {
    roots: Arc<dial::Roots>,
    lanes: Lanes,
}

/// Event loops, and whose turn it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lanes {
    all: Arc<[Handle]>,
    turn: Arc<AtomicUsize>,
}

impl Lanes {
    /// Where the next connection goes: to each in turn, or where this is called.
    pub(crate) fn next(&self) -> Handle {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.all.len().max(1);
        let lane = self.all.get(turn % count);
        lane.cloned().unwrap_or_else(Handle::current)
    }
}

impl Gateway {
    /// A gateway. Reads the system's CAs when an upstream first needs them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the system's CAs now, for a process that cannot read files later.
    pub fn read_roots(&self) {
        self.roots.read();
    }

    /// A gateway whose connections are dealt out to these event loops of one
    /// thread each. A connection stays on its own, and so does what is opened
    /// upstream for it: to change threads costs more than to answer a request.
    #[must_use]
    pub fn on(lanes: Vec<Handle>) -> Self {
        Self {
            lanes: Lanes {
                all: lanes.into(),
                turn: Arc::default(),
            },
            ..Self::default()
        }
    }

    /// The same gateway on these event loops; see [`Gateway::on`].
    #[must_use]
    pub fn with_lanes(self, lanes: Vec<Handle>) -> Self {
        Self {
            lanes: Self::on(lanes).lanes,
            ..self
        }
    }

    /// Serves a run on its socket, and on its ports once they come: whoever
    /// connects there is the run. Returns when the run has ended, with the doors
    /// still open, for what goes on as another run; dropping the future closes
    /// every connection and settles what was under way as unknown.
    pub async fn serve_run<C: Countersigner>(&self, doors: Doors, gateway: RunGateway<C>) -> Doors {
        let run = Arc::new(run::Run::new(gateway, Arc::clone(&self.roots)));
        accept::serve(run, doors, &self.lanes).await
    }

    /// Serves an agent that is not contained, on a port of its own. Its clients
    /// show `token` in `Proxy-Authorization`, as Bearer or as the password of Basic
    /// (`http://agent:TOKEN@127.0.0.1:PORT`). Linux only: elsewhere nobody's uid can
    /// be told, so nobody is let in.
    pub async fn serve_tcp<C: Countersigner>(
        &self,
        ports: Ports,
        gateway: RunGateway<C>,
        token: Secret,
    ) {
        let run = Arc::new(run::Run::new(gateway, Arc::clone(&self.roots)));
        let token = Arc::new(token);
        accept::serve(run, gate::Loopback { ports, token }, &self.lanes).await;
    }
}
