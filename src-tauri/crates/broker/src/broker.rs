use crate::aftermath::Aftermath;
use crate::clock::Clock;
use crate::denials::Denials;
use crate::desk::{Desk, Hears};
use crate::force::Force;
use crate::lines::Lines;
use crate::outcomes::Open;
use crate::runs::{Run, Runs};
use crate::stop::EmergencyStop;
use crate::trees::{Blow, Trees};
use crate::usage::Usage;
use countersign_ledger::{Durability, Ledger, LedgerError, Receipt};
use countersign_model::{
    AgentId, AuditRecord, CredentialId, CredentialVersion, Digest, Event, ReasonCode, RequestId,
    Requested, RunFacts, RunId,
};
use countersign_protocol::surface::{About, SurfaceState, ToSurface};
use countersign_vault::Vault;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How long after a run's end its last outcomes may still come in.
const LAST_OUTCOMES: Duration = Duration::from_secs(5);
/// The same when everything ends: somebody waits for that.
const LAST_OUTCOMES_OF_ALL: Duration = Duration::from_secs(2);

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
    /// Where bodies that are too large to be judged lie for a while, in files
    /// without a name.
    pub spool: PathBuf,
}

/// judge -> ask -> record -> [`Permit`](crate::Permit). Cheap to clone; all
/// clones are the same broker.
#[derive(Debug, Clone)]
pub struct Broker {
    pub(crate) inner: Arc<Inner>,
}

/// Something that is yet to be recorded.
#[derive(Debug)]
pub struct Unsaid {
    _held: Arc<()>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ledger: Ledger,
    pub(crate) vault: Vault,
    pub(crate) stop: EmergencyStop,
    pub(crate) trees: Trees,
    pub(crate) lines: Arc<Lines>,
    /// Something may be frozen that was not.
    pub(crate) frozen: Notify,
    /// How often the stop, or one agent's, was lifted.
    pub(crate) lifted: watch::Sender<u64>,
    pub(crate) aftermath: Aftermath,
    pub(crate) desk: Desk,
    pub(crate) runs: Runs,
    denials: Mutex<Denials>,
    usage: Mutex<Usage>,
    /// Allowed and not yet settled.
    pub(crate) open: Mutex<HashMap<RequestId, Open>>,
    pub(crate) spool: PathBuf,
    force: RwLock<Option<Arc<Force>>>,
    seal_counter: AtomicU64,
    pub(crate) credentials: RwLock<HashMap<CredentialId, CredentialVersion>>,
    pub(crate) warnings: Mutex<BTreeMap<String, String>>,
    /// Held by each [`Unsaid`].
    unsaid: Arc<()>,
    /// One state at a time goes out, so that an older one never comes last.
    publishing: Mutex<()>,
    /// Something stands that the state should say, and the desk was locked.
    news: Notify,
    /// Told when accounts or credentials change.
    pub(crate) changes: watch::Sender<()>,
}

