use crate::clock::Clock;
use crate::denials::Denials;
use crate::desk::{Asking, Desk, Heard};
use crate::force::Force;
use crate::runs::{Run, Runs};
use crate::stop::EmergencyStop;
use crate::usage::Usage;
use countersign_ledger::{Durability, Ledger};
use countersign_model::{
    AgentId, Approval, Assurance, AuditRecord, CredentialId, CredentialVersion, Digest, Event,
    Foreign, Outcome, QuestionId, ReasonCode, RequestId, RunFacts, RunId, Settled, StopTrigger,
};
use countersign_protocol::surface::{About, SurfaceState, ToSurface};
use countersign_vault::{Secret, Vault, VaultError};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// A question that belongs to no run is open this long.
const ACT_LIFE: Duration = Duration::from_secs(120);
/// How long after a run's end its last outcomes may still come in.
const LAST_OUTCOMES: Duration = Duration::from_secs(5);

/// What a broker is made of.
#[derive(Debug)]
pub struct Parts {
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The trail.
    pub ledger: Ledger,
    /// The credentials.
    pub vault: Vault,
    /// The latch.
    pub stop: EmergencyStop,
    /// The counter of the newest acceptance that the trail knows; 0 for none.
    pub seal_counter: u64,
}

/// judge -> ask -> record -> [`Permit`](crate::Permit). Cheap to clone; all
/// clones are the same broker.
#[derive(Debug, Clone)]
pub struct Broker {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ledger: Ledger,
    pub(crate) vault: Vault,
    pub(crate) stop: EmergencyStop,
    pub(crate) desk: Desk,
    pub(crate) runs: Runs,
    pub(crate) denials: Mutex<Denials>,
    pub(crate) usage: Mutex<Usage>,
    /// Released and not yet settled.
    pub(crate) open: Mutex<HashMap<RequestId, RunId>>,
    force: RwLock<Option<Arc<Force>>>,
    seal_counter: AtomicU64,
    credentials: RwLock<HashMap<CredentialId, CredentialVersion>>,
    warnings: Mutex<BTreeMap<String, String>>,
}

impl Broker {
    /// A broker with no configuration in force: it denies everything until
    /// [`Broker::enforce`].
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { clock, ledger, vault, stop, seal_counter } = parts;
        let inner = Inner {
            desk: Desk::new(Arc::clone(&clock)),
            clock,
            ledger,
            vault,
            stop,
            runs: Runs::default(),
            denials: Mutex::default(),
            usage: Mutex::default(),
            open: Mutex::default(),
            force: RwLock::default(),
            seal_counter: AtomicU64::new(seal_counter),
            credentials: RwLock::default(),
            warnings: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    // ---- what is in force -----------------------------------------------

    /// Puts an accepted configuration in force, for requests judged from now
    /// on; permits for accounts that changed end.
    pub fn enforce(&self, force: Force) {
        self.inner.seal_counter.fetch_max(force.counter, Ordering::SeqCst);
        *self.inner.force.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(force));
        self.publish();
    }

    /// The number of the next acceptance: above all that the trail knows.
    #[must_use]
    pub fn next_seal_counter(&self) -> u64 {
        self.inner.seal_counter.load(Ordering::SeqCst).saturating_add(1)
    }

    /// Records an acceptance, durably, before it takes effect.
    ///
    /// # Errors
    /// `ledger-failed`.
    pub async fn record_accepted(&self, counter: u64, digest: Digest, by: String) -> Result<(), ReasonCode> {
        self.record(Event::ConfigAccepted { counter, digest, by }, Durability::Full).await?;
        self.inner.seal_counter.fetch_max(counter, Ordering::SeqCst);
        Ok(())
    }

    /// What is in force; `None` while nothing is accepted.
    #[must_use]
    pub fn force(&self) -> Option<Arc<Force>> {
        self.inner.force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where questions lie and surfaces attach.
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.inner.desk
    }

    /// The trail.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// The latch, to look at.
    #[must_use]
    pub fn stop(&self) -> &EmergencyStop {
        &self.inner.stop
    }

    /// Ends questions whose time is over, for ever: one task of the authority.
    pub async fn keep_time(&self) {
        self.inner.desk.keep_time().await;
    }

    // ---- runs -----------------------------------------------------------

    /// Begins a run: durable record first, then its identity exists.
    ///
    /// # Errors
    /// `stopped`, `not-accepted`, `not-assigned` (no such agent), `ledger-failed`.
    pub async fn begin_run(&self, facts: RunFacts) -> Result<Arc<Run>, ReasonCode> {
        let cut = self.inner.stop.handle();
        if self.inner.stop.is_engaged() {
            return Err(ReasonCode::Stopped);
        }
        let force = self.force().ok_or(ReasonCode::NotAccepted)?;
        if !force.config.agents.contains_key(&facts.agent) {
            return Err(ReasonCode::NotAssigned);
        }
        self.record(Event::RunStarted(facts.clone()), Durability::Full).await?;
        let run = self.inner.runs.put(facts, self.inner.clock.wall(), cut);
        self.publish();
        Ok(run)
    }

