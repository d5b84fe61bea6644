//! The domain: what the human is shown, and which of their acts is an answer.
//!
//! Pure: events come in with the time at which they happened, outputs go out.
//! It decides nothing about requests; it only refuses to call something a
//! human's answer that is none:
//! - a yes from a notification is one only for a question that a click can
//!   answer, and only of the rendering that was on the card;
//! - a yes from the window is one only when that rendering was laid out there
//!   for 700 ms and the button was then held for 800 ms.

use crate::cards;
use crate::hold::{Hold, SEEN};
use countersign_model::{
    AgentId, Answer, Assurance, BadHotkey, Digest, Foreign, Hotkey, QuestionId, StopTrigger,
    SurfaceKind,
};
use countersign_protocol::surface::{
    About, FromSurface, Question, SurfaceState, TimelineEntry, ToSurface, VERSION,
};
use std::time::Instant;

/// What happens to the desk.
#[derive(Debug)]
pub(crate) enum Event {
    /// The authority said something.
    Authority(ToSurface),
    /// The connection to the authority ended; whether it had said goodbye is
    /// known here.
    AuthorityGone,
    /// The notification server came, went, or cannot do what is needed.
    Notifications(Result<(), String>),
    /// A card is up.
    CardShown(QuestionId, Digest),
    /// A human clicked a card. Approve is only reported where it was offered.
    CardClicked(Option<(QuestionId, Digest)>, Click),
    /// A human chose from the tray's menu.
    Menu(Choice),
    /// The hotkey works, as these keys; or why not.
    Hotkey(Result<String, String>),
    /// What was heard of the combination that is tried, or why nothing can be.
    Tried(Hotkey, Result<(), String>),
    /// Whether there is a tray to be seen in.
    Tray(Result<(), String>),
    /// The window was put before the human, or closed.
    Window { open: bool },
}

/// A click in a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Click {
    Deny,
    Approve,
    Open,
}

/// A choice in the tray's menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    Open,
    Question(QuestionId),
    Stop,
    Quit,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    /// Tell the authority.
    Say(FromSurface),
    /// Bring the notifications in line with [`cards::cards`].
    Cards,
    /// Bring the tray in line with [`crate::tray::menu`].
    Tray,
    /// Put the window before the human: at this question, or as it is.
    Open(Option<QuestionId>),
    /// Tell the page how things stand, what waits, of a new entry.
    PageState,
    PageWaiting,
    PageEntry(Box<TimelineEntry>),
    /// What the authority could not do, in its words.
    PageProblem(String),
    /// Listen for this hotkey.
    Listen(String),
    /// Listen for this one too, to see whether it is heard; or no longer.
    Try(Option<Hotkey>),
    /// End. Unclean: say so to the human first.
    End {
        clean: bool,
    },
}

/// What is known, and nothing else.
#[derive(Debug)]
pub(crate) struct Desk {
    state: SurfaceState,
    waiting: Vec<Question>,
    keys: String,
    hotkey: Result<String, String>,
    trial: Option<Trial>,
    tray: Result<(), String>,
    notifications: Result<(), String>,
    window: bool,
    goodbye: bool,
    /// What the window lays out, and since when.
    laid_out: Option<(QuestionId, Digest, Instant)>,
    appeared: Option<Instant>,
    hold: Hold<Held>,
}

/// Another stop key, before it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) hotkey: Hotkey,
    pub(crate) so_far: Heard,
}

/// How far a trial has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    NotYet,
    /// It was pressed, and heard.
    Yes,
    /// Only the desktop could say, once it is asked to bind it.
    DesktopDecides,
    Never(String),
}

#[derive(Debug, PartialEq)]
enum Held {
    Approve(QuestionId, Digest),
    /// Of the stop that was pressed so often.
    Resume {
        presses: u64,
    },
    /// The same of one agent.
    ResumeAgent {
        agent: AgentId,
        presses: u64,
    },
}

/// Why an act of the human is not taken for an answer: a sentence for them.
pub(crate) type Refused = &'static str;

