//! The desk: what lies before the human, and who may show it to them.
//!
//! Two clocks run. An agent's connection is held for a while; the *question*
//! stays open until it is answered, its run ends, or its time is over. Whoever
//! repeats the identical request joins the question again.
//!
//! *Invariants*
//! - An answer counts only for the rendering (digest) that was shown, at least
//!   [`GUARD`] after it was shown, and at no less than the assurance that was
//!   asked. A no counts always: it can only deny.
//! - One yes releases as many requests as the rendering said, each once.
//! - No question is put once its cut has fired: whoever cuts, cuts first and
//!   ends the questions after, under the lock under which they are put.
//! - A request whose client is gone has a record, however its question ends.

mod entry;
mod state;

pub(crate) use entry::No;
use entry::{Entry, Standing};
use state::{State, Surface};

use crate::clock::Clock;
use countersign_model::{
    Answer, Approval, Assurance, Digest, QuestionId, ReasonCode, RequestId, Requested, RunId,
    SurfaceKind, Timestamp,
};
use countersign_protocol::surface::{About, Ended, Question, ToSurface};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// An Approve sooner than this after being shown or replaced is none.
pub const GUARD: Duration = Duration::from_millis(700);
/// How long an answer stands for a request that is not there any more.
pub const YES_STANDS: Duration = Duration::from_secs(600);
/// No question of a run is open longer.
pub const QUESTION_LIFE: Duration = Duration::from_secs(8 * 3600);
/// How long time is kept without looking at the boot-time clock.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How many questions may be open at once, of one run and in all.
const OPEN_PER_RUN: usize = 64;
const OPEN_IN_ALL: usize = 512;
/// How many messages may lie unread before a surface counts as dead.
pub const SURFACE_QUEUE: usize = 4096;

/// The name of the one surface that shows no timeline.
pub const TERMINAL: &str = "terminal";

/// One surface, as the desk knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SurfaceId(u64);

/// Who hears what no client waits for. Called under the desk's lock: it must
/// neither wait nor come back to the desk.
pub(crate) trait Hears: Send + Sync + fmt::Debug {
    /// A human said no to this: once, however many requests it stood for.
    fn denied(&self, about: &About);
    /// A request whose client is gone came to nothing: its record.
    fn lapsed(&self, record: Requested);
}

/// See the module.
#[derive(Debug)]
pub struct Desk {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// A question was put or answered: its end may be the next one.
    changed: Notify,
}

/// What to ask.
pub(crate) struct Asking {
    pub(crate) about: About,
    pub(crate) assurance: Assurance,
    /// The same value: the same question.
    pub(crate) key: Digest,
    pub(crate) life: Duration,
    pub(crate) hold: Duration,
    /// For a request of an agent; `None` for what a human set off, which ends
    /// with whoever asks it.
    pub(crate) of_run: Option<OfRun>,
}

/// A request of a run that asks.
pub(crate) struct OfRun {
    pub(crate) run: RunId,
    /// Taken before the stop was looked at.
    pub(crate) cut: CancellationToken,
    /// What is recorded if its client does not hear how it ends.
    pub(crate) record: Requested,
}

/// How waiting ended.
#[derive(Debug)]
pub(crate) enum Heard {
    Yes(Approval),
    No(No),
    /// The connection was held long enough; the question stays, under the
    /// request that asked it first.
    StillOpen(Option<RequestId>),
}

