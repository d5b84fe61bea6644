//! The desk: what lies before the human, and who may show it to them.
//!
//! Two clocks run. An agent's connection is held for a while; the *question*
//! stays open until it is answered, its run ends, or its time is over. Whoever
//! repeats the identical request joins the question again.
//!
//! *Invariants:* an answer counts only for the rendering (digest) that was
//! shown, at least [`GUARD`] after it was shown, and at no less than the
//! assurance that was asked. One yes releases as many requests as the rendering
//! said, each once.

use crate::clock::Clock;
use countersign_model::{
    Answer, Approval, Assurance, Digest, QuestionId, ReasonCode, RunId, SurfaceKind, Timestamp,
};
use countersign_protocol::surface::{About, Ended, Question, ToSurface};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// An Approve sooner than this after being shown or replaced is none.
pub const GUARD: Duration = Duration::from_millis(700);
/// How long a yes stands for a request that is not there any more.
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

#[derive(Debug)]
struct Surface {
    name: &'static str,
    up_to: Assurance,
    to: mpsc::Sender<ToSurface>,
}

/// How a question stands, for those who wait on it.
#[derive(Debug, Clone)]
enum Standing {
    Open,
    Yes(Approval),
    Over(ReasonCode, Option<String>),
}

#[derive(Debug)]
struct Entry {
    question: Question,
    run: Option<RunId>,
    key: Digest,
    asked: Duration,
    /// Ends without an answer then; after a yes: stands until then.
    ends: Duration,
    shown: Option<Duration>,
    /// Clients that wait now. Each has a slot of the question's `times`.
    live: u32,
    /// Slots whose client has hung up; whoever repeats the request takes one.
    vacant: u32,
    standing: watch::Sender<Standing>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<QuestionId, Entry>,
    surfaces: HashMap<SurfaceId, Surface>,
    next_surface: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Desk {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// A question was put: its end may be the next one.
    put: Notify,
}

/// What to ask.
pub(crate) struct Asking {
    pub(crate) about: About,
    pub(crate) assurance: Assurance,
    pub(crate) run: Option<RunId>,
    /// The same value: the same question.
    pub(crate) key: Digest,
    pub(crate) life: Duration,
    pub(crate) hold: Duration,
}

/// How waiting ended.
#[derive(Debug)]
pub(crate) enum Heard {
    Yes(Approval),
    No { reason: ReasonCode, because: Option<String> },
    /// The connection was held long enough; the question stays.
    StillOpen(About),
}

impl Desk {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default(), put: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- surfaces -------------------------------------------------------

    /// A surface is there: it is shown everything that is open. The sender is
    /// for what is meant for this surface alone.
    pub fn attach(
        &self,
        name: &'static str,
        up_to: Assurance,
    ) -> (SurfaceId, mpsc::Sender<ToSurface>, mpsc::Receiver<ToSurface>) {
        let (to, from) = mpsc::channel(SURFACE_QUEUE);
        let mut state = self.state();
        let id = SurfaceId(state.next_surface);
        state.next_surface += 1;
        for entry in state.entries.values().filter(|e| e.is_open()) {
            if entry.question.assurance <= up_to {
                // The queue is longer than OPEN_IN_ALL, and new.
                let _ = to.try_send(ToSurface::Ask(Box::new(entry.question.clone())));
            }
        }
        state.surfaces.insert(id, Surface { name, up_to, to: to.clone() });
        (id, to, from)
    }

    /// A surface is gone. What nobody else can ask is denied.
    pub fn detach(&self, id: SurfaceId) {
        let mut state = self.state();
        state.surfaces.remove(&id);
        state.deny_what_nobody_can_ask();
    }

    /// The names of the surfaces that are there.
    #[must_use]
    pub fn surfaces(&self) -> Vec<String> {
        let mut names: Vec<_> = self.state().surfaces.values().map(|s| s.name.to_owned()).collect();
        names.sort();
        names
    }

    /// Whether a surface is there that shows the timeline.
    #[must_use]
    pub fn has_window(&self) -> bool {
        self.state().surfaces.values().any(|s| s.name != TERMINAL)
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
        let wall = self.clock.wall();
        let mut state = self.state();
        let Some(entry) = state.entries.get_mut(question).filter(|e| e.is_open()) else {
            return false;
        };
        // A no counts whatever was shown: it can only deny.
        if answer == Answer::Deny {
            state.end(question, ReasonCode::DeniedByHuman, because, Some(surface));
            return true;
        }
        let in_time = now < entry.ends;
        let read = entry.shown.is_some_and(|at| now.saturating_sub(at) >= GUARD);
        let same = entry.question.digest == digest;
        if !(in_time && read && same && assurance >= entry.question.assurance) {
            let again = ToSurface::Ask(Box::new(entry.question.clone()));
            state.tell(&again);
            return false;
        }
        let approval = Approval {
            question: question.clone(),
            shown: digest,
            surface,
            assurance,
            at: wall,
            latency_ms: u64::try_from(now.saturating_sub(entry.asked).as_millis()).unwrap_or(u64::MAX),
            times: entry.question.times,
        };
        entry.ends = now + YES_STANDS;
        entry.standing.send_replace(Standing::Yes(approval));
        state.tell(&ToSurface::Withdraw {
            question: question.clone(),
            ended: Ended::Answered { answer: Answer::Approve, surface },
        });
        true
    }

