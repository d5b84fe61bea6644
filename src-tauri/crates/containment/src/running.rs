//! A run that was started: waiting for its end, and ending it.

use crate::{ContainmentError, Exit, ProcessTree};
use std::io;
use std::thread::JoinHandle;

/// A run that was started.
///
/// Dropping it without [`wait`](Self::wait) kills the run.
#[derive(Debug)]
pub struct Running {
    tree: ProcessTree,
    contained: bool,
    /// The thread that started the run and waits for it. It must live as long
    /// as the run: the kernel ends the run when this very thread ends.
    keeper: Option<JoinHandle<Result<Exit, ContainmentError>>>,
}

impl Running {
    pub(crate) fn new(
        tree: ProcessTree,
        contained: bool,
        keeper: JoinHandle<Result<Exit, ContainmentError>>,
    ) -> Self {
        Self {
            tree,
            contained,
            keeper: Some(keeper),
        }
    }

    /// Whether the run is contained. If not, say so wherever it is shown.
    #[must_use]
    pub fn is_contained(&self) -> bool {
        self.contained
    }

    /// A handle to kill the run by, from any thread.
    #[must_use]
    pub fn tree(&self) -> ProcessTree {
        self.tree.clone()
    }

    /// Kills every process of the run at once. See [`ProcessTree::kill`].
    ///
    /// # Errors
    /// As there.
    pub fn kill(&self) -> io::Result<()> {
        self.tree.kill()
    }

    /// Waits until no process of the run is left and all that it wrote has been
    /// relayed; the user's terminal is restored then.
    ///
    /// # Errors
    /// When the run was lost: its end could not be observed.
    pub fn wait(mut self) -> Result<Exit, ContainmentError> {
        match self.keeper.take().map(JoinHandle::join) {
            Some(Ok(end)) => end,
            Some(Err(_)) | None => Err(ContainmentError::Setup(
                "the thread that kept the run has failed; the run ended with it".into(),
            )),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            let _ = self.tree.kill();
            let _ = keeper.join();
        }
    }
}
