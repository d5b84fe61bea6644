//! The built tray app on a real desktop, over its real socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on has failed

#[allow(dead_code)] // the tour of the examples uses more of it
mod common;

use common::{Authority, SOON, bulk, now, question, trash};
use countersign_model::{Answer, Assurance, QuestionId, StopTrigger, SurfaceKind, Timestamp};
use countersign_protocol::health::Check;
use countersign_protocol::surface::{
    About, FromSurface, Question, StopView, SurfaceState, ToSurface,
};
use countersign_testkit::{Desktop, Keyring, Options, programs};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

const HOTKEY: &str = "Ctrl+Alt+Shift+Escape";

fn desktop(options: &Options) -> Desktop {
    Desktop::start(&Options {
        keyring: Keyring::None,
        ..options.clone()
    })
    .unwrap()
}
fn program() -> PathBuf {
    programs::built("countersign-desktop").unwrap()
}
fn answer(message: FromSurface) -> Option<(Answer, Assurance, SurfaceKind, Option<String>)> {
    match message {
        FromSurface::Answered {
            answer,
            assurance,
            surface,
            because,
            ..
        } => Some((answer, assurance, surface, because)),
        _ => None,
    }
}
fn shown(authority: &Authority, asked: &Question) {
    authority.expect(|m| match m {
        FromSurface::Shown { question, digest } => {
            (question == asked.id && digest == asked.digest).then_some(())
        }
        _ => None,
    });
}

#[test]
fn a_click_on_deny_in_the_notification_is_a_no_and_one_on_approve_a_yes() {
    let desktop = desktop(&Options::default());
    let mut authority = Authority::start(&desktop, &program(), HOTKEY);
    authority.until_ready();
    for (n, button, expected) in [(1, "Deny", Answer::Deny), (2, "Approve", Answer::Approve)] {
        let asked = question(n, Assurance::Notification, trash());
        authority.ask(&asked);
        shown(&authority, &asked);
        std::thread::sleep(Duration::from_millis(800));
        desktop.click_on(button, "push button", SOON).unwrap();
        let heard = authority.expect(answer);
        assert_eq!(
            heard,
            (
                expected,
                Assurance::Notification,
                SurfaceKind::Notification,
                None
            )
        );
        let ended = countersign_protocol::surface::Ended::Answered {
            answer: expected,
            surface: SurfaceKind::Notification,
        };
        authority.say(&ToSurface::Withdraw {
            question: asked.id,
            ended,
        });
        desktop
            .wait_until_gone(button, "push button", SOON)
            .unwrap();
    }
    assert!(authority.goodbye());
}

#[test]
fn a_forged_click_from_another_connection_changes_nothing_and_a_real_one_counts() {
    let mut desktop = desktop(&Options::default());
    // A program of the same user can watch the bus, so it knows the keys.
    let rule = "interface='org.freedesktop.Notifications'";
    desktop
        .background("monitor", "dbus-monitor", &["--session", rule])
        .unwrap();
    let mut authority = Authority::start(&desktop, &program(), HOTKEY);
    authority.until_ready();
    let asked = question(1, Assurance::Notification, trash());
    authority.ask(&asked);
    shown(&authority, &asked);
    std::thread::sleep(Duration::from_millis(800));

    let seen = std::fs::read_to_string(desktop.path("monitor.log")).unwrap();
    let (before, after) = seen.split_once("\"approve-").expect("the spy saw no key");
    let key = format!("approve-{}", after.split('"').next().unwrap());
    let call = before
        .lines()
        .rfind(|line| line.contains("member=Notify"))
        .unwrap();
    let ours = call
        .split("sender=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    for number in ["1", "2", "3"] {
        for (signal, value) in [
            ("ActionInvoked", key.as_str()),
            ("ActionInvoked", "default"),
        ] {
            let signal = format!("org.freedesktop.Notifications.{signal}");
            let forged = [
                "emit",
                "--session",
                "--object-path",
                "/org/freedesktop/Notifications",
                "--signal",
            ];
            for to in [vec![], vec!["--dest", ours]] {
                let args = [&forged[..], &[signal.as_str()], &to, &[number, value]].concat();
                desktop.must("gdbus", &args).unwrap();
            }
        }
    }
    assert_eq!(
        authority.hear_for(Duration::from_secs(1)),
        [],
        "a forged click was believed"
    );
    let seen = std::fs::read_to_string(desktop.path("monitor.log")).unwrap();
    assert!(
        seen.matches("member=ActionInvoked").count() >= 6,
        "the forged signals never crossed the bus"
    );

    desktop.click_on("Approve", "push button", SOON).unwrap();
    assert_eq!(authority.expect(answer).0, Answer::Approve);
}

