//! The life of a run, from its beginning on its lease to its end, from whichever
//! side that comes; and through the stop.

use super::lease::Handing;
use super::passages::Passages;
use super::serving::Serving;
use super::{Authority, tree, wire};
use crate::handover;
use countersign_broker::{Held, Run};
use countersign_gateway_http::Checked;
use countersign_model::{ReasonCode, RunId, StopMeans};
use countersign_protocol::control::{Ask, Reply};
use countersign_protocol::surface::RunStanding;
use rustix::process::{Signal, pidfd_send_signal};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// How long a launcher may take to end its run after it was told to; then it is
/// ended, and the run with it.
const OBEYS: Duration = Duration::from_secs(1);
/// How long the kernel may take to close what an ended launcher held.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A run, as long as its lease is held. A run that was frozen goes on in it under
/// another id.
pub(super) struct Life {
    authority: Arc<Authority>,
    run: Arc<Run>,
    held: Option<Arc<Held>>,
    serving: Serving,
    passages: Option<Arc<Passages>>,
    lane: Handle,
}

/// How a run ended.
pub(super) struct End {
    why: &'static str,
    exit_code: Option<i32>,
}

impl End {
    const BROKEN: Self = Self::because("its launcher broke the protocol");
    const GONE: Self = Self::because("its launcher ended");
    const STOPPED: Self = Self::because("stopped");
    const KILLED: Self = Self::because("its command was killed");

    pub(super) const fn because(why: &'static str) -> Self {
        Self {
            why,
            exit_code: None,
        }
    }
}

/// What becomes of a run that was stopped.
enum Stopped {
    Over(End),
    /// It is to be ended.
    Killed,
    /// It runs, as another run.
    GoesOn,
}

type Heeded<'f> = Pin<&'f mut (dyn Future<Output = End> + Send)>;

impl Life {
    pub(super) fn new(
        authority: &Arc<Authority>,
        run: Arc<Run>,
        serving: Serving,
        passages: Option<Arc<Passages>>,
        lane: Handle,
    ) -> Self {
        Self {
            authority: Arc::clone(authority),
            run,
            held: None,
            serving,
            passages,
            lane,
        }
    }

    /// Waits for the end.
    pub(super) async fn until_over(
        &mut self,
        stream: &mut UnixStream,
        launcher: Option<&OwnedFd>,
        ports: Option<Handing>,
    ) -> End {
        let (mut read, mut write) = stream.split();
        let end = self.lives(&mut read, &mut write, launcher, ports).await;
        let may_run = self.authority.broker.may_run(&self.run.facts.agent);
        if end.why != End::KILLED.why || may_run {
            return end;
        }
        // What was killed while it was stopped, the stop has killed: it strikes before
        // it says so, and the launcher may be sooner.
        let _ = wire::write(&mut write, &kill()).await;
        End::STOPPED
    }

    async fn lives(
        &mut self,
        read: &mut ReadHalf<'_>,
        write: &mut WriteHalf<'_>,
        launcher: Option<&OwnedFd>,
        ports: Option<Handing>,
    ) -> End {
        let (hold, mut to_hold) = mpsc::channel(1);
        // One from beginning to end: what the stop comes between is half read.
        let (run, authority) = (Arc::clone(&self.run), Arc::clone(&self.authority));
        let passages = self.passages.clone();
        let heeded = heed(read, &run, &authority, hold, passages, ports);
        tokio::pin!(heeded);
        loop {
            tokio::select! {
                end = &mut heeded => return end,
                Some(held) = to_hold.recv() => {
                    self.held = Some(held);
                    if wire::write(write, &Reply::RunHeld {}).await.is_err() {
                        return End::GONE;
                    }
                    continue;
                }
                () = self.run.cut.cancelled() => {}
            }
            match self.stopped(write, heeded.as_mut()).await {
                Stopped::Over(end) => return end,
                Stopped::Killed => return self.killed(write, launcher, heeded).await,
                Stopped::GoesOn => {}
            }
        }
    }

    /// The stop has come: what is frozen waits for a human, and what is not is
    /// ended.
    async fn stopped(&mut self, write: &mut WriteHalf<'_>, mut heeded: Heeded<'_>) -> Stopped {
        let Some(held) = self.held.clone() else {
            return Stopped::Killed;
        };
        let (mut standing, mut lifted) = (held.standing(), self.authority.broker.lifted());
        let is = *standing.borrow_and_update();
        if is == RunStanding::Frozen {
            let _ = wire::write(write, &Reply::RunFrozen {}).await;
        }
        while *standing.borrow() == RunStanding::Frozen {
            if self.authority.broker.may_run(&self.run.facts.agent) {
                match self.begin_again(write, &held).await {
                    Ok(()) => return Stopped::GoesOn,
                    // It was stopped again meanwhile.
                    Err(ReasonCode::Stopped) if *standing.borrow() == RunStanding::Frozen => {}
                    Err(_) => return Stopped::Killed,
                }
            }
            tokio::select! {
                end = &mut heeded => return Stopped::Over(end),
                _ = standing.changed() => {}
                _ = lifted.changed() => {}
            }
        }
        Stopped::Killed
    }

