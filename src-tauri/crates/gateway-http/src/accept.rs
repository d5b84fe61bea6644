//! Connections of a run: accepted, read request by request, and unwrapped where
//! they ask for a tunnel. There are no tunnels: CONNECT is answered, TLS ends
//! here under the run's CA, and every request inside is judged.

use crate::Lanes;
use crate::agent::{After, Agent};
use crate::forward;
use crate::gate::{Gate, Wants};
use crate::head::{Head, NoHead};
use crate::names;
use crate::normalise::{self, Via};
use crate::problem::Problem;
use crate::refuse::{No, reject, tell, tell_no};
use crate::run::Run;
use crate::tls::{self, Rewound, Version};
use crate::transparent;
use crate::two;
use crate::wire::{self, Connection, Io};
use countersign_broker::Countersigner;
use countersign_model::{Foreign, ReasonCode, Scheme};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often to look whether a stopped run goes on or has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long the connections of a run that has ended may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where connections come from.
pub(crate) trait Source {
    /// The next connection. Cancelling it loses none.
    fn next(&mut self) -> impl Future<Output = io::Result<(Arrived, Wants)>> + Send;
}

/// A connection that was accepted, and is of no event loop yet.
pub(crate) enum Arrived {
    Unix(std::os::unix::net::UnixStream),
    Tcp(std::net::TcpStream),
}

impl Arrived {
    /// As one of the event loop that this is called in.
    fn settle(self) -> io::Result<Io> {
        Ok(match self {
            Self::Unix(stream) => Box::new(UnixStream::from_std(stream)?),
            Self::Tcp(stream) => Box::new(TcpStream::from_std(stream)?),
        })
    }
}

