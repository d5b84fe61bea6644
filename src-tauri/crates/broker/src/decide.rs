//! The decision path: read this file to know when a credential is used.
//!
//! [`Countersigner::decide`]: stop? run? configuration? account? policy? human?
//! record → [`Permit`]. [`Countersigner::redeem`]: the same request? in time?
//! stop? run? account? → the credential. Whatever goes wrong denies, and says
//! which.

use crate::broker::{Broker, random};
use crate::desk::{Asking, Heard, OfRun, QUESTION_LIFE};
use crate::force::Force;
use crate::outcomes::{Open, Unused};
use crate::permit::{Bound, Permit};
use crate::port::{
    AccountView, Countersigner, Destination, Line, NotConnected, Rejected, Release, Submission,
};
use crate::question::{about, needed_to_read, same_question, target};
use crate::runs::Run;
use crate::usage::Share;
use async_trait::async_trait;
use countersign_ledger::Durability;
use countersign_model::{
    Account, Approval, Assurance, BodyCommitment, CredentialKind, CredentialVersion, Decision,
    Digest, Event, ExactRequest, Foreign, QuestionId, ReasonCode, Refusal, RequestId, Requested,
    RunFacts, RunId, Scheme, Settled, Verdict,
};
use countersign_policy::Recent;
use countersign_vault::Presented;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long an agent that is refused waits for the record of it.
const REFUSAL_WAITS: Duration = Duration::from_secs(2);
/// A permit not used within this time is none. A gateway uses it at once.
const PERMIT_LIFE: Duration = Duration::from_secs(30);

#[async_trait]
impl Countersigner for Broker {
    type Permit = Permit;

    fn new_request(&self, run: &RunId) -> Result<RequestId, ReasonCode> {
        if self.inner.stop.is_engaged() {
            return Err(ReasonCode::Stopped);
        }
        let run = self.inner.runs.get(run).ok_or(ReasonCode::Withdrawn)?;
        Ok(RequestId::next(run.next(), random()?))
    }

    fn run(&self, run: &RunId) -> Option<RunFacts> {
        self.inner.runs.get(run).map(|r| r.facts.clone())
    }

    fn accounts(&self, run: &RunId) -> Vec<AccountView> {
        let (Some(run), Some(force)) = (self.inner.runs.get(run), self.force()) else {
            return Vec::new();
        };
        force
            .config
            .accounts_of(&run.facts.agent)
            .filter_map(|account| {
                Some(AccountView {
                    credential: self.credential_for(account),
                    digest: force.digest_of(&account.id)?,
                    account: Arc::clone(account),
                })
            })
            .collect()
    }

    fn cut(&self, run: &RunId) -> CancellationToken {
        self.inner.runs.get(run).map_or_else(
            || {
                let ended = CancellationToken::new();
                ended.cancel();
                ended
            },
            |r| r.cut.child_token(),
        )
    }

    fn cut_reason(&self, run: &RunId) -> ReasonCode {
        self.still_runs(run).err().unwrap_or(ReasonCode::Withdrawn)
    }

    async fn decide(&self, submission: Submission) -> Result<Permit, Refusal> {
        // The handle first, the questions after: see `stop`.
        let cut = self.cut(&submission.run);
        let mut case = Case::of(&submission);
        match self.decide_case(&submission, &mut case, cut).await {
            Ok(permit) => Ok(permit),
            Err(refusal) => {
                // A request that goes on waiting is no decision; the desk sees
                // to its record.
                if refusal.reason != ReasonCode::Waiting {
                    self.record_refusal(&submission, &case, &refusal).await;
                }
                Err(refusal)
            }
        }
    }

    async fn redeem(&self, permit: Permit, exact: &ExactRequest) -> Result<Release, Refusal> {
        let (bound, unused) = permit.use_up();
        match self.present(&bound, exact).await {
            Ok(presented) => {
                unused.released();
                Ok(Release {
                    request: bound.request,
                    presented,
                    cut: bound.cut,
                })
            }
            Err(reason) => {
                // The record before says that it was allowed: say that nothing left.
                unused.refused(reason);
                Err(Refusal::new(bound.request, reason))
            }
        }
    }

    fn settle(&self, settled: Settled) {
        self.settle_open(self.cut_if_stopped(settled));
    }

    async fn connect(&self, run: &RunId, to: &Destination) -> Result<Line, NotConnected> {
        self.dial(run, to).await
    }

    async fn spool(&self, _run: &RunId) -> io::Result<File> {
        tempfile::tempfile_in(&self.inner.spool)
    }

