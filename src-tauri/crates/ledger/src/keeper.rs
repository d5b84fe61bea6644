//! Folds the write-ahead log into the database, beside the writer, and brings the
//! index up to date where no reader does.

use crate::LedgerError;
use crate::error::words;
use crate::index::LAG;
use crate::schema;
use crate::shared::Shared;
use rusqlite::Connection;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

/// After about so many pages (4 KiB each) the keeper looks. With a quiet moment
/// in between, the writer then begins the log anew by itself.
const LOOK_AFTER: usize = 2000;
/// Without one, with so many pages in the log (64 MiB), the keeper makes it.
const MOST_PAGES: i64 = 16 * 1024;

/// How many records the index may be behind when it cannot be brought up to date:
/// some 20 MB.
const MOST_BEHIND: u64 = 16 * LAG;

/// The writer's end of the keeper's thread.
pub(crate) struct Keeper {
    nudge: mpsc::SyncSender<()>,
    thread: JoinHandle<()>,
    pages: usize,
}

impl Keeper {
    /// # Errors
    /// When the connection or the thread cannot be made.
    pub(crate) fn start(path: &Path, shared: Arc<Shared>) -> Result<Self, LedgerError> {
        let db = schema::keeper(path).map_err(|e| LedgerError::opening(path, &e))?;
        let (nudge, nudged) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("ledger-keeper".to_owned())
            .spawn(move || {
                while nudged.recv().is_ok() {
                    if let Err(error) = fold(&db, &shared) {
                        // Unfolded, the log would grow until the disk is full.
                        shared.fail(format!("its log cannot be folded: {}", words(&error)));
                    }
                    catch_up(&db, &shared);
                }
            })
            .map_err(|e| LedgerError::unavailable(path, &e))?;
        Ok(Self {
            nudge,
            thread,
            pages: 0,
        })
    }

    /// The writer committed so many jobs. Never waits.
    pub(crate) fn wrote(&mut self, jobs: usize) {
        // Each record fills part of a page; each commit rewrites the last one,
        // and the first of the file.
        self.pages += jobs + 2;
        if self.pages >= LOOK_AFTER {
            self.pages = 0;
            // A full channel means that it is about to look anyway.
            let _ = self.nudge.try_send(());
        }
    }

    /// Ends the thread. Its connection, the last one, empties the log.
    pub(crate) fn end(self) {
        drop(self.nudge);
        // It cannot have panicked in a way that matters: the files are consistent
        // at every moment.
        drop(self.thread.join());
    }
}

fn fold(db: &Connection, shared: &Shared) -> rusqlite::Result<()> {
    // Beside the writer, which goes on: what it adds meanwhile stays in the log.
    if pages_after(db, "PRAGMA wal_checkpoint(PASSIVE)")? > MOST_PAGES {
        // Once more, so that next to nothing is left for the time in which the
        // writer has to wait. A reader in the way is not waited for.
        pages_after(db, "PRAGMA wal_checkpoint(PASSIVE)")?;
        let _turn = shared.turn();
        pages_after(db, "PRAGMA wal_checkpoint(RESTART)")?;
    }
    Ok(())
}

fn catch_up(db: &Connection, shared: &Shared) {
    let size = shared.size();
    let behind = size.saturating_sub(shared.index.covered());
    if behind < LAG {
        return;
    }
    match shared.index.catch_up(db, size) {
        // Readers say so, and try again. What is not covered takes up memory.
        Err(error) if behind > MOST_BEHIND => {
            shared.fail(format!("its index cannot be brought up to date: {error}"));
        }
        _ => {}
    }
}

/// How many pages the log holds.
fn pages_after(db: &Connection, checkpoint: &str) -> rusqlite::Result<i64> {
    db.prepare_cached(checkpoint)?
        .query_row([], |row| row.get(1))
}