    // ---- asking ---------------------------------------------------------

    /// Asks, or joins what is asked already, and waits for the answer, at most
    /// `hold`.
    pub(crate) async fn ask(&self, id: QuestionId, asking: Asking) -> Heard {
        let about = asking.about.clone();
        let hold = asking.hold;
        let (question, standing) = match self.join_or_put(id, asking) {
            Ok(joined) => joined,
            Err(heard) => return heard,
        };
        let mut slot = Slot { desk: self, question: question.clone(), standing, taken: false };
        let over = tokio::time::timeout(hold, slot.standing.wait_for(|s| !matches!(s, Standing::Open))).await;
        let heard = match over {
            Err(_) => return Heard::StillOpen(about),
            Ok(Err(_)) => Standing::Over(ReasonCode::Internal, None),
            Ok(Ok(standing)) => standing.clone(),
        };
        slot.taken = true;
        match heard {
            Standing::Yes(approval) if self.take_slot(&question) => Heard::Yes(approval),
            Standing::Yes(_) | Standing::Open => {
                Heard::No { reason: ReasonCode::Expired, because: None }
            }
            Standing::Over(reason, because) => Heard::No { reason, because },
        }
    }

    fn join_or_put(
        &self,
        id: QuestionId,
        asking: Asking,
    ) -> Result<(QuestionId, watch::Receiver<Standing>), Heard> {
        let now = self.clock.boot();
        let wall = self.clock.wall();
        let mut state = self.state();
        state.expire(now);
        if let Some(joined) = state.join(asking.key) {
            return Ok(joined);
        }
        let no = |reason| Err(Heard::No { reason, because: None });
        if !state.surfaces.values().any(|s| s.up_to >= asking.assurance) {
            return no(ReasonCode::NoSurface);
        }
        let open = state.entries.values().filter(|e| e.is_open());
        let of_run = open.clone().filter(|e| e.run == asking.run).count();
        if of_run >= OPEN_PER_RUN || open.count() >= OPEN_IN_ALL {
            return no(ReasonCode::Limit);
        }
        let question = Question {
            digest: Question::digest_of(&id, asking.assurance, 1, &asking.about),
            id: id.clone(),
            assurance: asking.assurance,
            asked: wall,
            ends: later(wall, asking.life),
            held_until: asking.run.is_some().then(|| later(wall, asking.hold)),
            times: 1,
            about: asking.about,
        };
        let (standing, receiver) = watch::channel(Standing::Open);
        state.tell(&ToSurface::Ask(Box::new(question.clone())));
        state.entries.insert(
            id.clone(),
            Entry {
                question,
                run: asking.run,
                key: asking.key,
                asked: now,
                ends: now + asking.life,
                shown: None,
                live: 1,
                vacant: 0,
                standing,
            },
        );
        self.put.notify_one();
        Ok((id, receiver))
    }

    /// Uses up the caller's own slot of a yes. The last one ends the question.
    fn take_slot(&self, question: &QuestionId) -> bool {
        let now = self.clock.boot();
        let mut state = self.state();
        let Some(entry) = state.entries.get_mut(question) else { return false };
        if entry.live == 0 || now >= entry.ends {
            return false;
        }
        entry.live -= 1;
        if entry.live == 0 && entry.vacant == 0 {
            state.entries.remove(question);
        }
        true
    }

    // ---- ending ---------------------------------------------------------

    /// Ends every question, open or answered: the stop, or the end.
    pub(crate) fn end_all(&self, reason: ReasonCode) {
        let mut state = self.state();
        let all: Vec<_> = state.entries.keys().cloned().collect();
        for question in all {
            state.end(&question, reason, None, None);
        }
    }

    /// Ends one question without an answer.
    pub(crate) fn withdraw(&self, question: &QuestionId, reason: ReasonCode) {
        self.state().end(question, reason, None, None);
    }

    /// Ends every question of a run, a standing yes with it.
    pub(crate) fn end_run(&self, run: &RunId, reason: ReasonCode) {
        let mut state = self.state();
        let of_run: Vec<_> = state
            .entries
            .iter()
            .filter(|(_, e)| e.run.as_ref() == Some(run))
            .map(|(id, _)| id.clone())
            .collect();
        for question in of_run {
            state.end(&question, reason, None, None);
        }
    }