/// Says on a bus that the session is locked, as a screen saver or as logind.
const LOCKED: &str = r#"
import sys
from gi.repository import Gio, GLib
name, path, interface = sys.argv[1:4]
XML = """<node><interface name="%s"><method name="GetActive"><arg type="b" direction="out"/></method>
<property name="LockedHint" type="b" access="read"/></interface></node>""" % interface
answer = GLib.Variant("b", True)
def call(_bus, _sender, _path, _interface, _method, _arguments, invocation):
    invocation.return_value(GLib.Variant.new_tuple(answer))
def acquired(bus, _name):
    node = Gio.DBusNodeInfo.new_for_xml(XML)
    bus.register_object(path, node.interfaces[0], call, lambda *_: answer, None)
Gio.bus_own_name(Gio.BusType.SESSION, name, 0, acquired, lambda *_: print("there", flush=True), None)
GLib.MainLoop().run()
"#;

/// Starts [`LOCKED`] at this desktop and waits until it is there.
fn lock(desktop: &mut Desktop, as_whom: [&str; 3], bus: Option<&str>) {
    let script = desktop.path("locked.py");
    desktop.person().write(&script, LOCKED).unwrap();
    let script = script.to_string_lossy().into_owned();
    let address = bus.map(|bus| format!("DBUS_SESSION_BUS_ADDRESS={bus}"));
    let mut args: Vec<&str> = address.as_deref().into_iter().collect();
    args.extend(["/usr/bin/python3", &script]);
    args.extend(as_whom);
    desktop.background("locked", "/usr/bin/env", &args).unwrap();
    desktop.wait_for_log("locked", "there").unwrap();
}

#[test]
fn an_approve_behind_a_locked_screen_is_none_whoever_locked_it() {
    let saver = [
        "org.xfce.ScreenSaver",
        "/org/xfce/ScreenSaver",
        "org.xfce.ScreenSaver",
    ];
    let logind = [
        "org.freedesktop.login1",
        "/org/freedesktop/login1/session/auto",
        "org.freedesktop.login1.Session",
    ];
    for as_whom in [saver, logind] {
        let mut desktop = desktop(&Options::default());
        let mut system = None;
        if as_whom == logind {
            // A bus of its own stands in for the system's.
            let args = ["--session", "--nofork", "--print-address"];
            desktop
                .background("system-bus", "dbus-daemon", &args)
                .unwrap();
            let address = desktop.wait_for_log("system-bus", "unix:").unwrap();
            desktop = desktop.with_env("DBUS_SYSTEM_BUS_ADDRESS", address.trim());
            system = Some(address);
        }
        let mut authority = Authority::start(&desktop, &program(), HOTKEY);
        authority.until_ready();
        lock(&mut desktop, as_whom, system.as_deref().map(str::trim));
        let asked = question(1, Assurance::Notification, trash());
        authority.ask(&asked);
        shown(&authority, &asked);
        std::thread::sleep(Duration::from_millis(800));
        desktop.click_on("Approve", "push button", SOON).unwrap();
        let heard = authority.hear_for(Duration::from_secs(2));
        assert!(
            heard.into_iter().all(|message| answer(message).is_none()),
            "a click behind a locked screen was believed ({})",
            as_whom[0]
        );
        // A no counts, locked or not: the card is there again.
        std::thread::sleep(Duration::from_millis(800));
        desktop.click_on("Deny", "push button", SOON).unwrap();
        assert_eq!(authority.expect(answer).0, Answer::Deny);
    }
}