impl Desk {
    pub(crate) fn new(clock: Arc<dyn Clock>, hears: Box<dyn Hears>) -> Self {
        Self {
            clock,
            state: Mutex::new(State::new(hears)),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- surfaces -------------------------------------------------------

    /// A surface is there: it is shown everything that is open. The sender is
    /// for what is meant for this surface alone; when the desk lets go of the
    /// surface, the receiver ends.
    pub fn attach(
        &self,
        name: &'static str,
        up_to: Assurance,
    ) -> (
        SurfaceId,
        mpsc::WeakSender<ToSurface>,
        mpsc::Receiver<ToSurface>,
    ) {
        let (to, from) = mpsc::channel(SURFACE_QUEUE);
        let alone = to.downgrade();
        let id = self.state().attach(Surface { name, up_to, to });
        (id, alone, from)
    }

    /// A surface is gone. What nobody else can ask is denied.
    pub fn detach(&self, id: SurfaceId) {
        self.state().detach(id);
    }

    /// The names of the surfaces that are there.
    #[must_use]
    pub fn surfaces(&self) -> Vec<String> {
        let state = self.state();
        let mut names: Vec<_> = state.surfaces().map(|s| s.name.to_owned()).collect();
        names.sort();
        names
    }

    /// Tells every surface something. One that does not read is dead.
    pub fn tell(&self, message: &ToSurface) {
        self.state().tell(message);
    }

    /// This rendering is before a human's eyes now.
    pub fn shown(&self, question: &QuestionId, digest: Digest) {
        let now = self.clock.boot();
        if let Some(entry) = self.state().entries.get_mut(question)
            && entry.question.digest == digest
            && entry.shown.is_none()
        {
            entry.shown = Some(now);
        }
    }

    /// A human answered. Returns whether the answer counts; one that does not
    /// leaves the question open, and it is shown again.
    pub fn answer(
        &self,
        question: &QuestionId,
        digest: Digest,
        answer: Answer,
        assurance: Assurance,
        surface: SurfaceKind,
        because: Option<String>,
    ) -> bool {
        let now = self.clock.boot();
        let at = self.clock.wall();
        let mut state = self.state();
        state.expire(now);
        let Some(entry) = state.entries.get_mut(question).filter(|e| e.is_open()) else {
            return false;
        };
        let said = Approval {
            question: question.clone(),
            answer,
            shown: digest,
            surface,
            assurance,
            at,
            latency_ms: millis(now.saturating_sub(entry.asked)),
            times: entry.question.times,
        };
        if answer == Answer::Approve && !entry.may_approve(&said, now) {
            // Whoever was too quick has to look again.
            entry.shown = entry.shown.map(|_| now);
            let again = ToSurface::Ask(Box::new(entry.question.clone()));
            state.tell(&again);
            return false;
        }
        match answer {
            Answer::Approve => entry.approve(said, now),
            Answer::Deny => state.deny(question, said, because, now),
        }
        state.tell(&ToSurface::Withdraw {
            question: question.clone(),
            ended: Ended::Answered { answer, surface },
        });
        self.changed.notify_one();
        true
    }

    // ---- asking ---------------------------------------------------------

    /// Asks, or joins what is asked already, and waits for the answer, at most
    /// `hold`. Dropping the future leaves a request's question open, and
    /// withdraws one that a human set off.
    pub(crate) async fn ask(&self, id: QuestionId, asking: Asking) -> Heard {
        let hold = asking.hold;
        let mut slot = match self.join_or_put(id, asking) {
            Ok(slot) => slot,
            Err(reason) => return Heard::No(No::because(reason)),
        };
        let answered = slot.standing.wait_for(|s| !matches!(s, Standing::Open));
        // What is borrowed from the channel must not be held under the lock.
        let over = tokio::time::timeout(hold, answered)
            .await
            .map(|heard| heard.is_ok());
        match over {
            Ok(_) => slot.leave(),
            Err(_) => Heard::StillOpen(slot.first.clone()),
        }
    }

    fn join_or_put(&self, id: QuestionId, asking: Asking) -> Result<Slot<'_>, ReasonCode> {
        let now = self.clock.boot();
        let wall = self.clock.wall();
        let (run, cut, record) = match asking.of_run {
            Some(OfRun { run, cut, record }) => (Some(run), Some(cut), Some(record)),
            None => (None, None, None),
        };
        let mut state = self.state();
        // Under the lock: what ends all questions comes after what cuts.
        if cut.is_some_and(|cut| cut.is_cancelled()) {
            return Err(ReasonCode::Stopped);
        }
        state.expire(now);
        let slot = |question, standing, first| Slot {
            desk: self,
            question,
            standing,
            first,
            record,
            left: false,
        };
        if let Some((question, standing, first)) = state.join(asking.key) {
            // Before the lock is let go: a joined place is always somebody's.
            return Ok(slot(question, standing, first));
        }
        if !state.surfaces().any(|s| s.up_to >= asking.assurance) {
            return Err(ReasonCode::NoSurface);
        }
        let open = state.entries.values().filter(|e| e.is_open());
        let of_run = open.clone().filter(|e| e.run == run).count();
        if of_run >= OPEN_PER_RUN || open.count() >= OPEN_IN_ALL {
            return Err(ReasonCode::Limit);
        }
        let question = Question {
            digest: Question::digest_of(&id, asking.assurance, 1, &asking.about),
            id: id.clone(),
            assurance: asking.assurance,
            asked: wall,
            ends: later(wall, asking.life),
            held_until: run.is_some().then(|| later(wall, asking.hold)),
            times: 1,
            about: asking.about,
        };
        let first = entry::request_of(&question.about);
        let standing = state.put(Entry::new(question, run, asking.key, now, asking.life));
        self.changed.notify_one();
        Ok(slot(id, standing, first))
    }

    // ---- ending ---------------------------------------------------------

    /// Ends every question, open or answered: the stop, or the end.
    pub(crate) fn end_all(&self, reason: ReasonCode) {
        self.state().end_where(reason, |_| true);
    }

    /// Ends every question of every run: what was judged is not what is in
    /// force any more.
    pub(crate) fn end_requests(&self, reason: ReasonCode) {
        self.state().end_where(reason, |e| e.run.is_some());
    }

    /// Ends every question of a run, a standing yes with it.
    pub(crate) fn end_run(&self, run: &RunId, reason: ReasonCode) {
        self.state()
            .end_where(reason, |e| e.run.as_ref() == Some(run));
    }

    /// Ends one question without an answer.
    pub(crate) fn withdraw(&self, question: &QuestionId, reason: ReasonCode) {
        self.state().end(question, reason);
    }

    /// Ends what is over by the clock, for ever. Asleep while nothing is open.
    pub(crate) async fn keep_time(&self) {
        loop {
            let changed = self.changed.notified();
            let next = {
                let now = self.clock.boot();
                let mut state = self.state();
                state.expire(now);
                let ends = state.entries.values().map(|e| e.ends);
                ends.min().map(|at| at.saturating_sub(now))
            };
            match next {
                None => changed.await,
                // The runtime's clock stands still while the machine sleeps;
                // boot time does not: look again at least every minute.
                Some(next) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep(next.min(LOOK_AGAIN)) => {}
                },
            }
        }
    }

