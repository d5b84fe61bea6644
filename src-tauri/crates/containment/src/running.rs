//! A run that was started: waiting for its end, and ending it.

use crate::{ContainmentError, Exit};
use rustix::fd::OwnedFd;
use rustix::process::Signal;
use std::io;
use std::sync::Arc;
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

/// Every process that a run ever forks, as one.
#[derive(Debug, Clone)]
pub struct ProcessTree {
    root: Arc<Root>,
}

#[derive(Debug)]
pub(crate) enum Root {
    /// The init of the run's process namespace. The kernel kills the namespace
    /// with it, whatever the processes did to detach themselves.
    #[cfg(target_os = "linux")]
    Namespace(OwnedFd),
    /// The process group of an uncontained run. Processes that left the group
    /// are not reached. The lock is held while the leader is reaped, so that its
    /// number is not used for another process meanwhile.
    Group(std::sync::Mutex<Option<rustix::process::Pid>>),
}

impl ProcessTree {
    pub(crate) fn new(root: Root) -> Self {
        Self {
            root: Arc::new(root),
        }
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Kills every process of the run at once (`SIGKILL`). One system call; it
    /// needs no memory and no new descriptor. Killing what has ended succeeds.
    ///
    /// A contained run is then gone as a whole; of an uncontained one, what
    /// left its process group goes on.
    ///
    /// # Errors
    /// The system's, if it refuses.
    pub fn kill(&self) -> io::Result<()> {
        let killed = match &*self.root {
            #[cfg(target_os = "linux")]
            Root::Namespace(init) => rustix::process::pidfd_send_signal(init, Signal::KILL),
            Root::Group(leader) => {
                let leader = leader
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                match *leader {
                    Some(leader) => rustix::process::kill_process_group(leader, Signal::KILL),
                    None => Ok(()),
                }
            }
        };
        match killed {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
