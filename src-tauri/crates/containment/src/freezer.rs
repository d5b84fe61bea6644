//! The kernel's freezer of a run's control group, as open descriptors: freezing,
//! thawing and killing are one write each.
//!
//! Sources: the kernel's `Documentation/admin-guide/cgroup-v2.rst` ("Core
//! Interface Files") and `cgroup-v1/freezer-subsystem.rst`.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::io;

/// Which freezer a control group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreezerKind {
    /// cgroup v2: what is frozen can be killed, and the group kills as one.
    V2,
    /// cgroup v1: what is frozen and killed ends once it is thawed.
    V1,
}

/// A frozen process runs no instruction of its own, whatever signals it is sent
/// and whatever timers it has set.
#[derive(Debug)]
pub(crate) enum Freezer {
    V2 {
        /// `cgroup.freeze`
        freeze: OwnedFd,
        /// `cgroup.kill`, which kernels before 5.14 do not have.
        kill: Option<OwnedFd>,
    },
    V1 {
        /// `freezer.state`
        state: OwnedFd,
    },
}

impl Freezer {
    /// Of this control group, given as its folder.
    ///
    /// # Errors
    /// `InvalidInput` when it is no folder of a control group; the system's when
    /// it has no freezer that this process may use.
    pub(crate) fn open(group: impl AsFd) -> io::Result<Self> {
        let group = group.as_fd();
        let write = |name| {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            rustix::fs::openat(group, name, flags, Mode::empty())
        };
        match kind_of(group)? {
            FreezerKind::V2 => Ok(Self::V2 {
                freeze: write("cgroup.freeze")?,
                kill: write("cgroup.kill").ok(),
            }),
            FreezerKind::V1 => Ok(Self::V1 {
                state: write("freezer.state")?,
            }),
        }
    }

    pub(crate) fn kind(&self) -> FreezerKind {
        match self {
            Self::V2 { .. } => FreezerKind::V2,
            Self::V1 { .. } => FreezerKind::V1,
        }
    }

    pub(crate) fn freeze(&self) -> io::Result<()> {
        match self {
            Self::V2 { freeze, .. } => write(freeze, b"1"),
            Self::V1 { state } => write(state, b"FROZEN"),
        }
    }

    pub(crate) fn thaw(&self) -> io::Result<()> {
        match self {
            Self::V2 { freeze, .. } => write(freeze, b"0"),
            Self::V1 { state } => write(state, b"THAWED"),
        }
    }

    /// After the run's init was sent `SIGKILL`: sees to it that nothing stays
    /// behind, frozen.
    pub(crate) fn finish(&self) -> io::Result<()> {
        match self {
            Self::V2 {
                kill: Some(kill), ..
            } => write(kill, b"1"),
            // What is frozen there can be killed, and init's end kills the rest.
            Self::V2 { kill: None, .. } => Ok(()),
            Self::V1 { state } => write(state, b"THAWED"),
        }
    }
}

/// One system call; it needs no memory and no new descriptor.
fn write(file: &OwnedFd, word: &[u8]) -> io::Result<()> {
    loop {
        match rustix::io::pwrite(file, word, 0) {
            Err(rustix::io::Errno::INTR) => {}
            // The group is gone, and every process with it.
            Err(rustix::io::Errno::NODEV) => return Ok(()),
            written => return Ok(written.map(drop)?),
        }
    }
}

/// By the file system that it lies in.
pub(crate) fn kind_of(group: impl AsFd) -> io::Result<FreezerKind> {
    /// `CGROUP_SUPER_MAGIC` and `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
    const V1: u64 = 0x0027_e0eb;
    const V2: u64 = 0x6367_7270;
    let found = rustix::fs::fstatfs(group)?;
    match u64::try_from(found.f_type) {
        Ok(V2) => Ok(FreezerKind::V2),
        Ok(V1) => Ok(FreezerKind::V1),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "this is no control group",
        )),
    }
}