    /// Ends what is over by the clock, for ever. Asleep while nothing is open.
    pub(crate) async fn keep_time(&self) {
        loop {
            let put = self.put.notified();
            let next = {
                let now = self.clock.boot();
                let mut state = self.state();
                state.expire(now);
                state.entries.values().map(|e| e.ends.saturating_sub(now)).min()
            };
            match next {
                None => put.await,
                // The runtime's clock stands still while the machine sleeps;
                // boot time does not: look again at least every minute.
                Some(next) => tokio::select! {
                    () = put => {}
                    () = tokio::time::sleep(next.min(LOOK_AGAIN)) => {}
                },
            }
        }
    }

    /// What is open, oldest first; and what was approved and is not yet used.
    #[must_use]
    pub fn open(&self) -> Vec<Question> {
        let state = self.state();
        let mut open: Vec<_> =
            state.entries.values().filter(|e| e.is_open()).map(|e| (e.asked, e.question.clone())).collect();
        open.sort_by_key(|(asked, _)| *asked);
        open.into_iter().map(|(_, question)| question).collect()
    }

    /// How many are open.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        let open = self.state().entries.values().filter(|e| e.is_open()).count();
        u32::try_from(open).unwrap_or(u32::MAX)
    }
}

impl Entry {
    fn is_open(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Open)
    }
}

impl State {
    fn tell(&mut self, message: &ToSurface) {
        let before = self.surfaces.len();
        self.surfaces.retain(|_, surface| match message {
            ToSurface::Ask(question) if question.assurance > surface.up_to => true,
            message => surface.to.try_send(message.clone()).is_ok(),
        });
        if self.surfaces.len() != before {
            self.deny_what_nobody_can_ask();
        }
    }

    fn deny_what_nobody_can_ask(&mut self) {
        let strongest = self.surfaces.values().map(|s| s.up_to).max();
        let lost: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, e)| e.is_open() && strongest.is_none_or(|s| s < e.question.assurance))
            .map(|(id, _)| id.clone())
            .collect();
        for question in lost {
            self.end(&question, ReasonCode::NoSurface, None, None);
        }
    }

    /// The entry that an identical request may join: a yes that still stands, a
    /// slot whose client hung up, or a question that nobody has read yet. What
    /// was read is frozen: a later arrival asks anew.
    fn join(&mut self, key: Digest) -> Option<(QuestionId, watch::Receiver<Standing>)> {
        let id = self
            .entries
            .iter()
            .filter(|(_, e)| e.key == key)
            .find(|(_, e)| if e.is_open() { e.vacant > 0 || e.shown.is_none() } else { e.vacant > 0 })
            .map(|(id, _)| id.clone())?;
        let entry = self.entries.get_mut(&id)?;
        let receiver = entry.standing.subscribe();
        entry.live += 1;
        if entry.vacant > 0 {
            entry.vacant -= 1;
        } else {
            entry.question.times += 1;
            let q = &entry.question;
            let digest = Question::digest_of(&q.id, q.assurance, q.times, &q.about);
            entry.question.digest = digest;
            let again = ToSurface::Ask(Box::new(entry.question.clone()));
            self.tell(&again);
        }
        Some((id, receiver))
    }

    fn end(
        &mut self,
        question: &QuestionId,
        reason: ReasonCode,
        because: Option<String>,
        by: Option<SurfaceKind>,
    ) {
        let Some(entry) = self.entries.remove(question) else { return };
        let was_open = entry.is_open();
        entry.standing.send_replace(Standing::Over(reason, because));
        if was_open {
            let ended = match by {
                Some(surface) => Ended::Answered { answer: Answer::Deny, surface },
                None => Ended::Unanswered { reason },
            };
            self.tell(&ToSurface::Withdraw { question: question.clone(), ended });
        }
    }

    fn expire(&mut self, now: Duration) {
        let over: Vec<_> =
            self.entries.iter().filter(|(_, e)| now >= e.ends).map(|(id, _)| id.clone()).collect();
        for question in over {
            self.end(&question, ReasonCode::TimedOut, None, None);
        }
    }
}

/// A client that waits. When it goes before the answer, its slot is vacant.
struct Slot<'d> {
    desk: &'d Desk,
    question: QuestionId,
    standing: watch::Receiver<Standing>,
    taken: bool,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if !self.taken
            && let Some(entry) = self.desk.state().entries.get_mut(&self.question)
        {
            entry.live = entry.live.saturating_sub(1);
            entry.vacant += 1;
        }
    }
}

fn later(wall: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_unix_ms(wall.unix_ms().saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}
