//! Asking the human about something that is no request of an agent.

use crate::broker::{Broker, random};
use crate::desk::{Asking, Heard, No};
use countersign_model::{Answer, Approval, Assurance, Digest, QuestionId, ReasonCode, SurfaceKind};
use countersign_protocol::surface::About;
use std::time::Duration;

/// A question that belongs to no run is open this long.
const ACT_LIFE: Duration = Duration::from_secs(120);

impl Broker {
    /// Asks the human about something that is no request of an agent, at
    /// `Window`, for at most two minutes. Dropping the future withdraws it.
    ///
    /// # Errors
    /// Why there is no yes; `stopped` also when the stop was pressed meanwhile.
    pub async fn ask_human(&self, about: About) -> Result<Approval, ReasonCode> {
        self.ask_at(about, Assurance::Window).await
    }

    /// The same, as strongly as is said.
    pub(crate) async fn ask_at(
        &self,
        about: About,
        assurance: Assurance,
    ) -> Result<Approval, ReasonCode> {
        let presses = self.inner.stop.presses();
        let id = QuestionId::from_random(random()?);
        let key = Digest::of_parts("countersign/act/1", &[id.as_str().as_bytes()]);
        let asking = Asking {
            about,
            assurance,
            key,
            life: ACT_LIFE,
            hold: ACT_LIFE,
            of_run: None,
        };
        match self.inner.desk.ask(id.clone(), asking).await {
            Heard::Yes(_) if self.inner.stop.presses() != presses => Err(ReasonCode::Stopped),
            Heard::Yes(approval) => Ok(approval),
            Heard::No(No { reason, .. }) => Err(reason),
            Heard::StillOpen(_) => {
                self.inner.desk.withdraw(&id, ReasonCode::TimedOut);
                Err(ReasonCode::TimedOut)
            }
        }
    }

    /// A no from the command: to a question by its id, or to the question of a
    /// request. Returns whether there was one.
    pub fn deny(&self, id: &str, because: Option<String>) -> bool {
        let open = self.inner.desk.open();
        let found = open.iter().find(|q| {
            q.id.as_str() == id || matches!(&q.about, About::Request(r) if r.request.as_str() == id)
        });
        found.is_some_and(|q| {
            self.inner.desk.answer(
                &q.id,
                q.digest,
                Answer::Deny,
                Assurance::Notification,
                SurfaceKind::Command,
                because,
            )
        })
    }
}