const OVER: Refused = "This question is over.";
const CHANGED: Refused = "This is no longer what waits. Read it again.";
const UNREAD: Refused = "It has only just appeared. Read it first.";
const SHORT: Refused = "It was not held long enough.";
const PRESENCE: Refused = "A yes to this needs more than a held button.";
const RUNNING: Refused = "Nothing is stopped.";
const NOT_TRIED: Refused = "It has not been heard yet. Press it once more.";

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            state: SurfaceState::default(),
            waiting: Vec::new(),
            keys: String::new(),
            hotkey: Ok(String::new()),
            trial: None,
            tray: Ok(()),
            notifications: Ok(()),
            window: false,
            goodbye: false,
            laid_out: None,
            appeared: None,
            hold: Hold::new(),
        }
    }
    pub(crate) fn state(&self) -> &SurfaceState {
        &self.state
    }
    /// What waits, the worst first.
    pub(crate) fn waiting(&self) -> &[Question] {
        &self.waiting
    }
    /// Whether the window shows this question right now.
    pub(crate) fn is_laid_out(&self, id: &QuestionId) -> bool {
        self.window && self.laid_out.as_ref().is_some_and(|(q, ..)| q == id)
    }
    pub(crate) fn question(&self, id: &QuestionId) -> Option<&Question> {
        self.waiting.iter().find(|q| q.id == *id)
    }
    /// The stop's hotkey as configured; as what it works, in words, or why not.
    pub(crate) fn hotkey(&self) -> (&str, Result<&str, &str>) {
        let works = self.hotkey.as_ref().map(String::as_str);
        (&self.keys, works.map_err(String::as_str))
    }
    pub(crate) fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    pub(crate) fn apply(&mut self, event: Event, now: Instant) -> Vec<Output> {
        match event {
            Event::Authority(message) => self.hear(message),
            Event::AuthorityGone => vec![Output::End {
                clean: self.goodbye,
            }],
            Event::Notifications(able) => {
                let out = vec![warning("notifications", &able)];
                self.notifications = able;
                out
            }
            Event::CardShown(question, digest) => match self.question(&question) {
                Some(q) if q.digest == digest => {
                    vec![Output::Say(FromSurface::Shown { question, digest })]
                }
                _ => Vec::new(),
            },
            Event::CardClicked(on, click) => self.clicked(on, click),
            Event::Menu(Choice::Open) => vec![Output::Open(None)],
            Event::Menu(Choice::Question(id)) => vec![Output::Open(Some(id))],
            Event::Menu(Choice::Stop) => vec![Output::Say(FromSurface::Stop {
                trigger: StopTrigger::Tray,
                held: false,
                agent: None,
            })],
            Event::Menu(Choice::Quit) => vec![Output::Say(FromSurface::Quit {})],
            Event::Hotkey(works) => {
                let out = vec![warning("hotkey", &works), Output::Tray, Output::PageState];
                self.hotkey = works;
                out
            }
            Event::Tried(hotkey, heard) => match &mut self.trial {
                Some(trial) if trial.hotkey == hotkey => {
                    trial.so_far = heard.map_or_else(Heard::Never, |()| Heard::Yes);
                    vec![Output::Try(None), Output::PageState]
                }
                _ => Vec::new(),
            },
            Event::Tray(there) => {
                // Without a tray the window is all that the human has.
                let mut out = vec![warning("tray", &there)];
                if there.is_err() && self.tray.is_ok() {
                    out.push(Output::Open(None));
                }
                self.tray = there;
                out
            }
            Event::Window { open } => {
                self.window = open;
                self.appeared = open.then_some(now);
                if !open {
                    self.laid_out = None;
                }
                self.hold.cancel();
                let mut out = vec![Output::Cards];
                if !open && self.trial.take().is_some() {
                    out.push(Output::Try(None));
                }
                out
            }
        }
    }

    fn hear(&mut self, message: ToSurface) -> Vec<Output> {
        match message {
            ToSurface::Hello { protocol, .. } if protocol != VERSION => {
                vec![Output::End { clean: false }]
            }
            ToSurface::Hello { hotkey, .. } => {
                self.keys.clone_from(&hotkey);
                let ready = FromSurface::Ready {
                    protocol: VERSION,
                    up_to: Assurance::Window,
                };
                vec![
                    Output::Say(ready),
                    Output::Listen(hotkey),
                    Output::Tray,
                    Output::PageState,
                ]
            }
            ToSurface::State(state) => {
                let mut out = Vec::new();
                if let Some(keys) = state.hotkey.clone().filter(|keys| *keys != self.keys) {
                    self.keys.clone_from(&keys);
                    out.push(Output::Listen(keys));
                }
                self.state = state;
                out.extend([Output::Tray, Output::PageState]);
                out
            }
            ToSurface::Ask(question) => {
                let id = question.id.clone();
                let new = self.question(&id).is_none();
                self.waiting.retain(|q| q.id != id);
                self.waiting.push(*question);
                self.waiting.sort_by_key(urgency);
                let mut out = vec![Output::Cards, Output::Tray, Output::PageWaiting];
                // Whom no notification reaches, the window must.
                if new && self.notifications.is_err() && !self.window {
                    out.push(Output::Open(Some(id)));
                }
                out
            }
            ToSurface::Withdraw { question, .. } => {
                self.waiting.retain(|q| q.id != question);
                vec![Output::Cards, Output::Tray, Output::PageWaiting]
            }
            ToSurface::Entry(entry) => vec![Output::PageEntry(entry)],
            ToSurface::ShowWindow {} => vec![Output::Open(None)],
            ToSurface::Goodbye {} => {
                self.goodbye = true;
                Vec::new()
            }
            ToSurface::Failed { sentence, .. } => vec![Output::PageProblem(sentence)],
            // The answer to a call that nobody waits for any more.
            ToSurface::Timeline { .. } | ToSurface::Examined { .. } => Vec::new(),
        }
    }

    fn clicked(&mut self, on: Option<(QuestionId, Digest)>, click: Click) -> Vec<Output> {
        let Some((id, digest)) = on else {
            return vec![Output::Open(None)];
        };
        let Some(question) = self.question(&id).filter(|q| q.digest == digest) else {
            return Vec::new(); // answered meanwhile, or no longer what was on the card
        };
        match click {
            Click::Open => vec![Output::Open(Some(id))],
            Click::Deny => vec![answer(
                question,
                Answer::Deny,
                SurfaceKind::Notification,
                None,
            )],
            Click::Approve if cards::may_approve(question) => {
                vec![answer(
                    question,
                    Answer::Approve,
                    SurfaceKind::Notification,
                    None,
                )]
            }
            Click::Approve => vec![Output::Open(Some(id))],
        }
    }

    // What the page asks for.

    /// The page lays this question out now; its card would only be in the way.
    pub(crate) fn lay_out(
        &mut self,
        id: &QuestionId,
        now: Instant,
    ) -> Option<(Question, [Output; 2])> {
        let question = self.question(id)?.clone();
        let digest = question.digest;
        if !matches!(&self.laid_out, Some((q, d, _)) if *q == *id && *d == digest) {
            self.hold.cancel();
            self.laid_out = Some((id.clone(), digest, now));
        }
        let shown = FromSurface::Shown {
            question: id.clone(),
            digest,
        };
        Some((question, [Output::Say(shown), Output::Cards]))
    }

    pub(crate) fn deny(
        &self,
        id: &QuestionId,
        digest: Digest,
        because: Option<String>,
        now: Instant,
    ) -> Result<Output, Refused> {
        let question = self.before_the_human(id, digest, now)?;
        Ok(answer(question, Answer::Deny, SurfaceKind::Window, because))
    }

    pub(crate) fn hold_start(
        &mut self,
        id: &QuestionId,
        digest: Digest,
        now: Instant,
    ) -> Result<(), Refused> {
        self.hold.cancel();
        let question = self.before_the_human(id, digest, now)?;
        if question.assurance > Assurance::Window {
            return Err(PRESENCE);
        }
        self.hold.start(Held::Approve(id.clone(), digest), now);
        Ok(())
    }

    pub(crate) fn hold_finish(
        &mut self,
        id: &QuestionId,
        digest: Digest,
        now: Instant,
    ) -> Result<Output, Refused> {
        let long_enough = self.hold.finish(&Held::Approve(id.clone(), digest), now);
        let question = self.before_the_human(id, digest, now)?;
        if !long_enough {
            return Err(SHORT);
        }
        Ok(answer(question, Answer::Approve, SurfaceKind::Window, None))
    }

    /// The human pressed this combination, to choose it.
    ///
    /// # Errors
    /// When it is none, or trying it would press the present one: a sentence.
    pub(crate) fn try_hotkey(
        &mut self,
        keys: &str,
        desktop_decides: bool,
    ) -> Result<[Output; 2], String> {
        let hotkey: Hotkey = keys
            .parse()
            .map_err(|why: BadHotkey| format!("{}: {why}.", Foreign::new(keys).quoted(64)))?;
        let present = self.keys.parse::<Hotkey>().ok();
        let works = self.hotkey.is_ok();
        match present {
            Some(present) if works && present == hotkey => {
                return Err(format!("{hotkey} is the stop key already."));
            }
            Some(present) if works && hotkey.includes(&present) => {
                return Err(format!(
                    "{hotkey} presses {present} too, the present stop key: trying it would stop \
                     every agent."
                ));
            }
            _ => {}
        }
        let (so_far, listen) = if desktop_decides {
            (Heard::DesktopDecides, None)
        } else {
            (Heard::NotYet, Some(hotkey))
        };
        self.trial = Some(Trial { hotkey, so_far });
        Ok([Output::Try(listen), Output::PageState])
    }

    pub(crate) fn forget_trial(&mut self) -> [Output; 2] {
        self.trial = None;
        [Output::Try(None), Output::PageState]
    }

    /// Asks the authority for the combination that was tried.
    ///
    /// # Errors
    /// When it was not, or not heard.
    pub(crate) fn use_trial(&mut self) -> Result<[Output; 3], Refused> {
        let trial = self.trial.as_ref().ok_or(NOT_TRIED)?;
        if !matches!(trial.so_far, Heard::Yes | Heard::DesktopDecides) {
            return Err(NOT_TRIED);
        }
        let set = FromSurface::SetHotkey {
            call: 0,
            keys: trial.hotkey.to_string(),
        };
        let [end, state] = self.forget_trial();
        Ok([Output::Say(set), end, state])
    }

    pub(crate) fn resume_start(&mut self, now: Instant) -> Result<(), Refused> {
        self.hold.cancel();
        let presses = self.state.stopped.as_ref().ok_or(RUNNING)?.presses;
        self.has_been_seen(now)?;
        self.hold.start(Held::Resume { presses }, now);
        Ok(())
    }

    fn has_been_seen(&self, now: Instant) -> Result<(), Refused> {
        match self.appeared {
            Some(at) if now.saturating_duration_since(at) >= SEEN => Ok(()),
            _ => Err(UNREAD),
        }
    }

    pub(crate) fn resume_agent_start(
        &mut self,
        agent: &AgentId,
        now: Instant,
    ) -> Result<(), Refused> {
        self.hold.cancel();
        let held = self.stopped_agent(agent)?;
        self.has_been_seen(now)?;
        self.hold.start(held, now);
        Ok(())
    }

    /// As [`Desk::resume_finish`].
    pub(crate) fn resume_agent_finish(
        &mut self,
        agent: &AgentId,
        now: Instant,
    ) -> Result<u64, Refused> {
        match self.stopped_agent(agent)? {
            held @ Held::ResumeAgent { presses, .. } if self.hold.finish(&held, now) => Ok(presses),
            _ => Err(SHORT),
        }
    }

    fn stopped_agent(&self, agent: &AgentId) -> Result<Held, Refused> {
        let mut all = self.state.stopped_agents.iter();
        let stop = all.find(|stop| stop.agent == *agent).ok_or(RUNNING)?;
        Ok(Held::ResumeAgent {
            agent: agent.clone(),
            presses: stop.presses,
        })
    }

    /// The presses of the stop that is lifted: those from before the hold.
    pub(crate) fn resume_finish(&mut self, now: Instant) -> Result<u64, Refused> {
        let presses = self.state.stopped.as_ref().ok_or(RUNNING)?.presses;
        if self.hold.finish(&Held::Resume { presses }, now) {
            Ok(presses)
        } else {
            Err(SHORT)
        }
    }

    /// The question, if exactly this rendering of it has been before the
    /// human's eyes in the window for long enough.
    fn before_the_human(
        &self,
        id: &QuestionId,
        digest: Digest,
        now: Instant,
    ) -> Result<&Question, Refused> {
        let question = self.question(id).ok_or(OVER)?;
        let Some((laid_out, seen, since)) = &self.laid_out else {
            return Err(CHANGED);
        };
        if question.digest != digest || *laid_out != *id || *seen != digest {
            return Err(CHANGED);
        }
        let since = self
            .appeared
            .map_or(*since, |appeared| appeared.max(*since));
        if now.saturating_duration_since(since) < SEEN {
            return Err(UNREAD);
        }
        Ok(question)
    }
}

