//! What a stop writes down, on a thread of its own: a disk may be full or hang,
//! and nobody who stops is to wait for it.

use crate::broker::{Broker, Inner};
use countersign_model::{Event, StopTrigger};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;

/// What there is to write down.
#[derive(Debug)]
pub(crate) enum Work {
    /// The latch, and perhaps a record.
    Latch(Option<Event>),
    /// Which agents are stopped, and perhaps a record.
    Agents(Option<Event>),
}

/// Work for the thread.
#[derive(Debug)]
pub(crate) struct Aftermath {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    came: Condvar,
    /// How much was done.
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    work: Vec<Work>,
    given: u64,
    over: bool,
    /// Whether there is a thread; without one, who stops writes.
    thread: bool,
}

impl Aftermath {
    pub(crate) fn new(broker: Weak<Inner>) -> Self {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            came: Condvar::new(),
            done: watch::Sender::new(0),
        });
        let its = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("stop".into())
            .spawn(move || work(&its, &broker))
            .is_ok();
        shared.waiting().thread = thread;
        Self { shared }
    }

    /// Gives it work; gives it back where there is no thread for it.
    fn give(&self, work: Work) -> Option<Work> {
        let mut waiting = self.shared.waiting();
        if !waiting.thread {
            return Some(work);
        }
        waiting.work.push(work);
        waiting.given += 1;
        self.shared.came.notify_one();
        None
    }

    /// Waits until all that was given so far is done.
    pub(crate) async fn done(&self) {
        let given = self.shared.waiting().given;
        let _ = self
            .shared
            .done
            .subscribe()
            .wait_for(|done| *done >= given)
            .await;
    }
}

impl Drop for Aftermath {
    fn drop(&mut self) {
        self.shared.waiting().over = true;
        self.shared.came.notify_one();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(shared: &Shared, broker: &Weak<Inner>) {
    loop {
        let work = {
            let mut waiting = shared.waiting();
            while waiting.work.is_empty() && !waiting.over {
                waiting = shared
                    .came
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::take(&mut waiting.work)
        };
        let Some(inner) = broker.upgrade() else {
            return;
        };
        let (broker, count) = (Broker { inner }, work.len() as u64);
        for work in work {
            broker.write_down(work);
        }
        shared.done.send_modify(|done| *done += count);
    }
}

impl Broker {
    /// Writes down what a stop did, later.
    pub(crate) fn after(&self, work: Work) {
        if let Some(work) = self.inner.aftermath.give(work) {
            self.write_down(work);
        }
    }

    fn write_down(&self, work: Work) {
        let (kept, event) = match work {
            Work::Latch(event) => (self.inner.stop.keep(), event),
            Work::Agents(event) => (self.inner.stop.agents().keep(), event),
        };
        if let Some(event) = event {
            self.record_later(event);
        }
        match kept {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull && self.too_many_agents() => {
                self.engage(StopTrigger::Command, None, crate::Press::Once);
            }
            Err(error) => self.warn(
                "stop",
                &format!("The stop is engaged, but could not be written down: {error}"),
            ),
        }
    }

    fn too_many_agents(&self) -> bool {
        self.inner.stop.agents().are_too_many()
    }
}
