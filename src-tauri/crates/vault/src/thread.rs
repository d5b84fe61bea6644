//! The one thread that calls the store.
//!
//! A keyring can block for as long as a dialog stands on the screen, and the
//! D-Bus library behind it must never be called from an async task. So every
//! call is made here, whoever asks waits a limited time, and while a call hangs
//! later ones are refused at once instead of queueing behind it.

use crate::VaultError;
use crate::clock::Moment;
use crate::items::Items;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// So many calls may wait for the thread; more is a sign that it hangs.
const QUEUE: usize = 1024;

/// After a call that hung, the next one is tried no sooner than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Makes a call, unless nobody wants it any more.
type Job = Box<dyn FnOnce(&mut Items) -> Option<Done> + Send>;

/// A call that was made.
struct Done {
    /// The store gave up waiting for the keyring.
    hung: bool,
    /// Tells whoever waits. Done last, so that their next call sees the pulse.
    tell: Box<dyn FnOnce() + Send>,
}

impl Done {
    fn new<T: Send + 'static>(
        result: Result<T, VaultError>,
        tell: impl FnOnce(Result<T, VaultError>) + Send + 'static,
    ) -> Option<Self> {
        let hung = matches!(result, Err(VaultError::TimedOut));
        Some(Self {
            hung,
            tell: Box::new(move || tell(result)),
        })
    }
}

/// How the thread is.
#[derive(Default, Clone, Copy)]
struct Pulse {
    /// Since when it has been in the call that it is in.
    busy: Option<Moment>,
    /// When a call last stayed without an answer; none after one with.
    hung: Option<Moment>,
}

impl Pulse {
    /// Whether a call would wait for nothing. After a hang, one call at a time
    /// is let through to see whether the store is back.
    fn hangs(self, limit: Duration) -> bool {
        let stuck = self.busy.is_some_and(|since| since.age() >= limit);
        let suspect = self
            .hung
            .is_some_and(|at| self.busy.is_some() || at.age() < PAUSE);
        stuck || suspect
    }
}

/// The handle of the thread. The thread ends when the last one is dropped.
#[derive(Clone)]
pub(crate) struct StoreThread {
    jobs: SyncSender<Job>,
    pulse: Arc<Mutex<Pulse>>,
    limit: Duration,
}

impl StoreThread {
    /// Starts the thread and opens the store on it, within `open_limit`.
    /// `rest` is called once, `rest_after` the last call.
    pub(crate) fn start(
        open: impl FnOnce() -> Result<Items, VaultError> + Send + 'static,
        open_limit: Duration,
        limit: Duration,
        rest_after: Duration,
        rest: impl Fn() + Send + 'static,
    ) -> Result<Self, VaultError> {
        let (jobs, queue) = sync_channel::<Job>(QUEUE);
        let pulse = Arc::new(Mutex::new(Pulse::default()));
        let (opened, answer) = sync_channel(1);
        let mark = Arc::clone(&pulse);
        std::thread::Builder::new()
            .name("vault".into())
            .spawn(move || match open() {
                Ok(items) => {
                    if opened.send(Ok(())).is_ok() {
                        work(items, &queue, &mark, rest_after, rest);
                    }
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            })
            .map_err(|e| VaultError::Internal(format!("no thread for the keyring: {e}")))?;
        match answer.recv_timeout(open_limit) {
            Ok(Ok(())) => Ok(Self { jobs, pulse, limit }),
            Ok(Err(error)) => Err(error),
            Err(RecvTimeoutError::Timeout) => Err(VaultError::TimedOut),
            Err(RecvTimeoutError::Disconnected) => Err(died()),
        }
    }

    /// Calls the store and waits for the answer without blocking a task.
    /// Dropping the future withdraws a call that has not begun.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        op: impl FnOnce(&mut Items) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(move |items| {
            if reply.is_closed() {
                return None;
            }
            Done::new(op(items), |result| {
                let _ = reply.send(result);
            })
        }))?;
        match tokio::time::timeout(self.limit, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(died()),
            Err(_) => Err(self.given_up()),
        }
    }

    /// The same for start-up: blocks, and needs no runtime.
    pub(crate) fn call_blocking<T: Send + 'static>(
        &self,
        op: impl FnOnce(&mut Items) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let (reply, answer) = sync_channel(1);
        let given_up = Arc::new(AtomicBool::new(false));
        let skip = Arc::clone(&given_up);
        self.enqueue(Box::new(move |items| {
            if skip.load(Ordering::Acquire) {
                return None;
            }
            Done::new(op(items), move |result| {
                let _ = reply.send(result);
            })
        }))?;
        let result = answer.recv_timeout(self.limit);
        given_up.store(true, Ordering::Release);
        match result {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(self.given_up()),
            Err(RecvTimeoutError::Disconnected) => Err(died()),
        }
    }

    /// Whoever gave up waiting says so, for those who come after: the thread
    /// may be about to notice the same, or be stuck for long.
    fn given_up(&self) -> VaultError {
        update(&self.pulse, |pulse| pulse.hung = Some(Moment::now()));
        VaultError::TimedOut
    }

    fn enqueue(&self, job: Job) -> Result<(), VaultError> {
        if read(&self.pulse).hangs(self.limit) {
            return Err(VaultError::TimedOut);
        }
        self.jobs.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => VaultError::TimedOut,
            TrySendError::Disconnected(_) => died(),
        })
    }
}

fn work(
    mut items: Items,
    queue: &Receiver<Job>,
    pulse: &Mutex<Pulse>,
    rest_after: Duration,
    rest: impl Fn(),
) {
    let mut resting = true;
    loop {
        let job = if resting {
            match queue.recv() {
                Ok(job) => job,
                Err(_) => return,
            }
        } else {
            match queue.recv_timeout(rest_after) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    rest();
                    resting = true;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        };
        update(pulse, |pulse| pulse.busy = Some(Moment::now()));
        // A panic in a store crate must not take the vault with it. Whoever
        // waits hears of it, since the reply's sender is dropped.
        let done = catch_unwind(AssertUnwindSafe(|| job(&mut items))).unwrap_or_else(|_| {
            items.reset();
            None
        });
        update(pulse, |pulse| {
            pulse.busy = None;
            if let Some(done) = &done {
                pulse.hung = done.hung.then(Moment::now);
            }
        });
        if let Some(done) = done {
            (done.tell)();
        }
        resting = false;
    }
}

fn read(pulse: &Mutex<Pulse>) -> Pulse {
    *pulse.lock().unwrap_or_else(PoisonError::into_inner)
}

fn update(pulse: &Mutex<Pulse>, change: impl FnOnce(&mut Pulse)) {
    change(&mut pulse.lock().unwrap_or_else(PoisonError::into_inner));
}

fn died() -> VaultError {
    VaultError::Internal("the keyring's thread broke off".into())
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
