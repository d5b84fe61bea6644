//! `cargo run -p countersign-desktop --example tour -- FOLDER [dark]`: the tray
//! app on a desktop of its own, with sample questions; leaves pictures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a tour that cannot go on has failed

#[path = "../tests/common/mod.rs"]
#[allow(dead_code)] // the tests use more of it
mod common;

use common::{Authority, SOON, bulk, now, post, production, question, trash};
use countersign_model::{
    Answer, Approval, Assurance, Decision, Digest, Event, Foreign, Outcome, ReasonCode, RequestId,
    Requested, RunFacts, RunId, Settled, StopTrigger, SurfaceKind, Timestamp, Verdict,
};
use countersign_protocol::health::Check;
use countersign_protocol::surface::{
    FromSurface, RequestQuestion, RunView, StopView, SurfaceState, TimelineEntry, ToSurface,
};
use countersign_testkit::{Desktop, Keyring, Options};
use std::path::Path;
use std::time::Duration;

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or_else(|| ".".into());
    let dark = args.next().is_some();
    let desktop = Desktop::start(&Options {
        keyring: Keyring::None,
        dark,
        ..Options::default()
    })
    .unwrap();
    let picture = |name: &str| {
        std::thread::sleep(Duration::from_millis(1200));
        let scheme = if dark { "dark" } else { "light" };
        desktop
            .screenshot(&Path::new(&folder).join(format!("{scheme}-{name}.png")))
            .unwrap();
    };
    let program = std::env::current_exe()
        .unwrap()
        .parent()
        .unwrap()
        .with_file_name("countersign-desktop");
    let mut authority = Authority::start(&desktop, &program, "Ctrl+Alt+Shift+Escape");
    authority.until_ready();
    authority.say(&ToSurface::State(SurfaceState {
        runs: runs(),
        ..SurfaceState::default()
    }));

    authority.ask(&question(1, Assurance::Notification, trash()));
    picture("notification");
    authority.ask(&question(2, Assurance::Window, production()));
    authority.ask(&question(4, Assurance::Notification, post()));
    picture("notifications");
    authority.ask(&question(3, Assurance::Window, bulk()));
    authority.say(&ToSurface::ShowWindow {});
    desktop
        .wait_for("Stop all agents", "push button", SOON)
        .unwrap();
    picture("waiting");
    for (name, label) in [
        (
            "production",
            "infra-agent [PRODUCTION]: Delete the stack “orders-live” and all that belongs to it",
        ),
        ("bulk", "inbox-bot: Delete 4,312 messages for good"),
        ("post", "helper: Publish a post in “platform-help”"),
    ] {
        desktop.choose_from_tray(label, SOON).unwrap();
        picture(name);
    }
    desktop.click_on("Timeline", "link", SOON).unwrap();
    let call = authority.expect(|m| match m {
        FromSurface::Timeline { call, .. } => Some(call),
        _ => None,
    });
    authority.say(&ToSurface::Timeline {
        call,
        entries: entries(),
        more: false,
    });
    picture("timeline");
    desktop.click(420, 330).unwrap();
    let (call, before) = authority.expect(|m| match m {
        FromSurface::Timeline { call, filter } => Some((call, filter.before)),
        _ => None,
    });
    let entries = entries()
        .into_iter()
        .filter(|e| before == Some(e.index + 1))
        .collect();
    authority.say(&ToSurface::Timeline {
        call,
        entries,
        more: true,
    });
    picture("record");
    desktop.click_on("Health", "link", SOON).unwrap();
    desktop.click_on("Try them", "push button", SOON).unwrap();
    let call = authority.expect(|m| match m {
        FromSurface::Examine { call } => Some(call),
        _ => None,
    });
    authority.say(&ToSurface::Examined {
        call,
        checks: checks(),
    });
    picture("health");
    desktop.click_on("Stop key", "link", SOON).unwrap();
    picture("stop-key");
    desktop
        .click_on("Choose another key", "push button", SOON)
        .unwrap();
    desktop.key("shift+k").unwrap();
    picture("stop-key-refused");
    desktop.key("super+F12").unwrap();
    picture("stop-key-tried");
    desktop.key("super+F12").unwrap();
    picture("stop-key-heard");
    authority.say(&ToSurface::State(SurfaceState {
        hotkey: Some("Hyper+Nonsense".into()),
        ..SurfaceState::default()
    }));
    picture("stop-key-broken");
    desktop.click(1266, 14).unwrap();
    picture("tray");
    desktop.key("Escape").unwrap();
    let stop = StopView {
        since: Timestamp::from_unix_ms(now()),
        trigger: StopTrigger::Hotkey,
        presses: 1,
    };
    authority.say(&ToSurface::State(SurfaceState {
        stopped: Some(stop),
        ..SurfaceState::default()
    }));
    picture("stopped");
    assert!(authority.goodbye());
}

