//! What serves a run, and the task that does.

use super::Authority;
#[cfg(target_os = "linux")]
use crate::apart::{self, Apart};
use countersign_broker::{Broker, Secret};
use countersign_gateway_http::{Checked, Doors, Gateway, Key, Limits, Ports, RunCa, RunGateway};
use countersign_model::{RunFacts, RunId};
use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a gateway may take to end the connections of a run that has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What serves a run; where the run goes on as another, that one too.
pub(super) enum Serves {
    /// A gateway in a process of its own.
    #[cfg(target_os = "linux")]
    Apart(Box<Apart>),
    /// A gateway in this process. What nobody contains runs as the user, and so
    /// could its gateway's process be ended or looked into; and to tell whose a
    /// connection is takes files.
    Here(Here, Box<Doors>),
    /// The same for an agent that nobody launched: a port, and a token.
    Loopback(Here, Ports, Secret),
}

/// What is a run's own, and of those that it goes on as.
pub(super) struct Own {
    /// Its certificate authority.
    pub(super) ca: RunCa,
    /// Its access key in place of the user's.
    pub(super) placeholder: Key,
}

/// A gateway in this process, for one run after the other.
pub(super) struct Here {
    http: Gateway,
    ca: Arc<RunCa>,
    placeholder: Key,
}

impl Here {
    fn new(http: Gateway, own: Own) -> Self {
        Self {
            http,
            ca: Arc::new(own.ca),
            placeholder: own.placeholder,
        }
    }

    fn gateway(&self, run: RunId, broker: Broker) -> RunGateway<Broker> {
        RunGateway {
            run,
            ca: Arc::clone(&self.ca),
            placeholder: self.placeholder.clone(),
            port: Arc::new(broker),
            limits: Limits::default(),
        }
    }
}

impl Serves {
    /// What serves a run at its socket and its ports, once they come.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn run(
        authority: &Authority,
        contained: bool,
        http: Gateway,
        own: Own,
        socket: UnixListener,
        ports: oneshot::Receiver<Checked>,
    ) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if contained {
            let lanes = authority.lanes.all()?;
            let parts = apart::Parts {
                broker: authority.broker.clone(),
                ca: own.ca,
                placeholder: own.placeholder,
                socket,
                ports,
                lanes,
            };
            return Ok(Self::Apart(Box::new(Apart::new(parts)?)));
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (authority, contained);
        let doors = Box::new(Doors::new(socket, ports)?);
        Ok(Self::Here(Here::new(http, own), doors))
    }

    /// What serves an agent that nobody launched.
    pub(super) fn loopback(http: Gateway, own: Own, ports: Ports, token: Secret) -> Self {
        Self::Loopback(Here::new(http, own), ports, token)
    }

    /// Serves until the run has ended; `None` where no other can follow.
    async fn serve(self, broker: Broker, facts: RunFacts, over: CancellationToken) -> Option<Self> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Apart(apart) => {
                let apart = apart.serve(facts, over).await;
                Some(Self::Apart(Box::new(apart)))
            }
            Self::Here(here, doors) => {
                let gateway = here.gateway(facts.run, broker);
                let doors = here.http.serve_run(*doors, gateway).await;
                Some(Self::Here(here, Box::new(doors)))
            }
            Self::Loopback(here, ports, token) => {
                let gateway = here.gateway(facts.run, broker);
                here.http.serve_tcp(ports, gateway, token).await;
                None
            }
        }
    }
}

/// The task that serves a run; ended with the run.
pub(super) struct Serving {
    task: JoinHandle<Option<Serves>>,
    /// The run has ended: nothing is to be waited for.
    over: CancellationToken,
    /// Its gateway is a process of its own, and says how things ended across a socket.
    is_apart: bool,
}

impl Serving {
    pub(super) fn begin(
        serves: Serves,
        lane: &Handle,
        authority: &Authority,
        facts: RunFacts,
    ) -> Self {
        let over = CancellationToken::new();
        #[cfg(target_os = "linux")]
        let is_apart = matches!(serves, Serves::Apart(_));
        #[cfg(not(target_os = "linux"))]
        let is_apart = false;
        let serve = serves.serve(authority.broker.clone(), facts, over.clone());
        Self {
            task: lane.spawn(serve),
            over,
            is_apart,
        }
    }

    /// Waits until the gateway of a run that was cut off has said how what it did
    /// ended, for as long as it is given for that.
    pub(super) async fn last_words(&mut self) {
        // What has ended, and was taken, cannot be waited for again.
        if self.is_apart && !self.task.is_finished() {
            drop(self.end().await);
        }
    }

    /// What served the run, once that has ended.
    pub(super) async fn end(&mut self) -> Option<Serves> {
        self.over.cancel();
        let ended = tokio::time::timeout(LAST_WORDS, &mut self.task).await;
        ended.ok()?.ok().flatten()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}
