//! Sockets of a run's network, one for each connection to a port of the run that is
//! shown on this machine.
//!
//! A socket belongs to the network that it was made in, whoever holds it. The run's
//! init makes them and passes them out, connected to nothing; who asks connects them
//! himself. Init reads nothing there but that one is wanted, and no process of the
//! run has either end.

use crate::control::{Order, Report, within};
use rustix::event::Timespec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The end at which sockets of a run's network are to be had.
#[derive(Debug)]
pub struct Sockets(Mutex<OwnedFd>);

impl Sockets {
    /// Of what a launcher handed over.
    ///
    /// # Errors
    /// `InvalidInput` when it is no such end.
    pub fn at(end: OwnedFd) -> io::Result<Self> {
        if sockopt::socket_domain(&end)? != AddressFamily::UNIX
            || sockopt::socket_type(&end)? != SocketType::SEQPACKET
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self(Mutex::new(end)))
    }

    /// A TCP socket that is connected to nothing: of IPv6, which reaches both, where
    /// the run's network has that, else of IPv4. It waits for init, and before that
    /// for whoever else waits.
    ///
    /// # Errors
    /// `TimedOut` when none came in this time, as from a run that is frozen;
    /// `ConnectionReset` when the run is over; init's own.
    pub fn next(&self, patience: Duration) -> io::Result<OwnedFd> {
        let end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was asked for earlier, and came too late, does as well.
        Order::Socket.send(end.as_fd())?;
        let time = Timespec {
            tv_sec: patience.as_secs().cast_signed(),
            tv_nsec: patience.subsec_nanos().into(),
        };
        if !within(end.as_fd(), time)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match Report::receive(end.as_fd())? {
            Some(Report::Socket(socket)) if is_tcp(&socket)? => Ok(socket),
            Some(Report::Failed(errno)) => Err(io::Error::from_raw_os_error(errno)),
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
            None => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

fn is_tcp(socket: &OwnedFd) -> io::Result<bool> {
    let family = sockopt::socket_domain(socket)?;
    Ok(sockopt::socket_type(socket)? == SocketType::STREAM
        && (family == AddressFamily::INET || family == AddressFamily::INET6))
}

/// Init's side: makes one whenever it is asked, until nobody can ask any more.
pub(crate) fn give(asked: OwnedFd) -> io::Result<()> {
    std::thread::Builder::new()
        .name("sockets".into())
        .spawn(move || {
            while let Ok(Some(Order::Socket)) = Order::receive(asked.as_fd()) {
                let report = match make() {
                    Ok(socket) => Report::Socket(socket),
                    Err(error) => Report::Failed(error.raw_os_error()),
                };
                if report.send(asked.as_fd()).is_err() {
                    return;
                }
            }
        })
        .map(drop)
}

fn make() -> rustix::io::Result<OwnedFd> {
    let (kind, flags) = (SocketType::STREAM, SocketFlags::CLOEXEC);
    socket_with(AddressFamily::INET6, kind, flags, None)
        .or_else(|_| socket_with(AddressFamily::INET, kind, flags, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::pair;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_socket_that_is_given_reaches_loopback_of_either_family() {
        let (asked, asks) = pair().unwrap();
        give(asked).unwrap();
        let sockets = Sockets::at(asks).unwrap();
        for ip in [Ipv4Addr::LOCALHOST.to_ipv6_mapped(), Ipv6Addr::LOCALHOST] {
            let at = match ip.to_ipv4_mapped() {
                Some(ip) => TcpListener::bind((ip, 0)).unwrap(),
                None => TcpListener::bind((ip, 0)).unwrap(),
            };
            let to = SocketAddr::from((ip, at.local_addr().unwrap().port()));
            let socket = sockets.next(PATIENCE).unwrap();
            rustix::net::connect(&socket, &to).unwrap();
            at.accept().unwrap();
        }
    }

    #[test]
    fn an_init_that_does_not_answer_or_is_gone_is_an_error_and_no_wait_for_ever() {
        let (asked, asks) = pair().unwrap();
        let sockets = Sockets::at(asks).unwrap();
        let late = sockets.next(Duration::from_millis(50)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        drop(asked);
        assert!(sockets.next(PATIENCE).is_err());
    }

    #[test]
    fn what_is_no_such_end_is_refused() {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(Sockets::at(tcp.into()).is_err());
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Sockets::at(stream.into()).is_err());
    }
}
