//! What the authority can prove of itself, live, for `countersign doctor`.

use crate::broker::Broker;
use countersign_ledger::Durability;
use countersign_model::{Approval, Assurance, Event, ReasonCode};
use countersign_protocol::surface::About;
use countersign_vault::VaultError;
use std::io;
use std::sync::PoisonError;

impl Broker {
    /// Asks the vault for what it holds, and returns how many credentials.
    ///
    /// # Errors
    /// Whatever the vault says.
    pub async fn prove_vault(&self) -> Result<usize, VaultError> {
        Ok(self.inner.vault.list().await?.len())
    }

    /// Writes a record that must survive loss of power, and returns its place.
    ///
    /// # Errors
    /// `ledger-failed`.
    pub async fn prove_ledger(&self) -> Result<u64, ReasonCode> {
        let event = Event::Noted {
            what: "countersign doctor wrote this record to see that it can".into(),
            detail: None,
        };
        Ok(self.record(event, Durability::Full).await?.index())
    }

    /// Whether the stop's latch can be written down.
    ///
    /// # Errors
    /// What the file system says.
    pub fn prove_latch(&self) -> io::Result<()> {
        self.inner.stop.prove()
    }

    /// Asks the human a question that changes nothing, where a click is enough;
    /// for at most two minutes.
    ///
    /// # Errors
    /// Why there is no yes.
    pub async fn prove_human(&self) -> Result<Approval, ReasonCode> {
        self.ask_at(About::Test {}, Assurance::Notification).await
    }

    /// Records something that is worth a line, with foreign particulars.
    pub fn note(&self, what: &str, detail: &str) {
        self.record_later(Event::Noted {
            what: what.to_owned(),
            detail: Some(countersign_model::Foreign::new(detail)),
        });
    }

    /// The warning that stands about a topic.
    #[must_use]
    pub fn warning(&self, topic: &str) -> Option<String> {
        let warnings = self.inner.warnings.lock();
        warnings
            .unwrap_or_else(PoisonError::into_inner)
            .get(topic)
            .cloned()
    }

    /// How far the wall clock was set, in milliseconds, since a moment that both
    /// clocks told.
    #[must_use]
    pub fn clock_was_set_by(&self, since: &Moment) -> i64 {
        let wall = self.inner.clock.wall().unix_ms() - since.wall.unix_ms();
        let boot = self.inner.clock.boot().saturating_sub(since.boot);
        wall - i64::try_from(boot.as_millis()).unwrap_or(i64::MAX)
    }

    /// Now, by both clocks.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment {
            wall: self.inner.clock.wall(),
            boot: self.inner.clock.boot(),
        }
    }
}

/// A moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The wall clock.
    pub wall: countersign_model::Timestamp,
    /// Time since boot.
    pub boot: std::time::Duration,
}
