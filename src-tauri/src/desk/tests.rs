use super::*;
use crate::cards::{Buttons, CardKey};
use crate::hold::HELD;
use countersign_model::{
    Action, DataPreview, Effect, Effects, Environment, Field, Foreign, Objects, Provider,
    RequestId, RunId, Timestamp, Words,
};
use countersign_protocol::surface::{Ended, RequestQuestion, StopView};
use std::time::Duration;

/// A question that a click can answer; each number is another one.
pub(crate) fn question(n: u8) -> Question {
    let object = format!("18c2f0a1b{n}");
    let request = RequestQuestion {
        request: RequestId::from_random([n; 10]),
        agent: "inbox-bot".parse().unwrap(),
        run: RunId::from_random([1; 8]),
        task: Foreign::new("tidy the inbox"),
        contained: true,
        action: Action {
            provider: Provider("gmail".into()),
            operation: "gmail.users.messages.trash".into(),
            effects: Effects::of(&[Effect::Delete]),
            objects: Objects::one(object.as_str()),
            words: Words::new("Move message ")
                .foreign(object.as_str())
                .ours(" to the trash"),
            routine: false,
            decided_by: "catalogue".into(),
            account: "mail".parse().unwrap(),
            environment: Environment("personal".into()),
            reason: Some(Foreign::new("it is spam")),
            data_digest: None,
        },
        target: Foreign::new("POST https://gmail.googleapis.com/…/trash"),
        preview: DataPreview {
            whole: true,
            ..DataPreview::default()
        },
        rules: vec!["ask-first".into()],
    };
    with(n, Assurance::Notification, request)
}

pub(crate) fn with(n: u8, assurance: Assurance, request: RequestQuestion) -> Question {
    let id = QuestionId::from_random([n; 10]);
    let about = About::Request(Box::new(request));
    Question {
        digest: Question::digest_of(&id, assurance, 1, &about),
        id,
        assurance,
        asked: Timestamp::from_unix_ms(1_000 + i64::from(n)),
        ends: Timestamp::from_unix_ms(60_000_000),
        held_until: None,
        times: 1,
        about,
    }
}

pub(crate) fn changed(n: u8, change: impl FnOnce(&mut RequestQuestion)) -> Question {
    let About::Request(mut request) = question(n).about else {
        panic!()
    };
    change(&mut request);
    with(n, Assurance::Notification, *request)
}

pub(crate) fn desk_with(questions: impl IntoIterator<Item = Question>) -> Desk {
    let mut desk = Desk::new();
    for question in questions {
        desk.apply(
            Event::Authority(ToSurface::Ask(Box::new(question))),
            Instant::now(),
        );
    }
    desk
}

pub(crate) fn stopped(desk: &mut Desk) {
    let stop = StopView {
        since: Timestamp::from_unix_ms(5),
        trigger: StopTrigger::Hotkey,
        presses: 1,
    };
    let state = SurfaceState {
        stopped: Some(stop),
        ..SurfaceState::default()
    };
    desk.apply(Event::Authority(ToSurface::State(state)), Instant::now());
}

fn click(desk: &mut Desk, on: &Question, click: Click) -> Vec<Output> {
    desk.apply(
        Event::CardClicked(Some((on.id.clone(), on.digest)), click),
        Instant::now(),
    )
}

