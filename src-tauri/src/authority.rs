//! The wire to the authority: one writer that anyone may use, one reader.

use countersign_model::StopTrigger;
use countersign_protocol::frame;
use countersign_protocol::health::Check;
use countersign_protocol::surface::{FromSurface, TimelineEntry, TimelineFilter, ToSurface};
use std::collections::HashMap;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long an answer of the authority is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for what tries every boundary, and asks the human.
const EXAMINATION: Duration = Duration::from_secs(200);

/// What the authority answers to a call, or a sentence that says why not.
type Answer = Result<Said, String>;

#[derive(Debug, PartialEq)]
enum Said {
    Entries(Vec<TimelineEntry>),
    Checks(Vec<Check>),
}

const ANOTHER: &str = "The authority answered another question.";

/// Our end of the socket pair.
#[derive(Debug)]
pub(crate) struct Authority {
    write: Mutex<UnixStream>,
    calls: Mutex<Calls>,
    /// The stop, ready to be written: engaging it needs no allocation (G5). When
    /// the key is pressed, and when it is still held after a second.
    stop_by_hotkey: [Vec<u8>; 2],
}

#[derive(Debug, Default)]
struct Calls {
    last: u64,
    waiting: HashMap<u64, SyncSender<Answer>>,
}

/// Nothing here is left half-done by a panic, so poisoning says nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stop_by_hotkey(held: bool) -> io::Result<Vec<u8>> {
    frame::encode(&FromSurface::Stop {
        trigger: StopTrigger::Hotkey,
        held,
        agent: None,
    })
}

impl Authority {
    /// # Errors
    /// When the stop cannot be put into a frame, which is a fault of ours.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        Ok(Self {
            write: Mutex::new(stream),
            calls: Mutex::default(),
            stop_by_hotkey: [stop_by_hotkey(false)?, stop_by_hotkey(true)?],
        })
    }

    /// Says something. A write that fails means that the authority is gone,
    /// which the reader finds out.
    pub(crate) fn say(&self, message: &FromSurface) -> io::Result<()> {
        frame::write(&mut *lock(&self.write), message)
    }

    /// Engages the stop, from the hotkey's own thread, before anything else.
    pub(crate) fn stop_by_hotkey(&self, held: bool) -> io::Result<()> {
        lock(&self.write).write_all(&self.stop_by_hotkey[usize::from(held)])
    }

    /// Entries of the timeline; waits for at most ten seconds.
    pub(crate) fn timeline(&self, filter: TimelineFilter) -> Result<Vec<TimelineEntry>, String> {
        match self.ask(PATIENCE, |call| FromSurface::Timeline { call, filter })? {
            Said::Entries(entries) => Ok(entries),
            Said::Checks(_) => Err(ANOTHER.into()),
        }
    }

    /// What `countersign doctor` finds; waits for minutes, if need be.
    pub(crate) fn examine(&self) -> Result<Vec<Check>, String> {
        match self.ask(EXAMINATION, |call| FromSurface::Examine { call })? {
            Said::Checks(checks) => Ok(checks),
            Said::Entries(_) => Err(ANOTHER.into()),
        }
    }

    fn ask(&self, patience: Duration, message: impl FnOnce(u64) -> FromSurface) -> Answer {
        let (tx, rx) = mpsc::sync_channel(1);
        let call = {
            let mut calls = lock(&self.calls);
            calls.last += 1;
            let call = calls.last;
            calls.waiting.insert(call, tx);
            call
        };
        let answer = match self.say(&message(call)) {
            Ok(()) => rx
                .recv_timeout(patience)
                .unwrap_or_else(|_| Err("The authority does not answer.".into())),
            Err(_) => Err("The authority is gone.".into()),
        };
        lock(&self.calls).waiting.remove(&call);
        answer
    }

    /// Reads until the end, and hands on what is no answer to a call. Returns
    /// the error of a connection that did not end in order.
    pub(crate) fn read(
        &self,
        stream: &mut UnixStream,
        mut hand_on: impl FnMut(ToSurface),
    ) -> io::Result<()> {
        while let Some(message) = frame::read(stream)? {
            match message {
                ToSurface::Timeline { call, entries, .. } => {
                    self.answer(call, Ok(Said::Entries(entries)));
                }
                ToSurface::Examined { call, checks } => {
                    self.answer(call, Ok(Said::Checks(checks)));
                }
                ToSurface::Failed { call, sentence }
                    if lock(&self.calls).waiting.contains_key(&call) =>
                {
                    self.answer(call, Err(sentence));
                }
                other => hand_on(other),
            }
        }
        Ok(())
    }

    fn answer(&self, call: u64, answer: Answer) {
        if let Some(tx) = lock(&self.calls).waiting.remove(&call) {
            let _ = tx.send(answer); // whoever asked may have given up
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;

    #[test]
    fn the_hotkeys_stop_is_the_frame_that_the_authority_expects() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        Authority::new(ours).unwrap().stop_by_hotkey(false).unwrap();
        let heard: FromSurface = frame::read(&mut theirs).unwrap().unwrap();
        assert_eq!(
            heard,
            FromSurface::Stop {
                trigger: StopTrigger::Hotkey,
                held: false,
                agent: None,
            }
        );
    }

    #[test]
    fn an_answer_reaches_its_own_call_and_everything_else_is_handed_on() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut reading = ours.try_clone().unwrap();
        let authority = Authority::new(ours).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let Some(FromSurface::Timeline { call, .. }) = frame::read(&mut theirs).unwrap()
                else {
                    panic!("not a call")
                };
                for message in [
                    ToSurface::ShowWindow {},
                    ToSurface::Failed {
                        call: call + 7,
                        sentence: "of another".into(),
                    },
                    ToSurface::Failed {
                        call,
                        sentence: "no".into(),
                    },
                ] {
                    frame::write(&mut theirs, &message).unwrap();
                }
                theirs.shutdown(Shutdown::Both).unwrap();
            });
            let reader = scope.spawn(|| {
                let mut handed = Vec::new();
                authority.read(&mut reading, |m| handed.push(m)).unwrap();
                handed.len()
            });
            let answer = authority.timeline(TimelineFilter::default());
            assert_eq!(answer, Err("no".to_owned()));
            assert_eq!(reader.join().unwrap(), 2);
        });
    }

    #[test]
    fn an_authority_that_is_gone_is_said_at_once() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let answer = Authority::new(ours)
            .unwrap()
            .timeline(TimelineFilter::default());
        assert_eq!(answer, Err("The authority is gone.".to_owned()));
    }
}
