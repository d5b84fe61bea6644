//! Whether descriptors may come along with what a Unix socket receives
//! (`SCM_RIGHTS`, unix(7)).
//!
//! Linux 6.16 knows sockets that let none through: whoever sends one is told
//! `EPERM`, and what a listener accepts is as the listener is. Source:
//! `SO_PASSRIGHTS` in net/unix/af_unix.c. Elsewhere nothing changes, and whoever
//! takes a message closes what came along.

#[cfg(target_os = "linux")]
use nix::{
    libc,
    sys::socket::{getsockopt, setsockopt},
};
use std::os::fd::AsFd;

/// From here on whatever is sent to this socket, or to those that it accepts,
/// carries none.
pub(crate) fn let_none_through(socket: &impl AsFd) {
    set(socket, false);
}

/// From here on it may.
pub(crate) fn let_through(socket: &impl AsFd) {
    set(socket, true);
}

/// Whether none can have come since this socket was made.
pub(crate) fn none_came(socket: &impl AsFd) -> bool {
    !lets_through(socket)
}

#[cfg(target_os = "linux")]
fn lets_through(socket: &impl AsFd) -> bool {
    getsockopt(socket, PassRights).unwrap_or(true)
}

#[cfg(not(target_os = "linux"))]
fn lets_through(_: &impl AsFd) -> bool {
    true
}

#[cfg(target_os = "linux")]
fn set(socket: &impl AsFd, through: bool) {
    // A kernel that does not know it lets them through.
    let _ = setsockopt(socket, PassRights, &through);
}

/// `SO_PASSRIGHTS` of include/uapi/asm-generic/socket.h.
#[cfg(target_os = "linux")]
const SO_PASSRIGHTS: libc::c_int = 83;

#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy)]
struct PassRights;

#[cfg(target_os = "linux")]
nix::setsockopt_impl!(
    PassRights,
    libc::SOL_SOCKET,
    SO_PASSRIGHTS,
    bool,
    nix::sys::socket::sockopt::SetBool
);

#[cfg(target_os = "linux")]
nix::getsockopt_impl!(
    PassRights,
    libc::SOL_SOCKET,
    SO_PASSRIGHTS,
    bool,
    nix::sys::socket::sockopt::GetBool
);

#[cfg(not(target_os = "linux"))]
fn set(_: &impl AsFd, _: bool) {}