    /// What is open, oldest first.
    #[must_use]
    pub fn open(&self) -> Vec<Question> {
        let state = self.state();
        let open = state.entries.values().filter(|e| e.is_open());
        let mut open: Vec<_> = open.map(|e| (e.asked, e.question.clone())).collect();
        open.sort_by_key(|(asked, _)| *asked);
        open.into_iter().map(|(_, question)| question).collect()
    }

    /// How many are open.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        let open = self
            .state()
            .entries
            .values()
            .filter(|e| e.is_open())
            .count();
        u32::try_from(open).unwrap_or(u32::MAX)
    }
}

/// A client that waits: one of the question's `times`.
struct Slot<'d> {
    desk: &'d Desk,
    question: QuestionId,
    standing: watch::Receiver<Standing>,
    /// The request that asked first: the one that people see.
    first: Option<RequestId>,
    record: Option<Requested>,
    left: bool,
}

impl Slot<'_> {
    /// Leaves with what the question came to. A yes is used up by this.
    fn leave(&mut self) -> Heard {
        self.left = true;
        let now = self.desk.clock.boot();
        let mut state = self.desk.state();
        // Read under the lock: the newest word, so that the stop wins over a
        // yes that was heard and not yet taken.
        let standing = self.standing.borrow().clone();
        let stands = state.leave(&self.question, now);
        match standing {
            Standing::Yes(approval) if stands => Heard::Yes(approval),
            Standing::Yes(approval) => Heard::No(No {
                answer: Some(approval),
                ..No::because(ReasonCode::Expired)
            }),
            Standing::No(no) => Heard::No(no),
            Standing::Open => Heard::No(No::because(ReasonCode::Internal)),
        }
    }
}

impl Drop for Slot<'_> {
    /// The client went before it heard the answer.
    fn drop(&mut self) {
        if !self.left {
            let standing = self.standing.clone();
            let record = self.record.take();
            self.desk.state().vacate(&self.question, &standing, record);
        }
    }
}

fn later(wall: Timestamp, by: Duration) -> Timestamp {
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_unix_ms(wall.unix_ms().saturating_add(by))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
