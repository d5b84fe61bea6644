//! macOS and Windows, by notify-rust. Written with care and not yet run there.
//!
//! Approve comes only from its own button. macOS falls back to the *first*
//! button when its "Options" are clicked: Deny stands first. Notifications can
//! be taken down on neither, so a click is judged by the desk, which knows
//! whether the question still waits.

use super::{DIED, Notifier};
use crate::cards::{Buttons, Card, CardKey};
use crate::desk::{Click, Event};
use crate::hold::SEEN;
use notify_rust::{Notification, Urgency};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

pub(crate) struct Native {
    says: Arc<dyn Fn(Event) + Send + Sync>,
    up: Mutex<HashSet<CardKey>>,
}

impl Native {
    pub(crate) fn start(says: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self {
            says: Arc::new(says),
            up: Mutex::default(),
        }
    }

    fn put_up(&self, card: Card) {
        let says = Arc::clone(&self.says);
        // Waiting for the click blocks, so each card has a thread of its own.
        let waiting = move || {
            let mut note = Notification::new();
            note.summary(&card.summary)
                .body(&card.body)
                .urgency(Urgency::Critical);
            if card.buttons != Buttons::Open {
                note.action("deny", "Deny");
            }
            if card.buttons == Buttons::DenyApprove {
                note.action("approve", "Approve");
            } else {
                note.action("open", "Open");
            }
            let since = Instant::now();
            let handle = match note.show() {
                Ok(handle) => handle,
                Err(error) => {
                    return says(Event::Notifications(Err(format!(
                        "Notifications do not work: {error}."
                    ))));
                }
            };
            let on = match &card.key {
                CardKey::Question(id, digest) => Some((id.clone(), *digest)),
                CardKey::Burst(_) => None,
            };
            if let Some((id, digest)) = on.clone() {
                says(Event::CardShown(id, digest));
            }
            handle.wait_for_action(|action| match action {
                "deny" => says(Event::CardClicked(on, Click::Deny)),
                "approve" if since.elapsed() >= SEEN => {
                    says(Event::CardClicked(on, Click::Approve))
                }
                "open" | "default" => says(Event::CardClicked(on, Click::Open)),
                _ => {}
            });
        };
        let says = Arc::clone(&self.says);
        if let Err(error) = thread::Builder::new()
            .name("notification".into())
            .spawn(waiting)
        {
            says(Event::Notifications(Err(format!(
                "Notifications do not work: {error}."
            ))));
        }
    }
}

impl Notifier for Native {
    fn show(&self, cards: Vec<Card>) {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        up.retain(|key| cards.iter().any(|card| card.key == *key));
        for card in cards {
            if up.insert(card.key.clone()) {
                self.put_up(card);
            }
        }
    }
    fn end(&self, unexpected: bool) {
        if unexpected {
            let _ = Notification::new().summary(DIED.0).body(DIED.1).show();
        }
    }
}
