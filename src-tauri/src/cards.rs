//! What a notification says, as a pure value.
//!
//! A card never carries a secret, nor more of the data than a lock screen may
//! show. It offers Approve only when all that a yes depends on stands on it.

use crate::desk::Desk;
use countersign_model::{AgentId, Assurance, Digest, Effect, Foreign, QuestionId, Span};
use countersign_protocol::surface::{About, Question, RequestQuestion};
use std::collections::HashMap;

/// More questions of one agent than this are one card.
const BURST: usize = 3;
/// Characters of a foreign value within a sentence.
const VALUE: usize = 60;
/// Characters of the sentence, and of the agent's reason.
const SENTENCE: usize = 160;
/// Objects that are listed.
const OBJECTS: usize = 3;
/// Characters of a text that is about to be published.
const TEXT: usize = 200;
/// And its lines.
const TEXT_LINES: usize = 4;

/// Which card it is: the same key with another content is an update.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum CardKey {
    /// One rendering of one question. Another digest is another card.
    Question(QuestionId, Digest),
    /// Many questions of one agent.
    Burst(AgentId),
}

/// What can be clicked besides the body, which opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Buttons {
    /// Everything that a yes depends on is on the card.
    DenyApprove,
    /// It is not, or more than a click is needed.
    DenyOpen,
    /// It stands for many.
    Open,
}

/// One notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) key: CardKey,
    pub(crate) summary: String,
    /// Plain text; the adapter escapes it where the server reads markup.
    pub(crate) body: String,
    pub(crate) buttons: Buttons,
}

/// The cards that should be up, given what waits.
pub(crate) fn cards(desk: &Desk) -> Vec<Card> {
    let mut per_agent: HashMap<&AgentId, usize> = HashMap::new();
    for request in desk.waiting().iter().filter_map(request_of) {
        *per_agent.entry(&request.agent).or_default() += 1;
    }
    let mut cards: Vec<Card> = Vec::new();
    for question in desk.waiting().iter().filter(|q| !desk.is_laid_out(&q.id)) {
        match request_of(question) {
            Some(request) => match per_agent.get(&request.agent) {
                Some(&n) if n > BURST => {
                    let key = CardKey::Burst(request.agent.clone());
                    if cards.iter().all(|card| card.key != key) {
                        cards.push(burst(key, &request.agent, n));
                    }
                }
                _ => cards.push(of_request(question, request)),
            },
            None => cards.push(of_ours(question)),
        }
    }
    cards
}

fn request_of(question: &Question) -> Option<&RequestQuestion> {
    match &question.about {
        About::Request(request) => Some(request),
        _ => None,
    }
}

fn burst(key: CardKey, agent: &AgentId, n: usize) -> Card {
    Card {
        key,
        summary: format!("{agent}: {n} requests waiting"),
        body: "Open the window to answer them one by one.".into(),
        buttons: Buttons::Open,
    }
}

/// A question of Countersign itself: never answered with yes from a card, but
/// for the one that changes nothing.
fn of_ours(question: &Question) -> Card {
    if question.about == (About::Test {}) {
        return Card {
            key: CardKey::Question(question.id.clone(), question.digest),
            summary: "Test: does your click come back?".into(),
            body: "countersign doctor asks. Either button will do; it changes nothing.".into(),
            buttons: Buttons::DenyApprove,
        };
    }
    Card {
        key: CardKey::Question(question.id.clone(), question.digest),
        summary: "Countersign needs you".into(),
        body: format!("{}.", shown(&crate::bridge::title(&question.about), VALUE)),
        buttons: Buttons::DenyOpen,
    }
}