#[test]
fn what_needs_the_window_is_opened_from_the_notification_and_approved_by_holding() {
    let desktop = desktop(&Options::default());
    let mut authority = Authority::start(&desktop, &program(), HOTKEY);
    authority.until_ready();
    let asked = question(1, Assurance::Window, bulk());
    authority.ask(&asked);
    shown(&authority, &asked);
    assert!(
        desktop.find("Approve", "push button").unwrap().is_none(),
        "a click must not be enough"
    );
    desktop.click_on("Open", "push button", SOON).unwrap();
    shown(&authority, &asked);
    let (x, y) = desktop
        .wait_for("Hold to approve: hold for a second", "push button", SOON)
        .unwrap();
    std::thread::sleep(Duration::from_millis(1000));
    desktop.press_for(x, y, Duration::from_millis(300)).unwrap();
    assert_eq!(
        authority.hear_for(Duration::from_millis(500)),
        [],
        "too short a hold"
    );
    desktop
        .press_for(x, y, Duration::from_millis(1300))
        .unwrap();
    let heard = authority.expect(answer);
    assert_eq!(
        heard,
        (
            Answer::Approve,
            Assurance::Window,
            SurfaceKind::Window,
            None
        )
    );
}

#[test]
fn the_window_shows_what_the_doctor_found_and_the_test_question_takes_a_click() {
    let desktop = desktop(&Options::default());
    let mut authority = Authority::start(&desktop, &program(), HOTKEY);
    authority.until_ready();
    authority.say(&ToSurface::ShowWindow {});
    desktop.click_on("Health", "link", SOON).unwrap();
    desktop.click_on("Try them", "push button", SOON).unwrap();
    let call = authority.expect(|m| match m {
        FromSurface::Examine { call } => Some(call),
        _ => None,
    });

    let id = QuestionId::from_random([9; 10]);
    let about = About::Test {};
    let asked = Question {
        digest: Question::digest_of(&id, Assurance::Notification, 1, &about),
        id,
        about,
        ..question(9, Assurance::Notification, trash())
    };
    authority.ask(&asked);
    shown(&authority, &asked);
    std::thread::sleep(Duration::from_millis(800));
    desktop.click_on("Approve", "push button", SOON).unwrap();
    let (heard, _, surface, _) = authority.expect(answer);
    assert_eq!(
        (heard, surface),
        (Answer::Approve, SurfaceKind::Notification)
    );

    let checks = vec![
        Check::holds("Display", "you reach 2, a run none of them"),
        Check::broken("Keyring", "It is locked. Unlock it."),
    ];
    authority.say(&ToSurface::Examined { call, checks });
    let found = "1 of 2 failed or could not be tried.";
    desktop.wait_for(found, "heading", SOON).unwrap();
    assert!(authority.goodbye());
}

#[test]
fn escape_in_the_window_is_a_no_with_the_sentence_that_was_typed() {
    let desktop = desktop(&Options {
        notify: false,
        ..Options::default()
    });
    let mut authority = Authority::start(&desktop, &program(), HOTKEY);
    authority.until_ready();
    // No notification service: the question opens the window by itself.
    let asked = question(1, Assurance::Window, trash());
    authority.ask(&asked);
    shown(&authority, &asked);
    desktop
        .click_on("A sentence to the agent, with a no", "entry", SOON)
        .unwrap();
    std::thread::sleep(Duration::from_millis(900));
    desktop.type_text("use the archive").unwrap();
    desktop.key("Escape").unwrap();
    desktop.key("Escape").unwrap();
    let heard = authority.expect(answer);
    assert_eq!(
        heard,
        (
            Answer::Deny,
            Assurance::Window,
            SurfaceKind::Window,
            Some("use the archive".into())
        )
    );
}

