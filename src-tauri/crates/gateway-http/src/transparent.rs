//! Connections of programs that know nothing of proxies: they looked a name up
//! and connected to its address, as if it were the host.
//!
//! What leads here is an address that stands for a name ([`crate::names`]). The
//! server name of TLS, or the Host of HTTP, must be that name; then a request is
//! one to that host and port like any other, and judged like it. Whether the host
//! is an account's or a site's is not said by its having an address: a name that
//! did not exist would look like a mistyped one.

use crate::accept::{inside, requests, unreadable, vouched};
use crate::agent::Agent;
use crate::gate::Gate;
use crate::normalise::Via;
use crate::refuse::{No, reject, tell_no};
use crate::run::Run;
use crate::tls::{self, Rewound};
use crate::wire::{Connection, Io};
use bytes::Bytes;
use countersign_broker::Countersigner;
use countersign_model::{Foreign, ReasonCode, Scheme};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

/// The first byte of TLS: a record of the handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// Serves a connection to the address of this name, or to one that was given out
/// for none, and to this port.
pub(crate) async fn serve<C: Countersigner>(
    run: &Run<C>,
    mut io: Io,
    name: Option<&str>,
    port: u16,
) {
    let stop = run.port.cut(&run.id);
    let stopped_before = stop.is_cancelled();
    let mut first = [0];
    let read = timeout(run.limits.idle_connection, io.read(&mut first));
    let read = tokio::select! { biased;
        () = stop.cancelled(), if !stopped_before => return,
        read = read => read,
    };
    let Ok(Ok(1)) = read else { return };
    let io = Rewound::new(Bytes::copy_from_slice(&first), io);
    match first[0] {
        HANDSHAKE => {
            let ends = timeout(run.limits.head_time, by_tls(run, io, name, port));
            let tls = tokio::select! { biased;
                () = stop.cancelled(), if !stopped_before => return,
                tls = ends => tls,
            };
            if let (Ok(Some(tls)), Some(host)) = (tls, name) {
                inside(run, tls, host.to_owned(), port).await;
            }
        }
        b'A'..=b'Z' => by_http(run, Connection::new(Box::new(io)), name, port).await,
        _ => {
            if let Ok(id) = run.port.new_request(&run.id) {
                let detail = "what came was neither TLS nor HTTP";
                let target = target(name, port);
                reject(run, &id, target, ReasonCode::Unsupported, detail).await;
            }
        }
    }
}

async fn by_tls<C: Countersigner>(
    run: &Run<C>,
    io: Rewound,
    name: Option<&str>,
    port: u16,
) -> Option<(Io, tls::Version)> {
    let Ok(id) = run.port.new_request(&run.id) else {
        tls::deny(Box::new(io)).await;
        return None;
    };
    let host = match name {
        None => Err(nameless()),
        Some(name) => vouched(run, name).map(|()| name),
    };
    tls::end(run, io, &id, host, target(name, port)).await
}

async fn by_http<C: Countersigner>(
    run: &Run<C>,
    mut agent: Connection,
    name: Option<&str>,
    port: u16,
) {
    let via = |host: &str| Via::Host {
        scheme: Scheme::Http,
        host: host.to_owned(),
        port,
    };
    if let Some(host) = name {
        return requests(run, agent, via(host), Gate::Open).await;
    }
    let via = via("an-address-without-a-name");
    match agent.reader.head(&run.limits).await {
        Err(no_head) => unreadable(run, agent, &via, &no_head).await,
        Ok(head) => {
            let Ok(id) = run.port.new_request(&run.id) else {
                return;
            };
            let by = &mut Agent::One(&mut agent);
            tell_no(run, by, &head, &via, &id, nameless()).await;
            agent.close().await;
        }
    }
}

fn nameless() -> No {
    No::because(
        ReasonCode::Malformed,
        "No name was looked up that has this address. Connect by the host's name.",
    )
}

fn target(name: Option<&str>, port: u16) -> Foreign {
    Foreign::new(match name {
        Some(name) => format!("a connection to {name}:{port}"),
        None => format!("a connection to port {port} of an address without a name"),
    })
}