    async fn reject(&self, rejected: Rejected) {
        let Some(run) = self.inner.runs.get(&rejected.run) else {
            return;
        };
        run.counted();
        let refused = Requested {
            request: rejected.request,
            run: Some(rejected.run),
            agent: run.facts.agent.clone(),
            contained: run.facts.contained,
            action: None,
            account: None,
            target: rejected.target,
            verdict: None,
            rules: Vec::new(),
            approval: None,
            decision: Decision::Deny,
            reason: Some(rejected.reason),
            detail: rejected.detail,
            exact: None,
            streamed: false,
            credential: None,
            config: self.force().map_or_else(nothing_accepted, |f| f.digest),
        };
        self.record_refused(&run, refused).await;
    }
}

/// What is known so far of a request that is being decided: what its record
/// will say, however it ends.
struct Case {
    verdict: Option<Verdict>,
    rules: Vec<String>,
    config: Digest,
    exact: Digest,
    approval: Option<Approval>,
    detail: Option<Foreign>,
    /// What it was judged by.
    recent: Recent,
}

impl Case {
    fn of(submission: &Submission) -> Self {
        Self {
            verdict: None,
            rules: Vec::new(),
            config: nothing_accepted(),
            exact: submission.exact.digest(),
            approval: None,
            detail: None,
            recent: Recent::default(),
        }
    }
}

impl Broker {
    async fn decide_case(
        &self,
        s: &Submission,
        case: &mut Case,
        cut: CancellationToken,
    ) -> Result<Permit, Refusal> {
        let no = |reason| Refusal::new(s.request.clone(), reason);
        if self.inner.stop.is_engaged() {
            return Err(no(ReasonCode::Stopped));
        }
        let run = self
            .inner
            .runs
            .get(&s.run)
            .ok_or_else(|| no(ReasonCode::Withdrawn))?;
        run.counted();
        if let Some(why) = self.inner.ledger.has_failed() {
            case.detail = Some(Foreign::new(why));
            return Err(no(ReasonCode::LedgerFailed));
        }

        let force = self.force().ok_or_else(|| no(ReasonCode::NotAccepted))?;
        let account = self.check(s, &run, &force).map_err(no)?;
        case.config = force.digest;
        self.check_credential(s, &account).await.map_err(no)?;

        let verdict = self.judge(s, &run, &force, &account, case).map_err(no)?;
        match verdict {
            Verdict::Deny => return Err(no(ReasonCode::Policy)),
            Verdict::Allow => {}
            Verdict::Ask(assurance) => {
                self.ask(s, &run, &force, assurance, cut.clone(), case)
                    .await?;
                // Much can have happened while the human was reading.
                self.still_runs(&s.run).map_err(no)?;
                let now_in_force = self.force().ok_or_else(|| no(ReasonCode::NotAccepted))?;
                if now_in_force.digest != force.digest {
                    return Err(no(ReasonCode::Changed));
                }
            }
        }
        self.permit(s, case, &run, (&force, account), verdict, cut)
            .await
            .map_err(no)
    }

    /// The account is one of the agent's, and is what the gateway thinks it is.
    fn check(&self, s: &Submission, run: &Run, force: &Force) -> Result<Arc<Account>, ReasonCode> {
        let account = force
            .config
            .accounts_of(&run.facts.agent)
            .find(|a| a.id == s.account)
            .ok_or(ReasonCode::NotAssigned)?;
        let exact = &s.exact;
        let same = s.action.account == account.id
            && s.action.environment == account.environment
            && force.digest_of(&account.id) == Some(exact.account_digest)
            && account.has_host(&exact.host)
            && (exact.port == account.port || exact.scheme == Scheme::Http && account.plaintext)
            && (exact.scheme == Scheme::Https || account.plaintext);
        if same {
            Ok(Arc::clone(account))
        } else {
            Err(ReasonCode::Changed)
        }
    }

    /// An account has a credential, and the request names its current version.
    async fn check_credential(&self, s: &Submission, account: &Account) -> Result<(), ReasonCode> {
        if account.is_site() {
            return if s.exact.credential.is_none() {
                Ok(())
            } else {
                Err(ReasonCode::Changed)
            };
        }
        match &s.exact.credential {
            Some(named) if self.credential_for(account).as_ref() == Some(named) => Ok(()),
            Some(_) => Err(ReasonCode::Changed),
            // Perhaps the keyring was locked when we last looked: look again,
            // for the next try; and say why there is none.
            None => match self.learn_credentials().await {
                Ok(()) => Err(ReasonCode::NoCredential),
                Err(error) => Err(error.reason()),
            },
        }
    }