fn of_request(question: &Question, request: &RequestQuestion) -> Card {
    let action = &request.action;
    let production = action.environment.is_production();
    let mut summary = format!("{} asks to {}", request.agent, action.effects);
    if production {
        summary = format!("PRODUCTION: {summary}");
    }
    let mut body = action.words.shown(VALUE);
    if question.times > 1 {
        body.push_str(&format!(" (×{})", question.times));
    }
    // A few of thousands would say less than none.
    if objects_fit(request) {
        for object in unnamed_objects(request) {
            body.push_str(&format!(" {}", object.quoted(VALUE)));
        }
    }
    body.push_str(&format!("\non {}", action.account));
    if production {
        body.push_str(", PRODUCTION");
    } else if !action.environment.0.is_empty() {
        body.push_str(&format!(" ({})", action.environment));
    }
    if !request.contained {
        body.push_str("; the agent is not contained");
    }
    if action.effects.has(Effect::Publish) {
        for line in published(request).unwrap_or_default() {
            body.push_str(&format!("\n{line}"));
        }
    }
    match &action.reason {
        Some(reason) => body.push_str(&format!("\nIt says: {}", reason.quoted(SENTENCE))),
        None => body.push_str("\nIt gave no reason."),
    }
    Card {
        key: CardKey::Question(question.id.clone(), question.digest),
        summary,
        body,
        buttons: if may_approve(question) {
            Buttons::DenyApprove
        } else {
            Buttons::DenyOpen
        },
    }
}

/// Whether a click on Approve in a notification is an answer to this question:
/// a click is asked for, and effect, count, object, account and reason fit.
pub(crate) fn may_approve(question: &Question) -> bool {
    let Some(request) = request_of(question) else {
        return question.about == (About::Test {});
    };
    let action = &request.action;
    question.assurance == Assurance::Notification
        && !action.effects.is_empty()
        && action.words.fits(VALUE)
        && action.words.shown(VALUE).chars().count() <= SENTENCE
        && objects_fit(request)
        && action
            .reason
            .as_ref()
            .is_none_or(|reason| fits(reason, SENTENCE))
        && (!action.effects.has(Effect::Publish) || published(request).is_some())
}

fn fits(text: &Foreign, limit: usize) -> bool {
    text.raw().chars().count() <= limit
}

/// Whether every object stands on the card.
fn objects_fit(request: &RequestQuestion) -> bool {
    let objects = &request.action.objects;
    objects.count == Some(objects.listed.len() as u64)
        && unnamed_objects(request).count() <= OBJECTS
        && unnamed_objects(request).all(|object| fits(object, VALUE))
}

/// Objects that the sentence itself does not name.
fn unnamed_objects(request: &RequestQuestion) -> impl Iterator<Item = &Foreign> {
    request.action.objects.listed.iter().filter(|object| {
        !request
            .action
            .words
            .spans()
            .iter()
            .any(|span| matches!(span, Span::Foreign(f) if f == *object))
    })
}

/// The whole of what would be published, as lines; `None` when it is not all
/// understood or does not fit on a card.
fn published(request: &RequestQuestion) -> Option<Vec<String>> {
    let preview = &request.preview;
    if !preview.whole {
        return None;
    }
    let mut lines = Vec::new();
    let mut characters = 0;
    let fields = preview
        .fields
        .iter()
        .map(|f| (format!("{}: ", f.label), &f.value));
    for (label, value) in fields.chain(preview.text.iter().map(|text| (String::new(), text))) {
        characters += value.raw().chars().count();
        for (n, line) in value.raw().lines().enumerate() {
            let label = if n == 0 { label.as_str() } else { "" };
            lines.push(format!("{label}{}", Foreign::new(line).quoted(TEXT)));
        }
    }
    (!lines.is_empty() && lines.len() <= TEXT_LINES && characters <= TEXT).then_some(lines)
}

/// A sentence with foreign values quoted and cut.
pub(crate) fn shown(spans: &[Span], limit: usize) -> String {
    spans
        .iter()
        .map(|span| match span {
            Span::Ours(text) => text.clone(),
            Span::Foreign(text) => text.quoted(limit),
        })
        .collect()
}
