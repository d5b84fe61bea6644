//! The sandbox of a run: bubblewrap, our init, the pty, the run's ports.
//!
//! A run is one launch of an agent. Contained, it has no credential of the
//! user, no way out but its own gateway, and a process tree that ends as one.
//!
//! Top-down, for reading in one sitting:
//!
//! | file | idea |
//! |---|---|
//! | `spec` | what a run is given; what comes back; the [`Containment`] trait |
//! | `support` | can this user be contained on this machine? |
//! | `bubblewrap` | the launch |
//! | `layout` | the file system of a run, by allow-list |
//! | `walk` | what lies in a folder that a run has to know of |
//! | `whereabouts` | one name for a folder, whatever leads there |
//! | `later`, `settle` | what other programs would execute later: the run's own copies, and what becomes of them |
//! | `before` | how a folder was before a run |
//! | `led` | what git's settings lead to |
//! | `compare` | how a run has left its folder, compared with how it was before |
//! | `over` | whether a run is over, and what it left behind put back |
//! | `harmless`, `entries` | which repositories git may look at; small trees of files |
//! | `places` | secret places, tool chains, which working folders are refused |
//! | `own` | what an agent keeps between its runs |
//! | `environment`, `git`, `trust` | variables, git's settings, the run's CA as files |
//! | `bundles` | the CAs that programs bring along, over which it is laid |
//! | `calls`, `filter` | the system calls that a run may make, and with which arguments |
//! | `fence` | the same places, signals and sockets once more (Landlock) |
//! | `control` | the few messages between the launcher and init |
//! | [`network`] | the run's network: what names lead to, the ports of its gateway |
//! | `sockets` | sockets of the run's network, for its ports that are shown outside |
//! | [`init`] | process 1 of a run |
//! | `session` | what happens between fork and exec: all `unsafe` code is here |
//! | `terminal`, `relay`, `running` | the pty, copying, waiting |
//! | `group`, `freezer`, `tree` | a run's control group; freezing, thawing and killing |
//! | `uncontained` | the same command as the plain user, never called contained |
//!
//! Invariants:
//! - nothing is inherited by accident: environment and descriptors are built up
//!   from nothing, never filtered down;
//! - what cannot be contained is refused with words, never run half-contained;
//! - freezing and killing need no allocation and no new descriptor.

#[cfg(unix)]
mod before;
#[cfg(target_os = "linux")]
mod bubblewrap;
#[cfg(target_os = "linux")]
mod bundles;
#[cfg(target_os = "linux")]
mod calls;
#[cfg(unix)]
mod compare;
#[cfg(target_os = "linux")]
mod control;
#[cfg(unix)]
mod entries;
#[cfg(unix)]
mod environment;
#[cfg(unix)]
mod explain;
#[cfg(target_os = "linux")]
mod fence;
#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
mod freezer;
#[cfg(unix)]
mod git;
#[cfg(target_os = "linux")]
mod group;
#[cfg(unix)]
mod harmless;
#[cfg(target_os = "linux")]
pub mod init;
#[cfg(unix)]
mod later;
#[cfg(target_os = "linux")]
mod layout;
#[cfg(unix)]
mod led;
#[cfg(target_os = "linux")]
pub mod network;
#[cfg(unix)]
mod over;
mod own;
#[cfg(unix)]
mod places;
#[cfg(unix)]
mod python;
#[cfg(unix)]
mod relay;
#[cfg(unix)]
mod running;
#[cfg(target_os = "linux")]
mod scope;
#[cfg(unix)]
mod session;
#[cfg(unix)]
mod settle;
#[cfg(target_os = "linux")]
mod sockets;
mod spec;
#[cfg(target_os = "linux")]
mod support;
#[cfg(unix)]
mod terminal;
#[cfg(unix)]
mod tree;
#[cfg(unix)]
mod trust;
#[cfg(unix)]
mod uncontained;
#[cfg(unix)]
mod walk;
#[cfg(unix)]
mod whereabouts;

#[cfg(target_os = "linux")]
pub use bubblewrap::Bubblewrap;
#[cfg(unix)]
pub use entries::{Entry, read_plain};
#[cfg(unix)]
pub use explain::explain;
#[cfg(target_os = "linux")]
pub use freezer::FreezerKind;
#[cfg(target_os = "linux")]
pub use group::Group;
#[cfg(unix)]
pub use later::Keep;
#[cfg(unix)]
pub use over::unsettled;
#[cfg(unix)]
pub use places::FolderRefused;
#[cfg(unix)]
pub use running::Running;
#[cfg(unix)]
pub use session::harden_self;
#[cfg(target_os = "linux")]
pub use session::{SessionsTurn, inherit_nothing, never_preempt};
#[cfg(unix)]
pub use settle::{Change, LeftBehind, settle};
#[cfg(target_os = "linux")]
pub use sockets::Sockets;
pub use spec::{Containment, ContainmentError, Exit, Limits, OwnFile, OwnFolder, RunSpec, Support};
#[cfg(unix)]
pub use spec::{HandOver, HandedOver, Passages};
#[cfg(unix)]
pub use tree::ProcessTree;
#[cfg(unix)]
pub use uncontained::uncontained;
#[cfg(unix)]
pub use whereabouts::Whereabouts;

/// The containment that this platform has: bubblewrap on Linux; elsewhere one
/// that says "not contained", until a profile has been run there.
#[must_use]
pub fn platform() -> Box<dyn Containment> {
    #[cfg(target_os = "linux")]
    return Box::new(Bubblewrap);
    #[cfg(not(target_os = "linux"))]
    return Box::new(spec::NoContainment);
}