    fn judge(
        &self,
        s: &Submission,
        run: &Run,
        force: &Force,
        account: &Account,
        case: &mut Case,
    ) -> Result<Verdict, ReasonCode> {
        if s.action.effects.is_empty() {
            return Err(ReasonCode::NoEffects);
        }
        let (agent, _) = force
            .agent(&run.facts.agent)
            .ok_or(ReasonCode::NotAssigned)?;
        let now = self.inner.clock.boot();
        let recent = self.usage().recent(&agent.id, &account.id, now);
        case.recent = recent;
        let judgement = force.policies.judge(agent, account, &s.action, &recent);
        case.rules = judgement.rules;
        if let Some(error) = judgement.error {
            case.verdict = Some(Verdict::Deny);
            case.detail = Some(Foreign::new(error));
            return Err(ReasonCode::PolicyError);
        }
        let verdict = match judgement.verdict {
            Verdict::Ask(assurance) => {
                Verdict::Ask(assurance.max(needed_to_read(&s.action, &s.preview)))
            }
            verdict => verdict,
        };
        case.verdict = Some(verdict);
        Ok(verdict)
    }

    /// Asks the human, and waits. What they said is in the case.
    async fn ask(
        &self,
        s: &Submission,
        run: &Run,
        force: &Force,
        assurance: Assurance,
        cut: CancellationToken,
        case: &mut Case,
    ) -> Result<(), Refusal> {
        let no = |reason| Refusal::new(s.request.clone(), reason);
        let standing = self
            .denials()
            .standing(&run.facts.agent, &s.account, s.action.effects);
        if standing.is_some() {
            return Err(no(ReasonCode::DeniedRepeatedly));
        }
        let asking = Asking {
            about: about(s, run, case.rules.clone()),
            assurance,
            key: same_question(s, &case.config, assurance),
            life: QUESTION_LIFE,
            hold: Duration::from_secs(force.config.approvals.hold_seconds),
            of_run: Some(OfRun {
                run: s.run.clone(),
                cut,
                record: requested(s, run, case),
            }),
        };
        let id = QuestionId::from_random(random().map_err(no)?);
        // So that whoever reads the question sees what the run did before.
        self.publish();
        match self.inner.desk.ask(id, asking).await {
            Heard::Yes(approval) => {
                case.approval = Some(approval);
                Ok(())
            }
            Heard::StillOpen(first) => {
                Err(still_waiting(first.unwrap_or_else(|| s.request.clone())))
            }
            Heard::No(heard) => {
                case.approval = heard.answer;
                case.detail = heard.because.as_deref().map(Foreign::new);
                Err(match heard.because {
                    Some(words) => Refusal::with(
                        s.request.clone(),
                        heard.reason,
                        format!(
                            "{} They say: {}",
                            heard.reason.advice(),
                            Foreign::new(words).quoted(500)
                        ),
                    ),
                    None => no(heard.reason),
                })
            }
        }
    }

    /// Takes the request's share of what may be used lately, if policy still says
    /// so: others may have taken theirs since it was judged, while the human read
    /// or at the same time.
    fn take_share(
        &self,
        s: &Submission,
        case: &mut Case,
        run: &Run,
        force: &Force,
        account: &Account,
    ) -> Result<Share, ReasonCode> {
        let (agent, _) = force
            .agent(&run.facts.agent)
            .ok_or(ReasonCode::NotAssigned)?;
        let now = self.inner.clock.boot();
        // One after the other: what is read is what is taken from.
        let mut usage = self.usage();
        let recent = usage.recent(&agent.id, &account.id, now);
        if recent != case.recent {
            let again = force.policies.judge(agent, account, &s.action, &recent);
            let given = case.approval.as_ref().map(|approval| approval.assurance);
            let holds = match again.verdict {
                Verdict::Allow => true,
                Verdict::Ask(needed) => given.is_some_and(|given| given >= needed),
                Verdict::Deny => false,
            };
            let error = again.error.map(Foreign::new);
            if error.is_some() || !holds {
                // The record says what policy said last, and why.
                case.verdict = Some(again.verdict);
                case.rules = again.rules;
                case.recent = recent;
                let reason = match error {
                    Some(_) => ReasonCode::PolicyError,
                    None => ReasonCode::Policy,
                };
                case.detail = error;
                return Err(reason);
            }
        }
        let objects = s.action.objects.count.unwrap_or(1);
        Ok(usage.take(&agent.id, &account.id, objects, now))
    }

