//! The network of a run: loopback, a route for the names of hosts, and the ports
//! of the run's gateway.
//!
//! It is laid out from outside, before the command begins: that takes a capability
//! over the network, and nobody in the run has one, its init included. Whoever owns
//! a user namespace has them all in it (user_namespaces(7)); so the launcher starts
//! this program once more, under [`SUBCOMMAND`], and that one enters the network,
//! makes route and sockets, passes the sockets back, and has ended before the agent
//! begins. It also sets what the run may use of the user's quotas, which takes a
//! capability too.

use crate::control::{self, Report};
use crate::session::{enter_network, inherit_only};
use rustix::event::Timespec;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, ExitCode};

/// The first argument by which a program knows that it is to lay out the network
/// of a run, and calls [`main`].
pub const SUBCOMMAND: &str = "network-of-a-run";

/// The port of the gateway on the run's own loopback.
pub const PROXY_PORT: u16 = 3128;

/// The port of the run's name server, there too (RFC 1035 section 4.2).
const NAME_SERVER: u16 = 53;

/// The addresses that names have in a run: 198.18.0.0/15 (RFC 2544).
const NAMES: ([u8; 4], u8) = ([198, 18, 0, 0], 15);

/// Hosts' ports of one run; more are left out.
const MOST_PORTS: usize = 16;

/// What marks an argument as a port of this machine that the run reaches.
const REACHED: &str = "host:";

/// Lays out the network that is standard input, with the ports that are the
/// arguments, and sends the sockets to standard output. The launcher alone starts
/// it.
#[must_use]
pub fn main(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let (mut ports, mut reached) = (Vec::new(), Vec::new());
    for argument in arguments {
        let Some(text) = argument.to_str() else {
            continue;
        };
        let (to, port) = match text.strip_prefix(REACHED) {
            Some(port) => (&mut reached, port),
            None => (&mut ports, text),
        };
        to.extend(port.parse::<u16>());
    }
    match lay_out(&ports, &reached) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "network of the run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn lay_out(ports: &[u16], reached: &[u16]) -> io::Result<()> {
    let shares = QUOTAS.map(|(quota, share)| (quota, share_of(quota, share)));
    enter_network(io::stdin().as_fd())?;
    for (quota, share) in shares {
        // Where the kernel takes none, there is none.
        let _ = share.and_then(|share| std::fs::write(quota, share.to_string()).ok());
    }
    lead_names_here()?;
    let out = io::stdout();
    let pass = |socket: OwnedFd| Report::Listening(socket).send(out.as_fd());
    pass(TcpListener::bind((Ipv4Addr::LOCALHOST, PROXY_PORT))?.into())?;
    pass(TcpListener::bind((Ipv4Addr::LOCALHOST, NAME_SERVER))?.into())?;
    pass(UdpSocket::bind((Ipv4Addr::LOCALHOST, NAME_SERVER))?.into())?;
    for port in ports {
        pass(TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port))?.into())?;
    }
    for port in reached {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port))?;
        Report::Reaching(listener.into()).send(out.as_fd())?;
    }
    Ok(())
}

/// What the user of this user namespace may have, and the part of it that one run
/// may: the kernel counts for the namespace and for each one above it
/// (namespaces(7), "The /proc/sys/user directory").
const QUOTAS: [(&str, u64); 2] = [
    ("/proc/sys/user/max_inotify_instances", 4),
    ("/proc/sys/user/max_inotify_watches", 2),
];

/// So much of a quota of this process's own user namespace.
fn share_of(quota: &str, share: u64) -> Option<u64> {
    let all: u64 = std::fs::read_to_string(quota).ok()?.trim().parse().ok()?;
    Some(all.div_ceil(share))
}