/// Serves until the run ends, with connections dealt out to these event loops,
/// or on the one that this runs on; gives back where they come from. Dropping
/// the future closes every connection.
pub(crate) async fn serve<C: Countersigner, S: Source>(
    run: Arc<Run<C>>,
    mut source: S,
    lanes: &Lanes,
) -> S {
    let mut connections = JoinSet::new();
    let mut cut = run.port.cut(&run.id);
    while run.port.run(&run.id).is_some() {
        tokio::select! { biased;
            () = wait_for_change(&cut) => {
                run.upstreams.close();
                cut = run.port.cut(&run.id);
            }
            Some(_) = connections.join_next() => {}
            accepted = source.next() => match accepted {
                Ok((arrived, wants)) if connections.len() < run.limits.connections * 2 => {
                    let run = Arc::clone(&run);
                    let room = connections.len() < run.limits.connections;
                    let serve = async move {
                        // Without a place in the event loop it is closed.
                        let Ok(io) = arrived.settle() else { return };
                        match wants {
                            Wants::Names(names) if room => names::serve(&names, io).await,
                            Wants::Names(_) => {}
                            _ if !room => too_many(&run, io, &wants).await,
                            Wants::Proxy(gate) => {
                                requests(&run, Connection::new(io), Via::Proxy, gate).await;
                            }
                            Wants::Host(name, port) => {
                                transparent::serve(&run, io, name.as_deref(), port).await;
                            }
                        }
                    };
                    connections.spawn_on(serve, &lanes.next());
                }
                Ok(_) => {}
                // Out of descriptors, most likely: others must end first.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
        }
    }
    run.upstreams.close();
    // The run's cut ends them all; a moment, so that each says how it ended.
    let ends = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(LAST_WORDS, ends).await;
    source
}

/// Comes back when a live token is cancelled, and from then on now and again,
/// until the stop is lifted or the run has ended.
async fn wait_for_change(cut: &CancellationToken) {
    if cut.is_cancelled() {
        sleep(LOOK_AGAIN).await;
        return;
    }
    cut.cancelled().await;
}

async fn too_many<C: Countersigner>(run: &Run<C>, io: Io, wants: &Wants) {
    let Ok(id) = run.port.new_request(&run.id) else {
        return;
    };
    let detail = "This run has too many connections open. Close some first.";
    reject(
        run,
        &id,
        Foreign::new("a connection"),
        ReasonCode::Limit,
        detail,
    )
    .await;
    // Whether a host is spoken to by TLS nobody knows yet.
    let Wants::Proxy(_) = wants else { return };
    let mut agent = Connection::new(io);
    let problem = Problem {
        request: Some(id),
        reason: ReasonCode::Limit,
        detail: detail.into(),
    };
    if agent
        .writer
        .send(&wire::answer(&problem.whole(), true, false))
        .await
        .is_ok()
    {
        agent.close().await;
    }
}

/// Reads and answers one request after the other.
pub(crate) async fn requests<C: Countersigner>(
    run: &Run<C>,
    mut agent: Connection,
    via: Via,
    gate: Gate,
) {
    let begun_stopped = run.port.cut(&run.id).is_cancelled();
    loop {
        let stop = run.port.cut(&run.id);
        // While the stop is engaged, a new connection is told so; one that
        // idles when the stop comes, or had its answer just then, is closed at once.
        let stopped_before = stop.is_cancelled();
        if stopped_before && !begun_stopped {
            return;
        }
        let head = tokio::select! { biased;
            () = stop.cancelled(), if !stopped_before => return,
            head = agent.reader.head(&run.limits) => head,
        };
        let head = match head {
            Ok(head) => head,
            Err(NoHead::Closed) => return,
            Err(no_head) => return unreadable(run, agent, &via, &no_head).await,
        };
        if matches!(via, Via::Proxy) && !gate.admits(&head) {
            let _ = agent.writer.send(Gate::REFUSAL).await;
            return agent.close().await;
        }
        if head.method == "CONNECT" && matches!(via, Via::Proxy) {
            return Box::pin(tunnel(run, agent, &head)).await;
        }
        match forward::one(run, &mut Agent::One(&mut agent), &head, &via).await {
            After::Keep => {}
            After::Close => return agent.close().await,
            After::Abort => return,
        }
    }
}

/// A head that is too large, too slow, or ambiguous.
pub(crate) async fn unreadable<C: Countersigner>(
    run: &Run<C>,
    mut agent: Connection,
    via: &Via,
    why: &NoHead,
) {
    let Ok(id) = run.port.new_request(&run.id) else {
        return;
    };
    let no = match why {
        NoHead::Malformed(doubt) => No::malformed(doubt),
        NoHead::TooLarge => No::because(
            ReasonCode::Limit,
            "The head of the request is too large. Send fewer or shorter headers.",
        ),
        NoHead::Slow | NoHead::Closed => No::because(
            ReasonCode::Limit,
            "The head of the request did not come in time.",
        ),
    };
    let No::Ours { reason, detail } = no else {
        return;
    };
    let target = match via {
        Via::Proxy => Foreign::new("an unreadable request"),
        Via::Host { host, .. } => Foreign::new(format!("an unreadable request to {host}")),
    };
    reject(run, &id, target, reason, &detail).await;
    let problem = Problem {
        request: Some(id),
        reason,
        detail,
    };
    if agent
        .writer
        .send(&wire::answer(&problem.whole(), true, false))
        .await
        .is_ok()
    {
        agent.close().await;
    }
}

/// CONNECT: the host must be one that the run's CA vouches for; then TLS ends
/// here, and its server name must be that host.
async fn tunnel<C: Countersigner>(run: &Run<C>, mut agent: Connection, head: &Head) {
    let stop = run.port.cut(&run.id);
    let id = match run.port.new_request(&run.id) {
        Ok(id) => id,
        Err(reason) => return refuse(agent, head, &Problem::new(None, reason)).await,
    };
    let (host, port) = match place(run, head) {
        Ok(place) => place,
        Err(no) => {
            if tell_no(run, &mut Agent::One(&mut agent), head, &Via::Proxy, &id, no).await
                != After::Abort
            {
                agent.close().await;
            }
            return;
        }
    };
    if agent
        .writer
        .send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await
        .is_err()
    {
        return;
    }
    let (io, read) = agent.into_inner();
    let target = Foreign::new(format!("CONNECT {host}"));
    let ends = tls::end(run, Rewound::new(read, io), &id, Ok(&host), target);
    let handshake = timeout(run.limits.head_time, ends);
    let tls = tokio::select! { biased;
        () = stop.cancelled() => return,
        tls = handshake => tls,
    };
    if let Ok(Some(tls)) = tls {
        inside(run, tls, host, port).await;
    }
}

/// Serves what was in TLS, as this host.
pub(crate) async fn inside<C: Countersigner>(
    run: &Run<C>,
    (tls, version): (Io, Version),
    host: String,
    port: u16,
) {
    let via = Via::Host {
        scheme: Scheme::Https,
        host,
        port,
    };
    match version {
        Version::One => requests(run, Connection::new(tls), via, Gate::Open).await,
        Version::Two => two::serve(run, tls, via).await,
    }
}

async fn refuse(mut agent: Connection, head: &Head, problem: &Problem) {
    if tell(&mut Agent::One(&mut agent), head, problem).await != After::Abort {
        agent.close().await;
    }
}

/// Where a CONNECT goes.
fn place<C: Countersigner>(run: &Run<C>, head: &Head) -> Result<(String, u16), No> {
    let authority = normalise::authority(&head.target).map_err(No::malformed)?;
    let port = authority
        .port
        .ok_or(No::malformed("CONNECT names no port"))?;
    if let Some(value) = head.first("host") {
        let stated = std::str::from_utf8(value)
            .ok()
            .and_then(|text| normalise::authority(text).ok());
        let agrees =
            stated.is_some_and(|s| s.host == authority.host && s.port.is_none_or(|p| p == port));
        if !agrees {
            return Err(No::malformed(
                "the Host header is not the host of the CONNECT",
            ));
        }
    }
    vouched(run, &authority.host)?;
    Ok((authority.host, port))
}

/// Whether the run's CA vouches for this host; and if not, why.
pub(crate) fn vouched<C: Countersigner>(run: &Run<C>, host: &str) -> Result<(), No> {
    if run.ca.vouches_for(host) {
        return Ok(());
    }
    let assigned = run
        .port
        .accounts(&run.id)
        .iter()
        .any(|view| view.account.has_host(host));
    Err(if assigned {
        No::because(
            ReasonCode::NotAssigned,
            "This host was added after the run began. Ask the user to start the run anew.",
        )
    } else {
        No::ours(ReasonCode::NotAssigned)
    })
}
