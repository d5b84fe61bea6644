//! Guarantee G5: stopping, and going on; of everything, and of one agent.

use crate::aftermath::Work;
use crate::broker::Broker;
use crate::runs::Run;
use crate::trees::{Blow, FROZEN_FOR, Held, Tree, Trees};
use countersign_ledger::Durability;
use countersign_model::{AgentId, Event, Foreign, ReasonCode, RunFacts, RunId, StopTrigger};
use countersign_protocol::surface::AgentStopView;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long time is kept without looking at the boot-time clock.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How long lifting waits for a press to be written down.
const WRITTEN_DOWN: Duration = Duration::from_secs(10);

/// How the stop is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Press {
    /// Once. The first freezes what can be frozen; the next one kills.
    Once,
    /// It is still held after a second: kills.
    Held,
}

impl Press {
    fn blow(self, first: bool) -> Blow {
        match (self, first) {
            (Self::Once, true) => Blow::First,
            (Self::Once, false) | (Self::Held, _) => Blow::Last,
        }
    }
}

impl Broker {
    // ---- everything -----------------------------------------------------

    /// Engages the emergency stop: latch, freeze or kill, cut, withdraw, forget.
    /// None of these can fail or waits for a disk. Writing it down comes after,
    /// on a thread of its own. Callable from any thread.
    pub fn engage(&self, trigger: StopTrigger, reason: Option<Foreign>, press: Press) {
        let inner = &self.inner;
        let mut killed = 0;
        let first = inner.stop.engage(trigger, inner.clock.wall(), |first| {
            let now = inner.clock.boot();
            let strike = || inner.trees.strike(None, press.blow(first), now);
            killed = inner.lines.cut(None, strike);
        });
        inner.desk.end_all(ReasonCode::Stopped);
        inner.vault.forget();
        inner.frozen.notify_one();
        let event = if first {
            Some(Event::StopEngaged { trigger, reason })
        } else {
            (killed > 0).then(|| killed_frozen(killed, "the stop was pressed again"))
        };
        self.publish();
        self.after(Work::Latch(event));
    }

    /// Waits until every press so far was written down, or could not be.
    pub async fn written_down(&self) {
        self.inner.aftermath.done().await;
    }

    /// Lifts the stop on a human's answer: the record first. `presses` are those
    /// from before that answer: a press that came meanwhile wins.
    ///
    /// # Errors
    /// One sentence; the stop then stays engaged.
    pub async fn lift(&self, surface: &str, presses: u64) -> Result<(), String> {
        let stop = &self.inner.stop;
        let Some(engaged) = stop.view() else {
            return Err("The stop is not engaged.".into());
        };
        if engaged.presses != presses {
            return Err("The stop was pressed again meanwhile, so it stays engaged.".into());
        }
        self.written_down_in_time().await?;
        let _ = self
            .record(
                Event::StopLifted {
                    surface: surface.to_owned(),
                },
                Durability::Full,
            )
            .await
            .map_err(|_| "The ledger cannot be written, so the stop stays engaged.".to_owned())?;
        let lifted = stop.lift(presses);
        match &lifted {
            Ok(()) => self.warn("stop", ""),
            // The trail says that it was lifted. It is not.
            Err(_) => self.record_later(Event::StopEngaged {
                trigger: engaged.trigger,
                reason: None,
            }),
        }
        self.publish();
        self.inner.lifted.send_modify(|times| *times += 1);
        lifted.map_err(|error| format!("The stop stays engaged: {error}"))
    }

    async fn written_down_in_time(&self) -> Result<(), String> {
        tokio::time::timeout(WRITTEN_DOWN, self.written_down())
            .await
            .map_err(|_| "The stop is still being written down, so it stays engaged.".to_owned())
    }

    // ---- one agent ------------------------------------------------------

    /// Stops one agent and no other: its requests are cut, its questions are
    /// answered, its runs are frozen or killed, and it begins no other until it
    /// is resumed. Returns how many runs it had.
    pub fn stop_agent(
        &self,
        agent: &AgentId,
        trigger: StopTrigger,
        reason: Option<Foreign>,
        press: Press,
    ) -> usize {
        let inner = &self.inner;
        let first = inner.stop.agents().stop(agent, trigger, inner.clock.wall());
        let (blow, now) = (press.blow(first), inner.clock.boot());
        let strike = || inner.trees.strike(Some(agent), blow, now);
        let killed = inner.lines.cut(Some(agent), strike);
        let mut runs = self.runs();
        runs.retain(|run| run.facts.agent == *agent);
        for run in &runs {
            run.cut.cancel();
            inner.desk.end_run(&run.facts.run, ReasonCode::Stopped);
        }
        inner.frozen.notify_one();
        let event = if first {
            let agent = agent.clone();
            Some(Event::AgentStopped {
                agent,
                trigger,
                reason,
            })
        } else {
            (killed > 0).then(|| killed_frozen(killed, &format!("{agent} was stopped again")))
        };
        self.publish();
        self.after(Work::Agents(event));
        runs.len()
    }

    /// How one agent is stopped by itself, if it is.
    #[must_use]
    pub fn agent_stop(&self, agent: &AgentId) -> Option<AgentStopView> {
        let mut all = self.agent_stops().into_iter();
        all.find(|view| view.agent == *agent)
    }

