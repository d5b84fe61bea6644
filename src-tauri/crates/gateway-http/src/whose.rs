//! Whose the connections and ports of this machine are.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Whether the other end of a connection within this machine, which came from `peer`
/// to `local`, is of this user's. Where that cannot be told, it is not.
pub async fn is_of_user(
    uid: u32,
    connection: impl AsFd,
    peer: SocketAddr,
    local: SocketAddr,
) -> bool {
    let theirs = owner_of(peer, local).await == Some(uid);
    // Still that connection: where one was reset, which may have been another user's,
    // this user's may have taken the place.
    theirs && rustix::net::getpeername(connection).is_ok()
}

async fn owner_of(peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    #[cfg(target_os = "linux")]
    if let Some(of) = crate::diag::owner(peer, local) {
        return Some(of);
    }
    for protocol in ["tcp", "tcp6"] {
        let table = table(protocol).await.ok()?;
        // A socket of IPv6 reaches an address of IPv4 too (RFC 4291, 2.5.5.2).
        let spelled = |at| spelled(at, protocol == "tcp6");
        if let Some(of) = owner(&table, &spelled(peer), &spelled(local)) {
            return Some(of);
        }
    }
    None
}

/// Whether this process itself listens at this TCP port, at whatever address of
/// this machine.
///
/// # Errors
/// When that cannot be told.
pub async fn is_own(port: u16) -> io::Result<bool> {
    let four = table("tcp").await?;
    let six = match table("tcp6").await {
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        six => six?,
    };
    let (at, to_nobody) = (format!(":{port:04X}"), ":0000");
    let inodes: Vec<u64> = rows(&four)
        .chain(rows(&six))
        .filter(|row| row.local.ends_with(&at) && row.remote.ends_with(to_nobody))
        .map(|row| row.inode)
        .collect();
    tokio::task::spawn_blocking(move || has_one_of(&inodes)).await?
}

/// Whether one of these sockets is open in this process.
fn has_one_of(inodes: &[u64]) -> io::Result<bool> {
    let names: Vec<PathBuf> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]").into())
        .collect();
    for open in std::fs::read_dir("/proc/self/fd")? {
        match std::fs::read_link(open?.path()) {
            Ok(name) if names.contains(&name) => return Ok(true),
            Ok(_) => {}
            // It was closed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// The kernel's table of this network's sockets of a protocol (IPv4).
pub(crate) async fn table(protocol: &str) -> io::Result<String> {
    tokio::fs::read_to_string(format!("/proc/net/{protocol}")).await
}

/// What is known of a socket. Addresses are as the table spells them.
pub(crate) struct Row<'t> {
    local: &'t str,
    remote: &'t str,
    uid: u32,
    /// 0 when no process has it any more.
    pub(crate) inode: u64,
}

/// Source: `proc_net_tcp(5)`.
pub(crate) fn rows(table: &str) -> impl Iterator<Item = Row<'_>> {
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        Some(Row {
            local: fields.next()?,
            remote: fields.next()?,
            // After: state, queues, timer, retransmits.
            uid: fields.nth(4)?.parse().ok()?,
            // After: time-outs.
            inode: fields.nth(1)?.parse().ok()?,
        })
    })
}

/// To whom the other end of a connection belongs. `None` where there is none, or
/// the peer has gone: what no process has is listed as root's.
pub(crate) fn owner(table: &str, peer: &str, local: &str) -> Option<u32> {
    rows(table)
        .find(|row| row.local == peer && row.remote == local)
        .filter(|row| row.inode != 0)
        .map(|row| row.uid)
}

/// As the kernel prints an address: as the numbers that its bytes are in memory.
pub(crate) fn spelled(at: SocketAddr, mapped: bool) -> String {
    let bytes = match at.ip() {
        IpAddr::V4(ip) if mapped => ip.to_ipv6_mapped().octets().to_vec(),
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let numbers = bytes.as_chunks().0.iter().map(|b| u32::from_ne_bytes(*b));
    let ip: String = numbers.map(|number| format!("{number:08X}")).collect();
    format!("{ip}:{:04X}", at.port())
}