#[test]
fn the_hotkey_the_tray_and_the_window_stop() {
    let desktop = desktop(&Options::default());
    let mut authority = Authority::start(&desktop, &program(), HOTKEY);
    authority.until_ready();
    let stopped = |by| {
        let expected = FromSurface::Stop {
            trigger: by,
            held: false,
            agent: None,
        };
        authority.expect(|m| (m == expected).then_some(()));
    };
    desktop.key("ctrl+alt+shift+Escape").unwrap();
    stopped(StopTrigger::Hotkey);
    desktop.choose_from_tray("Stop all agents", SOON).unwrap();
    stopped(StopTrigger::Tray);
    desktop.choose_from_tray("Open Countersign", SOON).unwrap();
    desktop
        .click_on("Stop all agents", "push button", SOON)
        .unwrap();
    stopped(StopTrigger::Window);

    let stop = StopView {
        since: Timestamp::from_unix_ms(now()),
        trigger: StopTrigger::Hotkey,
        presses: 1,
    };
    authority.say(&ToSurface::State(SurfaceState {
        stopped: Some(stop),
        ..SurfaceState::default()
    }));
    let (x, y) = desktop
        .wait_for("Hold to resume: hold for a second", "push button", SOON)
        .unwrap();
    std::thread::sleep(Duration::from_millis(900));
    desktop
        .press_for(x, y, Duration::from_millis(1300))
        .unwrap();
    authority.expect(|m| matches!(m, FromSurface::Resume { .. }).then_some(()));
}

#[test]
fn a_wrong_hotkey_is_told_and_everything_else_works() {
    let desktop = desktop(&Options::default());
    let authority = Authority::start(&desktop, &program(), "Hyper+Nonsense");
    let sentence = authority.expect(|m| match m {
        FromSurface::Warning { topic, sentence } if topic == "hotkey" => Some(sentence),
        _ => None,
    });
    assert!(sentence.contains("Hyper"), "{sentence}");
    desktop.choose_from_tray("Stop all agents", SOON).unwrap();
    authority.expect(|m| matches!(m, FromSurface::Stop { .. }).then_some(()));
}

#[test]
fn without_a_tray_the_window_opens_and_closing_it_ends_nothing() {
    let desktop = desktop(&Options {
        tray: false,
        ..Options::default()
    });
    let mut authority = Authority::start(&desktop, &program(), HOTKEY);
    authority.until_ready();
    desktop
        .wait_for("Stop all agents", "push button", SOON)
        .unwrap();
    desktop.must("wmctrl", &["-c", "Countersign"]).unwrap();
    desktop
        .wait_until_gone("Stop all agents", "push button", SOON)
        .unwrap();
    authority.say(&ToSurface::ShowWindow {});
    desktop
        .wait_for("Stop all agents", "push button", SOON)
        .unwrap();
    assert!(authority.goodbye());
}

#[test]
fn an_authority_that_dies_ends_the_tray_app_with_an_error() {
    let desktop = desktop(&Options::default());
    let mut authority = Authority::start(&desktop, &program(), HOTKEY);
    authority.until_ready();
    authority.cut();
    assert!(!authority.child.wait().unwrap().success());
}

#[test]
fn a_build_for_users_refuses_to_be_automated() {
    let desktop = desktop(&Options {
        notify: false,
        tray: false,
        ..Options::default()
    });
    let output = desktop
        .command(program())
        .env("TAURI_WEBVIEW_AUTOMATION", "true")
        .stdout(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("TAURI_WEBVIEW_AUTOMATION"));
}

#[test]
fn a_question_that_a_click_can_answer_can_be_read_in_full_first() {
    let desktop = desktop(&Options::default());
    let mut authority = Authority::start(&desktop, &program(), HOTKEY);
    authority.until_ready();
    let asked = question(1, Assurance::Notification, trash());
    authority.ask(&asked);
    shown(&authority, &asked);
    // This service draws the click on the body as a button.
    desktop.click_on("Open", "push button", SOON).unwrap();
    shown(&authority, &asked);
    desktop
        .wait_for("Hold to approve: hold for a second", "push button", SOON)
        .unwrap();
}
