//! What a run is ended by: taken from its launcher, and held.

use crate::handover;
use countersign_broker::Tree;
use countersign_containment::{FreezerKind, ProcessTree};
use countersign_model::StopMeans;
use std::io;
use tokio::net::UnixStream;

/// The processes of a contained run.
#[derive(Debug)]
struct Processes(ProcessTree);

impl Tree for Processes {
    fn freezes(&self) -> bool {
        self.0.freezer().is_some()
    }
    fn freeze(&self) -> io::Result<()> {
        self.0.freeze()
    }
    fn thaw(&self) -> io::Result<()> {
        self.0.thaw()
    }
    fn kill(&self) -> io::Result<()> {
        self.0.kill()
    }
}

/// Takes it, if it does what the record of the run says that it does.
///
/// # Errors
/// `InvalidInput` when it is anything else; `UnexpectedEof` when the launcher is
/// gone; others when it cannot be taken.
pub(super) async fn take(lease: &UnixStream, means: StopMeans) -> io::Result<Box<dyn Tree>> {
    let mut taken = handover::take(lease).await?.into_iter();
    let (Some(init), group, None) = (taken.next(), taken.next(), taken.next()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let tree = ProcessTree::handed_over(init, group)?;
    let does = match tree.freezer() {
        Some(FreezerKind::V2) => StopMeans::FreezeV2,
        Some(FreezerKind::V1) => StopMeans::FreezeV1,
        None => StopMeans::Kill,
    };
    if does == means {
        Ok(Box::new(Processes(tree)))
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}