impl Broker {
    /// A broker with no configuration in force: it denies everything until
    /// [`Broker::enforce`].
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            clock,
            ledger,
            vault,
            stop,
            seal_counter,
            spool,
        } = parts;
        let inner = Arc::new_cyclic(|inner: &Weak<Inner>| Inner {
            desk: Desk::new(Arc::clone(&clock), Box::new(inner.clone())),
            clock,
            ledger,
            vault,
            stop,
            trees: Trees::default(),
            lines: Arc::default(),
            frozen: Notify::new(),
            lifted: watch::Sender::new(0),
            aftermath: Aftermath::new(inner.clone()),
            runs: Runs::default(),
            denials: Mutex::default(),
            usage: Mutex::default(),
            open: Mutex::default(),
            spool,
            force: RwLock::default(),
            seal_counter: AtomicU64::new(seal_counter),
            credentials: RwLock::default(),
            warnings: Mutex::default(),
            unsaid: Arc::default(),
            publishing: Mutex::default(),
            news: Notify::new(),
            changes: watch::Sender::new(()),
        });
        Self { inner }
    }

    // ---- what is in force -----------------------------------------------

    /// Puts an accepted configuration in force, for requests judged from now
    /// on. Permits and questions under another one end, and so does what goes
    /// on with an account that was changed or taken away.
    pub fn enforce(&self, force: Force) {
        self.inner
            .seal_counter
            .fetch_max(force.counter, Ordering::SeqCst);
        let force = Arc::new(force);
        let before = {
            let mut now = self
                .inner
                .force
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            now.replace(Arc::clone(&force))
        };
        if before.is_some_and(|before| before.digest != force.digest) {
            self.inner.desk.end_requests(ReasonCode::Changed);
            self.cut_what_changed(&force);
        }
        self.inner.changes.send_replace(());
        self.publish();
    }

    /// The number of the next acceptance: above all that the trail knows.
    #[must_use]
    pub fn next_seal_counter(&self) -> u64 {
        self.inner
            .seal_counter
            .load(Ordering::SeqCst)
            .saturating_add(1)
    }

    /// Records an acceptance, durably, before it takes effect.
    ///
    /// # Errors
    /// `ledger-failed`.
    pub async fn record_accepted(
        &self,
        counter: u64,
        digest: Digest,
        by: String,
    ) -> Result<(), ReasonCode> {
        let _ = self
            .record(
                Event::ConfigAccepted {
                    counter,
                    digest,
                    by,
                },
                Durability::Full,
            )
            .await?;
        self.inner.seal_counter.fetch_max(counter, Ordering::SeqCst);
        Ok(())
    }

    /// Records that a human accepted what a run left behind, before it is written.
    ///
    /// # Errors
    /// `ledger-failed`.
    pub async fn record_left_behind(&self, content: Digest, by: &str) -> Result<(), ReasonCode> {
        let event = Event::Noted {
            what: format!("what a run left behind was accepted ({by}): {content}"),
            detail: None,
        };
        self.record(event, Durability::Full).await.map(drop)
    }

    /// Hears when accounts or credentials change.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<()> {
        self.inner.changes.subscribe()
    }

    /// Records, before it happens, that a run connects to a port of this machine.
    ///
    /// # Errors
    /// `ledger-failed`.
    pub async fn record_passage(&self, run: &Run, port: u16) -> Result<(), ReasonCode> {
        let event = Event::PassageOpened {
            run: run.facts.run.clone(),
            agent: run.facts.agent.clone(),
            port,
        };
        self.record(event, Durability::Full).await.map(drop)
    }

    /// Says that something is yet to be recorded: until this is dropped, an end in
    /// order waits for it, as it does for the last outcomes.
    #[must_use]
    pub fn unsaid(&self) -> Unsaid {
        Unsaid {
            _held: Arc::clone(&self.inner.unsaid),
        }
    }

    /// What is in force; `None` while nothing is accepted.
    #[must_use]
    pub fn force(&self) -> Option<Arc<Force>> {
        self.inner
            .force
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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

    /// Ends questions whose time is over, and frozen runs, for ever: one task of
    /// the authority.
    pub async fn keep_time(&self) {
        let news = async {
            loop {
                self.inner.news.notified().await;
                self.publish();
            }
        };
        tokio::join!(
            self.inner.desk.keep_time(),
            self.keep_time_of_frozen(),
            news
        );
    }

    // ---- runs -----------------------------------------------------------

    /// Begins a run: durable record first, then its identity exists.
    ///
    /// # Errors
    /// `stopped`, `not-accepted`, `not-assigned` (no such agent), `ledger-failed`,
    /// `internal` (a live run has this id).
    pub async fn begin_run(&self, facts: RunFacts) -> Result<Arc<Run>, ReasonCode> {
        let cut = self.inner.stop.admit().ok_or(ReasonCode::Stopped)?;
        if !self.may_run(&facts.agent) {
            return Err(ReasonCode::Stopped);
        }
        let force = self.force().ok_or(ReasonCode::NotAccepted)?;
        let known = force.config.agents.contains_key(&facts.agent);
        if !known && facts.agent != AgentId::doctor() {
            return Err(ReasonCode::NotAssigned);
        }
        if self.inner.runs.get(&facts.run).is_some() {
            return Err(ReasonCode::Internal);
        }
        let _ = self
            .record(Event::RunStarted(facts.clone()), Durability::Full)
            .await?;
        let run = self.inner.runs.put(facts, self.inner.clock.wall(), cut)?;
        // Once it is among the runs, whoever stops its agent finds it there.
        if run.cut.is_cancelled() || !self.may_run(&run.facts.agent) {
            self.end_run(&run.facts.run, None, "stopped before it began");
            return Err(ReasonCode::Stopped);
        }
        self.publish();
        Ok(run)
    }

    /// Ends a run: its requests are cut, its questions withdrawn.
    pub fn end_run(&self, id: &RunId, exit_code: Option<i32>, why: &str) {
        // In this order: nothing of it is let through, cut, and only then ended.
        let Some(run) = self.inner.runs.remove(id) else {
            return;
        };
        run.cut.cancel();
        self.inner.desk.end_run(id, ReasonCode::Withdrawn);
        self.write_last_counts(&run);
        self.record_later(Event::RunEnded {
            run: id.clone(),
            exit_code,
            why: why.to_owned(),
        });
        self.publish();
        let (broker, id) = (self.clone(), id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(LAST_OUTCOMES).await;
            broker.settle_as_unknown(Some(&id), "the run ended before its outcome came");
        });
    }

    /// The live runs, oldest first.
    #[must_use]
    pub fn runs(&self) -> Vec<Arc<Run>> {
        self.inner.runs.all()
    }

    /// Whether a run may go on: it has not ended, and nothing is stopped.
    pub(crate) fn still_runs(&self, run: &RunId) -> Result<(), ReasonCode> {
        if self.inner.stop.is_engaged() {
            return Err(ReasonCode::Stopped);
        }
        match self.inner.runs.get(run) {
            None => Err(ReasonCode::Withdrawn),
            // A stop that was lifted, or one of this agent alone.
            Some(run) if run.cut.is_cancelled() => Err(ReasonCode::Stopped),
            Some(_) => Ok(()),
        }
    }

    /// Lifts what is denied by itself against an agent. Returns how much was.
    pub fn lift_denials(&self, agent: &AgentId) -> usize {
        let lifted = self.denials().lift(agent);
        if lifted > 0 {
            self.record_later(Event::Noted {
                what: format!("standing denials of agent {agent} lifted by the user"),
                detail: None,
            });
        }
        self.publish();
        lifted
    }

    // ---- telling --------------------------------------------------------

    /// Keeps one warning a topic; an empty sentence lifts it.
    pub fn warn(&self, topic: &str, sentence: &str) {
        {
            let mut warnings = self
                .inner
                .warnings
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
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
            let kept = self
                .inner
                .warnings
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            kept.values().cloned().collect()
        };
        if let Some(why) = self.inner.ledger.has_failed() {
            warnings.insert(
                0,
                format!("The ledger has failed and nothing is released: {why}"),
            );
        }
        warnings.extend(self.denials().all().iter().map(|(agent, account, effect)| {
            format!("{agent} is denied {effect} on {account} by itself after three denials; `countersign resume --agent {agent}` lifts it.")
        }));
        SurfaceState {
            stopped: self.inner.stop.view(),
            waiting: self.inner.desk.waiting(),
            runs: self.runs().iter().map(|r| r.view()).collect(),
            stopped_agents: self.inner.stop.agents().view(),
            warnings,
            hotkey: self.force().map(|f| f.config.hotkey.stop.to_string()),
        }
    }

    /// Sends the state to every surface.
    pub fn publish(&self) {
        let _one = self
            .inner
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.inner.desk.tell(&ToSurface::State(self.state()));
    }

    /// Ends in order: runs ended, questions withdrawn, outcomes taken down, the
    /// trail closed. Takes up to two seconds while outcomes are missing.
    ///
    /// # Errors
    /// When the last records could not be written.
    pub async fn close(&self) -> Result<(), ReasonCode> {
        self.inner
            .trees
            .strike(None, Blow::Last, self.inner.clock.boot());
        for run in self.runs() {
            self.end_run(&run.facts.run, None, "the authority ended");
        }
        self.inner.desk.end_all(ReasonCode::Withdrawn);
        self.inner.desk.tell(&ToSurface::Goodbye {});
        self.inner.vault.forget();
        let is_all_said =
            || self.open_requests().is_empty() && Arc::strong_count(&self.inner.unsaid) == 1;
        let all_said = async {
            while !is_all_said() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(LAST_OUTCOMES_OF_ALL, all_said)
            .await
            .is_err()
        {
            self.settle_as_unknown(None, "the authority ended before its outcome came");
        }
        self.inner
            .ledger
            .clone()
            .close()
            .await
            .map_err(|_| ReasonCode::LedgerFailed)
    }

    // ---- records --------------------------------------------------------

    pub(crate) fn record_of(&self, event: Event) -> AuditRecord {
        AuditRecord {
            version: 1,
            at: self.inner.clock.wall(),
            event,
        }
    }

    pub(crate) async fn record(
        &self,
        event: Event,
        durability: Durability,
    ) -> Result<Receipt, ReasonCode> {
        let record = self.record_of(event);
        let recorded = self.inner.ledger.append(record, durability).await;
        recorded.map_err(|error| not_recorded(&error))
    }

    /// The same for what releases nothing and may not be held up by a disk that
    /// hangs. It survives a crash.
    pub(crate) async fn record_aside(&self, event: Event) -> Result<Receipt, ReasonCode> {
        let record = self.record_of(event);
        let recorded = self.inner.ledger.append_aside(record).await;
        recorded.map_err(|error| not_recorded(&error))
    }

    /// For what releases nothing: rides the next commit.
    pub fn record_later(&self, event: Event) {
        self.inner.ledger.append_later(self.record_of(event));
    }

    // ---- counts ---------------------------------------------------------

    pub(crate) fn denials(&self) -> MutexGuard<'_, Denials> {
        self.inner
            .denials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn usage(&self) -> MutexGuard<'_, Usage> {
        self.inner
            .usage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hears for Weak<Inner> {
    fn denied(&self, about: &About) {
        let (Some(inner), About::Request(request)) = (self.upgrade(), about) else {
            return;
        };
        let broker = Broker { inner };
        let now = broker.inner.clock.boot();
        let action = &request.action;
        let new = broker
            .denials()
            .denied(&request.agent, &action.account, action.effects, now);
        if !new.is_empty() {
            broker.inner.news.notify_one();
        }
    }

    fn lapsed(&self, record: Requested) {
        if let Some(inner) = self.upgrade() {
            Broker { inner }.record_later(Event::Requested(Box::new(record)));
        }
    }
}

fn not_recorded(error: &LedgerError) -> ReasonCode {
    match error {
        // Of this record alone: the trail goes on.
        LedgerError::Duplicate { .. } | LedgerError::Unfit(_) => ReasonCode::Internal,
        _ => ReasonCode::LedgerFailed,
    }
}

/// Random bytes of the system, for ids.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], ReasonCode> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| ReasonCode::Internal)?;
    Ok(bytes)
}
