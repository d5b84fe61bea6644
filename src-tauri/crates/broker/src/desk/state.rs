//! Everything that lies on the desk. Each function is one step under its lock.

use super::entry::{Entry, No, Standing, request_of};
use super::{Hears, SurfaceId, YES_STANDS};
use countersign_model::{
    Approval, Assurance, Digest, QuestionId, ReasonCode, RequestId, Requested,
};
use countersign_protocol::surface::{Ended, Question, ToSurface};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

#[derive(Debug)]
pub(super) struct Surface {
    pub(super) name: &'static str,
    pub(super) up_to: Assurance,
    pub(super) to: mpsc::Sender<ToSurface>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) entries: BTreeMap<QuestionId, Entry>,
    surfaces: HashMap<SurfaceId, Surface>,
    next_surface: u64,
    hears: Box<dyn Hears>,
}

impl State {
    pub(super) fn new(hears: Box<dyn Hears>) -> Self {
        Self {
            entries: BTreeMap::new(),
            surfaces: HashMap::new(),
            next_surface: 0,
            hears,
        }
    }

    // ---- surfaces -------------------------------------------------------

    pub(super) fn surfaces(&self) -> impl Iterator<Item = &Surface> {
        self.surfaces.values()
    }

    pub(super) fn attach(&mut self, surface: Surface) -> SurfaceId {
        let id = SurfaceId(self.next_surface);
        self.next_surface += 1;
        for entry in self.entries.values().filter(|e| e.is_open()) {
            if entry.question.assurance <= surface.up_to {
                // The queue is longer than there can be questions, and new.
                let ask = ToSurface::Ask(Box::new(entry.question.clone()));
                let _ = surface.to.try_send(ask);
            }
        }
        self.surfaces.insert(id, surface);
        id
    }

    pub(super) fn detach(&mut self, id: SurfaceId) {
        self.surfaces.remove(&id);
        self.deny_what_nobody_can_ask();
    }

    pub(super) fn tell(&mut self, message: &ToSurface) {
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
        self.end_where(ReasonCode::NoSurface, |e| {
            e.is_open() && strongest.is_none_or(|s| s < e.question.assurance)
        });
    }

    // ---- places ---------------------------------------------------------

    /// Puts a question, then shows it: should the last surface die of it, the
    /// question is there to be denied.
    pub(super) fn put(&mut self, entry: Entry) -> watch::Receiver<Standing> {
        let standing = entry.standing.subscribe();
        let ask = ToSurface::Ask(Box::new(entry.question.clone()));
        self.entries.insert(entry.question.id.clone(), entry);
        self.tell(&ask);
        standing
    }

    /// Takes a place at a question that is asked already.
    #[allow(clippy::type_complexity, reason = "what a slot is made of")]
    pub(super) fn join(
        &mut self,
        key: Digest,
    ) -> Option<(QuestionId, watch::Receiver<Standing>, Option<RequestId>)> {
        let entry = self
            .entries
            .values_mut()
            .find(|e| e.key == key && e.has_place())?;
        entry.live += 1;
        let joined = (
            entry.question.id.clone(),
            entry.standing.subscribe(),
            request_of(&entry.question.about),
        );
        if entry.vacant > 0 {
            entry.vacant -= 1;
            // It goes on under another id.
            entry.gone.pop();
        } else {
            let q = &mut entry.question;
            q.times += 1;
            q.digest = Question::digest_of(&q.id, q.assurance, q.times, &q.about);
            let again = ToSurface::Ask(Box::new(q.clone()));
            self.tell(&again);
        }
        Some(joined)
    }

    /// A client leaves its place with the answer. Whether that still stands.
    /// The last one takes the question with it.
    pub(super) fn leave(&mut self, question: &QuestionId, now: Duration) -> bool {
        let Some(entry) = self.entries.get_mut(question) else {
            return false;
        };
        let stands = entry.live > 0 && now < entry.ends;
        entry.live = entry.live.saturating_sub(1);
        if entry.live == 0 && entry.vacant == 0 {
            self.entries.remove(question);
        }
        stands
    }

    /// A client is gone without having heard the answer.
    pub(super) fn vacate(
        &mut self,
        question: &QuestionId,
        standing: &watch::Receiver<Standing>,
        record: Option<Requested>,
    ) {
        let Some(record) = record else {
            // What a human set off ends with whoever asked it.
            return self.end(question, ReasonCode::Withdrawn);
        };
        let ended = match &*standing.borrow() {
            Standing::No(no) => Some(no.clone()),
            Standing::Open | Standing::Yes(_) => None,
        };
        if let Some(entry) = self.entries.get_mut(question) {
            entry.live = entry.live.saturating_sub(1);
            entry.vacant += 1;
            if ended.is_none() {
                entry.gone.push(record);
                return;
            }
        }
        let no = ended.unwrap_or(No::because(ReasonCode::Withdrawn));
        self.hears.lapsed(no.into_record(record));
    }

    // ---- ending ---------------------------------------------------------

    /// A human's no. It stays for those who have hung up: whoever repeats the
    /// request hears it, and the human is not asked again.
    pub(super) fn deny(
        &mut self,
        question: &QuestionId,
        said: Approval,
        because: Option<String>,
        now: Duration,
    ) {
        let Some(entry) = self.entries.get_mut(question) else {
            return;
        };
        self.hears.denied(&entry.question.about);
        let no = No {
            reason: ReasonCode::DeniedByHuman,
            answer: Some(said),
            because,
        };
        for record in entry.gone.drain(..) {
            self.hears.lapsed(no.clone().into_record(record));
        }
        entry.ends = now + YES_STANDS;
        entry.standing.send_replace(Standing::No(no));
    }

    /// Ends a question, open or answered.
    pub(super) fn end(&mut self, question: &QuestionId, reason: ReasonCode) {
        let Some(mut entry) = self.entries.remove(question) else {
            return;
        };
        let was_open = entry.is_open();
        let no = No {
            answer: entry.answer(),
            ..No::because(reason)
        };
        for record in entry.gone.drain(..) {
            self.hears.lapsed(no.clone().into_record(record));
        }
        // A human's no stays the reason for those who are about to hear it.
        let denied = matches!(*entry.standing.borrow(), Standing::No(_));
        if !denied {
            entry.standing.send_replace(Standing::No(no));
        }
        if was_open {
            self.tell(&ToSurface::Withdraw {
                question: question.clone(),
                ended: Ended::Unanswered { reason },
            });
        }
    }

    pub(super) fn end_where(&mut self, reason: ReasonCode, over: impl Fn(&Entry) -> bool) {
        let all = self.entries.iter().filter(|(_, e)| over(e));
        let all: Vec<_> = all.map(|(id, _)| id.clone()).collect();
        for question in all {
            self.end(&question, reason);
        }
    }

    /// Ends what is over by the clock: unanswered, or answered and not used.
    pub(super) fn expire(&mut self, now: Duration) {
        self.end_where(ReasonCode::TimedOut, |e| now >= e.ends && e.is_open());
        self.end_where(ReasonCode::Expired, |e| now >= e.ends);
    }
}
