//! The broker, as a gateway in a process of its own sees it.

use super::datagram;
use super::frame::{self, Reader, Sender};
use super::message::{FromGateway, Order, ToGateway, View, Wish};
use async_trait::async_trait;
use countersign_broker::{
    AccountView, Countersigner, Destination, Line, LineHeld, NotConnected, Rejected, Release,
    Submission,
};
use countersign_model::{
    Digest, ExactRequest, Outcome, ReasonCode, Refusal, RequestId, RunFacts, RunId, Settled,
};
use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

thread_local! {
    /// Which stream the requests of this thread go by.
    static LANE: Cell<usize> = const { Cell::new(0) };
}

/// Requests of this thread go by this stream from now on.
pub(super) fn use_lane(lane: usize) {
    LANE.set(lane);
}

/// The broker, across a socket.
pub(super) struct Client {
    facts: RunFacts,
    accounts: RwLock<Vec<AccountView>>,
    cut: CancellationToken,
    why_cut: Mutex<Option<ReasonCode>>,
    /// What the ids of the run's requests count from.
    ids: AtomicU32,
    lanes: Vec<Arc<Lane>>,
    /// By which lane, and as which call, a request was released.
    released: Mutex<HashMap<RequestId, (Arc<Lane>, u64)>>,
    control: Arc<OwnedFd>,
    calls: AtomicU64,
    wishes: Mutex<HashMap<u64, oneshot::Sender<Granted>>>,
}

/// What came of a wish.
type Granted = (Option<NotConnected>, Option<OwnedFd>);

/// One stream of requests.
pub(super) struct Lane {
    to: Sender,
    calls: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    cuts: Mutex<HashMap<u64, CancellationToken>>,
}

enum Answer {
    Released(Held),
    Refused(Refusal),
    Recorded,
}

/// A release that nobody has taken yet. Dropped, it says that nothing was sent.
struct Held {
    lane: Arc<Lane>,
    call: u64,
    release: Option<Release>,
}

impl Held {
    fn take(mut self) -> Option<Release> {
        self.release.take()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            let outcome = Outcome::NotSent {
                reason: ReasonCode::Withdrawn,
            };
            let settled = Settled::without_bytes(release.request, outcome);
            self.lane.settle(self.call, settled);
        }
    }
}

/// A call that is waited for. Dropped before it is answered, it is withdrawn.
struct Waiting<'a> {
    lane: &'a Lane,
    call: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if lock(&self.lane.waiting).remove(&self.call).is_some() {
            let call = self.call;
            let _ = self.lane.to.send(&FromGateway::Withdraw { call }, &[]);
        }
    }
}

/// A connection that was wished for, until it is said that it is closed.
struct Closes {
    control: Arc<OwnedFd>,
    call: u64,
    in_order: bool,
}

impl LineHeld for Closes {
    fn closed(mut self: Box<Self>, in_order: bool) {
        self.in_order = in_order;
    }
}

impl Drop for Closes {
    fn drop(&mut self) {
        let (call, in_order) = (self.call, self.in_order);
        let closed = Wish::Closed { call, in_order };
        // Without the authority this process ends.
        let _ = datagram::send(self.control.as_fd(), &closed, &[]);
    }
}

/// Leave to send, released already and not yet used.
pub(super) struct Leave {
    held: Held,
    exact: Digest,
}