/// Adds the route that makes every address of [`NAMES`] one of this machine:
/// `ip route add local 198.18.0.0/15 dev lo`. Source: rtnetlink(7).
fn lead_names_here() -> io::Result<()> {
    const LOOPBACK: u32 = 1; // its number in every network
    let (address, length) = NAMES;
    let mut request = Vec::new();
    // struct nlmsghdr, its length to come
    request.extend([0; 4]);
    request.extend(libc::RTM_NEWROUTE.to_ne_bytes());
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    request.extend((flags as u16).to_ne_bytes());
    request.extend([0; 8]);
    // struct rtmsg
    let (family, table) = (libc::AF_INET as u8, libc::RT_TABLE_LOCAL);
    let (protocol, scope) = (libc::RTPROT_STATIC, libc::RT_SCOPE_HOST);
    request.extend([
        family,
        length,
        0,
        0,
        table,
        protocol,
        scope,
        libc::RTN_LOCAL,
    ]);
    request.extend([0; 4]);
    // two attributes
    for (kind, value) in [
        (libc::RTA_DST, address),
        (libc::RTA_OIF, LOOPBACK.to_ne_bytes()),
    ] {
        request.extend(8_u16.to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(value);
    }
    let whole = (request.len() as u32).to_ne_bytes();
    request[..4].copy_from_slice(&whole);

    let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
    // No protocol is number 0, which is that of routes.
    let kernel = socket_with(AddressFamily::NETLINK, kind, flags, None)?;
    send(&kernel, &request, SendFlags::empty())?;
    let mut answer = [0; 1024];
    let (_, length) = recv(&kernel, &mut answer, RecvFlags::empty())?;
    // struct nlmsgerr: after the header of a message, the error, 0 for none
    let error = answer[..length.min(answer.len())].get(16..20);
    match error.map(|error| [error[0], error[1], error[2], error[3]].map(u8::from)) {
        Some(error) => match i32::from_ne_bytes(error) {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(-error)),
        },
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The ports of hosts that a run can have: without those that its own network
/// needs, each once, and not too many.
fn usable(ports: &[u16]) -> Vec<u16> {
    let mut ports: Vec<u16> = ports
        .iter()
        .copied()
        .filter(|port| ![0, PROXY_PORT, NAME_SERVER].contains(port))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports.truncate(MOST_PORTS);
    ports
}

/// The sockets of a run's network.
#[derive(Default)]
pub(crate) struct Laid {
    /// Of its gateway.
    pub(crate) ports: Vec<OwnedFd>,
    /// At the ports of this machine that the run reaches.
    pub(crate) reaching: Vec<OwnedFd>,
}

/// Has the network laid out, by this program; what went wrong is said there.
pub(crate) fn prepare(
    program: &Path,
    network: OwnedFd,
    (ports, reached): (&[u16], &[u16]),
    complaints: &File,
    time: Timespec,
) -> io::Result<Laid> {
    let ports = usable(ports);
    let is_free = |port: &&u16| !ports.contains(port) && ![PROXY_PORT, NAME_SERVER].contains(port);
    let (ours, theirs) = control::pair()?;
    let mut command = Command::new(program);
    command
        .arg(SUBCOMMAND)
        .args(ports.iter().map(ToString::to_string))
        .args(
            reached
                .iter()
                .filter(is_free)
                .map(|port| format!("{REACHED}{port}")),
        )
        .env_clear()
        .current_dir("/")
        .stdin(network)
        .stdout(theirs)
        .stderr(complaints.try_clone()?);
    inherit_only(&mut command, &[]);
    let mut child = command.spawn()?;
    // Our copy of its end: the end of what it sends is to be seen.
    drop(command);
    let sockets = received(ours.as_fd(), time);
    if sockets.is_err() {
        let _ = child.kill();
    }
    let ended = child.wait()?;
    match sockets {
        Ok(sockets) if ended.success() => Ok(sockets),
        Ok(_) => Err(io::Error::other("the network could not be laid out")),
        Err(error) => Err(error),
    }
}

fn received(from: BorrowedFd<'_>, time: Timespec) -> io::Result<Laid> {
    let mut laid = Laid::default();
    while control::within(from, time)? {
        match Report::receive(from)? {
            Some(Report::Listening(socket)) => laid.ports.push(socket),
            Some(Report::Reaching(socket)) => laid.reaching.push(socket),
            Some(_) => return Err(io::ErrorKind::InvalidData.into()),
            None => return Ok(laid),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

const _: () = assert!(PROXY_PORT != NAME_SERVER);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_each_port_once_and_none_that_its_network_needs() {
        assert_eq!(usable(&[443, 80, 443, 53, 3128, 0]), [80, 443]);
        let many: Vec<u16> = (1000..2000).collect();
        assert_eq!(usable(&many).len(), MOST_PORTS);
    }
}
