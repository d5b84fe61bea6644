//! HTTP/2 as an agent may speak it inside its tunnel (RFC 9113), by the crate
//! `h2`, which refuses what is malformed. Each stream is one request.
//!
//! Everything on a connection runs in the task that serves it: nothing goes on
//! after the stop has dropped that.

use crate::agent::{After, Agent};
use crate::forward;
use crate::head::{Head, NoHead, of_http2};
use crate::normalise::Via;
use crate::refuse::{No, tell_no};
use crate::run::Run;
use crate::wire::{Io, NoBody};
use bytes::Bytes;
use countersign_broker::Countersigner;
use countersign_model::ReasonCode;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use std::future::poll_fn;
use std::io;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Requests at once on one connection.
const STREAMS: u32 = 32;
/// What may be under way to us, of one request and of a connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// How long the requests of a stopped connection may take to say so.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// One request.
pub(crate) struct Stream {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

pub(crate) struct Reader {
    body: RecvStream,
    done: bool,
}

pub(crate) struct Writer {
    respond: SendResponse<Bytes>,
    body: Option<SendStream<Bytes>>,
}

/// Serves a connection until it ends, idles, or the stop comes.
pub(crate) async fn serve<C: Countersigner>(run: &Run<C>, io: Io, via: Via) {
    let stop = run.port.cut(&run.id);
    // While the stop is engaged, a new connection is told so.
    let stopped_before = stop.is_cancelled();
    let head = u32::try_from(run.limits.head).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(head)
        .max_send_buffer_size(STREAM_WINDOW as usize);
    let handshake = timeout(run.limits.head_time, builder.handshake(io));
    let Ok(Ok(mut connection)) = handshake.await else {
        return;
    };
    let mut requests = FuturesUnordered::new();
    loop {
        tokio::select! { biased;
            () = stop.cancelled(), if !stopped_before => break,
            Some(()) = requests.next(), if !requests.is_empty() => {}
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => requests.push(one(run, &via, request, respond)),
                _ => return,
            },
            () = sleep(run.limits.idle_connection), if requests.is_empty() => break,
        }
    }
    connection.graceful_shutdown();
    let _ = timeout(LAST_WORDS, async {
        loop {
            tokio::select! { biased;
                Some(()) = requests.next(), if !requests.is_empty() => {}
                accepted = connection.accept() => match accepted {
                    Some(Ok((request, respond))) => requests.push(one(run, &via, request, respond)),
                    _ => return,
                },
            }
        }
    })
    .await;
}

async fn one<C: Countersigner>(
    run: &Run<C>,
    via: &Via,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (parts, body) = request.into_parts();
    let read = of_http2(&parts, body.is_end_stream());
    let mut stream = Stream {
        reader: Reader {
            done: body.is_end_stream(),
            body,
        },
        writer: Writer {
            respond,
            body: None,
        },
    };
    let mut agent = Agent::Two(&mut stream);
    let after = match read {
        Ok(head) => match run.requests.try_acquire() {
            Ok(_place) => forward::one(run, &mut agent, &head, via).await,
            Err(_) => {
                let no = No::because(
                    ReasonCode::Limit,
                    "This run has too many requests under way. Wait for some to end.",
                );
                refuse(run, &mut agent, &head, via, no).await
            }
        },
        Err((head, doubt)) => refuse(run, &mut agent, &head, via, doubt_of(&doubt)).await,
    };
    if after == After::Abort {
        stream.writer.abort();
    }
}

fn doubt_of(doubt: &NoHead) -> No {
    match doubt {
        NoHead::Malformed(doubt) => No::malformed(doubt),
        _ => No::ours(ReasonCode::Malformed),
    }
}

async fn refuse<C: Countersigner>(
    run: &Run<C>,
    agent: &mut Agent<'_>,
    head: &Head,
    via: &Via,
    no: No,
) -> After {
    match run.port.new_request(&run.id) {
        Ok(id) => tell_no(run, agent, head, via, &id, no).await,
        Err(_) => After::Abort,
    }
}

impl Reader {
    pub(crate) async fn chunk(&mut self, idle: Duration) -> Result<Option<Bytes>, NoBody> {
        if self.done {
            return Ok(None);
        }
        let next = poll_fn(|cx| self.body.poll_data(cx));
        match timeout(idle, next).await.map_err(|_| NoBody::Idle)? {
            Some(Ok(bytes)) => {
                // It is in our hands now: as much again may come.
                let _ = self.body.flow_control().release_capacity(bytes.len());
                Ok(Some(bytes))
            }
            Some(Err(error)) => Err(broken(&error)),
            None => {
                let trailers = timeout(idle, poll_fn(|cx| self.body.poll_trailers(cx)));
                match trailers.await.map_err(|_| NoBody::Idle)? {
                    Ok(_) => {
                        self.done = true;
                        Ok(None)
                    }
                    Err(error) => Err(broken(&error)),
                }
            }
        }
    }

    pub(crate) const fn body_is_done(&self) -> bool {
        self.done
    }
}

/// The client took its request back, or broke the protocol.
fn broken(error: &h2::Error) -> NoBody {
    match error.reason() {
        Some(Reason::PROTOCOL_ERROR) => NoBody::Malformed,
        _ => NoBody::HungUp,
    }
}

impl Writer {
    pub(crate) fn carry_on(&mut self) -> io::Result<()> {
        let mut head = Response::new(());
        *head.status_mut() = http::StatusCode::CONTINUE;
        self.respond
            .send_informational(head)
            .map_err(io::Error::other)
    }

    /// The head of the answer; `whole` when nothing follows it.
    pub(crate) fn begin(&mut self, head: Response<()>, whole: bool) -> io::Result<()> {
        let body = self
            .respond
            .send_response(head, whole)
            .map_err(io::Error::other)?;
        self.body = Some(body);
        Ok(())
    }

    /// A piece of the body, as fast as the agent takes it.
    pub(crate) async fn data(&mut self, mut bytes: Bytes) -> io::Result<()> {
        let body = self.body.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        while !bytes.is_empty() {
            body.reserve_capacity(bytes.len());
            let may = match poll_fn(|cx| body.poll_capacity(cx)).await {
                Some(Ok(may)) => may.min(bytes.len()),
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            body.send_data(bytes.split_to(may), false)
                .map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// The end of the body.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let body = self.body.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        body.send_data(Bytes::new(), true).map_err(io::Error::other)
    }

    /// Comes back when the client has taken its request back.
    pub(crate) async fn hung_up(&mut self) {
        let _ = poll_fn(|cx| self.respond.poll_reset(cx)).await;
    }

    fn abort(&mut self) {
        match &mut self.body {
            Some(body) => body.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}
