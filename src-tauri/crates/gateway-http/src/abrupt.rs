//! Connections upstream that end when they are dropped.
//!
//! What was written lies with the kernel, which would go on sending it after the
//! stop. So a connection is set up to be reset when it is closed, whoever closes it
//! (the kernel, when this process is killed), and what was not sent by then is thrown
//! away. Where it was shut down in order, that is what was wanted, and it is sent.
//! Source: socket(7), `SO_LINGER`; RFC 9293, section 3.10.4 (ABORT).

use countersign_broker::LineHeld;
use rustix::net::sockopt::set_socket_linger;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection that is reset, unless it was shut down.
pub(crate) struct Abrupt {
    tcp: TcpStream,
    shut_down: bool,
    /// The broker's, until it is told.
    held: Option<Box<dyn LineHeld>>,
}

impl Abrupt {
    /// # Errors
    /// What the system says.
    pub(crate) fn new(tcp: TcpStream, held: Option<Box<dyn LineHeld>>) -> io::Result<Self> {
        set_socket_linger(&tcp, Some(Duration::ZERO))?;
        Ok(Self {
            tcp,
            shut_down: false,
            held,
        })
    }
}

impl Drop for Abrupt {
    fn drop(&mut self) {
        if self.shut_down {
            // Else it is reset, which loses what its reader did not wait for.
            let _ = set_socket_linger(&self.tcp, None);
        }
        if let Some(held) = self.held.take() {
            held.closed(self.shut_down);
        }
    }
}

impl AsyncRead for Abrupt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Abrupt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, pieces)
    }
    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = ready!(Pin::new(&mut self.tcp).poll_shutdown(cx));
        self.shut_down |= shut.is_ok();
        Poll::Ready(shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    /// A connection with more written to it than its other end took, that end, and
    /// how much it is.
    async fn full() -> (Abrupt, TcpStream, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap());
        let mut ours = Abrupt::new(tcp.await.unwrap(), None).unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        let mut written = 0;
        let moment = Duration::from_millis(200);
        while let Ok(wrote) = timeout(moment, ours.write(&[7; 64 << 10])).await {
            written += wrote.unwrap();
        }
        (ours, theirs, written)
    }

    async fn all(mut theirs: TcpStream) -> (usize, io::Result<usize>) {
        let mut read = Vec::new();
        let end = theirs.read_to_end(&mut read).await;
        (read.len(), end)
    }

    #[tokio::test]
    async fn what_was_not_sent_when_a_connection_is_dropped_is_never_sent() {
        let (ours, theirs, written) = full().await;
        drop(ours);
        let (read, end) = all(theirs).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(read < written, "{read} of {written}");
    }

    #[tokio::test]
    async fn what_was_shut_down_in_order_arrives_whole() {
        let (mut ours, theirs, written) = full().await;
        ours.shutdown().await.unwrap();
        drop(ours);
        let (read, end) = all(theirs).await;
        assert_eq!((read, end.unwrap()), (written, written));
    }
}
