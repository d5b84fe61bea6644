//! One question, and how it stands.

use super::{GUARD, YES_STANDS};
use countersign_model::{
    Approval, Digest, Foreign, ReasonCode, RequestId, Requested, RunId, SurfaceKind,
};
use countersign_protocol::surface::{About, Question};
use std::time::Duration;
use tokio::sync::watch;

/// How a question stands, for those who wait on it.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    Open,
    Yes(Approval),
    No(No),
}

/// Why there is no yes; or why there is one that releases nothing any more.
#[derive(Debug, Clone)]
pub(crate) struct No {
    pub(crate) reason: ReasonCode,
    /// What a human said, if one said anything.
    pub(crate) answer: Option<Approval>,
    /// A human's own words to the agent.
    pub(crate) because: Option<String>,
}

impl No {
    /// One that no human said.
    pub(crate) const fn because(reason: ReasonCode) -> Self {
        Self {
            reason,
            answer: None,
            because: None,
        }
    }

    /// What is recorded of a request that heard it, or would have.
    pub(super) fn into_record(self, record: Requested) -> Requested {
        Requested {
            reason: Some(self.reason),
            approval: self.answer,
            detail: self.because.map(Foreign::new),
            ..record
        }
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) question: Question,
    pub(super) run: Option<RunId>,
    pub(super) key: Digest,
    pub(super) asked: Duration,
    /// Ends without an answer then; after an answer: stands until then.
    pub(super) ends: Duration,
    pub(super) shown: Option<Duration>,
    /// Clients that wait now. Each has a slot of the question's `times`.
    pub(super) live: u32,
    /// Slots whose client has hung up; whoever repeats the request takes one.
    pub(super) vacant: u32,
    /// Records of those who hung up and came not back: no more than `vacant`.
    pub(super) gone: Vec<Requested>,
    pub(super) standing: watch::Sender<Standing>,
}

impl Entry {
    pub(super) fn new(
        question: Question,
        run: Option<RunId>,
        key: Digest,
        now: Duration,
        life: Duration,
    ) -> Self {
        Self {
            question,
            run,
            key,
            asked: now,
            ends: now + life,
            shown: None,
            live: 1,
            vacant: 0,
            gone: Vec::new(),
            standing: watch::Sender::new(Standing::Open),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Open)
    }

    /// Whether a yes counts: for what is shown, long enough, strongly enough,
    /// and from where a human can be.
    pub(super) fn may_approve(&self, said: &Approval, now: Duration) -> bool {
        let read = self.shown.is_some_and(|at| now.saturating_sub(at) >= GUARD);
        read && said.shown == self.question.digest
            && said.assurance >= self.question.assurance
            && said.surface != SurfaceKind::Command
    }

    pub(super) fn approve(&mut self, said: Approval, now: Duration) {
        self.ends = now + YES_STANDS;
        self.standing.send_replace(Standing::Yes(said));
    }

    /// Whether somebody who repeats the request may take a place here: one
    /// whose client hung up, or a new one of a question that nobody has read
    /// yet. What was read is frozen.
    pub(super) fn has_place(&self) -> bool {
        self.vacant > 0 || self.is_open() && self.shown.is_none()
    }

    /// What a human said, if one said anything yet.
    pub(super) fn answer(&self) -> Option<Approval> {
        match &*self.standing.borrow() {
            Standing::Open => None,
            Standing::Yes(approval) => Some(approval.clone()),
            Standing::No(no) => no.answer.clone(),
        }
    }
}

pub(super) fn request_of(about: &About) -> Option<RequestId> {
    match about {
        About::Request(request) => Some(request.request.clone()),
        _ => None,
    }
}
