//! Guarantee G5, for one agent: which agents are stopped, each by itself. Like
//! the latch of all, it survives a restart, and is kept in a file that has been
//! open since the start and has its full length, so that it can be written on a
//! full disk.

use countersign_model::{AgentId, StopTrigger, Timestamp};
use countersign_protocol::surface::AgentStopView;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Each agent has a place of this many bytes: its name, a line's end, zeros. A
/// disk writes sectors of 512 whole, so that no place is half written.
const PLACE: usize = 128;
/// So many agents can be stopped by themselves. One more stops everything.
const PLACES: usize = 256;

/// The agents that are stopped.
#[derive(Debug)]
pub(crate) struct AgentStops {
    stopped: Mutex<BTreeMap<AgentId, Stopped>>,
    /// Whoever holds it writes down what is so, or makes it so. Never taken
    /// while `stopped` is held: a disk may hang.
    file: Mutex<File>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stopped {
    since: Timestamp,
    trigger: StopTrigger,
    presses: u64,
}

/// What stands in the file cannot be read: nobody knows who is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

impl AgentStops {
    /// Opens the file, making it if need be.
    ///
    /// # Errors
    /// When it can be neither opened nor made. What it said may be lost: then
    /// everything is to be stopped.
    pub(crate) fn open(path: &Path, now: Timestamp) -> io::Result<(Self, Result<(), Damaged>)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let file = options.open(path)?;
        let mut content = vec![0; PLACE * PLACES];
        let read = read_at_start(&file, &mut content)?;
        let mut whole = Ok(());
        if read < content.len() {
            if read > 0 {
                whole = Err(Damaged);
            }
            // Written, not only made longer: a hole takes room later.
            write_at(&file, &vec![0; PLACE * PLACES], 0)?;
            file.sync_all()?;
            content.fill(0);
        }
        let mut stopped = BTreeMap::new();
        for place in content.chunks(PLACE).filter(|place| place[0] != 0) {
            match name_in(place) {
                Some(agent) => {
                    let entry = Stopped {
                        since: now,
                        trigger: StopTrigger::UncleanEnd,
                        presses: 0,
                    };
                    stopped.insert(agent, entry);
                }
                None => whole = Err(Damaged),
            }
        }
        let (stopped, file) = (Mutex::new(stopped), Mutex::new(file));
        Ok((Self { stopped, file }, whole))
    }

    /// Stops it. Whether it was not stopped before. It survives the program's end
    /// once [`AgentStops::keep`] has returned.
    pub(crate) fn stop(&self, agent: &AgentId, trigger: StopTrigger, now: Timestamp) -> bool {
        let mut all = self.all();
        if let Some(stopped) = all.get_mut(agent) {
            stopped.presses += 1;
            return false;
        }
        let stopped = Stopped {
            since: now,
            trigger,
            presses: 1,
        };
        all.insert(agent.clone(), stopped);
        true
    }

    /// Writes down who is stopped.
    ///
    /// # Errors
    /// What the file system says, or `StorageFull` when there is no place for so
    /// many.
    pub(crate) fn keep(&self) -> io::Result<()> {
        let file = self.file();
        let names = self.all().keys().cloned().collect();
        write(&file, names)
    }

    /// Lets it go on, if nobody pressed again since `presses`.
    ///
    /// # Errors
    /// When that cannot be written down, or somebody did; it then stays stopped.
    pub(crate) fn resume(&self, agent: &AgentId, presses: u64) -> io::Result<()> {
        let again = || io::Error::other("it was stopped again meanwhile");
        let pressed = |all: &BTreeMap<AgentId, Stopped>| all.get(agent).map(|one| one.presses);
        let file = self.file();
        let mut names: Vec<_> = {
            let all = self.all();
            if pressed(&all) != Some(presses) {
                return Err(again());
            }
            all.keys().cloned().collect()
        };
        names.retain(|name| name != agent);
        write(&file, names)?;
        {
            let mut all = self.all();
            if pressed(&all) == Some(presses) {
                all.remove(agent);
                return Ok(());
            }
        }
        let names = self.all().keys().cloned().collect();
        write(&file, names)?;
        Err(again())
    }