    /// Which agents are stopped by themselves.
    #[must_use]
    pub fn agent_stops(&self) -> Vec<AgentStopView> {
        self.inner.stop.agents().view()
    }

    /// Lets one agent go on, on a human's answer; as [`Broker::lift`].
    ///
    /// # Errors
    /// One sentence; the agent then stays stopped.
    pub async fn resume_agent(
        &self,
        agent: &AgentId,
        surface: &str,
        presses: u64,
    ) -> Result<(), String> {
        let Some(stopped) = self.agent_stop(agent) else {
            return Err(format!("{agent} is not stopped by itself."));
        };
        if stopped.presses != presses {
            return Err(format!(
                "{agent} was stopped again meanwhile, so it stays stopped."
            ));
        }
        self.written_down_in_time().await?;
        let resumed = Event::AgentResumed {
            agent: agent.clone(),
            surface: surface.to_owned(),
        };
        let _ = self
            .record(resumed, Durability::Full)
            .await
            .map_err(|_| format!("The ledger cannot be written, so {agent} stays stopped."))?;
        let resumed = self.inner.stop.agents().resume(agent, presses);
        if resumed.is_err() {
            // The trail says that it was resumed. It is not.
            self.record_later(Event::AgentStopped {
                agent: agent.clone(),
                trigger: stopped.trigger,
                reason: None,
            });
        }
        self.publish();
        self.inner.lifted.send_modify(|times| *times += 1);
        resumed.map_err(|error| format!("{agent} stays stopped: {error}"))
    }

    // ---- the processes of runs ------------------------------------------

    /// Takes what a run is ended by. It is kept first; should anything be stopped
    /// that concerns it, it is killed at once.
    ///
    /// # Errors
    /// `stopped`; `internal` when this run has one already.
    pub fn hold(&self, run: &Run, tree: Box<dyn Tree>) -> Result<Arc<Held>, ReasonCode> {
        let held = self.inner.trees.keep(run.facts.agent.clone(), tree);
        let reason = if run.tree.set(Arc::clone(&held)).is_err() {
            ReasonCode::Internal
        } else if run.cut.is_cancelled() || !self.may_run(&run.facts.agent) {
            ReasonCode::Stopped
        } else {
            return Ok(held);
        };
        held.kill();
        self.inner.trees.let_go(&held);
        Err(reason)
    }

    /// The run of this tree is over: whatever is left of it is killed.
    pub fn let_go(&self, held: &Arc<Held>) {
        held.kill();
        self.inner.trees.let_go(held);
    }

    /// Whether runs of this agent may go on: nothing is stopped that concerns it.
    #[must_use]
    pub fn may_run(&self, agent: &AgentId) -> bool {
        !self.inner.stop.is_engaged() && !self.inner.stop.agents().is_stopped(agent)
    }

    /// How often anything that was stopped could go on. Whoever holds a frozen
    /// run waits for it, and asks [`Broker::may_run`].
    #[must_use]
    pub fn lifted(&self) -> watch::Receiver<u64> {
        self.inner.lifted.subscribe()
    }

    /// Ends a run that was frozen, and begins it anew under this id: no question,
    /// grant or permit of the old one counts for it. Its processes are still
    /// frozen.
    ///
    /// # Errors
    /// As [`Broker::begin_run`]; nothing of it may then go on.
    pub async fn begin_again(&self, old: &Run, id: RunId) -> Result<Arc<Run>, ReasonCode> {
        let why = format!("stopped; it goes on as {id}");
        self.end_run(&old.facts.run, None, &why);
        let facts = RunFacts {
            run: id,
            goes_on_from: Some(old.facts.run.clone()),
            ..old.facts.clone()
        };
        let run = self.begin_run(facts).await?;
        if let Some(held) = old.tree.get() {
            let _ = run.tree.set(Arc::clone(held));
        }
        self.publish();
        Ok(run)
    }

    /// Thaws a frozen run, if nothing is stopped that concerns it.
    ///
    /// # Errors
    /// `stopped`.
    pub fn thaw(&self, held: &Held) -> Result<(), ReasonCode> {
        Trees::thaw(held, |agent| self.may_run(agent))?;
        self.publish();
        Ok(())
    }

    /// How many runs are frozen, of all agents or of one.
    #[must_use]
    pub fn frozen(&self, only: Option<&AgentId>) -> usize {
        self.inner.trees.frozen(only)
    }

    /// Kills what has been frozen for too long, for ever.
    pub(crate) async fn keep_time_of_frozen(&self) {
        loop {
            let changed = self.inner.frozen.notified();
            let now = self.inner.clock.boot();
            let (killed, next) = self.inner.trees.kill_frozen(now);
            if killed > 0 {
                let minutes = FROZEN_FOR.as_secs() / 60;
                self.record_later(killed_frozen(
                    killed,
                    &format!("{minutes} minutes are over"),
                ));
                self.publish();
            }
            match next.map(|at| at.saturating_sub(now)) {
                None => changed.await,
                // The runtime's clock stands still while the machine sleeps.
                Some(next) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep(next.min(LOOK_AGAIN)) => {}
                },
            }
        }
    }
}

fn killed_frozen(count: usize, why: &str) -> Event {
    Event::Noted {
        what: format!("{count} frozen run(s) killed: {why}"),
        detail: None,
    }
}
