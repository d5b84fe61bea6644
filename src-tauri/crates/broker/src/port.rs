//! What a gateway may say to the broker, and what it hears.
//!
//! A gateway parses what is hostile, so it talks to the broker only through
//! this trait: [`Broker`](crate::Broker) implements it in one process, and a
//! client across a socket can implement it with a permit that is a number.

use async_trait::async_trait;
use countersign_model::{
    Account, AccountId, Action, CredentialVersion, DataPreview, Digest, ExactRequest, Foreign,
    ReasonCode, Refusal, RequestId, RunFacts, RunId, Settled,
};
use countersign_vault::Presented;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// One request, put to the broker for judgement.
#[derive(Debug, Serialize, Deserialize)]
pub struct Submission {
    /// Its id, drawn by [`Countersigner::new_request`] when its first byte came.
    pub request: RequestId,
    /// The run whose socket it came by. That is its identity.
    pub run: RunId,
    /// The account whose host matched.
    pub account: AccountId,
    /// What it would do, by the catalogue.
    pub action: Action,
    /// Exactly what would be sent.
    pub exact: ExactRequest,
    /// What a human may see of its data.
    pub preview: DataPreview,
    /// Two requests of a run with the same value are the same question: what
    /// the client makes anew at each try (dates, ids, signatures) is left out.
    pub same: Digest,
}

/// A request that the gateway refused before it could be judged. It is
/// recorded, and the human is told once where that helps.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rejected {
    /// Its id.
    pub request: RequestId,
    /// The run whose socket it came by.
    pub run: RunId,
    /// Method and target, as far as they could be read.
    pub target: Foreign,
    /// Why.
    pub reason: ReasonCode,
    /// Foreign particulars for the record, never for the agent's sentence.
    pub detail: Option<Foreign>,
}

/// An account as a run may use it now.
#[derive(Debug, Clone)]
pub struct AccountView {
    /// Its configuration.
    pub account: Arc<Account>,
    /// The digest of that.
    pub digest: Digest,
    /// The credential that would be added; `None` for sites, and where none is
    /// set yet (the broker then refuses with `no-credential`).
    pub credential: Option<CredentialVersion>,
}

/// Where a gateway wants to be connected: the host of an account, as a request
/// names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The account whose host it is.
    pub account: AccountId,
    /// The digest of its configuration when the request was judged.
    pub digest: Digest,
    /// The host, lower case, no trailing dot.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why there is no connection. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum NotConnected {
    /// The run has no such account (any more), or the account no such host.
    #[error("The service is none of this run's accounts any more.")]
    NotTheirs,
    /// Its name could not be resolved.
    #[error("The service's name could not be resolved.")]
    Unresolved,
    /// Its name leads to this machine or a private network, and nobody
    /// configured that it should (DNS rebinding).
    #[error("The service's name resolves to a private address, and the account has no connect_to.")]
    Private,
    /// The run has too many connections open, or the machine no descriptor left.
    #[error("This run has too many connections to services open.")]
    TooMany,
    /// No address of it took the connection.
    #[error("The service could not be reached.")]
    Unreachable,
}

/// A connection to a host. The broker holds it too, and cuts it when the stop is
/// engaged.
pub struct Line {
    /// The connection.
    pub tcp: TcpStream,
    /// To be told when it is closed. Dropped instead, the connection is reset.
    pub held: Box<dyn Held>,
}

/// The broker's hold on a connection.
pub trait Held: Send + Sync {
    /// Its user has closed it; `in_order`, if what was written is to arrive, which
    /// it has some seconds for.
    fn closed(self: Box<Self>, in_order: bool);
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("tcp", &self.tcp)
            .finish_non_exhaustive()
    }
}

/// Leave to send one request once, with what it needs for that.
///
/// Must be settled: dropping it unsettled is recorded as "outcome unknown".
#[derive(Debug)]
pub struct Release {
    /// The request.
    pub request: RequestId,
    /// The credential, ready to be put in its place.
    pub presented: Presented,
    /// Cancelled when the stop is engaged, the run ends or the account changes:
    /// whoever sends must cut the connection at once.
    pub cut: CancellationToken,
}

/// The broker, as gateways know it: everything that a gateway needs of the world
/// comes by here, so that it opens neither connections nor files by itself.
#[async_trait]
pub trait Countersigner: Send + Sync + 'static {
    /// Proof of a durable record, good for one request, once.
    type Permit: Send + 'static;

    /// A fresh request id of a run.
    ///
    /// # Errors
    /// When the system has no randomness to give, the stop is engaged, or the run
    /// has ended.
    fn new_request(&self, run: &RunId) -> Result<RequestId, ReasonCode>;

    /// What is known of a live run; `None` once it has ended.
    fn run(&self, run: &RunId) -> Option<RunFacts>;

    /// The accounts and sites assigned to the run's agent, as they are now.
    fn accounts(&self, run: &RunId) -> Vec<AccountView>;

    /// Cancelled when the stop is engaged or the run ends. Take it *before*
    /// asking anything else, so that nothing slips between.
    fn cut(&self, run: &RunId) -> CancellationToken;

    /// Why [`Self::cut`] was cancelled: the stop, or the end of the run.
    fn cut_reason(&self, run: &RunId) -> ReasonCode;

    /// Judges; asks the human when policy says so; records. Waits up to the
    /// time that a client's connection can be held, then refuses with
    /// [`ReasonCode::Waiting`]; the question stays open, and an identical
    /// submission joins it. Dropping the future does the same.
    ///
    /// # Errors
    /// The refusal, already recorded.
    async fn decide(&self, submission: Submission) -> Result<Self::Permit, Refusal>;

    /// Uses the permit up for exactly this request.
    ///
    /// # Errors
    /// `changed` when the request is not the one that was judged; `expired`,
    /// `stopped`, `locked`, `no-keyring`, `no-credential`: already recorded.
    async fn redeem(&self, permit: Self::Permit, exact: &ExactRequest) -> Result<Release, Refusal>;

    /// Records what became of a released request. Never waits.
    fn settle(&self, settled: Settled);

    /// A TCP connection to a host of one of the run's accounts, and to no other.
    ///
    /// # Errors
    /// Why there is none.
    async fn connect(&self, run: &RunId, to: &Destination) -> Result<Line, NotConnected>;

    /// An empty file without a name, for a body that is too large to be judged.
    ///
    /// # Errors
    /// What the file system says.
    async fn spool(&self, run: &RunId) -> io::Result<File>;

    /// Records a request that the gateway refused. To be waited for before the
    /// agent is answered: it cannot be refused faster than that is recorded.
    async fn reject(&self, rejected: Rejected);
}
