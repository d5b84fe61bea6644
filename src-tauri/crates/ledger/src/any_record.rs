//! Records of every kind, for property tests.

use countersign_model::{
    AccountId, Action, AgentId, Answer, Approval, Assurance, AuditRecord, CredentialVersion,
    Decision, Digest, Effect, Environment, Event, Foreign, InstallId, Objects, Outcome, PassageTo,
    Passed, Provider, QuestionId, ReasonCode, RequestId, Requested, RunFacts, RunId, Settled,
    StopMeans, StopTrigger, SurfaceKind, Timestamp, Tokens, Verdict, Words,
};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Whole numbers that a double holds.
fn number() -> impl Strategy<Value = u64> {
    0..(1_u64 << 53)
}
fn foreign() -> impl Strategy<Value = Foreign> {
    any::<String>().prop_map(Foreign::new)
}
fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}
fn name() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9_-]{0,20}"
}
fn agent() -> impl Strategy<Value = AgentId> {
    name().prop_map(|name| name.parse().unwrap())
}
fn account() -> impl Strategy<Value = AccountId> {
    name().prop_map(|name| name.parse().unwrap())
}
fn request() -> impl Strategy<Value = RequestId> {
    any::<[u8; 10]>().prop_map(RequestId::from_random)
}
fn run() -> impl Strategy<Value = RunId> {
    any::<[u8; 8]>().prop_map(RunId::from_random)
}
fn time() -> impl Strategy<Value = Timestamp> {
    ((1 - (1_i64 << 53))..(1_i64 << 53)).prop_map(Timestamp::from_unix_ms)
}
fn credential() -> impl Strategy<Value = CredentialVersion> {
    (name(), number()).prop_map(|(id, version)| CredentialVersion {
        id: id.parse().unwrap(),
        version,
    })
}
fn assurance() -> impl Strategy<Value = Assurance> {
    select(Assurance::ALL.to_vec())
}
fn reason() -> impl Strategy<Value = ReasonCode> {
    select(vec![
        ReasonCode::DeniedByHuman,
        ReasonCode::TimedOut,
        ReasonCode::Stopped,
        ReasonCode::LedgerFailed,
    ])
}

fn action() -> impl Strategy<Value = Action> {
    let words = prop::collection::vec((any::<String>(), foreign()), 0..4).prop_map(|pieces| {
        pieces
            .into_iter()
            .fold(Words::default(), |words, (ours, theirs)| {
                words.ours(ours).foreign(theirs)
            })
    });
    let objects = (prop::collection::vec(foreign(), 0..4), option::of(number()))
        .prop_map(|(listed, count)| Objects { listed, count });
    (
        (
            any::<String>(),
            any::<String>(),
            prop::sample::subsequence(Effect::ALL.to_vec(), 0..=10),
            objects,
            words,
        ),
        (
            any::<bool>(),
            any::<String>(),
            account(),
            any::<String>(),
            option::of(foreign()),
            option::of(digest()),
        ),
    )
        .prop_map(
            |(
                (provider, operation, effects, objects, words),
                (routine, decided_by, account, environment, reason, data_digest),
            )| Action {
                provider: Provider(provider),
                operation,
                effects: effects.into_iter().collect(),
                objects,
                words,
                routine,
                decided_by,
                account,
                environment: Environment(environment),
                reason,
                data_digest,
            },
        )
}

fn approval() -> impl Strategy<Value = Approval> {
    let surface = select(vec![
        SurfaceKind::Notification,
        SurfaceKind::Window,
        SurfaceKind::Terminal,
        SurfaceKind::Command,
    ]);
    (
        any::<[u8; 10]>(),
        select(vec![Answer::Approve, Answer::Deny]),
        digest(),
        surface,
        assurance(),
        time(),
        number(),
        any::<u32>(),
    )
        .prop_map(
            |(question, answer, shown, surface, assurance, at, latency_ms, times)| Approval {
                question: QuestionId::from_random(question),
                answer,
                shown,
                surface,
                assurance,
                at,
                latency_ms,
                times,
            },
        )
}

fn requested() -> impl Strategy<Value = Event> {
    let verdict = prop_oneof![
        Just(Verdict::Allow),
        assurance().prop_map(Verdict::Ask),
        Just(Verdict::Deny)
    ];
    (
        (
            request(),
            option::of(run()),
            agent(),
            any::<bool>(),
            option::of(action()),
            option::of(account()),
            foreign(),
        ),
        (
            option::of(verdict),
            prop::collection::vec(any::<String>(), 0..3),
            option::of(approval()),
            select(vec![Decision::Allow, Decision::Deny]),
            option::of(reason()),
            option::of(foreign()),
        ),
        (
            option::of(digest()),
            any::<bool>(),
            option::of(credential()),
            digest(),
        ),
    )
        .prop_map(
            |(
                (request, run, agent, contained, action, account, target),
                (verdict, rules, approval, decision, reason, detail),
                (exact, streamed, credential, config),
            )| {
                Event::Requested(Box::new(Requested {
                    request,
                    run,
                    agent,
                    contained,
                    action,
                    account,
                    target,
                    verdict,
                    rules,
                    approval,
                    decision,
                    reason,
                    detail,
                    exact,
                    streamed,
                    credential,
                    config,
                }))
            },
        )
}

