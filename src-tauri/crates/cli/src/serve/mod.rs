//! `countersign serve`: the authority. It alone holds secrets; it asks at its
//! surfaces, records, and releases.

pub(crate) mod accepted;
mod acts;
mod control;
mod desktop;
mod door;
mod examine;
mod folders;
mod lanes;
mod lease;
mod life;
mod open;
mod passages;
mod placeholders;
mod serving;
mod stopping;
mod terminal;
mod timeline;
mod tree;
pub(crate) mod wire;

use crate::home::Home;
use countersign_broker::{Broker, Moment};
use countersign_model::{InstallId, Timestamp};
use countersign_vault::Secret;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// An end in order takes no longer; what is left is recovered at the next start.
const DRAIN: Duration = Duration::from_secs(10);

/// How long what is connected may then take to let go.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How `serve` was called.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Start the tray app, and again when it dies.
    pub(crate) desktop: bool,
    /// The passphrase of `vault = "file"`, on the first line of this file.
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// The authority, for its tasks.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) home: Home,
    pub(crate) install: InstallId,
    pub(crate) broker: Broker,
    pub(crate) seal_key: Secret,
    pub(crate) since: Timestamp,
    /// The same by both clocks, to see whether the wall clock was set.
    pub(crate) started: Moment,
    /// The HTTP gateways of all runs, and where they run.
    pub(crate) lanes: lanes::Lanes,
    /// One change of configuration at a time.
    pub(crate) accepting: tokio::sync::Mutex<()>,
    /// Who launched the live runs.
    pub(crate) launchers: lease::Launchers,
    /// Where the contained ones write.
    pub(crate) folders: folders::Folders,
    /// Told when the authority is to end in order.
    pub(crate) end: Notify,
    /// Whether it is ending: the tray app is then not started again.
    pub(crate) ending: AtomicBool,
}

/// Runs the authority until it is told to end.
pub(crate) fn serve(options: &Options) -> ExitCode {
    match start(options) {
        Ok(code) => code,
        Err(sentence) => {
            crate::say::problem(&sentence);
            ExitCode::from(crate::exit::FAILED)
        }
    }
}

fn start(options: &Options) -> Result<ExitCode, String> {
    countersign_vault::harden_process()
        .map_err(|e| format!("This process could not be hardened: {e}"))?;
    stopping::block_signals()?;
    open_as_many_files_as_may_be();
    let home = Home::find().map_err(|e| e.to_string())?;
    home.make().map_err(|e| e.to_string())?;
    // Held until the process ends: one authority per user.
    let _only = open::lock(&home)?;
    let opened = open::open(home, options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| format!("The runtime could not be started: {e}"))?;
    let ended = runtime.block_on(run(opened, options));
    // But for a thread that closes what somebody sent along.
    runtime.shutdown_timeout(LAST_WORDS);
    ended
}

/// A request has two connections. The usual limit of 1024 files is for programs that
/// use select(2); above it, up to the hard limit, one may go. Source: getrlimit(2).
/// Descriptors that it sends to gateways are counted against the same limit
/// ([`crate::handover::make_room`]).
fn open_as_many_files_as_may_be() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    // Without it there is room for fewer requests.
    let _ = setrlimit(Resource::Nofile, limit);
}

async fn run(opened: open::Opened, options: &Options) -> Result<ExitCode, String> {
    let open::Opened {
        home,
        install,
        broker,
        seal_key,
        notes,
    } = opened;
    let started = broker.moment();
    let authority = Arc::new(Authority {
        home,
        install,
        broker,
        seal_key,
        since: started.wall,
        started,
        lanes: lanes::Lanes::default(),
        accepting: tokio::sync::Mutex::default(),
        launchers: lease::Launchers::default(),
        folders: folders::Folders::default(),
        end: Notify::new(),
        ending: AtomicBool::new(false),
    });
    if let Err(error) = authority.broker.learn_credentials().await {
        authority
            .broker
            .warn("vault", &format!("{error} {}", error.fix()));
    }
    let time = authority.broker.clone();
    tokio::spawn(async move { time.keep_time().await });
    stopping::watch(&authority)?;
    let listener = control::listen(&authority.home)?;
    let asks_here = terminal::attach(&authority);
    if options.desktop {
        desktop::keep_running(&authority);
    }
    crate::say::started(&authority, asks_here, &notes);
    // Runs that were cut off with the last authority, say.
    let home = authority.home.clone();
    tokio::task::spawn_blocking(move || crate::command::kept::recover(&home));

    let over = CancellationToken::new();
    door::open(&authority, listener, &over)
        .map_err(|e| format!("The control socket cannot be served: {e}"))?;
    authority.end.notified().await;
    authority.ending.store(true, Ordering::SeqCst);
    let closed = tokio::time::timeout(DRAIN, authority.broker.close()).await;
    let _ = std::fs::remove_file(authority.home.control());
    over.cancel();
    match closed {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(reason)) => Err(format!(
            "The trail could not be closed ({reason}); the next start recovers it."
        )),
        Err(_) => Err("The trail was not closed in time; the next start recovers it.".into()),
    }
}
