//! Guarantee G5: the stop wins.
//!
//! Engaging allocates nothing, opens nothing and asks nobody: it sets a flag,
//! strikes the processes of every run (`trees`), cuts their connections upstream
//! (`lines`), and cancels a token that everything in flight holds; after that one byte goes to a file that has been
//! open since the start.
//!
//! How flag and handles meet is in `latch`; here are the file and the words.

use crate::agent_stops::{AgentStops, Damaged};
use crate::latch::Latch;
use crate::primitives::Token;
use countersign_model::{StopTrigger, Timestamp};
use countersign_protocol::surface::StopView;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const ENGAGED: u8 = b'1';
const RELEASED: u8 = b'0';

/// The latch.
#[derive(Debug)]
pub struct EmergencyStop {
    latch: Latch,
    since: AtomicI64,
    trigger: AtomicU8,
    /// Whoever holds it writes down what is so, or makes it so.
    file: Mutex<File>,
    /// Agents that are stopped, each by itself.
    agents: AgentStops,
}

impl EmergencyStop {
    /// Opens the latch file, and that of agents that are stopped by themselves,
    /// making them if need be. What they say holds: a latch that cannot be read
    /// as "released" is engaged, and so it is when the other cannot be read.
    ///
    /// # Errors
    /// When a file can be neither opened nor made; the authority must then not
    /// start.
    pub fn open(path: &Path, agents: &Path, now: Timestamp) -> io::Result<Self> {
        let existed = path.exists();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let file = options.open(path)?;
        let mut byte = [0u8; 1];
        let released = match read_first(&file, &mut byte) {
            Ok(1) => byte == [RELEASED],
            // A file that was just made says nothing yet; one that was there
            // and is empty lost what it said.
            Ok(_) => !existed,
            Err(e) => return Err(e),
        };
        let (agents, whole) = AgentStops::open(agents, now)?;
        let released = released && whole != Err(Damaged);
        let stop = Self {
            latch: Latch::new(!released),
            since: AtomicI64::new(now.unix_ms()),
            trigger: AtomicU8::new(trigger_number(StopTrigger::UncleanEnd)),
            file: Mutex::new(file),
            agents,
        };
        if released {
            write(&stop.file(), RELEASED)?;
        }
        Ok(stop)
    }

    /// Engages: nothing new begins from here on, and `strike` ends what runs.
    /// It is told whether the stop was not engaged before, and so is the caller.
    /// Only the broker calls this: there is more to end. It survives the
    /// program's end once [`Self::keep`] has returned; until then, an end without
    /// order starts it engaged again, if anything was going on.
    pub(crate) fn engage(
        &self,
        trigger: StopTrigger,
        now: Timestamp,
        strike: impl FnOnce(bool),
    ) -> bool {
        self.latch.engage(|first| {
            if first {
                self.since.store(now.unix_ms(), Ordering::SeqCst);
                self.trigger
                    .store(trigger_number(trigger), Ordering::SeqCst);
            }
            strike(first);
        })
    }

    /// Writes down that it is engaged, if it still is.
    ///
    /// # Errors
    /// What the file system says. It is engaged all the same.
    pub(crate) fn keep(&self) -> io::Result<()> {
        let file = self.file();
        if self.is_engaged() {
            write(&file, ENGAGED)
        } else {
            Ok(())
        }
    }