    /// Ends a run: its requests are cut, its questions withdrawn.
    pub fn end_run(&self, id: &RunId, exit_code: Option<i32>, why: &str) {
        let Some(run) = self.inner.runs.remove(id) else { return };
        run.cut.cancel();
        self.inner.desk.end_run(id, ReasonCode::Withdrawn);
        self.record_later(Event::RunEnded { run: id.clone(), exit_code, why: why.to_owned() });
        self.publish();
        let (broker, id) = (self.clone(), id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(LAST_OUTCOMES).await;
            broker.settle_what_is_left(&id);
        });
    }

    /// The live runs, oldest first.
    #[must_use]
    pub fn runs(&self) -> Vec<Arc<Run>> {
        self.inner.runs.all()
    }

    /// Stops the runs of one agent. Returns how many.
    pub fn stop_agent(&self, agent: &AgentId) -> usize {
        let runs: Vec<_> = self.runs().into_iter().filter(|r| &r.facts.agent == agent).collect();
        for run in &runs {
            run.cut.cancel();
            self.inner.desk.end_run(&run.facts.run, ReasonCode::Stopped);
        }
        if !runs.is_empty() {
            self.record_later(Event::Noted {
                what: format!("{} run(s) of agent {agent} stopped", runs.len()),
                detail: None,
            });
        }
        runs.len()
    }

    /// What a run released and never settled is unknown, and says so.
    fn settle_what_is_left(&self, run: &RunId) {
        let left: Vec<RequestId> = {
            let mut open = self.inner.open.lock().unwrap_or_else(PoisonError::into_inner);
            let left = open.iter().filter(|(_, r)| *r == run).map(|(q, _)| q.clone()).collect();
            open.retain(|_, r| r != run);
            left
        };
        for request in left {
            self.record_later(Event::Settled(Settled {
                request,
                outcome: Outcome::Unknown { why: "the run ended before its outcome came".into() },
                bytes_sent: 0,
                bytes_received: 0,
                duration_ms: 0,
                body_digest: None,
            }));
        }
    }

    // ---- the stop -------------------------------------------------------

    /// Engages the emergency stop: latch, cut, withdraw, forget, record; in
    /// this order, and the first two cannot fail. Callable from any thread.
    pub fn engage(&self, trigger: StopTrigger, reason: Option<Foreign>) {
        let (first, kept) = self.inner.stop.engage(trigger, self.inner.clock.wall());
        self.inner.desk.end_all(ReasonCode::Stopped);
        self.inner.vault.forget();
        if first {
            self.record_later(Event::StopEngaged { trigger, reason });
        }
        if let Err(error) = kept {
            self.warn("stop", &format!("The stop is engaged, but could not be written down: {error}"));
        }
        self.publish();
    }

    /// Lifts the stop on a human's answer: the record first.
    ///
    /// # Errors
    /// One sentence; the stop then stays engaged.
    pub async fn lift(&self, surface: &str) -> Result<(), String> {
        if !self.inner.stop.is_engaged() {
            return Err("The stop is not engaged.".into());
        }
        self.record(Event::StopLifted { surface: surface.to_owned() }, Durability::Full)
            .await
            .map_err(|_| "The ledger cannot be written, so the stop stays engaged.".to_owned())?;
        let lifted = self.inner.stop.lift();
        self.publish();
        lifted.map_err(|error| format!("The stop stays engaged: {error}"))
    }

    // ---- the human ------------------------------------------------------

    /// Asks the human about something that is no request of an agent, at
    /// `Window`, for at most two minutes.
    ///
    /// # Errors
    /// Why there is no yes.
    pub async fn ask_human(&self, about: About) -> Result<Approval, ReasonCode> {
        let id = QuestionId::from_random(random()?);
        let key = Digest::of_parts("countersign/act/1", &[id.as_str().as_bytes()]);
        let asking = Asking {
            about,
            assurance: Assurance::Window,
            run: None,
            key,
            life: ACT_LIFE,
            hold: ACT_LIFE,
        };
        let heard = self.inner.desk.ask(id.clone(), asking).await;
        match heard {
            Heard::Yes(approval) => Ok(approval),
            Heard::No { reason, .. } => Err(reason),
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
            q.id.as_str() == id
                || matches!(&q.about, About::Request(r) if r.request.as_str() == id)
        });
        found.is_some_and(|q| {
            self.inner.desk.answer(
                &q.id,
                q.digest,
                countersign_model::Answer::Deny,
                Assurance::Notification,
                countersign_model::SurfaceKind::Command,
                because,
            )
        })
    }

    /// Lifts what is denied by itself against an agent. Returns how much was.
    pub fn lift_denials(&self, agent: &AgentId) -> usize {
        let lifted = self.inner.denials.lock().unwrap_or_else(PoisonError::into_inner).lift(agent);
        if lifted > 0 {
            self.record_later(Event::Noted {
                what: format!("standing denials of agent {agent} lifted by the user"),
                detail: None,
            });
        }
        self.publish();
        lifted
    }

    // ---- credentials ----------------------------------------------------

    /// Learns the names and versions of the credentials from the vault.
    ///
    /// # Errors
    /// Whatever the vault says; what was known stays known.
    pub async fn learn_credentials(&self) -> Result<(), VaultError> {
        let list = self.inner.vault.list().await?;
        let mut known = self.inner.credentials.write().unwrap_or_else(PoisonError::into_inner);
        *known = list.into_iter().map(|v| (v.id.clone(), v)).collect();
        Ok(())
    }

    /// The current version of a credential.
    #[must_use]
    pub fn credential(&self, id: &CredentialId) -> Option<CredentialVersion> {
        self.inner.credentials.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// All of them, names and versions.
    #[must_use]
    pub fn credentials(&self) -> Vec<CredentialVersion> {
        let known = self.inner.credentials.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = known.values().cloned().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// Stores a credential that the human has confirmed.
    ///
    /// # Errors
    /// What the vault says.
    pub async fn set_credential(&self, id: &CredentialId, secret: Secret) -> Result<CredentialVersion, VaultError> {
        let version = self.inner.vault.set(id, secret).await?;
        self.inner
            .credentials
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone(), version.clone());
        self.record_later(Event::CredentialSet { credential: version.clone() });
        Ok(version)
    }

    /// Removes a credential; permits that name it end.
    ///
    /// # Errors
    /// What the vault says.
    pub async fn remove_credential(&self, id: &CredentialId) -> Result<(), VaultError> {
        let known = self.credential(id).ok_or(VaultError::NoCredential)?;
        self.inner.credentials.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.inner.vault.remove(id).await?;
        self.record_later(Event::CredentialRemoved { credential: known });
        Ok(())
    }

    // ---- telling --------------------------------------------------------

    /// Keeps one warning a topic; an empty sentence lifts it.
    pub fn warn(&self, topic: &str, sentence: &str) {
        {
            let mut warnings = self.inner.warnings.lock().unwrap_or_else(PoisonError::into_inner);
            if sentence.is_empty() {
                warnings.remove(topic);
            } else {
                warnings.insert(topic.to_owned(), sentence.to_owned());
            }
        }
        self.publish();
    }

    /// How things stand.
    #[must_use]
    pub fn state(&self) -> SurfaceState {
        let mut warnings: Vec<_> = {
            let kept = self.inner.warnings.lock().unwrap_or_else(PoisonError::into_inner);
            kept.values().cloned().collect()
        };
        if let Some(why) = self.inner.ledger.has_failed() {
            warnings.insert(0, format!("The ledger has failed and nothing is released: {why}"));
        }
        let denials = self.inner.denials.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.extend(denials.all().iter().map(|(agent, account, effect)| {
            format!("{agent} is denied {effect} on {account} by itself after three denials; `countersign resume --agent {agent}` lifts it.")
        }));
        SurfaceState {
            stopped: self.inner.stop.view(),
            waiting: self.inner.desk.waiting(),
            runs: self.runs().iter().map(|r| r.view()).collect(),
            warnings,
        }
    }

    /// Sends the state to every surface.
    pub fn publish(&self) {
        self.inner.desk.tell(&ToSurface::State(self.state()));
    }

    /// Ends in order: questions withdrawn, the trail closed.
    ///
    /// # Errors
    /// When the last records could not be written.
    pub async fn close(&self) -> Result<(), ReasonCode> {
        self.inner.desk.end_all(ReasonCode::Withdrawn);
        for run in self.runs() {
            self.end_run(&run.facts.run, None, "the authority ended");
        }
        self.inner.desk.tell(&ToSurface::Goodbye {});
        self.inner.vault.forget();
        self.inner.ledger.clone().close().await.map_err(|_| ReasonCode::LedgerFailed)
    }

    // ---- records --------------------------------------------------------

    pub(crate) fn record_of(&self, event: Event) -> AuditRecord {
        AuditRecord { version: 1, at: self.inner.clock.wall(), event }
    }

    pub(crate) async fn record(&self, event: Event, durability: Durability) -> Result<(), ReasonCode> {
        let record = self.record_of(event);
        self.inner.ledger.append(record, durability).await.map(|_| ()).map_err(|_| ReasonCode::LedgerFailed)
    }

    /// For what releases nothing: rides the next commit.
    pub fn record_later(&self, event: Event) {
        self.inner.ledger.append_later(self.record_of(event));
    }
}

/// Random bytes of the system, for ids.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], ReasonCode> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| ReasonCode::Internal)?;
    Ok(bytes)
}
