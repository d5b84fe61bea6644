//! Guarantee G5: the stop wins.
//!
//! Engaging allocates nothing, opens nothing and asks nobody: it sets a flag,
//! strikes the processes of every run (`trees`), and cancels a token that
//! everything in flight holds; after that one byte goes to a file that has been
//! open since the start.
//!
//! *Invariants*
//! - Whoever wants to act takes [`EmergencyStop::handle`] first and looks at
//!   [`EmergencyStop::is_engaged`] after. Engaging sets the flag first and
//!   cancels after. So either the handle is cancelled, or the flag is seen.
//! - Every press is counted before it does anything else. Lifting names the
//!   presses that it knows of, and does nothing if there is another.

use crate::agent_stops::{AgentStops, Damaged};
use countersign_model::{StopTrigger, Timestamp};
use countersign_protocol::surface::StopView;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    /// Whoever holds it writes down what is so, or makes it so. Never taken
    /// while `token` is held.
    latch: Mutex<File>,
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
        let latch = options.open(path)?;
        let mut byte = [0u8; 1];
        let released = match read_first(&latch, &mut byte) {
            Ok(1) => byte == [RELEASED],
            // A file that was just made says nothing yet; one that was there
            // and is empty lost what it said.
            Ok(_) => !existed,
            Err(e) => return Err(e),
        };
        let (agents, whole) = AgentStops::open(agents, now)?;
        let released = released && whole != Err(Damaged);
        let stop = Self {
            engaged: AtomicBool::new(!released),
            since: AtomicI64::new(now.unix_ms()),
            trigger: AtomicU8::new(trigger_number(StopTrigger::UncleanEnd)),
            presses: AtomicU64::new(0),
            token: Mutex::new(CancellationToken::new()),
            latch: Mutex::new(latch),
            agents,
        };
        if released {
            write(&stop.latch(), RELEASED)?;
        } else {
            stop.token().cancel();
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
        self.presses.fetch_add(1, Ordering::SeqCst);
        let first = !self.engaged.swap(true, Ordering::SeqCst);
        if first {
            self.since.store(now.unix_ms(), Ordering::SeqCst);
            self.trigger
                .store(trigger_number(trigger), Ordering::SeqCst);
        }
        strike(first);
        let token = self.token();
        // Again, for a lift that came between: flag and token change together.
        self.engaged.store(true, Ordering::SeqCst);
        token.cancel();
        first
    }

    /// Writes down that it is engaged, if it still is.
    ///
    /// # Errors
    /// What the file system says. It is engaged all the same.
    pub(crate) fn keep(&self) -> io::Result<()> {
        let latch = self.latch();
        if self.is_engaged() {
            write(&latch, ENGAGED)
        } else {
            Ok(())
        }
    }

    /// Writes down again what is so, to see whether it can be written down.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn prove(&self) -> io::Result<()> {
        let latch = self.latch();
        // A press that comes between waits in `keep` for the latch.
        let now = if self.is_engaged() { ENGAGED } else { RELEASED };
        write(&latch, now)
    }

    /// How often it was pressed: what [`Self::lift`] must be told.
    pub(crate) fn presses(&self) -> u64 {
        self.presses.load(Ordering::SeqCst)
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
        let latch = self.latch();
        if self.presses() != presses {
            return Err(again());
        }
        write(&latch, RELEASED)?;
        {
            let mut token = self.token();
            if self.presses() == presses {
                *token = CancellationToken::new();
                self.engaged.store(false, Ordering::SeqCst);
                return Ok(());
            }
        }
        write(&latch, ENGAGED)?;
        Err(again())
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
            presses: self.presses(),
        })
    }

    /// Those of single agents.
    pub(crate) fn agents(&self) -> &AgentStops {
        &self.agents
    }

    fn token(&self) -> MutexGuard<'_, CancellationToken> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latch(&self) -> MutexGuard<'_, File> {
        self.latch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(latch: &File, byte: u8) -> io::Result<()> {
    write_first(latch, byte)?;
    latch.sync_data()
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
        let handle = stop.handle();
        assert!(press(&stop) && !press(&stop) && handle.is_cancelled());
        let view = stop.view().unwrap();
        assert_eq!(
            (view.trigger, view.since.unix_ms()),
            (StopTrigger::Hotkey, 7)
        );
        drop(stop);
        let again = open(&dir);
        assert!(again.is_engaged() && again.handle().is_cancelled());
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
            latch: Mutex::new(OpenOptions::new().write(true).open(full).unwrap()),
            ..open(&tempfile::tempdir().unwrap())
        };
        let handle = stop.handle();
        assert!(stop.engage(StopTrigger::Hotkey, Timestamp::default(), |_| ()));
        assert!(stop.is_engaged() && handle.is_cancelled());
        assert!(stop.keep().is_err());
        assert!(lift(&stop).is_err() && stop.is_engaged() && stop.handle().is_cancelled());
    }

    #[test]
    fn lifting_does_not_bring_back_what_was_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        let stop = open(&dir);
        let before = stop.handle();
        press(&stop);
        lift(&stop).unwrap();
        assert!(before.is_cancelled() && !stop.handle().is_cancelled());
    }

    #[test]
    fn a_press_that_the_lift_does_not_know_of_wins() {
        let dir = tempfile::tempdir().unwrap();
        let stop = open(&dir);
        press(&stop);
        let known = stop.presses();
        press(&stop);
        assert!(stop.lift(known).is_err());
        assert!(stop.is_engaged() && stop.handle().is_cancelled());
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
            assert!(stop.is_engaged() && stop.handle().is_cancelled());
            assert_eq!(std::fs::read(dir.path().join("stop")).unwrap(), [ENGAGED]);
            lift(&stop).unwrap();
        }
    }
}