/// Nothing here is left half-done by a panic, so poisoning says nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    pub(super) fn new() -> (Arc<Self>, frame::Queue) {
        let (to, queue) = frame::queue();
        let lane = Self {
            to,
            calls: AtomicU64::new(0),
            waiting: Mutex::default(),
            cuts: Mutex::default(),
        };
        (Arc::new(lane), queue)
    }

    /// Carries messages both ways until the authority has ended.
    pub(super) async fn serve(
        self: Arc<Self>,
        stream: UnixStream,
        queue: frame::Queue,
    ) -> io::Result<()> {
        let (read, write) = stream.into_split();
        let mut writing = std::pin::pin!(frame::carry(queue, write));
        let mut reader = Reader::new(read);
        loop {
            tokio::select! {
                message = reader.next::<ToGateway>() => match message? {
                    Some((message, secrets)) => self.hear(message, &secrets)?,
                    None => return Ok(()),
                },
                written = &mut writing => return written,
            }
        }
    }

    fn hear(self: &Arc<Self>, message: ToGateway, secrets: &[u8]) -> io::Result<()> {
        match message {
            ToGateway::Released {
                call,
                request,
                presented,
            } => {
                let presented = presented.with(secrets).ok_or(io::ErrorKind::InvalidData)?;
                let cut = CancellationToken::new();
                lock(&self.cuts).insert(call, cut.clone());
                let held = Held {
                    lane: Arc::clone(self),
                    call,
                    release: Some(Release {
                        request,
                        presented,
                        cut,
                    }),
                };
                self.answer(call, Answer::Released(held));
            }
            ToGateway::Refused { call, refusal } => self.answer(call, Answer::Refused(refusal)),
            ToGateway::Recorded { call } => self.answer(call, Answer::Recorded),
            ToGateway::Cut { call } => {
                if let Some(cut) = lock(&self.cuts).get(&call) {
                    cut.cancel();
                }
            }
        }
        Ok(())
    }

    fn answer(&self, call: u64, answer: Answer) {
        if let Some(to) = lock(&self.waiting).remove(&call) {
            // Whoever asked may be gone; a release says so itself.
            let _ = to.send(answer);
        }
    }

    fn settle(&self, call: u64, settled: Settled) {
        lock(&self.cuts).remove(&call);
        let _ = self.to.send(&FromGateway::Settle { call, settled }, &[]);
    }

    /// A call of its own, and where its answer comes.
    fn ask(&self) -> (u64, oneshot::Receiver<Answer>) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let (to, answer) = oneshot::channel();
        lock(&self.waiting).insert(call, to);
        (call, answer)
    }
}

impl Client {
    pub(super) fn new(
        facts: RunFacts,
        accounts: Vec<View>,
        lanes: Vec<Arc<Lane>>,
        control: OwnedFd,
    ) -> io::Result<Self> {
        Ok(Self {
            facts,
            accounts: RwLock::new(accounts.into_iter().map(Into::into).collect()),
            cut: CancellationToken::new(),
            why_cut: Mutex::default(),
            ids: AtomicU32::new(getrandom::u32().map_err(io::Error::other)?),
            lanes,
            released: Mutex::default(),
            control: Arc::new(control),
            calls: AtomicU64::new(0),
            wishes: Mutex::default(),
        })
    }

    pub(super) fn run_id(&self) -> &RunId {
        &self.facts.run
    }

    /// Does what the authority says, but for ports.
    pub(super) fn obey(&self, order: Order, carried: Vec<OwnedFd>) {
        match order {
            Order::Accounts { accounts } => {
                let mut known = self
                    .accounts
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                *known = accounts.into_iter().map(Into::into).collect();
            }
            Order::Cut { reason } => {
                *lock(&self.why_cut) = Some(reason);
                self.cut.cancel();
            }
            Order::Connected { call, failed } => {
                self.grant(call, (failed, carried.into_iter().next()));
            }
            Order::Spooled { call } => self.grant(call, (None, carried.into_iter().next())),
            Order::Begin { .. } | Order::Ports {} => {}
        }
    }

    fn grant(&self, call: u64, granted: Granted) {
        if let Some(to) = lock(&self.wishes).remove(&call) {
            let _ = to.send(granted); // whoever wished may be gone
        }
    }

    async fn wish(&self, wish: impl FnOnce(u64) -> Wish) -> io::Result<Granted> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let (to, granted) = oneshot::channel();
        lock(&self.wishes).insert(call, to);
        if let Err(error) = datagram::send(self.control.as_fd(), &wish(call), &[]) {
            lock(&self.wishes).remove(&call);
            return Err(error);
        }
        granted.await.map_err(io::Error::other)
    }

    fn lane(&self) -> &Arc<Lane> {
        let lane = LANE.get() % self.lanes.len().max(1);
        &self.lanes[lane]
    }

    /// Says, behind what became of each request, that there is no other.
    pub(super) fn say_ended(&self) {
        for lane in &self.lanes {
            let _ = lane.to.send(&FromGateway::Ended {}, &[]);
        }
    }

    /// Why nothing goes on any more, if so.
    fn ended(&self) -> Option<ReasonCode> {
        *lock(&self.why_cut)
    }
}