    /// Writes down again what is so, to see whether it can be written down.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn prove(&self) -> io::Result<()> {
        let file = self.file();
        // A press that comes between waits in `keep` for the file.
        let now = if self.is_engaged() { ENGAGED } else { RELEASED };
        write(&file, now)
    }

    /// How often it was pressed: what [`Self::lift`] must be told.
    pub(crate) fn presses(&self) -> u64 {
        self.latch.presses()
    }

    /// Lifts the stop. Only the broker calls this, on a human's answer, with the
    /// [`Self::presses`] from before that answer. A press that comes meanwhile
    /// wins.
    ///
    /// # Errors
    /// When the latch file cannot say so, or a press came meanwhile; the stop
    /// is then engaged.
    pub(crate) fn lift(&self, presses: u64) -> io::Result<()> {
        let again = || io::Error::other("it was pressed again meanwhile");
        let file = self.file();
        if self.presses() != presses {
            return Err(again());
        }
        write(&file, RELEASED)?;
        if self.latch.lift(presses) {
            return Ok(());
        }
        write(&file, ENGAGED)?;
        Err(again())
    }

    /// Whether it is engaged.
    #[must_use]
    pub fn is_engaged(&self) -> bool {
        self.latch.is_engaged()
    }

    /// A handle for what begins: cancelled when the stop is engaged. `None` while
    /// it is.
    pub(crate) fn admit(&self) -> Option<Token> {
        self.latch.admit()
    }

    /// Since when and by what, when engaged.
    #[must_use]
    pub fn view(&self) -> Option<StopView> {
        self.is_engaged().then(|| StopView {
            since: Timestamp::from_unix_ms(self.since.load(Ordering::SeqCst)),
            trigger: trigger_of(self.trigger.load(Ordering::SeqCst)),
            presses: self.presses(),
        })
    }

    /// Those of single agents.
    pub(crate) fn agents(&self) -> &AgentStops {
        &self.agents
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(file: &File, byte: u8) -> io::Result<()> {
    write_first(file, byte)?;
    file.sync_data()
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
    TRIGGERS
        .iter()
        .position(|&t| t == trigger)
        .and_then(|n| u8::try_from(n).ok())
        .unwrap_or(0)
}
fn trigger_of(number: u8) -> StopTrigger {
    TRIGGERS
        .get(usize::from(number))
        .copied()
        .unwrap_or(StopTrigger::UncleanEnd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn open(dir: &tempfile::TempDir) -> EmergencyStop {
        let file = |name| dir.path().join(name);
        EmergencyStop::open(&file("stop"), &file("agents"), Timestamp::default()).unwrap()
    }
    fn press(stop: &EmergencyStop) -> bool {
        let first = stop.engage(StopTrigger::Hotkey, Timestamp::from_unix_ms(7), |_| ());
        stop.keep().unwrap();
        first
    }
    fn lift(stop: &EmergencyStop) -> io::Result<()> {
        stop.lift(stop.presses())
    }

    #[test]
    fn an_engaged_stop_is_engaged_after_a_restart_and_a_lifted_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let stop = open(&dir);
        assert!(!stop.is_engaged());
        let handle = stop.admit().unwrap();
        assert!(press(&stop) && !press(&stop) && handle.is_cancelled());
        let view = stop.view().unwrap();
        assert_eq!(
            (view.trigger, view.since.unix_ms()),
            (StopTrigger::Hotkey, 7)
        );
        drop(stop);
        let again = open(&dir);
        assert!(again.is_engaged() && again.admit().is_none());
        lift(&again).unwrap();
        assert_eq!(again.view(), None);
        drop(again);
        assert!(!open(&dir).is_engaged());
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
        assert!(
            stop.engage(StopTrigger::Signal, Timestamp::default(), |_| ()) && stop.is_engaged()
        );
    }

    #[test]
    fn a_disk_that_takes_nothing_does_not_keep_the_stop_from_engaging() {
        // Writing to it says "no space left on device".
        let full = Path::new("/dev/full");
        let stop = EmergencyStop {
            file: Mutex::new(OpenOptions::new().write(true).open(full).unwrap()),
            ..open(&tempfile::tempdir().unwrap())
        };
        let handle = stop.admit().unwrap();
        assert!(stop.engage(StopTrigger::Hotkey, Timestamp::default(), |_| ()));
        assert!(stop.is_engaged() && handle.is_cancelled());
        assert!(stop.keep().is_err());
        assert!(lift(&stop).is_err() && stop.is_engaged() && stop.admit().is_none());
    }

    #[test]
    fn lifting_does_not_bring_back_what_was_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        let stop = open(&dir);
        let before = stop.admit().unwrap();
        press(&stop);
        lift(&stop).unwrap();
        assert!(before.is_cancelled() && !stop.admit().unwrap().is_cancelled());
    }

    #[test]
    fn a_press_that_the_lift_does_not_know_of_wins() {
        let dir = tempfile::tempdir().unwrap();
        let stop = open(&dir);
        press(&stop);
        let known = stop.presses();
        press(&stop);
        assert!(stop.lift(known).is_err());
        assert!(stop.is_engaged() && stop.admit().is_none());
        drop(stop);
        assert!(open(&dir).is_engaged());
    }

    #[test]
    fn whatever_the_order_of_pressing_and_lifting_flag_token_and_file_agree() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..300 {
            let stop = Arc::new(open(&dir));
            press(&stop);
            let (known, gate) = (stop.presses(), Arc::new(std::sync::Barrier::new(3)));
            let at_once = |act: fn(&EmergencyStop, u64)| {
                let (stop, gate) = (Arc::clone(&stop), Arc::clone(&gate));
                std::thread::spawn(move || {
                    gate.wait();
                    act(&stop, known);
                })
            };
            let threads = [
                at_once(|stop, known| drop(stop.lift(known))),
                at_once(|stop, _| {
                    press(stop);
                }),
                at_once(|stop, _| {
                    press(stop);
                }),
            ];
            for thread in threads {
                thread.join().unwrap();
            }
            // Both presses came after what the lift knew of.
            assert!(stop.is_engaged() && stop.admit().is_none());
            assert_eq!(std::fs::read(dir.path().join("stop")).unwrap(), [ENGAGED]);
            lift(&stop).unwrap();
        }
    }
}