fn answer(
    question: &Question,
    answer: Answer,
    surface: SurfaceKind,
    because: Option<String>,
) -> Output {
    let assurance = match surface {
        SurfaceKind::Window => Assurance::Window,
        _ => Assurance::Notification,
    };
    Output::Say(FromSurface::Answered {
        question: question.id.clone(),
        digest: question.digest,
        answer,
        assurance,
        surface,
        because,
    })
}

fn warning<T>(topic: &str, state: &Result<T, String>) -> Output {
    let sentence = state.as_ref().err().cloned().unwrap_or_default();
    Output::Say(FromSurface::Warning {
        topic: topic.into(),
        sentence,
    })
}

/// Sorts the worst first: production, then what must be answered more
/// strongly, then what does more, then what has waited longest.
fn urgency(
    question: &Question,
) -> (
    bool,
    std::cmp::Reverse<Assurance>,
    std::cmp::Reverse<usize>,
    i64,
) {
    let action = match &question.about {
        About::Request(request) => Some(&request.action),
        _ => None,
    };
    (
        !action.is_some_and(|a| a.environment.is_production()),
        std::cmp::Reverse(question.assurance),
        std::cmp::Reverse(action.map_or(0, |a| a.effects.iter().count())),
        question.asked.unix_ms(),
    )
}

#[cfg(test)]
pub(crate) mod tests;