    /// Guarantee G2: the record is durable before the permit exists.
    async fn permit(
        &self,
        s: &Submission,
        case: &mut Case,
        run: &Run,
        (force, account): (&Force, Arc<Account>),
        verdict: Verdict,
        cut: CancellationToken,
    ) -> Result<Permit, ReasonCode> {
        let durability = if s.action.routine && verdict == Verdict::Allow {
            Durability::Routine
        } else {
            Durability::Full
        };
        let open = Open {
            run: s.run.clone(),
            agent: run.facts.agent.clone(),
            account: Arc::clone(&account),
            share: self.take_share(s, case, run, force, &account)?,
            cut: cut.clone(),
        };
        let unused = Unused::begin(self, &s.request, open)?;
        let record = Requested {
            decision: Decision::Allow,
            reason: None,
            ..requested(s, run, case)
        };
        let receipt = match self
            .record(Event::Requested(Box::new(record)), durability)
            .await
        {
            Ok(receipt) => receipt,
            Err(reason) => {
                unused.never_allowed();
                return Err(reason);
            }
        };
        let bound = Bound {
            request: s.request.clone(),
            run: s.run.clone(),
            credential: s.exact.credential.clone(),
            exact: case.exact,
            config: case.config,
            expires: self.inner.clock.boot() + PERMIT_LIFE,
            account,
            cut,
        };
        Permit::from_receipt(receipt, bound, unused)
    }

    /// The one place where a credential leaves the vault for a request.
    async fn present(&self, bound: &Bound, exact: &ExactRequest) -> Result<Presented, ReasonCode> {
        if !bound.is_for(exact) {
            return Err(ReasonCode::Changed);
        }
        self.still_good(bound)?;
        let presented = match &bound.credential {
            None => Presented::nothing(),
            Some(version) => {
                let (vault, account) = (&self.inner.vault, &bound.account);
                let presented = match &account.credential {
                    // By the host that was judged, whatever the agent said.
                    CredentialKind::Aws(settings) => {
                        let scope = countersign_catalogue::aws_scope(settings, &exact.host)
                            .ok_or(ReasonCode::Unsupported)?;
                        vault.sign(account, version, exact, &scope).await
                    }
                    _ => vault.present(account, version).await,
                };
                presented.map_err(|e| e.reason())?
            }
        };
        // Last, and after every wait.
        self.still_good(bound)?;
        Ok(presented)
    }

    /// In time, nothing stopped, the run alive, and in force what was judged by.
    fn still_good(&self, bound: &Bound) -> Result<(), ReasonCode> {
        self.still_runs(&bound.run)?;
        if self.inner.clock.boot() >= bound.expires {
            return Err(ReasonCode::Expired);
        }
        let force = self.force().ok_or(ReasonCode::NotAccepted)?;
        if force.digest != bound.config || bound.cut.is_cancelled() {
            return Err(ReasonCode::Changed);
        }
        Ok(())
    }

    fn credential_for(&self, account: &Account) -> Option<CredentialVersion> {
        if account.is_site() {
            None
        } else {
            self.credential(&account.id.clone().into())
        }
    }

    async fn record_refusal(&self, s: &Submission, case: &Case, refusal: &Refusal) {
        let Some(run) = self.inner.runs.get(&s.run) else {
            return;
        };
        let refused = Requested {
            reason: Some(refusal.reason),
            ..requested(s, &run, case)
        };
        self.record_refused(&run, refused).await;
    }

    /// Waits for the record, so that nobody is refused faster than the trail
    /// takes. It is refused whether or not it could be written down: a trail that
    /// takes nothing more says so itself, and one that hangs holds no refusal up.
    async fn record_refused(&self, run: &Arc<Run>, refused: Requested) {
        if self.only_counts(run, &refused).await {
            return;
        }
        let recorded = self.record_aside(Event::Requested(Box::new(refused)));
        let _ = tokio::time::timeout(REFUSAL_WAITS, recorded).await;
    }
}

/// What a record says of a submission; denied until somebody says otherwise.
fn requested(s: &Submission, run: &Run, case: &Case) -> Requested {
    Requested {
        request: s.request.clone(),
        run: Some(s.run.clone()),
        agent: run.facts.agent.clone(),
        contained: run.facts.contained,
        action: Some(s.action.clone()),
        account: Some(s.account.clone()),
        target: target(s),
        verdict: case.verdict,
        rules: case.rules.clone(),
        approval: case.approval.clone(),
        decision: Decision::Deny,
        reason: None,
        detail: case.detail.clone(),
        exact: Some(case.exact),
        streamed: s.exact.body == BodyCommitment::Streamed,
        credential: s.exact.credential.clone(),
        config: case.config,
    }
}

/// The connection was held long enough; the question stays.
fn still_waiting(asked: RequestId) -> Refusal {
    let words = format!(
        "Still waiting for the user, request {asked}. Repeat the identical request to keep waiting, or do other work."
    );
    Refusal::with(asked, ReasonCode::Waiting, words)
}

/// Stands in records for "no configuration was accepted".
fn nothing_accepted() -> Digest {
    Digest::of(b"")
}
