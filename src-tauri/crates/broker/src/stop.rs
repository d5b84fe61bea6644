//! Guarantee G5: the stop wins.
//!
//! Engaging allocates nothing, opens nothing and asks nobody: it sets a flag,
//! cancels a token that everything in flight holds, and writes one byte to a
//! file that has been open since the start.
//!
//! *Invariant:* whoever wants to act takes [`EmergencyStop::handle`] first and
//! looks at [`EmergencyStop::is_engaged`] after. Engaging sets the flag first
//! and cancels after. So either the handle is cancelled, or the flag is seen.

use countersign_model::{StopTrigger, Timestamp};
use countersign_protocol::surface::StopView;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

const ENGAGED: u8 = b'1';
const RELEASED: u8 = b'0';

/// The latch.
#[derive(Debug)]
pub struct EmergencyStop {
    engaged: AtomicBool,
    since: AtomicI64,
    trigger: AtomicU8,
    /// Counts every press, so that lifting notices one that came meanwhile.
    presses: AtomicU64,
    token: Mutex<CancellationToken>,
    latch: File,
}

impl EmergencyStop {
    /// Opens the latch file, making it if need be. What it says holds: a file
    /// that cannot be read as "released" is engaged.
    ///
    /// # Errors
    /// When the file can be neither opened nor made; the authority must then
    /// not start.
    pub fn open(path: &Path, now: Timestamp) -> io::Result<Self> {
        let existed = path.exists();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let latch = options.open(path)?;
        let mut byte = [0u8; 1];
        let released = match read_first(&latch, &mut byte) {
            Ok(1) => byte == [RELEASED],
            // A file that was just made says nothing yet; one that was there
            // and is empty lost what it said.
            Ok(_) => !existed,
            Err(e) => return Err(e),
        };
        let stop = Self {
            engaged: AtomicBool::new(!released),
            since: AtomicI64::new(now.unix_ms()),
            trigger: AtomicU8::new(trigger_number(StopTrigger::UncleanEnd)),
            presses: AtomicU64::new(0),
            token: Mutex::new(CancellationToken::new()),
            latch,
        };
        if !released {
            stop.token().cancel();
        } else {
            stop.write(RELEASED)?;
        }
        Ok(stop)
    }

    /// Engages. Returns whether it was not engaged before; and what went wrong
    /// with keeping the latch on disk, if anything did: it is engaged all the
    /// same, and an end of the program without order starts it engaged again.
    pub fn engage(&self, trigger: StopTrigger, now: Timestamp) -> (bool, io::Result<()>) {
        self.presses.fetch_add(1, Ordering::SeqCst);
        let first = !self.engaged.swap(true, Ordering::SeqCst);
        if first {
            self.since.store(now.unix_ms(), Ordering::SeqCst);
            self.trigger.store(trigger_number(trigger), Ordering::SeqCst);
        }
        self.token().cancel();
        (first, self.write(ENGAGED))
    }

    /// Lifts the stop. Only the broker calls this, on a human's answer. A press
    /// that comes while it is being lifted wins.
    ///
    /// # Errors
    /// When the latch file cannot say so, or a press came meanwhile; the stop
    /// is then engaged.
    pub(crate) fn lift(&self) -> io::Result<()> {
        let presses = self.presses.load(Ordering::SeqCst);
        self.write(RELEASED)?;
        *self.token() = CancellationToken::new();
        self.engaged.store(false, Ordering::SeqCst);
        if self.presses.load(Ordering::SeqCst) == presses {
            return Ok(());
        }
        self.engaged.store(true, Ordering::SeqCst);
        self.token().cancel();
        self.write(ENGAGED)?;
        Err(io::Error::other("the stop was pressed again while it was being lifted"))
    }

    /// Whether it is engaged.
    #[must_use]
    pub fn is_engaged(&self) -> bool {
        self.engaged.load(Ordering::SeqCst)
    }

    /// Cancelled when the stop is engaged. Take it before asking
    /// [`Self::is_engaged`].
    #[must_use]
    pub fn handle(&self) -> CancellationToken {
        self.token().child_token()
    }

    /// Since when and by what, when engaged.
    #[must_use]
    pub fn view(&self) -> Option<StopView> {
        self.is_engaged().then(|| StopView {
            since: Timestamp::from_unix_ms(self.since.load(Ordering::SeqCst)),
            trigger: trigger_of(self.trigger.load(Ordering::SeqCst)),
        })
    }

    fn token(&self) -> std::sync::MutexGuard<'_, CancellationToken> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, byte: u8) -> io::Result<()> {
        write_first(&self.latch, byte)?;
        self.latch.sync_data()
    }
}

#[cfg(unix)]
fn read_first(file: &File, byte: &mut [u8; 1]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, byte, 0)
}
#[cfg(unix)]
fn write_first(file: &File, byte: u8) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, &[byte], 0)
}
#[cfg(windows)]
fn read_first(file: &File, byte: &mut [u8; 1]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, byte, 0)
}
#[cfg(windows)]
fn write_first(file: &File, byte: u8) -> io::Result<()> {
    std::os::windows::fs::FileExt::seek_write(file, &[byte], 0).map(|_| ())
}

const TRIGGERS: [StopTrigger; 7] = [
    StopTrigger::Hotkey,
    StopTrigger::Tray,
    StopTrigger::Window,
    StopTrigger::Command,
    StopTrigger::Signal,
    StopTrigger::File,
    StopTrigger::UncleanEnd,
];

fn trigger_number(trigger: StopTrigger) -> u8 {
    TRIGGERS.iter().position(|&t| t == trigger).and_then(|n| u8::try_from(n).ok()).unwrap_or(0)
}
fn trigger_of(number: u8) -> StopTrigger {
    TRIGGERS.get(usize::from(number)).copied().unwrap_or(StopTrigger::UncleanEnd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &tempfile::TempDir) -> EmergencyStop {
        EmergencyStop::open(&dir.path().join("stop"), Timestamp::default()).unwrap()
    }

    #[test]
    fn an_engaged_stop_is_engaged_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let stop = open(&dir);
        assert!(!stop.is_engaged());
        let handle = stop.handle();
        let (first, kept) = stop.engage(StopTrigger::Hotkey, Timestamp::from_unix_ms(7));
        assert!(first && kept.is_ok() && handle.is_cancelled());
        drop(stop);
        let again = open(&dir);
        assert!(again.is_engaged() && again.handle().is_cancelled());
    }

    #[test]
    fn a_latch_file_that_lost_what_it_said_is_engaged() {
        let dir = tempfile::tempdir().unwrap();
        for said in ["", "x", "2"] {
            std::fs::write(dir.path().join("stop"), said).unwrap();
            assert!(open(&dir).is_engaged(), "{said:?}");
        }
    }

    #[test]
    fn engaging_needs_no_descriptor_and_no_disk_that_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let stop = open(&dir);
        std::fs::remove_file(dir.path().join("stop")).unwrap();
        let (first, _) = stop.engage(StopTrigger::Signal, Timestamp::default());
        assert!(first && stop.is_engaged());
    }

    #[test]
    fn lifting_does_not_bring_back_what_was_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        let stop = open(&dir);
        let before = stop.handle();
        let _ = stop.engage(StopTrigger::Tray, Timestamp::default());
        stop.lift().unwrap();
        assert!(before.is_cancelled() && !stop.handle().is_cancelled());
    }
}
