//! Every process that a run ever forks, as one: freezing it, thawing it, ending
//! it. Nothing here needs memory or a new descriptor.

#[cfg(target_os = "linux")]
use crate::freezer::{Freezer, FreezerKind};
#[cfg(target_os = "linux")]
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::process::Signal;
use std::io;
use std::sync::Arc;

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
    Namespace {
        init: OwnedFd,
        freezer: Option<Freezer>,
    },
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

    /// From a handle of the run's init (pidfd_open(2)) and, where it has one, the
    /// folder of its control group, as a launcher hands them over.
    ///
    /// Who hands over what is not its own could only end or freeze what it may
    /// end anyway: the kernel asks for the same user. It is refused all the
    /// same, so that the stop ends runs and nothing else, least of all whoever
    /// stops.
    ///
    /// # Errors
    /// `InvalidInput` when the handle is not that of a living process of this
    /// user which is the init of a process namespace below this one; or when the
    /// folder is not that of a control group with a freezer which holds this
    /// init, has no group below it, and does not hold this process. Others when
    /// that cannot be told.
    #[cfg(target_os = "linux")]
    pub fn handed_over(init: OwnedFd, group: Option<OwnedFd>) -> io::Result<Self> {
        let pid = check::init(init.as_fd())?;
        let freezer = match group {
            Some(group) => {
                check::group(group.as_fd(), pid)?;
                Some(Freezer::open(&group)?)
            }
            None => None,
        };
        Ok(Self::new(Root::Namespace { init, freezer }))
    }

    /// The freezer that it has; without one it cannot be frozen, and the stop
    /// kills at once.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn freezer(&self) -> Option<FreezerKind> {
        match &*self.root {
            Root::Namespace { freezer, .. } => freezer.as_ref().map(Freezer::kind),
            Root::Group(_) => None,
        }
    }

    /// The handle of the run's init, to hand over. `None` of an uncontained run.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn init(&self) -> Option<BorrowedFd<'_>> {
        match &*self.root {
            Root::Namespace { init, .. } => Some(init.as_fd()),
            Root::Group(_) => None,
        }
    }

    /// Freezes every process of the run: none runs an instruction of its own
    /// until it is thawed. Freezing what is frozen succeeds.
    ///
    /// # Errors
    /// `Unsupported` without a freezer; the system's, if it refuses.
    #[cfg(target_os = "linux")]
    pub fn freeze(&self) -> io::Result<()> {
        self.with_freezer(Freezer::freeze)
    }

    /// The opposite of [`ProcessTree::freeze`].
    ///
    /// # Errors
    /// As there.
    #[cfg(target_os = "linux")]
    pub fn thaw(&self) -> io::Result<()> {
        self.with_freezer(Freezer::thaw)
    }

    #[cfg(target_os = "linux")]
    fn with_freezer(&self, act: impl Fn(&Freezer) -> io::Result<()>) -> io::Result<()> {
        match &*self.root {
            Root::Namespace {
                freezer: Some(freezer),
                ..
            } => act(freezer),
            Root::Namespace { freezer: None, .. } | Root::Group(_) => {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
    }

    /// Kills every process of the run at once (`SIGKILL`), frozen or not. Killing
    /// what has ended succeeds.
    ///
    /// A contained run is then gone as a whole; of an uncontained one, what
    /// left its process group goes on.
    ///
    /// # Errors
    /// The system's, if it refuses.
    pub fn kill(&self) -> io::Result<()> {
        let killed = match &*self.root {
            #[cfg(target_os = "linux")]
            Root::Namespace { init, freezer } => {
                let killed = rustix::process::pidfd_send_signal(init, Signal::KILL);
                if let Some(freezer) = freezer {
                    freezer.finish()?;
                }
                killed
            }
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

/// Whether what was handed over is what it should be.
#[cfg(target_os = "linux")]
mod check {
    use rustix::fd::{AsRawFd, BorrowedFd};
    use rustix::fs::{Mode, OFlags};
    use std::fs;
    use std::io::{self, Read};

    fn wrong(what: &'static str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, what)
    }

    /// The value of a field of a file of `/proc`.
    fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    }

    /// Its process id, by `/proc/self/fdinfo` (pidfd_open(2)), and what
    /// `/proc/PID/status` says of it (proc(5)).
    pub(super) fn init(handle: BorrowedFd<'_>) -> io::Result<i32> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", handle.as_raw_fd()))?;
        let pid = field(&info, "Pid").and_then(|pid| pid.parse::<i32>().ok());
        // 0 and -1: not to be seen from here, and ended.
        let pid = pid.filter(|pid| *pid > 0);
        let pid = pid.ok_or_else(|| wrong("no handle of a living process"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .map_err(|_| wrong("no handle of a living process"))?;
        let uid = field(&status, "Uid").and_then(|ids| ids.split_whitespace().next());
        if uid != Some(rustix::process::getuid().as_raw().to_string().as_str()) {
            return Err(wrong("a process of another user"));
        }
        // Its number in each namespace, from this one inwards.
        let mut numbers = field(&status, "NSpid")
            .unwrap_or_default()
            .split_whitespace();
        if numbers.next().is_none() || numbers.next_back() != Some("1") {
            return Err(wrong("no init of a namespace"));
        }
        Ok(pid)
    }

    /// The group holds `init` and not this process, and nothing is below it, so
    /// that those in it are all whom it freezes.
    pub(super) fn group(folder: BorrowedFd<'_>, init: i32) -> io::Result<()> {
        crate::freezer::kind_of(folder)?;
        // A folder has two links, and one more from each folder in it.
        if rustix::fs::fstat(folder)?.st_nlink != 2 {
            return Err(wrong("a control group with others below it"));
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let members = rustix::fs::openat(folder, "cgroup.procs", flags, Mode::empty())
            .map_err(|_| wrong("no folder of a control group"))?;
        let mut listed = String::new();
        fs::File::from(members).read_to_string(&mut listed)?;
        let holds = |pid: i32| listed.lines().any(|line| line.parse() == Ok(pid));
        let own = rustix::process::getpid().as_raw_nonzero().get();
        if holds(own) || !holds(init) {
            return Err(wrong("not the control group of this run"));
        }
        Ok(())
    }
}