fn settled() -> impl Strategy<Value = Event> {
    let outcome = prop_oneof![
        any::<u16>().prop_map(|status| Outcome::Answered { status }),
        reason().prop_map(|reason| Outcome::NotSent { reason }),
        (any::<String>(), option::of(any::<u16>()))
            .prop_map(|(why, status)| Outcome::Unknown { why, status }),
        option::of(any::<u16>()).prop_map(|status| Outcome::Cut { status }),
    ];
    (
        request(),
        outcome,
        number(),
        number(),
        number(),
        option::of(digest()),
        option::of((number(), number()).prop_map(|(input, output)| Tokens { input, output })),
    )
        .prop_map(
            |(request, outcome, bytes_sent, bytes_received, duration_ms, body_digest, tokens)| {
                Event::Settled(Settled {
                    request,
                    outcome,
                    bytes_sent,
                    bytes_received,
                    duration_ms,
                    body_digest,
                    tokens,
                })
            },
        )
}

fn event() -> impl Strategy<Value = Event> {
    let facts = (
        run(),
        agent(),
        foreign(),
        prop::collection::vec(foreign(), 0..4),
        foreign(),
        any::<bool>(),
        option::of(run()),
        prop::collection::vec(any::<u16>(), 0..3),
    )
        .prop_map(
            |(run, agent, task, argv, folder, contained, goes_on_from, ports)| {
                Event::RunStarted(RunFacts {
                    run,
                    agent,
                    task,
                    argv,
                    folder,
                    contained,
                    stop: if contained {
                        StopMeans::FreezeV2
                    } else {
                        StopMeans::Launcher
                    },
                    goes_on_from,
                    host_ports: ports.iter().rev().copied().collect(),
                    ports,
                })
            },
        );
    let trigger = select(vec![
        StopTrigger::Hotkey,
        StopTrigger::File,
        StopTrigger::UncleanEnd,
    ]);
    let trigger_again = trigger.clone();
    prop_oneof![
        6 => requested(),
        3 => settled(),
        1 => (any::<[u8; 16]>(), any::<String>(), any::<bool>()).prop_map(|(install, program, clean)| Event::Opened {
            install: InstallId::from_random(install),
            program,
            clean,
        }),
        1 => Just(Event::Closed {}),
        1 => facts,
        1 => (run(), option::of(any::<i32>()), any::<String>())
            .prop_map(|(run, exit_code, why)| Event::RunEnded { run, exit_code, why }),
        1 => ((run(), agent(), option::of(account())), select(vec![Decision::Allow, Decision::Deny]), reason(), number(), time(), time()).prop_map(
            |((run, agent, account), decision, reason, count, first, last)| Event::MoreRefused {
                run,
                agent,
                account,
                decision,
                reason,
                count,
                first,
                last,
            },
        ),
        1 => (run(), agent(), any::<u16>()).prop_map(|(run, agent, port)| Event::PassageOpened { run, agent, port }),
        1 => ((run(), agent()), select(vec![PassageTo::Run, PassageTo::Machine]), any::<u16>(), number(), number(), number()).prop_map(
            |((run, agent), to, port, connections, bytes_there, bytes_back)| Event::PassageClosed(Passed {
                run,
                agent,
                to,
                port,
                connections,
                bytes_there,
                bytes_back,
            }),
        ),
        1 => (trigger, option::of(foreign())).prop_map(|(trigger, reason)| Event::StopEngaged { trigger, reason }),
        1 => any::<String>().prop_map(|surface| Event::StopLifted { surface }),
        1 => (agent(), trigger_again, option::of(foreign()))
            .prop_map(|(agent, trigger, reason)| Event::AgentStopped { agent, trigger, reason }),
        1 => (agent(), any::<String>()).prop_map(|(agent, surface)| Event::AgentResumed { agent, surface }),
        1 => (number(), digest(), any::<String>())
            .prop_map(|(counter, digest, by)| Event::ConfigAccepted { counter, digest, by }),
        1 => credential().prop_map(|credential| Event::CredentialSet { credential }),
        1 => credential().prop_map(|credential| Event::CredentialRemoved { credential }),
        1 => Just(Event::IndexAltered {}),
        1 => (any::<String>(), option::of(foreign())).prop_map(|(what, detail)| Event::Noted { what, detail }),
    ]
}

pub(crate) fn any_record() -> impl Strategy<Value = AuditRecord> {
    (any::<u32>(), time(), event()).prop_map(|(version, at, event)| AuditRecord {
        version,
        at,
        event,
    })
}