/// What a doctor may find.
fn checks() -> Vec<Check> {
    vec![
        Check::holds("Authority", "it runs, and answers"),
        Check::holds("Keyring", "open; 3 credential(s), in 4 ms"),
        Check::holds(
            "Ledger takes records",
            "record 4711 is on the disk, in 3 ms",
        ),
        Check::broken(
            "Stop key",
            "Ctrl+Alt+Shift+Escape is no longer listened for (the display is gone). Use the tray or `countersign stop`.",
        ),
        Check::holds("Display", "you reach 2, a run none of them"),
        Check::absent("Containers", "there is none here"),
        Check::untried("Another run", "the stop is engaged"),
        Check::holds("The network", "there is no way out but the gateway"),
    ]
}

fn runs() -> Vec<RunView> {
    [trash(), production()]
        .into_iter()
        .zip(1..)
        .map(|(request, n)| RunView {
            facts: RunFacts {
                run: RunId::from_random([n; 8]),
                agent: request.agent,
                task: request.task,
                argv: vec![Foreign::new("agent")],
                folder: Foreign::new("/home/user/project"),
                contained: request.contained,
                stop: countersign_model::StopMeans::Kill,
                goes_on_from: None,
                ports: Vec::new(),
                host_ports: Vec::new(),
            },
            standing: countersign_protocol::surface::RunStanding::Runs,
            since: Timestamp::from_unix_ms(now() - 260_000),
            requests: 17,
        })
        .collect()
}

/// One of each kind that a timeline has.
fn entries() -> Vec<TimelineEntry> {
    let settled = |outcome| Settled {
        request: RequestId::from_random([7; 10]),
        outcome,
        bytes_sent: 0,
        bytes_received: 5_120,
        duration_ms: 84,
        body_digest: None,
        tokens: None,
    };
    let mut read = trash();
    read.action.effects = countersign_model::Effects::of(&[countersign_model::Effect::Read]);
    read.action.words = countersign_model::Words::new("List messages");
    let stop = Event::StopEngaged {
        trigger: StopTrigger::Hotkey,
        reason: None,
    };
    let events = [
        (stop, None),
        (
            recorded(post(), Some(SurfaceKind::Window), None),
            Some(settled(Outcome::Answered { status: 201 })),
        ),
        (
            recorded(
                production(),
                Some(SurfaceKind::Window),
                Some(ReasonCode::DeniedByHuman),
            ),
            None,
        ),
        (
            recorded(
                bulk(),
                Some(SurfaceKind::Notification),
                Some(ReasonCode::DeniedByHuman),
            ),
            None,
        ),
        (
            recorded(trash(), Some(SurfaceKind::Notification), None),
            Some(settled(Outcome::Answered { status: 200 })),
        ),
        (recorded(trash(), None, Some(ReasonCode::TimedOut)), None),
        (
            recorded(read.clone(), None, None),
            Some(settled(Outcome::Unknown {
                why: "the connection broke".into(),
                status: None,
            })),
        ),
        (
            recorded(read.clone(), None, None),
            Some(settled(Outcome::Answered { status: 200 })),
        ),
        (recorded(read, None, None), None),
        (Event::RunStarted(runs().remove(0).facts), None),
    ];
    let last = events.len() as u64;
    events
        .into_iter()
        .zip(0..)
        .map(|((event, settled), n)| TimelineEntry {
            index: last - n,
            at: Timestamp::from_unix_ms(now() - i64::try_from(n).unwrap() * 7_300),
            event,
            settled,
        })
        .collect()
}

fn recorded(
    request: RequestQuestion,
    by: Option<SurfaceKind>,
    refused: Option<ReasonCode>,
) -> Event {
    let asked = question(9, Assurance::Window, request.clone());
    let reads = request.action.effects.is_read_only();
    Event::Requested(Box::new(Requested {
        request: request.request,
        run: Some(request.run),
        agent: request.agent,
        contained: request.contained,
        account: Some(request.action.account.clone()),
        action: Some(request.action),
        target: request.target,
        verdict: Some(if reads {
            Verdict::Allow
        } else {
            Verdict::Ask(Assurance::Window)
        }),
        rules: request.rules,
        approval: by.map(|surface| Approval {
            question: asked.id.clone(),
            answer: if refused.is_some() {
                Answer::Deny
            } else {
                Answer::Approve
            },
            shown: asked.digest,
            surface,
            assurance: Assurance::Window,
            at: Timestamp::from_unix_ms(now()),
            latency_ms: 4_200,
            times: 1,
        }),
        decision: if refused.is_some() {
            Decision::Deny
        } else {
            Decision::Allow
        },
        reason: refused,
        detail: None,
        exact: Some(Digest::of(b"exact")),
        streamed: false,
        credential: None,
        config: Digest::of(b"config"),
    }))
}
