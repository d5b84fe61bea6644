//! The far side: an HTTPS server on one thread that notes when bytes arrive: by the
//! kernel's time stamps, since on a busy machine it may read them long after.

use super::agents::PIECE_EVERY;
use super::clock::{self, now};
use crate::origin;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Longer than any head that is sent here.
const LONGEST_HEAD: usize = 16 << 10;

/// A running far side; it serves until the program ends.
pub(crate) struct Far {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// When the last byte arrived, on whatever connection.
    byte: AtomicU64,
    /// When the last request that has its time in its path was made.
    made: AtomicU64,
    /// How many such were answered.
    answered: AtomicUsize,
    /// Requests that are under way.
    open: AtomicUsize,
    /// When the last of these ended.
    closed: AtomicU64,
}

impl Far {
    pub(crate) fn start() -> io::Result<Self> {
        let (ca_pem, tls) = origin::certificates().map_err(io::Error::other)?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let its = Arc::clone(&seen);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("far-side".into())
            .spawn(move || runtime.block_on(accept(listener, TlsAcceptor::from(tls), its)))?;
        Ok(Self {
            address,
            ca_pem,
            seen,
        })
    }

    pub(crate) fn last_byte(&self) -> u64 {
        self.seen.byte.load(Ordering::SeqCst)
    }
    pub(crate) fn last_new(&self) -> u64 {
        self.seen.made.load(Ordering::SeqCst)
    }
    pub(crate) fn last_closed(&self) -> u64 {
        self.seen.closed.load(Ordering::SeqCst)
    }
    pub(crate) fn answered(&self) -> usize {
        self.seen.answered.load(Ordering::SeqCst)
    }
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }
}

async fn accept(listener: std::net::TcpListener, tls: TlsAcceptor, seen: Arc<Seen>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            continue;
        };
        let (tls, seen) = (tls.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            if setsockopt(&tcp, ReceiveTimestampns, &true).is_err() {
                return;
            }
            let seen_by = Watched {
                tcp,
                seen: Arc::clone(&seen),
            };
            let Ok(io) = tls.accept(seen_by).await else {
                return;
            };
            // Everything here is cut in the end.
            let _cut = serve(io, &seen).await;
        });
    }
}

async fn serve(mut io: impl AsyncRead + AsyncWrite + Unpin, seen: &Arc<Seen>) -> io::Result<()> {
    loop {
        let head = head(&mut io).await?;
        let path = head.split(' ').nth(1).unwrap_or_default();
        if head.starts_with("POST") {
            let _open = Open::begin(seen);
            return drain(&mut io).await;
        }
        if head.to_ascii_lowercase().contains("upgrade: websocket") {
            // The proof that belongs to the key of RFC 6455 section 1.3.
            io.write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
                  sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            )
            .await?;
            let _open = Open::begin(seen);
            return drain(&mut io).await;
        }
        let made = path.rsplit('/').next().and_then(|n| n.parse().ok());
        match made {
            Some(made @ 2..) => {
                seen.made.fetch_max(made, Ordering::SeqCst);
                io.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
                    .await?;
                seen.answered.fetch_add(1, Ordering::SeqCst);
            }
            _ => {
                io.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000000000\r\n\r\n")
                    .await?;
                let _open = Open::begin(seen);
                let (mut from, mut to) = tokio::io::split(io);
                let says = async {
                    loop {
                        tokio::time::sleep(PIECE_EVERY).await;
                        to.write_all(&[b'0'; 512]).await?;
                    }
                };
                return tokio::select! { ended = drain(&mut from) => ended, ended = says => ended };
            }
        }
    }
}

/// The head of a request; what follows it at once is a body's, and dropped.
async fn head(io: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    loop {
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            head.truncate(end);
            return Ok(String::from_utf8_lossy(&head).into_owned());
        }
        if head.len() > LONGEST_HEAD || io.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn drain(io: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut bytes = [0; 4096];
    while io.read(&mut bytes).await? > 0 {}
    Ok(())
}

/// Counts a request for as long as it is under way.
struct Open(Arc<Seen>);

impl Open {
    fn begin(seen: &Arc<Seen>) -> Self {
        seen.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(seen))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed.fetch_max(now(), Ordering::SeqCst);
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection, seen below TLS: every byte counts.
struct Watched {
    tcp: TcpStream,
    seen: Arc<Seen>,
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.tcp.poll_read_ready(cx))?;
            let tcp = &self.tcp;
            let read = tcp.try_io(Interest::READABLE, || {
                receive(tcp, into.initialize_unfilled())
            });
            match read {
                Ok((length, at)) => {
                    into.advance(length);
                    if length > 0 {
                        self.seen.byte.fetch_max(at, Ordering::SeqCst);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Reads, and when the last byte of that arrived.
fn receive(tcp: &TcpStream, into: &mut [u8]) -> io::Result<(usize, u64)> {
    let mut space = nix::cmsg_space!(nix::libc::timespec);
    let mut pieces = [io::IoSliceMut::new(into)];
    let received = recvmsg::<()>(
        tcp.as_raw_fd(),
        &mut pieces,
        Some(&mut space),
        MsgFlags::empty(),
    )?;
    let mut stamps = received.cmsgs()?;
    let at = stamps.find_map(|stamp| match stamp {
        ControlMessageOwned::ScmTimestampns(at) => Some(clock::of_stamp(at.into())),
        _ => None,
    });
    Ok((received.bytes, at.unwrap_or_else(now)))
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
