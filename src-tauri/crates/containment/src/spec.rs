//! What a run is given, what comes back, and the trait of a platform's containment.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
#[cfg(unix)]
use std::sync::Arc;
use thiserror::Error;

/// Everything that one run is given. What is not named here it does not have.
#[derive(Debug, Clone)]
pub struct RunSpec {
    /// The command: program and arguments. The program is looked up in the
    /// run's own `PATH`.
    pub argv: Vec<OsString>,
    /// The working folder: writable, at its own path, and the only folder of
    /// the user that is.
    pub folder: PathBuf,
    /// The run's gateway: a listening Unix socket of the authority. It has to be
    /// there, and a contained run does not see it: by a Unix socket a descriptor
    /// could be sent along whose closing holds up whoever reads (a TCP socket that
    /// lingers). Its ports carry none.
    pub gateway: PathBuf,
    /// The run's socket for `countersign ask`.
    pub ask: Option<PathBuf>,
    /// The certificate of the run's own CA, PEM.
    pub ca_pem: String,
    /// What the run gets in place of credentials, and the authority's other
    /// settings for it: variable and value. They never replace a variable that
    /// containment itself sets.
    pub placeholders: Vec<(String, String)>,
    /// The program that calls `init::main` when its first argument is
    /// `init::SUBCOMMAND`; mounted read-only.
    pub program: PathBuf,
    /// Limits on what the run may use up.
    pub limits: Limits,
    /// Countersign's own configuration, state and sockets: never visible in a
    /// run, like the built-in secret places.
    pub hidden: Vec<PathBuf>,
    /// More places that the run may read, at their own paths.
    pub read_only: Vec<PathBuf>,
    /// Where the run's own copies of what other programs would execute later are
    /// kept (Linux). Without one, git's settings and hooks of the working folder are
    /// read-only, and the rest is the real one.
    #[cfg(unix)]
    pub keep: Option<Arc<crate::Keep>>,
    /// Ports at which the run's gateway is also taken for its accounts' and
    /// sites' hosts, by programs that know nothing of proxies. Contained runs
    /// only; those that the run's network itself needs are left out.
    pub ports: Vec<u16>,
    /// Ports of the run that are to be shown outside. Contained runs only.
    pub shown: Vec<u16>,
    /// Ports of this machine's loopback that the run is to reach at its own, but for
    /// those that the run's network itself needs. Contained runs only.
    pub host_ports: Vec<u16>,
    /// The run's own control group, to freeze it by; `None` where none can be had.
    #[cfg(target_os = "linux")]
    pub group: Option<Arc<crate::Group>>,
    /// A handle (pidfd_open(2)) of the process that stops the run: a contained run
    /// ends when that ends, even if the launcher is suspended. `None`: it ends with
    /// its launcher alone.
    #[cfg(target_os = "linux")]
    pub ends_with: Option<Arc<std::os::fd::OwnedFd>>,
    /// Folders of the agent's own, writable in the run's home, and kept.
    pub own: Vec<OwnFolder>,
    /// Files that the run finds, read-only, and nobody else has.
    pub files: Vec<OwnFile>,
}

/// A folder of the agent's own: it outlives its runs, and nothing else of the
/// user's looks into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFolder {
    /// Where it is kept.
    pub kept: PathBuf,
    /// Where the run finds it: below the home folder, without `..`.
    pub below_home: PathBuf,
}

/// A file that is made for the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFile {
    /// Where the run finds it, absolute.
    pub path: PathBuf,
    /// What is in it.
    pub content: String,
}

/// What a run may use up. They are `setrlimit(2)` limits, lowered to the
/// caller's own hard limits where those are less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Processes and threads of the whole run (`RLIMIT_NPROC`, which Linux 5.14
    /// and later count per user namespace; older kernels count all of the
    /// user's processes).
    pub processes: u64,
    /// Bytes of writable private memory of each process (`RLIMIT_DATA`;
    /// `RLIMIT_AS` would break Node and Java, which reserve far more than they
    /// use), and the size of each of the run's temporary file systems.
    pub memory_bytes: u64,
    /// Open files of each process (`RLIMIT_NOFILE`).
    pub open_files: u64,
}

impl Default for Limits {
    /// Room for a large build: 4096 processes, 16 GiB, 8192 files.
    fn default() -> Self {
        Self {
            processes: 4096,
            memory_bytes: 16 << 30,
            open_files: 8192,
        }
    }
}

/// Whether runs can be contained here and now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// They can, by these layers.
    Contained {
        /// Each layer in a few words.
        layers: Vec<&'static str>,
    },
    /// They cannot.
    NotContained {
        /// The reason, one sentence.
        why: String,
        /// What the human can do about it, one sentence.
        fix: String,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The command ended by itself, with this exit code.
    Code(i32),
    /// A signal ended the command.
    Signal(i32),
    /// The whole process tree was killed before the command ended: by
    /// [`ProcessTree::kill`](crate::ProcessTree::kill), or by the system.
    Killed,
}