    /// What was frozen goes on, under another id, with nothing of the old one's
    /// that anybody allowed.
    async fn begin_again(
        &mut self,
        write: &mut WriteHalf<'_>,
        held: &Held,
    ) -> Result<(), ReasonCode> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| ReasonCode::Internal)?;
        let id = RunId::from_random(random);
        let broker = &self.authority.broker;
        self.run = broker.begin_again(&self.run, id.clone()).await?;
        // The old one has ended, and so do its connections; its doors stay.
        let serves = self.serving.end().await.ok_or(ReasonCode::Internal)?;
        let facts = self.run.facts.clone();
        self.serving = Serving::begin(serves, &self.lane, &self.authority, facts);
        if let Some(passages) = &self.passages {
            let served = passages.serve(broker, &self.run);
            served.map_err(|_| ReasonCode::Internal)?;
        }
        broker.thaw(held)?;
        let _ = wire::write(write, &Reply::RunGoesOn { run: id }).await;
        Ok(())
    }

    /// Has its launcher end it, and sees to that.
    async fn killed(
        &self,
        write: &mut WriteHalf<'_>,
        launcher: Option<&OwnedFd>,
        mut heeded: Heeded<'_>,
    ) -> End {
        if let Some(held) = &self.held {
            held.kill();
        }
        // A launcher that is gone has taken its run with it.
        let _ = wire::write(write, &kill()).await;
        let exit_code = match tokio::time::timeout(OBEYS, &mut heeded).await {
            Ok(end) => end.exit_code,
            // It does not listen (a shell may have suspended it). What was not
            // handed over dies with it: bubblewrap is told to die with its parent.
            Err(_) => {
                if let Some(launcher) = launcher {
                    let _ = pidfd_send_signal(launcher, Signal::KILL);
                    let _ = tokio::time::timeout(LAST_WORDS, heeded).await;
                }
                None
            }
        };
        End {
            exit_code,
            ..End::STOPPED
        }
    }

    /// Its lease is over, and so is it.
    pub(super) async fn over(mut self, end: &End) {
        // What the stop cut has ended by itself, and its gateway says how, before the
        // end of the run would leave that unknown.
        if self.run.cut.is_cancelled() {
            self.serving.last_words().await;
        }
        let broker = &self.authority.broker;
        if let Some(held) = &self.held {
            broker.let_go(held);
        }
        broker.end_run(&self.run.facts.run, end.exit_code, end.why);
    }
}

fn kill() -> Reply {
    Reply::RunKill {
        why: "stopped by the user".into(),
    }
}

/// Does what the launcher says, until that is the end.
async fn heed(
    lease: &mut ReadHalf<'_>,
    run: &Arc<Run>,
    authority: &Authority,
    hold: mpsc::Sender<Arc<Held>>,
    mut passages: Option<Arc<Passages>>,
    mut ports: Option<Handing>,
) -> End {
    // What the stop ends by itself must be held before anything else comes.
    let means = run.facts.stop;
    let mut to_come = means.freezes() || means == StopMeans::Kill;
    loop {
        match wire::read::<Ask>(lease).await {
            Ok(Some(Ask::EndRun { exit_code: None })) => return End::KILLED,
            Ok(Some(Ask::EndRun { exit_code })) => {
                return End {
                    why: "its command ended",
                    exit_code,
                };
            }
            Ok(Some(Ask::Tree {})) if to_come => {
                to_come = false;
                let tree = match tree::take((*lease).as_ref(), means).await {
                    Ok(tree) => tree,
                    Err(error) => return not_taken(&error),
                };
                match authority.broker.hold(run, tree) {
                    Ok(held) => drop(hold.send(held).await),
                    // The stop was sooner, and says so itself.
                    Err(ReasonCode::Stopped) => {}
                    Err(_) => return End::BROKEN,
                }
            }
            Ok(Some(Ask::Passages {})) if !to_come => {
                let Some(passages) = passages.take() else {
                    return End::BROKEN;
                };
                let taken = handover::take((*lease).as_ref()).await;
                let taken = taken.and_then(|taken| passages.take(taken));
                let served = taken.and_then(|()| passages.serve(&authority.broker, run));
                if let Err(error) = served {
                    return not_taken(&error);
                }
            }
            Ok(Some(Ask::Listening {})) if !to_come => {
                let Some(ports) = ports.take() else {
                    return End::BROKEN;
                };
                match take_ports((*lease).as_ref(), run.facts.contained).await {
                    // A gateway that has ended closes them.
                    Ok(taken) => drop(ports.send(taken)),
                    Err(error) => return not_taken(&error),
                }
            }
            Ok(Some(_)) => return End::BROKEN,
            Ok(None) | Err(_) => return End::GONE,
        }
    }
}

fn not_taken(error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::InvalidInput => End::BROKEN,
        io::ErrorKind::UnexpectedEof => End::GONE,
        _ => End::because("what its launcher handed over could not be taken"),
    }
}

/// On the lease's own thread: what is refused is closed here, and that can take long.
async fn take_ports(lease: &UnixStream, contained: bool) -> io::Result<Checked> {
    let sockets = handover::take(lease).await?;
    let uid = nix::unistd::getuid().as_raw();
    let checked = Checked::handed_over(sockets, contained, uid).await?;
    // What a launcher calls contained and is not, is not served.
    if contained && cfg!(target_os = "linux") && !checked.is_of_own_network() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(checked)
}
