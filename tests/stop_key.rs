//! Choosing the stop key in the window, with the real authority behind it.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

use countersign_testkit::desktop::{Desktop, Options};
use countersign_testkit::scene::said;
use countersign_testkit::{Authority, authority::SOON};
use std::time::{Duration, Instant};

const BUTTON: &str = "push button";
/// So long after it appeared, a window takes keys and clicks.
const GUARD: Duration = Duration::from_millis(1000);

struct Stage {
    authority: Authority,
    desktop: Desktop,
}

impl Stage {
    fn start() -> Self {
        let desktop = Desktop::start(&Options {
            notify: false,
            ..Options::default()
        })
        .unwrap();
        let authority = Authority::start(&desktop, &["--desktop"]).unwrap();
        let stage = Self { authority, desktop };
        stage.until("the tray app asks", &|| stage.status().contains("desktop"));
        stage
    }
    fn status(&self) -> String {
        said(&self.authority.command(&self.desktop, &["status"]).unwrap())
    }
    fn until(&self, what: &str, holds: &dyn Fn() -> bool) {
        let end = Instant::now() + SOON;
        while !holds() {
            assert!(Instant::now() < end, "never: {what}; {}", self.status());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    fn config(&self) -> String {
        let file = self
            .desktop
            .path("home/.config/countersign/countersign.toml");
        std::fs::read_to_string(file).unwrap()
    }
    /// Presses Super+F12 twice on the page, and asks for it.
    fn choose(&self) {
        self.desktop
            .choose_from_tray("Open Countersign", SOON)
            .unwrap();
        self.desktop.click_on("Stop key", "link", SOON).unwrap();
        self.desktop
            .wait_for("Choose another key", BUTTON, SOON)
            .unwrap();
        std::thread::sleep(GUARD);
        self.desktop
            .click_on("Choose another key", BUTTON, SOON)
            .unwrap();
        self.desktop
            .wait_for("Keep the present one", BUTTON, SOON)
            .unwrap();
        self.desktop.key("super+F12").unwrap();
        self.desktop
            .wait_for("Choose another", BUTTON, SOON)
            .unwrap();
        assert!(
            self.desktop
                .find("Use it from now on", BUTTON)
                .unwrap()
                .is_none(),
            "it was not heard yet"
        );
        self.desktop.key("super+F12").unwrap();
        self.desktop
            .click_on("Use it from now on", BUTTON, SOON)
            .unwrap();
        // The question opens by itself.
        self.desktop
            .wait_for("Hold to approve: hold for a second", BUTTON, SOON)
            .unwrap();
        std::thread::sleep(GUARD);
    }
    fn stopped(&self) -> bool {
        self.status().to_lowercase().contains("stopped")
    }
}

#[test]
fn a_key_that_is_pressed_tried_and_accepted_in_the_window_stops_from_then_on() {
    let stage = Stage::start();
    stage.choose();
    assert!(!stage.stopped(), "a key that is tried stops nothing");
    let (x, y) = stage
        .desktop
        .wait_for("Hold to approve: hold for a second", BUTTON, SOON)
        .unwrap();
    let hold = Duration::from_millis(1300);
    stage.desktop.press_for(x, y, hold).unwrap();
    stage.until("it is written", &|| {
        stage.config().contains("stop = \"Super+F12\"")
    });
    let diff = stage.authority.command(&stage.desktop, &["config", "diff"]);
    assert!(said(&diff.unwrap()).contains("Nothing has changed"));

    stage.desktop.key("ctrl+alt+shift+Escape").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!stage.stopped(), "the old key is none any more");
    stage.until("the new one stops", &|| {
        stage.desktop.key("super+F12").unwrap();
        stage.stopped()
    });
}

#[test]
fn a_no_to_the_new_key_leaves_the_file_and_the_old_key_as_they_were() {
    let stage = Stage::start();
    let before = stage.config();
    stage.choose();
    assert_ne!(stage.config(), before, "what is asked about is on disk");
    stage.desktop.key("Escape").unwrap();
    stage.until("the file is as it was", &|| stage.config() == before);
    stage.desktop.key("super+F12").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!stage.stopped());
    stage.desktop.key("ctrl+alt+shift+Escape").unwrap();
    stage.until("the old key stops", &|| stage.stopped());
}

#[test]
fn a_stop_key_that_the_keyboard_has_not_got_is_a_warning_in_status() {
    let desktop = Desktop::start(&Options {
        notify: false,
        ..Options::default()
    })
    .unwrap();
    desktop
        .must("xmodmap", &["-e", "keysym Escape = NoSymbol"])
        .unwrap();
    let authority = Authority::start(&desktop, &["--desktop"]).unwrap();
    let stage = Stage { authority, desktop };
    stage.until("status says it", &|| {
        stage.status().contains("has no such key")
    });
    stage.until("the tray says it", &|| {
        let tray = stage.desktop.tray().unwrap_or_default();
        tray.contains("The stop's hotkey does not work")
    });
}