fn answers(outputs: &[Output]) -> Vec<(Answer, Assurance, Digest)> {
    outputs
        .iter()
        .filter_map(|o| match o {
            Output::Say(FromSurface::Answered {
                answer,
                assurance,
                digest,
                ..
            }) => Some((*answer, *assurance, *digest)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_click_answers_what_was_on_the_card() {
    let q = question(1);
    let mut desk = desk_with([q.clone()]);
    let yes = click(&mut desk, &q, Click::Approve);
    assert_eq!(
        answers(&yes),
        [(Answer::Approve, Assurance::Notification, q.digest)]
    );
    let no = click(&mut desk, &q, Click::Deny);
    assert_eq!(
        answers(&no),
        [(Answer::Deny, Assurance::Notification, q.digest)]
    );
}

#[test]
fn a_click_on_a_card_that_is_no_longer_what_waits_is_no_answer() {
    let old = question(1);
    let new = changed(1, |r| r.action.words = Words::new("Delete everything"));
    assert_eq!(old.id, new.id);
    let mut desk = desk_with([old.clone(), new]);
    assert_eq!(click(&mut desk, &old, Click::Approve), []);
    assert_eq!(click(&mut desk, &old, Click::Deny), []);
    assert_eq!(
        click(&mut desk, &question(2), Click::Approve),
        [],
        "it never waited"
    );
}

#[test]
fn a_click_is_no_yes_to_what_needs_the_window() {
    let About::Request(request) = question(1).about else {
        panic!()
    };
    let q = with(1, Assurance::Window, *request);
    let mut desk = desk_with([q.clone()]);
    assert_eq!(
        click(&mut desk, &q, Click::Approve),
        [Output::Open(Some(q.id.clone()))]
    );
    assert_eq!(answers(&click(&mut desk, &q, Click::Deny)).len(), 1);
}

#[test]
fn a_withdrawn_question_cannot_be_answered_anywhere() {
    let q = question(1);
    let mut desk = desk_with([q.clone()]);
    let t = Instant::now();
    desk.lay_out(&q.id, t).unwrap();
    let ended = Ended::Unanswered {
        reason: countersign_model::ReasonCode::TimedOut,
    };
    desk.apply(
        Event::Authority(ToSurface::Withdraw {
            question: q.id.clone(),
            ended,
        }),
        t,
    );
    assert_eq!(click(&mut desk, &q, Click::Approve), []);
    assert_eq!(desk.hold_start(&q.id, q.digest, t + SEEN), Err(OVER));
    assert_eq!(desk.deny(&q.id, q.digest, None, t + SEEN), Err(OVER));
}

#[test]
fn the_window_approves_only_what_was_laid_out_seen_and_held() {
    let q = question(1);
    let mut desk = desk_with([q.clone(), question(2)]);
    let t = Instant::now();
    desk.apply(Event::Window { open: true }, t);
    assert_eq!(
        desk.hold_start(&q.id, q.digest, t + SEEN),
        Err(CHANGED),
        "it was never laid out"
    );
    desk.lay_out(&q.id, t).unwrap();
    assert_eq!(
        desk.hold_start(&q.id, q.digest, t + SEEN - Duration::from_millis(1)),
        Err(UNREAD)
    );
    let t = t + SEEN;
    desk.hold_start(&q.id, q.digest, t).unwrap();
    assert_eq!(desk.hold_finish(&q.id, q.digest, t + HELD / 2), Err(SHORT));
    desk.hold_start(&q.id, q.digest, t).unwrap();
    let other = question(2);
    assert_eq!(
        desk.hold_finish(&other.id, other.digest, t + HELD),
        Err(CHANGED)
    );
    desk.hold_start(&q.id, q.digest, t).unwrap();
    let yes = desk.hold_finish(&q.id, q.digest, t + HELD).unwrap();
    assert_eq!(
        answers(&[yes]),
        [(Answer::Approve, Assurance::Window, q.digest)]
    );
    assert_eq!(
        desk.hold_finish(&q.id, q.digest, t + HELD),
        Err(SHORT),
        "one hold is one yes"
    );
}

#[test]
fn a_rendering_that_changes_under_a_held_button_is_not_approved() {
    let q = question(1);
    let mut desk = desk_with([q.clone()]);
    let t = Instant::now();
    desk.lay_out(&q.id, t).unwrap();
    desk.hold_start(&q.id, q.digest, t + SEEN).unwrap();
    let new = changed(1, |r| r.action.words = Words::new("Delete everything"));
    desk.apply(Event::Authority(ToSurface::Ask(Box::new(new.clone()))), t);
    assert_eq!(
        desk.hold_finish(&q.id, q.digest, t + SEEN + HELD),
        Err(CHANGED)
    );
    assert_eq!(
        desk.hold_finish(&q.id, new.digest, t + SEEN + HELD),
        Err(CHANGED)
    );
}

#[test]
fn a_window_that_has_just_come_up_takes_no_answer() {
    let q = question(1);
    let mut desk = desk_with([q.clone()]);
    let t = Instant::now();
    desk.lay_out(&q.id, t).unwrap();
    let later = t + SEEN * 3;
    desk.apply(Event::Window { open: true }, later);
    assert_eq!(desk.deny(&q.id, q.digest, None, later), Err(UNREAD));
    assert!(desk.deny(&q.id, q.digest, None, later + SEEN).is_ok());
}

#[test]
fn presence_is_never_a_held_button() {
    let About::Request(request) = question(1).about else {
        panic!()
    };
    let q = with(1, Assurance::Presence, *request);
    let mut desk = desk_with([q.clone()]);
    let t = Instant::now();
    desk.lay_out(&q.id, t).unwrap();
    assert_eq!(desk.hold_start(&q.id, q.digest, t + SEEN), Err(PRESENCE));
    assert_eq!(
        desk.hold_finish(&q.id, q.digest, t + SEEN + HELD),
        Err(SHORT)
    );
}

#[test]
fn resuming_needs_a_stop_a_window_and_a_hold() {
    let mut desk = desk_with([]);
    let t = Instant::now();
    desk.apply(Event::Window { open: true }, t);
    assert_eq!(desk.resume_start(t + SEEN), Err(RUNNING));
    stopped(&mut desk);
    assert_eq!(desk.resume_start(t), Err(UNREAD));
    desk.resume_start(t + SEEN).unwrap();
    assert_eq!(desk.resume_finish(t + SEEN), Err(SHORT));
    desk.resume_start(t + SEEN).unwrap();
    assert_eq!(desk.resume_finish(t + SEEN + HELD), Ok(1));
}

#[test]
fn a_press_that_comes_while_resume_is_held_wins() {
    let mut desk = Desk::new();
    let t = Instant::now();
    desk.apply(Event::Window { open: true }, t);
    stopped(&mut desk);
    desk.resume_start(t + SEEN).unwrap();
    let again = StopView {
        presses: 2,
        ..desk.state().stopped.clone().unwrap()
    };
    let state = SurfaceState {
        stopped: Some(again),
        ..SurfaceState::default()
    };
    desk.apply(Event::Authority(ToSurface::State(state)), Instant::now());
    assert_eq!(desk.resume_finish(t + SEEN + HELD), Err(SHORT));
}

#[test]
fn where_no_notification_can_be_shown_a_new_question_opens_the_window_once() {
    let mut desk = Desk::new();
    let t = Instant::now();
    desk.apply(Event::Notifications(Err("none".into())), t);
    let q = question(1);
    let ask = || Event::Authority(ToSurface::Ask(Box::new(question(1))));
    assert!(
        desk.apply(ask(), t)
            .contains(&Output::Open(Some(q.id.clone())))
    );
    assert!(
        !desk.apply(ask(), t).contains(&Output::Open(Some(q.id))),
        "it is not new"
    );
    desk.apply(Event::Window { open: true }, t);
    let second = desk.apply(Event::Authority(ToSurface::Ask(Box::new(question(2)))), t);
    assert!(
        !second.iter().any(|o| matches!(o, Output::Open(_))),
        "the open window lists it"
    );
}

#[test]
fn a_desktop_without_tray_gets_the_window() {
    let mut desk = Desk::new();
    let outputs = desk.apply(Event::Tray(Err("no tray".into())), Instant::now());
    assert!(outputs.contains(&Output::Open(None)));
    assert!(
        matches!(&outputs[0], Output::Say(FromSurface::Warning { topic, .. }) if topic == "tray")
    );
}

#[test]
fn an_authority_that_went_without_goodbye_is_told_to_the_human() {
    let mut desk = Desk::new();
    assert_eq!(
        desk.apply(Event::AuthorityGone, Instant::now()),
        [Output::End { clean: false }]
    );
    desk.apply(Event::Authority(ToSurface::Goodbye {}), Instant::now());
    assert_eq!(
        desk.apply(Event::AuthorityGone, Instant::now()),
        [Output::End { clean: true }]
    );
}

#[test]
fn another_protocol_is_not_spoken() {
    let hello = ToSurface::Hello {
        protocol: VERSION + 1,
        program: "9".into(),
        hotkey: "F12".into(),
    };
    let outputs = Desk::new().apply(Event::Authority(hello), Instant::now());
    assert_eq!(outputs, [Output::End { clean: false }]);
}

#[test]
fn the_worst_stands_first() {
    let production = changed(9, |r| {
        r.action.environment = Environment("production".into());
    });
    let About::Request(request) = question(5).about else {
        panic!()
    };
    let window = with(5, Assurance::Window, *request);
    let desk = desk_with([question(2), question(1), window.clone(), production.clone()]);
    let order: Vec<_> = desk.waiting().iter().map(|q| q.id.clone()).collect();
    assert_eq!(
        order,
        [production.id, window.id, question(1).id, question(2).id]
    );
}

// What stands on cards.

fn buttons(question: Question) -> Buttons {
    cards::cards(&desk_with([question]))[0].buttons
}

#[test]
fn a_card_says_who_what_where_and_why() {
    let card = &cards::cards(&desk_with([question(1)]))[0];
    assert_eq!(card.summary, "inbox-bot asks to delete");
    assert_eq!(
        card.body,
        "Move message “18c2f0a1b1” to the trash\non mail (personal)\nIt says: “it is spam”"
    );
    assert_eq!(card.buttons, Buttons::DenyApprove);
    let production = changed(1, |r| {
        r.action.environment = Environment("production".into());
        r.contained = false;
        r.action.reason = None;
    });
    let card = &cards::cards(&desk_with([production]))[0];
    assert_eq!(card.summary, "PRODUCTION: inbox-bot asks to delete");
    assert!(
        card.body
            .contains("on mail, PRODUCTION; the agent is not contained\nIt gave no reason.")
    );
}

#[test]
fn a_card_on_which_not_all_fits_offers_no_approve() {
    let long = "x".repeat(61);
    let cases: [fn(&mut RequestQuestion, String); 5] = [
        |r, long| r.action.words = Words::new("Move ").foreign(long),
        |r, _| r.action.objects.count = Some(4_312),
        |r, _| r.action.objects.count = None,
        |r, long| r.action.objects = Objects::one(long),
        |r, long| r.action.reason = Some(long.repeat(3).into()),
    ];
    for (n, change) in cases.into_iter().enumerate() {
        assert_eq!(
            buttons(changed(1, |r| change(r, long.clone()))),
            Buttons::DenyOpen,
            "case {n}"
        );
    }
    assert_eq!(
        buttons(changed(1, |r| r.action.effects = Effects::NONE)),
        Buttons::DenyOpen
    );
}

#[test]
fn publishing_is_approved_on_a_card_only_with_its_whole_text() {
    let publish = |text: &str, whole| {
        changed(1, |r| {
            r.action.effects = Effects::of(&[Effect::Publish]);
            r.preview.fields = vec![Field {
                label: "Text".into(),
                value: text.into(),
            }];
            r.preview.whole = whole;
        })
    };
    let card = &cards::cards(&desk_with([publish("hello", true)]))[0];
    assert!(card.body.contains("\nText: “hello”\n") && card.buttons == Buttons::DenyApprove);
    assert_eq!(buttons(publish("hello", false)), Buttons::DenyOpen);
    assert_eq!(buttons(publish(&"x".repeat(300), true)), Buttons::DenyOpen);
    assert_eq!(buttons(publish("a\nb\nc\nd\ne", true)), Buttons::DenyOpen);
}

#[test]
fn data_stands_on_no_card_that_does_not_publish_it() {
    let q = changed(1, |r| r.preview.text = Some("private words".into()));
    assert!(
        !cards::cards(&desk_with([q]))[0]
            .body
            .contains("private words")
    );
}

#[test]
fn a_burst_is_one_card_and_approves_nothing() {
    assert_eq!(cards::cards(&desk_with((0..3).map(question))).len(), 3);
    let all = cards::cards(&desk_with((0..31).map(question)));
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].summary, "inbox-bot: 31 requests waiting");
    assert_eq!(all[0].buttons, Buttons::Open);
    assert!(matches!(all[0].key, CardKey::Burst(_)));
}

#[test]
fn the_card_of_what_the_window_shows_is_taken_down_until_the_window_closes() {
    let mut desk = desk_with([question(1), question(2)]);
    let t = Instant::now();
    desk.apply(Event::Window { open: true }, t);
    desk.lay_out(&question(1).id, t).unwrap();
    assert_eq!(cards::cards(&desk).len(), 1);
    assert_eq!(
        desk.apply(Event::Window { open: false }, t),
        [Output::Cards]
    );
    assert_eq!(cards::cards(&desk).len(), 2);
}

#[test]
fn another_rendering_is_another_card() {
    let [old, new] = [
        question(1),
        changed(1, |r| r.action.words = Words::new("Delete all")),
    ]
    .map(|q| cards::cards(&desk_with([q]))[0].key.clone());
    assert_ne!(old, new);
}

fn says_set(outputs: &[Output]) -> Option<&str> {
    outputs.iter().find_map(|o| match o {
        Output::Say(FromSurface::SetHotkey { keys, .. }) => Some(keys.as_str()),
        _ => None,
    })
}
/// A desk whose stop key is this, and works.
fn with_hotkey(keys: &str) -> Desk {
    let mut desk = Desk::new();
    let state = SurfaceState {
        hotkey: Some(keys.into()),
        ..SurfaceState::default()
    };
    let out = desk.apply(Event::Authority(ToSurface::State(state)), Instant::now());
    assert!(out.contains(&Output::Listen(keys.into())));
    desk.apply(Event::Hotkey(Ok(keys.into())), Instant::now());
    desk
}

#[test]
fn another_stop_key_is_asked_for_only_once_it_was_heard() {
    let mut desk = with_hotkey("Ctrl+Alt+Shift+Escape");
    assert_eq!(desk.use_trial(), Err(NOT_TRIED));
    let hotkey = "Super+F12".parse().unwrap();
    let out = desk.try_hotkey("super+f12", false).unwrap();
    assert_eq!(out[0], Output::Try(Some(hotkey)));
    assert_eq!(desk.use_trial(), Err(NOT_TRIED));
    let of_another = Event::Tried("Super+F11".parse().unwrap(), Ok(()));
    assert_eq!(desk.apply(of_another, Instant::now()), []);
    let out = desk.apply(Event::Tried(hotkey, Ok(())), Instant::now());
    assert!(out.contains(&Output::Try(None)));
    assert_eq!(says_set(&desk.use_trial().unwrap()), Some("Super+F12"));
    assert_eq!(desk.use_trial(), Err(NOT_TRIED), "once");
}

#[test]
fn one_that_cannot_be_heard_or_was_left_is_not_asked_for() {
    let mut desk = with_hotkey("Ctrl+Alt+Shift+Escape");
    let hotkey = "Super+F12".parse().unwrap();
    desk.try_hotkey("Super+F12", false).unwrap();
    desk.apply(
        Event::Tried(hotkey, Err("no such key".into())),
        Instant::now(),
    );
    assert_eq!(desk.use_trial(), Err(NOT_TRIED));
    desk.try_hotkey("Super+F12", false).unwrap();
    desk.apply(Event::Tried(hotkey, Ok(())), Instant::now());
    let out = desk.apply(Event::Window { open: false }, Instant::now());
    assert!(out.contains(&Output::Try(None)));
    assert_eq!(desk.use_trial(), Err(NOT_TRIED));
    // Where the desktop decides, nothing can be heard before it is asked.
    assert_eq!(
        desk.try_hotkey("Super+F12", true).unwrap()[0],
        Output::Try(None)
    );
    assert!(desk.use_trial().is_ok());
}

#[test]
fn trying_a_stop_key_never_presses_the_present_one() {
    let mut desk = with_hotkey("Ctrl+Escape");
    for (keys, why) in [
        ("Escape", "would fire while you type"),
        ("Hyper+A", "expected Ctrl, Alt, Shift or Super"),
        ("Ctrl+Escape", "is the stop key already"),
        ("Ctrl+Alt+Escape", "presses Ctrl+Escape too"),
    ] {
        let refused = desk.try_hotkey(keys, false).unwrap_err();
        assert!(refused.contains(why), "{keys}: {refused}");
    }
    // One that does not work is pressed by nothing, and may be tried again.
    desk.apply(Event::Hotkey(Err("no".into())), Instant::now());
    assert!(desk.try_hotkey("Ctrl+Escape", false).is_ok());
}
