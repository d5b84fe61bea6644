//! The decision path: read this file to know when a credential is used.
//!
//! [`Countersigner::decide`]: stop? run? configuration? account? policy? human?
//! record → [`Permit`]. [`Countersigner::redeem`]: the same request? in time?
//! stop? run? account? → the credential. Whatever goes wrong denies, and says
//! which.

use crate::broker::{Broker, random};
use crate::desk::{Asking, Heard, QUESTION_LIFE};
use crate::force::Force;
use crate::permit::{Bound, Permit};
use crate::port::{AccountView, Countersigner, Rejected, Release, Submission};
use crate::runs::Run;
use async_trait::async_trait;
use countersign_ledger::Durability;
use countersign_model::{
    Account, Action, Approval, Assurance, BodyCommitment, DataPreview, Decision, Digest, Effect,
    Event, ExactRequest, Foreign, Outcome, QuestionId, ReasonCode, Refusal, RequestId, Requested,
    RunFacts, RunId, Scheme, Settled, Verdict,
};
use countersign_protocol::surface::{About, RequestQuestion};
use countersign_vault::Presented;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A permit not used within this time is none. A gateway uses it at once.
const PERMIT_LIFE: Duration = Duration::from_secs(30);
/// A publication's whole text must fit here to be approved in a notification,
/// in characters.
const PUBLISH_FITS: usize = 240;

#[async_trait]
impl Countersigner for Broker {
    type Permit = Permit;

