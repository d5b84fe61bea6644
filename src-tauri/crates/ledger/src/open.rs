use crate::LedgerError;
use crate::former;
use crate::head;
use crate::index::Index;
use crate::keeper::Keeper;
use crate::ledger::Ledger;
use crate::note::HeadSigner;
use crate::recovery;
use crate::schema;
use crate::shared::Shared;
use crate::summary::SealKey;
use crate::writer::Writer;
use countersign_model::{
    AgentId, AuditRecord, Digest, Event, InstallId, RequestId, RunId, Timestamp,
};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use zeroize::Zeroizing;

/// What is needed to open a ledger.
pub struct OpenOptions {
    /// The database. Beside it lie `-wal` and `-shm` (SQLite's), `.lock`, and
    /// `.index` with its own two.
    pub path: PathBuf,
    /// This installation; checkpoints carry it in their first line.
    pub install: InstallId,
    /// Version of the program, for the record.
    pub program: String,
    /// Ed25519 seed of the key that signs checkpoints, and nothing else. What seals
    /// the summaries in the index is derived from it.
    pub key: Zeroizing<[u8; 32]>,
    /// The time of the records that opening appends.
    pub now: Timestamp,
}

/// What an opened ledger says of the time before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Whether the last end was orderly, or there is no earlier one.
    pub clean: bool,
    /// Runs that were going on. After an orderly end (an upgrade) they are left
    /// open; otherwise each has a `run-ended` record now.
    pub open_runs: Vec<RunId>,
    /// Allowed requests whose outcome nobody recorded. Each has a `settled`
    /// record with "unknown" now.
    pub unknown: Vec<RequestId>,
    /// The last word about the stop: engaged, and not lifted.
    pub stop_engaged: bool,
    /// Agents that the trail says are stopped, each by itself.
    pub stopped_agents: BTreeSet<AgentId>,
    /// Seal counter of the newest accepted configuration.
    pub last_seal_counter: Option<u64>,
    /// Digest of the newest accepted configuration.
    pub last_config: Option<Digest>,
}

/// Opens the ledger, or makes it where there is none.
pub(crate) fn open(options: OpenOptions) -> Result<(Ledger, Opening), LedgerError> {
    let OpenOptions {
        path,
        install,
        program,
        key,
        now,
    } = options;
    let lock = lock(&path)?;
    make_if_new(&path)?;
    let signer = HeadSigner::new(&install, &key);
    let seals = SealKey::derive(&key);
    let sqlite = |e: rusqlite::Error| LedgerError::opening(&path, &e);
    let db = schema::writer(&path).map_err(sqlite)?;
    let head::Proved {
        tree,
        state,
        newest,
    } = former::prove_brought_up(&db, &path, &signer.public_key())?;
    // Only now may anything be written.
    schema::trust(&db).map_err(sqlite)?;
    db.pragma_update(None, "journal_mode", "WAL")
        .map_err(sqlite)?;
    db.pragma_update(None, "synchronous", "FULL")
        .map_err(sqlite)?;

    let clean = state.closed || tree.size() == 0;
    let opening = Opening {
        clean,
        open_runs: state.runs.iter().cloned().collect(),
        unknown: state.open.iter().cloned().collect(),
        stop_engaged: state.stopped,
        stopped_agents: state.stopped_agents.clone(),
        last_seal_counter: state.config.map(|(counter, _)| counter),
        last_config: state.config.map(|(_, digest)| digest),
    };
    let mut records = recovery::outcomes_unknown(&state, now);
    if !clean {
        records.extend(recovery::runs_ended(&state, now));
    }
    records.push(AuditRecord {
        version: 1,
        at: now,
        event: Event::Opened {
            install,
            program,
            clean,
        },
    });

    let public_key = signer.public_key();
    let index = Index::open(&path, &db, tree.size(), seals)?;
    let known = index.reader()?;
    let shared = Arc::new(Shared::new(path.clone(), index));
    let keeper = Keeper::start(&path, Arc::clone(&shared))?;
    let mut writer = Writer {
        db,
        known,
        tree,
        state,
        signer,
        newest,
        full: true,
        shared: Arc::clone(&shared),
        keeper,
        lock,
    };
    if let Err(what) = writer.append_opening(&records) {
        writer.end();
        return Err(LedgerError::Unavailable { path, what });
    }
    *shared.writer() = Some(writer);
    let writing = Arc::clone(&shared);
    let thread = thread::Builder::new()
        .name("ledger-writer".to_owned())
        .spawn(move || Writer::run(&writing))
        .map_err(|e| {
            drop(shared.writer().take());
            LedgerError::unavailable(&path, &e)
        })?;
    Ok((Ledger::new(shared, thread, public_key), opening))
}

/// One authority at a time: a lock of the operating system, which ends with the
/// process however it ends.
fn lock(path: &Path) -> Result<File, LedgerError> {
    let beside = beside(path, ".lock");
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    for_the_owner_alone(&mut options);
    let file = options
        .open(&beside)
        .map_err(|e| LedgerError::unavailable(&beside, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(LedgerError::unavailable(&beside, &e)),
    }
}

/// Makes an empty ledger where there is none: aside first and whole, so that a
/// file of that name is never half made, and a damaged one never taken for new.
fn make_if_new(path: &Path) -> Result<(), LedgerError> {
    let failed = |e: io::Error| LedgerError::unavailable(path, &e);
    if path.try_exists().map_err(failed)? {
        return Ok(());
    }
    if beside(path, "-wal").try_exists().map_err(failed)? {
        return Err(LedgerError::corrupt(
            path,
            "the database is gone, and its log is still there",
        ));
    }
    let aside = beside(path, ".new");
    for leftover in [
        aside.clone(),
        beside(&aside, "-wal"),
        beside(&aside, "-shm"),
    ] {
        match fs::remove_file(&leftover) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
    }
    let file = file_for_the_owner(&aside).map_err(failed)?;
    schema::create(&aside).map_err(|e| LedgerError::opening(path, &e))?;
    file.sync_all().map_err(failed)?;
    fs::rename(&aside, path).map_err(failed)?;
    sync_folder(path).map_err(failed)
}

/// A new file.
pub(crate) fn file_for_the_owner(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create_new(true).write(true);
    for_the_owner_alone(&mut options);
    options.open(path)
}

pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The files that SQLite makes beside the database take its permissions.
#[cfg(unix)]
fn for_the_owner_alone(options: &mut fs::OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}
#[cfg(not(unix))]
fn for_the_owner_alone(_: &mut fs::OpenOptions) {}

/// The name of a new file survives loss of power only once its folder is synced.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
