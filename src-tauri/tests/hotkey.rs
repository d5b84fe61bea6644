//! The stop's hotkey in the built tray app: on X11, and on Wayland by the real
//! portal, where a stand-in binds the key as a compositor would.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on has failed

#[allow(dead_code)] // others use more of it
mod common;

use common::{Authority, SOON};
use countersign_model::StopTrigger;
use countersign_protocol::surface::{FromSurface, SurfaceState, ToSurface};
use countersign_testkit::desktop::{Part, Portal};
use countersign_testkit::{Desktop, Keyring, Options, programs};
use std::thread::sleep;
use std::time::Duration;

const HOTKEY: &str = "Ctrl+Alt+Shift+Escape";
const BY_HOTKEY: FromSurface = FromSurface::Stop {
    trigger: StopTrigger::Hotkey,
    held: false,
    agent: None,
};
const STILL_HELD: FromSurface = FromSurface::Stop {
    trigger: StopTrigger::Hotkey,
    held: true,
    agent: None,
};

fn desktop(portal: Portal) -> Desktop {
    Desktop::start(&Options {
        keyring: Keyring::None,
        notify: false,
        portal,
        ..Options::default()
    })
    .unwrap()
}
/// The tray app at this desktop, on Wayland as far as it can tell: the toolkit
/// is told to draw on the X server all the same.
fn wayland(portal: Portal) -> (Desktop, Authority) {
    let desktop = desktop(portal).with_env("WAYLAND_DISPLAY", "wayland-without-a-compositor");
    let program = programs::built("countersign-desktop").unwrap();
    let authority = Authority::start(&desktop, &program, HOTKEY);
    (desktop, authority)
}
/// The next that is told of the hotkey; empty: it works.
fn told(authority: &Authority) -> String {
    authority.expect(|m| match m {
        FromSurface::Warning { topic, sentence } if topic == "hotkey" => Some(sentence),
        _ => None,
    })
}
fn until_it_works(authority: &Authority) {
    while !told(authority).is_empty() {}
}
fn stops(authority: &Authority, how_long: Duration) -> usize {
    let heard = authority.hear_for(how_long);
    let presses = heard.iter().filter(|m| [BY_HOTKEY, STILL_HELD].contains(m));
    presses.count()
}

#[test]
fn on_wayland_the_desktop_binds_the_key_and_its_press_stops() {
    let (desktop, authority) = wayland(Portal::Binds);
    until_it_works(&authority);
    let asked = desktop.preferred_shortcut().unwrap();
    assert_eq!(asked, "('CTRL+ALT+SHIFT+Escape',)");
    desktop.press_shortcut().unwrap();
    authority.expect(|m| (m == BY_HOTKEY).then_some(()));
    desktop.release_shortcut().unwrap();
    assert_eq!(stops(&authority, Duration::from_millis(1300)), 0);
    // Held, it is a press more.
    desktop.press_shortcut().unwrap();
    assert_eq!(stops(&authority, Duration::from_millis(1600)), 2);
    desktop.release_shortcut().unwrap();
}

#[test]
fn on_wayland_without_a_portal_or_when_it_refuses_that_is_told() {
    for (portal, why) in [
        (Portal::None, "yours has no portal for global shortcuts"),
        (Portal::Refuses, "your desktop refused the shortcut"),
        (Portal::BindsTo(""), "names no key for it"),
    ] {
        let (desktop, authority) = wayland(portal);
        let sentence = told(&authority);
        assert!(sentence.contains(why), "{portal:?}: {sentence}");
        let until = std::time::Instant::now() + SOON;
        while !desktop
            .tray()
            .unwrap()
            .contains("The stop's hotkey does not work")
        {
            assert!(
                std::time::Instant::now() < until,
                "the tray does not say so"
            );
            sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_portal_that_ends_is_told_and_asked_again_when_it_is_back() {
    let (desktop, authority) = wayland(Portal::Binds);
    until_it_works(&authority);
    for part in [Part::Front, Part::Behind] {
        desktop.crash_portal(part).unwrap();
        let sentence = told(&authority);
        assert!(sentence.contains("has ended"), "{part:?}: {sentence}");
        until_it_works(&authority);
        desktop.press_shortcut().unwrap();
        authority.expect(|m| (m == BY_HOTKEY).then_some(()));
        desktop.release_shortcut().unwrap();
    }
}

#[test]
fn a_shortcut_that_the_desktop_takes_back_or_leaves_without_a_key_is_told() {
    let (desktop, authority) = wayland(Portal::Binds);
    until_it_works(&authority);
    desktop.rename_shortcut("").unwrap();
    assert!(told(&authority).contains("names no key for it"));
    desktop.rename_shortcut("Press Meta+X").unwrap();
    assert_eq!(told(&authority), "");

    desktop.take_shortcuts_back().unwrap();
    let sentence = told(&authority);
    assert!(
        sentence.contains("has taken the shortcut back"),
        "{sentence}"
    );
    // Who takes it back is not asked again, until it is another.
    sleep(Duration::from_millis(1300));
    assert_eq!(authority.hear_for(Duration::from_millis(100)), []);
    desktop.crash_portal(Part::Behind).unwrap();
    desktop.preferred_shortcut().unwrap();
    until_it_works(&authority);
}

#[test]
fn another_hotkey_takes_effect_at_once_and_the_old_one_no_longer() {
    let desktop = desktop(Portal::None);
    let program = programs::built("countersign-desktop").unwrap();
    let mut authority = Authority::start(&desktop, &program, HOTKEY);
    until_it_works(&authority);
    let accepted = |keys: &str| {
        ToSurface::State(SurfaceState {
            hotkey: Some(keys.into()),
            ..SurfaceState::default()
        })
    };
    authority.say(&accepted("Super+F12"));
    until_it_works(&authority);
    desktop.key("ctrl+alt+shift+Escape").unwrap();
    assert_eq!(stops(&authority, Duration::from_millis(500)), 0);
    desktop.key("super+F12").unwrap();
    assert_eq!(stops(&authority, Duration::from_millis(500)), 1);
    // The same again is no other.
    authority.say(&accepted("Super+F12"));
    assert_eq!(authority.hear_for(Duration::from_millis(300)), []);
    authority.say(&accepted("Hyper+Nonsense"));
    assert!(told(&authority).contains("Hyper"));
    assert!(authority.goodbye());
}