    fn new_request(&self) -> Result<RequestId, ReasonCode> {
        if self.inner.stop.is_engaged() {
            return Err(ReasonCode::Stopped);
        }
        Ok(RequestId::from_random(random()?))
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
            .map(|account| AccountView {
                credential: self.credential_for(account),
                account: Arc::clone(account),
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

    async fn decide(&self, submission: Submission) -> Result<Permit, Refusal> {
        // The handle first, the questions after: see `stop`.
        let cut = self.cut(&submission.run);
        let mut case = Case::of(&submission);
        match self.decide_case(&submission, &mut case, cut).await {
            Ok(permit) => Ok(permit),
            Err(refusal) => {
                // A request that goes on waiting is no decision; its question
                // is in `requests`, its answer will be in the record.
                if refusal.reason != ReasonCode::Waiting {
                    self.record_refusal(&submission, case, &refusal);
                }
                Err(refusal)
            }
        }
    }

    async fn redeem(&self, permit: Permit, exact: &ExactRequest) -> Result<Release, Refusal> {
        let request = permit.request().clone();
        match self.release(permit, exact).await {
            Ok(release) => Ok(release),
            Err(reason) => {
                // The record before says that it was allowed: say that nothing left.
                self.settle(not_sent(&request, reason));
                Err(Refusal::new(request, reason))
            }
        }
    }

    fn settle(&self, settled: Settled) {
        self.inner
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&settled.request);
        self.record_later(Event::Settled(settled));
    }

    fn reject(&self, rejected: Rejected) {
        let Some(run) = self.inner.runs.get(&rejected.run) else { return };
        run.counted();
        self.record_later(Event::Requested(Box::new(Requested {
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
        })));
    }
}

/// What is known so far of a request that is being decided: what its record
/// will say, however it ends.
struct Case {
    verdict: Option<Verdict>,
    rules: Vec<String>,
    config: Digest,
    exact: Digest,
    detail: Option<Foreign>,
}

impl Case {
    fn of(submission: &Submission) -> Self {
        Self {
            verdict: None,
            rules: Vec::new(),
            config: nothing_accepted(),
            exact: submission.exact.digest(),
            detail: None,
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
        let run = self.inner.runs.get(&s.run).ok_or_else(|| no(ReasonCode::Withdrawn))?;
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
        let approval = match verdict {
            Verdict::Deny => return Err(no(ReasonCode::Policy)),
            Verdict::Allow => None,
            Verdict::Ask(assurance) => {
                let approval = self.ask(s, &run, &force, assurance, case).await?;
                // Much can have happened while the human was reading.
                if self.inner.stop.is_engaged() {
                    return Err(no(ReasonCode::Stopped));
                }
                let now_in_force = self.force().ok_or_else(|| no(ReasonCode::NotAccepted))?;
                if now_in_force.digest != force.digest {
                    return Err(no(ReasonCode::Changed));
                }
                Some(approval)
            }
        };
        self.permit(s, case, &run, account, verdict, approval, cut).await.map_err(no)
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
            && exact.account_digest == account.digest()
            && account.has_host(&exact.host)
            && (exact.port == account.port || exact.scheme == Scheme::Http && account.plaintext)
            && (exact.scheme == Scheme::Https || account.plaintext);
        if same { Ok(Arc::clone(account)) } else { Err(ReasonCode::Changed) }
    }

    /// An account has a credential, and the request names its current version.
    async fn check_credential(&self, s: &Submission, account: &Account) -> Result<(), ReasonCode> {
        if account.is_site() {
            return if s.exact.credential.is_none() { Ok(()) } else { Err(ReasonCode::Changed) };
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
        let (agent, _) = force.agent(&run.facts.agent).ok_or(ReasonCode::NotAssigned)?;
        let now = self.inner.clock.boot();
        let recent = self
            .inner
            .usage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recent(&agent.id, &account.id, now);
        let judgement = force.policies.judge(agent, account, &s.action, &recent);
        case.rules = judgement.rules;
        if let Some(error) = judgement.error {
            case.verdict = Some(Verdict::Deny);
            case.detail = Some(Foreign::new(error));
            return Err(ReasonCode::PolicyError);
        }
        let verdict = match judgement.verdict {
            Verdict::Ask(assurance) => Verdict::Ask(assurance.max(needed_to_read(&s.action, &s.preview))),
            verdict => verdict,
        };
        case.verdict = Some(verdict);
        Ok(verdict)
    }

    async fn ask(
        &self,
        s: &Submission,
        run: &Run,
        force: &Force,
        assurance: Assurance,
        case: &mut Case,
    ) -> Result<Approval, Refusal> {
        let no = |reason| Refusal::new(s.request.clone(), reason);
        let agent = &run.facts.agent;
        let effects = s.action.effects;
        if self.denials().standing(agent, &s.account, effects).is_some() {
            return Err(no(ReasonCode::DeniedRepeatedly));
        }
        let about = About::Request(Box::new(RequestQuestion {
            request: s.request.clone(),
            agent: agent.clone(),
            run: s.run.clone(),
            task: run.facts.task.clone(),
            contained: run.facts.contained,
            action: s.action.clone(),
            target: Foreign::new(format!("{} {}", s.exact.method, s.exact.url())),
            preview: s.preview.clone(),
            rules: case.rules.clone(),
        }));
        let asking = Asking {
            about,
            assurance,
            run: Some(s.run.clone()),
            key: same_question(s, &case.config, assurance),
            life: QUESTION_LIFE,
            hold: Duration::from_secs(force.config.approvals.hold_seconds),
        };
        let id = QuestionId::from_random(random().map_err(no)?);
        match self.inner.desk.ask(id, asking).await {
            Heard::Yes(approval) => Ok(approval),
            Heard::StillOpen(about) => {
                let asked = match &about {
                    About::Request(first) => first.request.clone(),
                    _ => s.request.clone(),
                };
                Err(Refusal::with(
                    asked.clone(),
                    ReasonCode::Waiting,
                    format!("Still waiting for the user, request {asked}. Repeat the identical request to keep waiting, or do other work."),
                ))
            }
            Heard::No { reason, because, .. } => {
                if reason == ReasonCode::DeniedByHuman {
                    let now = self.inner.clock.boot();
                    if !self.denials().denied(agent, &s.account, effects, now).is_empty() {
                        self.publish();
                    }
                }
                case.detail = because.as_deref().map(Foreign::new);
                Err(match because {
                    Some(words) => Refusal::with(
                        s.request.clone(),
                        reason,
                        format!("{} They say: {}", reason.advice(), Foreign::new(words).quoted(500)),
                    ),
                    None => no(reason),
                })
            }
        }
    }

    /// Guarantee G2: the record is durable before the permit exists.
    #[allow(clippy::too_many_arguments, reason = "each is one thing the record says")]
    async fn permit(
        &self,
        s: &Submission,
        case: &Case,
        run: &Run,
        account: Arc<Account>,
        verdict: Verdict,
        approval: Option<Approval>,
        cut: CancellationToken,
    ) -> Result<Permit, ReasonCode> {
        let durability = if s.action.routine && verdict == Verdict::Allow {
            Durability::Routine
        } else {
            Durability::Full
        };
        let record = Requested {
            approval,
            decision: Decision::Allow,
            reason: None,
            ..requested(s, run, case)
        };
        let record = self.record_of(Event::Requested(Box::new(record)));
        let receipt = self
            .inner
            .ledger
            .append(record, durability)
            .await
            .map_err(|_| ReasonCode::LedgerFailed)?;
        let now = self.inner.clock.boot();
        self.inner.usage.lock().unwrap_or_else(PoisonError::into_inner).count(
            &run.facts.agent,
            &account.id,
            s.action.objects.count.unwrap_or(1),
            now,
        );
        self.inner
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(s.request.clone(), s.run.clone());
        Permit::from_receipt(
            receipt,
            Bound {
                request: s.request.clone(),
                run: s.run.clone(),
                credential: s.exact.credential.clone(),
                exact: case.exact,
                config: case.config,
                expires: now + PERMIT_LIFE,
                account,
                cut,
            },
        )
    }

    /// The one place where a credential leaves the vault for a request.
    async fn release(&self, permit: Permit, exact: &ExactRequest) -> Result<Release, ReasonCode> {
        let bound = permit.use_up(exact, self.inner.clock.boot()).map_err(|(_, reason)| reason)?;
        let force = self.force().ok_or(ReasonCode::NotAccepted)?;
        if force.digest != bound.config && !unchanged(&force, &bound) {
            return Err(ReasonCode::Changed);
        }
        let presented = match &bound.credential {
            None => Presented::nothing(),
            Some(version) => {
                self.inner.vault.present(&bound.account, version).await.map_err(|e| e.reason())?
            }
        };
        // Last, and after every wait: the stop and the run.
        if bound.cut.is_cancelled() || self.inner.stop.is_engaged() {
            return Err(ReasonCode::Stopped);
        }
        if self.inner.runs.get(&bound.run).is_none() {
            return Err(ReasonCode::Withdrawn);
        }
        Ok(Release { request: bound.request, presented, cut: bound.cut })
    }

    fn credential_for(&self, account: &Account) -> Option<countersign_model::CredentialVersion> {
        if account.is_site() { None } else { self.credential(&account.id.clone().into()) }
    }

    fn denials(&self) -> std::sync::MutexGuard<'_, crate::denials::Denials> {
        self.inner.denials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_refusal(&self, s: &Submission, case: Case, refusal: &Refusal) {
        let Some(run) = self.inner.runs.get(&s.run) else { return };
        let record = Requested {
            reason: Some(refusal.reason),
            detail: case.detail.clone(),
            ..requested(s, &run, &case)
        };
        self.record_later(Event::Requested(Box::new(record)));
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
        target: Foreign::new(format!("{} {}", s.exact.method, s.exact.url())),
        verdict: case.verdict,
        rules: case.rules.clone(),
        approval: None,
        decision: Decision::Deny,
        reason: None,
        detail: None,
        exact: Some(case.exact),
        streamed: s.exact.body == BodyCommitment::Streamed,
        credential: s.exact.credential.clone(),
        config: case.config,
    }
}

/// Publishing is read in full before it is approved: what does not fit in a
/// notification needs the window.
fn needed_to_read(action: &Action, preview: &DataPreview) -> Assurance {
    let shown = preview.text.as_ref().map_or(0, |t| t.raw().chars().count())
        + preview.fields.iter().map(|f| f.value.raw().chars().count()).sum::<usize>();
    if action.effects.has(Effect::Publish) && !(preview.whole && shown <= PUBLISH_FITS) {
        Assurance::Window
    } else {
        Assurance::Notification
    }
}

/// The same question: the same run, the same request but for what the client
/// makes anew, judged under the same configuration, meaning the same thing.
fn same_question(s: &Submission, config: &Digest, assurance: Assurance) -> Digest {
    // Serialisation of an action cannot fail: no maps with odd keys.
    let action = serde_json::to_vec(&s.action).unwrap_or_default();
    Digest::of_parts(
        "countersign/same-question/1",
        &[
            s.run.as_str().as_bytes(),
            s.same.as_bytes(),
            &action,
            config.as_bytes(),
            &[assurance.level()],
        ],
    )
}

/// The configuration changed, but not in what this permit is about.
fn unchanged(force: &Force, bound: &Bound) -> bool {
    force.config.accounts.get(&bound.account.id).is_some_and(|now| now.digest() == bound.account.digest())
}

fn not_sent(request: &RequestId, reason: ReasonCode) -> Settled {
    Settled {
        request: request.clone(),
        outcome: Outcome::NotSent { reason },
        bytes_sent: 0,
        bytes_received: 0,
        duration_ms: 0,
        body_digest: None,
    }
}

/// Stands in records for "no configuration was accepted".
fn nothing_accepted() -> Digest {
    Digest::of(b"")
}