    pub(crate) fn is_stopped(&self, agent: &AgentId) -> bool {
        self.all().contains_key(agent)
    }

    /// Whether there are more than can be written down.
    pub(crate) fn are_too_many(&self) -> bool {
        self.all().len() > PLACES
    }

    pub(crate) fn view(&self) -> Vec<AgentStopView> {
        let all = self.all();
        let views = all.iter().map(|(agent, stopped)| AgentStopView {
            agent: agent.clone(),
            since: stopped.since,
            trigger: stopped.trigger,
            presses: stopped.presses,
        });
        views.collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<AgentId, Stopped>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(file: &File, agents: Vec<AgentId>) -> io::Result<()> {
    if agents.len() > PLACES {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let mut content = vec![0; PLACE * PLACES];
    for (place, agent) in content.chunks_mut(PLACE).zip(agents) {
        let name = agent.as_str().as_bytes();
        place[..name.len()].copy_from_slice(name);
        place[name.len()] = b'\n';
    }
    write_at(file, &content, 0)?;
    file.sync_data()
}

fn name_in(place: &[u8]) -> Option<AgentId> {
    let end = place.iter().position(|&byte| byte == b'\n')?;
    let (name, rest) = place.split_at(end);
    let empty = rest[1..].iter().all(|&byte| byte == 0);
    empty.then_some(())?;
    std::str::from_utf8(name).ok()?.parse().ok()
}

#[cfg(unix)]
fn read_at_start(file: &File, into: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < into.len() {
        match std::os::unix::fs::FileExt::read_at(file, &mut into[read..], read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}
#[cfg(unix)]
fn write_at(file: &File, content: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, content, at)
}
#[cfg(windows)]
fn read_at_start(file: &File, into: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, into, 0)
}
#[cfg(windows)]
fn write_at(file: &File, content: &[u8], at: u64) -> io::Result<()> {
    std::os::windows::fs::FileExt::seek_write(file, content, at).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &tempfile::TempDir) -> (AgentStops, Result<(), Damaged>) {
        AgentStops::open(&dir.path().join("agents"), Timestamp::default()).unwrap()
    }
    fn agent(name: &str) -> AgentId {
        name.parse().unwrap()
    }

    #[test]
    fn a_stopped_agent_is_stopped_after_a_restart_until_it_is_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let (stops, whole) = open(&dir);
        assert_eq!(whole, Ok(()));
        let (one, other) = (agent("one"), agent("other"));
        assert!(stops.stop(&one, StopTrigger::Command, Timestamp::from_unix_ms(7)));
        assert!(!stops.stop(&one, StopTrigger::Command, Timestamp::from_unix_ms(8)));
        stops.keep().unwrap();
        let (again, whole) = open(&dir);
        assert_eq!(whole, Ok(()));
        assert!(again.is_stopped(&one) && !again.is_stopped(&other));
        again.resume(&one, 0).unwrap();
        assert!(!again.is_stopped(&one) && !open(&dir).0.is_stopped(&one));
    }

    #[test]
    fn a_press_that_resuming_does_not_know_of_wins() {
        let dir = tempfile::tempdir().unwrap();
        let (stops, _) = open(&dir);
        let one = agent("one");
        stops.stop(&one, StopTrigger::Window, Timestamp::default());
        stops.stop(&one, StopTrigger::Window, Timestamp::default());
        assert!(stops.resume(&one, 1).is_err() && stops.is_stopped(&one));
    }

    #[test]
    fn a_file_that_cannot_be_read_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agents");
        for content in [
            b"one\n".to_vec(),
            [b"two lines\nhere".to_vec(), vec![0; PLACE * PLACES - 14]].concat(),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(open(&dir).1, Err(Damaged));
        }
    }

    #[test]
    fn one_agent_more_than_there_are_places_is_no_silent_loss() {
        let dir = tempfile::tempdir().unwrap();
        let (stops, _) = open(&dir);
        for n in 0..=PLACES {
            stops.stop(
                &agent(&format!("a{n}")),
                StopTrigger::Command,
                Timestamp::default(),
            );
        }
        assert!(stops.keep().is_err());
    }
}
