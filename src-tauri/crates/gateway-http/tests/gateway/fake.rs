//! A broker that tests can steer.

use async_trait::async_trait;
use countersign_broker::{
    AccountView, Countersigner, Destination, Line, LineHeld, NotConnected, Presented, Rejected,
    Release, Submission,
};
use countersign_model::{
    Digest, ExactRequest, Foreign, ReasonCode, Refusal, RequestId, RunFacts, RunId, Settled,
};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    Allow,
    Deny(ReasonCode),
    /// Wait for [`Fake::answer`].
    Ask,
    /// Allow, but hold a permit for another request.
    Swap,
}

pub struct Permit {
    request: RequestId,
    exact: Digest,
    account: String,
}

pub struct Fake {
    pub plan: Mutex<Plan>,
    pub accounts: Mutex<Vec<AccountView>>,
    pub presented: Mutex<HashMap<String, Presented>>,
    pub answer: Notify,
    pub asking: AtomicUsize,
    pub withdrawn: AtomicUsize,
    pub decided: Mutex<Vec<Submission>>,
    pub redeemed: AtomicUsize,
    pub settled: Mutex<Vec<Settled>>,
    pub rejected: Mutex<Vec<Rejected>>,
    pub ended: AtomicBool,
    pub stop: Mutex<CancellationToken>,
    /// Cut of what is released, apart from the stop.
    pub account_cut: CancellationToken,
}

impl Fake {
    pub fn new() -> Self {
        Self {
            plan: Mutex::new(Plan::Allow),
            accounts: Mutex::default(),
            presented: Mutex::default(),
            answer: Notify::new(),
            asking: AtomicUsize::new(0),
            withdrawn: AtomicUsize::new(0),
            decided: Mutex::default(),
            redeemed: AtomicUsize::new(0),
            settled: Mutex::default(),
            rejected: Mutex::default(),
            ended: AtomicBool::new(false),
            stop: Mutex::new(CancellationToken::new()),
            account_cut: CancellationToken::new(),
        }
    }
    pub fn plan(&self, plan: Plan) {
        *self.plan.lock().unwrap() = plan;
    }
    pub fn engage_stop(&self) {
        self.stop.lock().unwrap().cancel();
    }
    pub fn lift_stop(&self) {
        *self.stop.lock().unwrap() = CancellationToken::new();
    }
    fn is_stopped(&self) -> bool {
        self.stop.lock().unwrap().is_cancelled()
    }
}

struct Asking<'a>(&'a Fake, bool);
impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::SeqCst);
        if !self.1 {
            self.0.withdrawn.fetch_add(1, Ordering::SeqCst);
        }
    }
}

struct Unheld;

impl LineHeld for Unheld {
    fn closed(self: Box<Self>, _: bool) {}
}

#[async_trait]
impl Countersigner for Fake {
    type Permit = Permit;

    fn new_request(&self, _: &RunId) -> Result<RequestId, ReasonCode> {
        if self.is_stopped() {
            return Err(ReasonCode::Stopped);
        }
        let mut random = [0; 10];
        getrandom::fill(&mut random).unwrap();
        Ok(RequestId::from_random(random))
    }
    fn run(&self, run: &RunId) -> Option<RunFacts> {
        (!self.ended.load(Ordering::SeqCst)).then(|| RunFacts {
            run: run.clone(),
            agent: "bot".parse().unwrap(),
            task: Foreign::new("testing"),
            argv: vec![],
            folder: Foreign::new("/"),
            contained: true,
            stop: countersign_model::StopMeans::Kill,
            goes_on_from: None,
            ports: Vec::new(),
            host_ports: Vec::new(),
        })
    }
    fn accounts(&self, _: &RunId) -> Vec<AccountView> {
        self.accounts.lock().unwrap().clone()
    }
    fn cut(&self, _: &RunId) -> CancellationToken {
        self.stop.lock().unwrap().clone()
    }
    fn cut_reason(&self, _: &RunId) -> ReasonCode {
        ReasonCode::Stopped
    }
    async fn decide(&self, submission: Submission) -> Result<Permit, Refusal> {
        let request = submission.request.clone();
        let account = submission.account.as_str().to_owned();
        let exact = submission.exact.digest();
        self.decided.lock().unwrap().push(submission);
        let plan = *self.plan.lock().unwrap();
        match plan {
            Plan::Allow => Ok(Permit {
                request,
                exact,
                account,
            }),
            Plan::Swap => Ok(Permit {
                request,
                exact: Digest::of(b"another"),
                account,
            }),
            Plan::Deny(reason) => Err(Refusal::new(request, reason)),
            Plan::Ask => {
                self.asking.fetch_add(1, Ordering::SeqCst);
                let mut asking = Asking(self, false);
                let stop = self.stop.lock().unwrap().clone();
                let stopped = tokio::select! {
                    () = self.answer.notified() => false,
                    () = stop.cancelled() => true,
                };
                asking.1 = true;
                if stopped {
                    Err(Refusal::new(request, ReasonCode::Stopped))
                } else {
                    Ok(Permit {
                        request,
                        exact,
                        account,
                    })
                }
            }
        }
    }
    async fn redeem(&self, permit: Permit, exact: &ExactRequest) -> Result<Release, Refusal> {
        if permit.exact != exact.digest() {
            return Err(Refusal::new(permit.request, ReasonCode::Changed));
        }
        if self.is_stopped() {
            return Err(Refusal::new(permit.request, ReasonCode::Stopped));
        }
        self.redeemed.fetch_add(1, Ordering::SeqCst);
        let presented = self.presented.lock().unwrap().get(&permit.account).cloned();
        Ok(Release {
            request: permit.request,
            presented: presented.unwrap_or(Presented::nothing()),
            cut: self.account_cut.child_token(),
        })
    }
    fn settle(&self, settled: Settled) {
        self.settled.lock().unwrap().push(settled);
    }
    async fn connect(&self, _: &RunId, to: &Destination) -> Result<Line, NotConnected> {
        let accounts = self.accounts.lock().unwrap().clone();
        let mut accounts = accounts.iter().map(|view| &view.account);
        let account = accounts
            .find(|a| a.id == to.account && a.has_host(&to.host) && a.port == to.port)
            .ok_or(NotConnected::NotTheirs)?;
        let place = account.connect_to.as_deref().ok_or(NotConnected::Private)?;
        let tcp = tokio::net::TcpStream::connect(place).await;
        let tcp = tcp.and_then(tokio::net::TcpStream::into_std);
        Ok(Line {
            tcp: tcp.map_err(|_| NotConnected::Unreachable)?,
            held: Box::new(Unheld),
        })
    }
    async fn spool(&self, _: &RunId) -> io::Result<File> {
        tempfile::tempfile()
    }
    async fn reject(&self, rejected: Rejected) {
        self.rejected.lock().unwrap().push(rejected);
    }
}