impl Exit {
    /// The exit code that a shell would give: 128 + n for signal n.
    #[must_use]
    pub fn shell_code(self) -> u8 {
        const SIGKILL: i32 = 9;
        match self {
            Self::Code(code) => u8::try_from(code).unwrap_or(u8::MAX),
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            Self::Killed => 128 + SIGKILL as u8,
        }
    }
}

/// Why a run was not started, or was lost.
#[derive(Debug, Error)]
pub enum ContainmentError {
    /// This user, kernel or platform cannot contain a run.
    #[error("a run cannot be contained here: {why}. {fix}.")]
    NotContained {
        /// The reason.
        why: String,
        /// What the human can do about it.
        fix: String,
    },
    /// The working folder, or another folder of the spec, may not be shown to a run.
    #[cfg(unix)]
    #[error(transparent)]
    Folder(#[from] crate::FolderRefused),
    /// The command itself could not be started inside the run.
    #[error("cannot start {program:?} in the run: {source}")]
    Command {
        /// The first word of the command.
        program: OsString,
        /// The system's reason.
        source: io::Error,
    },
    /// bubblewrap, or our init, ended before the command began.
    #[error("the sandbox could not be set up: {0}")]
    Setup(String),
    /// A system call outside the run failed.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A value of the spec cannot be used.
    #[error("{0}")]
    Spec(&'static str),
}

impl ContainmentError {
    /// For `map_err`: names what was tried.
    #[cfg(unix)]
    pub(crate) fn system<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            doing,
            source: source.into(),
        }
    }
}

/// What whoever serves and stops a run is given of it, before the command begins.
#[cfg(unix)]
#[derive(Debug)]
pub struct HandedOver<'r> {
    /// The sockets of the run's ports. Agents speak TCP, on ports of the run's
    /// own network; a socket belongs to the network that it was made in, whoever
    /// holds it, so that nothing has to stand between. What each is for the
    /// kernel says: the proxy's port listens on loopback, the hosts' ports on
    /// every address, and at port 53 of loopback is the name server, by TCP and
    /// UDP.
    pub ports: Vec<std::os::fd::OwnedFd>,
    /// The run's side of what leads between its loopback and this machine's.
    pub passages: Passages,
    /// What the run is ended by: a handle of its init (pidfd_open(2)), and the
    /// folder of its control group, where it has one. `None` of an uncontained
    /// run.
    pub tree: Option<(
        std::os::fd::BorrowedFd<'r>,
        Option<std::os::fd::BorrowedFd<'r>>,
    )>,
}

/// The run's side of its passages; of a run without any, nothing.
#[cfg(unix)]
#[derive(Debug, Default)]
pub struct Passages {
    /// The end of `Sockets` (Linux), at which sockets of the run's network are to be
    /// had, where a port is to be shown.
    pub sockets: Option<std::os::fd::OwnedFd>,
    /// What listens in the run at each of the host's ports, on loopback.
    pub listeners: Vec<std::os::fd::OwnedFd>,
}

/// Gives a run to whoever serves and stops it; it is called once, before the
/// command begins. When it fails, the command does not begin.
#[cfg(unix)]
pub type HandOver = Box<dyn FnOnce(HandedOver<'_>) -> io::Result<()> + Send>;

/// A platform's way to contain a run.
pub trait Containment: Send + Sync {
    /// Whether it works for this user on this machine, found out by trying.
    fn support(&self) -> Support;

    /// Starts the command, contained, once its ports were handed over. Returns
    /// when the command itself has been started; its input and output are
    /// relayed from then on.
    ///
    /// # Errors
    /// Whatever keeps the run from being fully contained; nothing runs then.
    #[cfg(unix)]
    fn spawn(&self, spec: RunSpec, hand_over: HandOver)
    -> Result<crate::Running, ContainmentError>;
}

/// The containment of platforms that have none yet.
#[cfg(not(target_os = "linux"))]
pub(crate) struct NoContainment;

#[cfg(not(target_os = "linux"))]
impl NoContainment {
    const WHY: &'static str = "no sandbox profile has been run on this platform";
    const FIX: &'static str = "Run agents on Linux, or use --uncontained and know what is lost";
}

#[cfg(not(target_os = "linux"))]
impl Containment for NoContainment {
    fn support(&self) -> Support {
        Support::NotContained {
            why: Self::WHY.into(),
            fix: Self::FIX.into(),
        }
    }

    #[cfg(unix)]
    fn spawn(
        &self,
        _spec: RunSpec,
        _hand_over: HandOver,
    ) -> Result<crate::Running, ContainmentError> {
        Err(ContainmentError::NotContained {
            why: Self::WHY.into(),
            fix: Self::FIX.into(),
        })
    }
}