#[async_trait]
impl Countersigner for Client {
    type Permit = Leave;

    fn new_request(&self, _run: &RunId) -> Result<RequestId, ReasonCode> {
        if let Some(reason) = self.ended() {
            return Err(reason);
        }
        let mut random = [0; 5];
        getrandom::fill(&mut random).map_err(|_| ReasonCode::Internal)?;
        Ok(RequestId::next(
            self.ids.fetch_add(1, Ordering::Relaxed),
            random,
        ))
    }

    fn run(&self, _run: &RunId) -> Option<RunFacts> {
        // What was cut off goes on as another run, or not at all.
        self.ended().is_none().then(|| self.facts.clone())
    }

    fn accounts(&self, _run: &RunId) -> Vec<AccountView> {
        let known = self.accounts.read();
        known.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn cut(&self, _run: &RunId) -> CancellationToken {
        self.cut.child_token()
    }

    fn cut_reason(&self, _run: &RunId) -> ReasonCode {
        self.ended().unwrap_or(ReasonCode::Withdrawn)
    }

    async fn decide(&self, submission: Submission) -> Result<Leave, Refusal> {
        let lane = self.lane();
        let (request, exact) = (submission.request.clone(), submission.exact.digest());
        let internal = || Refusal::new(request.clone(), ReasonCode::Internal);
        let (call, answer) = lane.ask();
        let _waiting = Waiting { lane, call };
        lane.to
            .send(
                &FromGateway::Decide {
                    call,
                    submission: Box::new(submission),
                },
                &[],
            )
            .map_err(|_| internal())?;
        match answer.await {
            Ok(Answer::Released(held)) => Ok(Leave { held, exact }),
            Ok(Answer::Refused(refusal)) => Err(refusal),
            Ok(Answer::Recorded) | Err(_) => Err(internal()),
        }
    }

    async fn redeem(&self, permit: Leave, exact: &ExactRequest) -> Result<Release, Refusal> {
        let Leave {
            held,
            exact: judged,
        } = permit;
        let (lane, call) = (Arc::clone(&held.lane), held.call);
        let refused = |request, reason| Err(Refusal::new(request, reason));
        // It was released to be sent as it was judged, and not otherwise.
        let same = exact.digest() == judged;
        let Some(release) = held.take() else {
            // There is one until it is taken.
            return refused(RequestId::from_random([0; 10]), ReasonCode::Internal);
        };
        let reason = match self.ended() {
            Some(reason) => reason,
            None if same => {
                let request = release.request.clone();
                lock(&self.released).insert(request, (lane, call));
                return Ok(release);
            }
            None => ReasonCode::Changed,
        };
        let request = release.request;
        lane.settle(
            call,
            Settled::without_bytes(request.clone(), Outcome::NotSent { reason }),
        );
        refused(request, reason)
    }

    fn settle(&self, settled: Settled) {
        if let Some((lane, call)) = lock(&self.released).remove(&settled.request) {
            lane.settle(call, settled);
        }
    }

    async fn connect(&self, _run: &RunId, to: &Destination) -> Result<Line, NotConnected> {
        let to = to.clone();
        let mut held = None;
        let wish = |call| {
            held = Some(Closes {
                control: Arc::clone(&self.control),
                call,
                in_order: false,
            });
            Wish::Connect { call, to }
        };
        match self.wish(wish).await {
            Ok((None, Some(connection))) => Ok(Line {
                tcp: connection.into(),
                held: Box::new(held.ok_or(NotConnected::Unreachable)?),
            }),
            Ok((Some(why), _)) => Err(why),
            Ok((None, None)) | Err(_) => Err(NotConnected::Unreachable),
        }
    }

    async fn spool(&self, _run: &RunId) -> io::Result<File> {
        let (_, file) = self.wish(|call| Wish::Spool { call }).await?;
        file.map(File::from)
            .ok_or(io::ErrorKind::StorageFull.into())
    }

    async fn reject(&self, rejected: Rejected) {
        let lane = self.lane();
        let (call, answer) = lane.ask();
        let sent = lane.to.send(&FromGateway::Reject { call, rejected }, &[]);
        if sent.is_ok() {
            let _ = answer.await;
        }
    }
}
