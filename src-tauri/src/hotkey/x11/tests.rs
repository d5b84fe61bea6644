use super::*;
use countersign_testkit::{Desktop, Keyring, Options};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;
use x11rb::protocol::xproto::{GrabMode, GrabStatus};
use x11rb::rust_connection::DefaultStream;

const SOON: Duration = Duration::from_secs(10);
const STOP: &str = "Ctrl+Alt+Shift+Escape";

fn desktop() -> Desktop {
    Desktop::start(&Options {
        notify: false,
        tray: false,
        keyring: Keyring::None,
        ..Options::default()
    })
    .unwrap()
}

/// A listener that runs, on a desktop without it.
struct Live {
    heard: mpsc::Receiver<(Heard, Instant)>,
    /// Of its thread: `PID/task/TID`.
    thread: PathBuf,
    ended: mpsc::Receiver<bool>,
    until: Option<OwnedFd>,
}

/// A connection of this process to that desktop, with its cookie.
fn connect(desktop: &Desktop) -> (RustConnection, usize) {
    let find = |name: &str| {
        desktop
            .env()
            .iter()
            .find(|(n, _)| n == name)
            .unwrap()
            .1
            .clone()
    };
    let parsed =
        x11rb::reexports::x11rb_protocol::parse_display::parse_display(Some(&find("DISPLAY")))
            .unwrap();
    let (stream, _) = parsed
        .connect_instruction()
        .find_map(|address| DefaultStream::connect(&address).ok())
        .unwrap();
    let authority = std::fs::read(find("XAUTHORITY")).unwrap();
    let cookie = authority[authority.len() - 16..].to_vec();
    let screen = usize::from(parsed.screen);
    let x = RustConnection::connect_to_stream_with_auth_info(
        stream,
        screen,
        b"MIT-MAGIC-COOKIE-1".to_vec(),
        cookie,
    );
    (x.unwrap(), screen)
}

impl Live {
    fn start(desktop: &Desktop, keys: &str) -> Self {
        let (x, screen) = connect(desktop);
        let mut listener = Listener::over(x, screen, keys.parse().unwrap()).unwrap();
        let (tx, heard) = mpsc::channel();
        let (at, thread) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let (dropped, until) = rustix::pipe::pipe().unwrap();
        thread::spawn(move || {
            at.send(std::fs::read_link("/proc/thread-self").unwrap())
                .unwrap();
            let ran = listener.run(&dropped, |what| {
                let _ = tx.send((what, Instant::now()));
            });
            let _ = end.send(ran.is_ok());
        });
        Self {
            heard,
            thread: thread.recv().unwrap(),
            ended,
            until: Some(until),
        }
    }
    fn next(&self) -> (Heard, Instant) {
        self.heard.recv_timeout(SOON).unwrap()
    }
    fn fires(&self) -> bool {
        self.next().0 == Heard::Pressed
    }
    fn quiet(&self) -> bool {
        self.heard.recv_timeout(Duration::from_millis(300)).is_err()
    }
    /// How often its thread has given the processor back, or lost it.
    fn switches(&self) -> u64 {
        let status =
            std::fs::read_to_string(PathBuf::from("/proc").join(&self.thread).join("status"));
        status
            .unwrap()
            .lines()
            .filter_map(|line| line.split_once("_switches:"))
            .map(|(_, n)| n.trim().parse::<u64>().unwrap())
            .sum()
    }
}

fn xdotool(desktop: &Desktop, args: &[&str]) {
    desktop.must("xdotool", args).unwrap();
}
fn press(desktop: &Desktop, keys: &str) {
    xdotool(desktop, &["key", keys]);
}
/// Whether somebody holds the keyboard: nobody else can then.
fn is_held(desktop: &Desktop) -> bool {
    let (x, screen) = connect(desktop);
    let root = x.setup().roots[screen].root;
    let mode = GrabMode::ASYNC;
    let grab = x.grab_keyboard(true, root, x11rb::CURRENT_TIME, mode, mode);
    grab.unwrap().reply().unwrap().status == GrabStatus::ALREADY_GRABBED
}

#[test]
fn the_hotkey_fires_with_its_modifiers_and_not_without() {
    let desktop = desktop();
    let live = Live::start(&desktop, STOP);
    for no in [
        "Escape",
        "ctrl+Escape",
        "ctrl+alt+Escape",
        "ctrl+shift+Escape",
        "ctrl+alt+shift+a",
    ] {
        press(&desktop, no);
    }
    assert!(live.quiet());
    press(&desktop, "ctrl+alt+shift+Escape");
    assert!(live.fires());
    assert!(live.quiet(), "once a press");
    press(&desktop, "super+ctrl+alt+shift+Escape");
    assert!(
        live.fires(),
        "more than needed does not keep it from firing"
    );
}

#[test]
fn neither_num_lock_nor_caps_lock_keeps_it_from_firing() {
    let desktop = desktop();
    let live = Live::start(&desktop, STOP);
    press(&desktop, "Num_Lock");
    press(&desktop, "Caps_Lock");
    let said = desktop.must("xset", &["-q"]).unwrap();
    for lock in ["Caps Lock:   on", "Num Lock:    on"] {
        assert!(said.contains(lock), "{said}");
    }
    press(&desktop, "ctrl+alt+shift+Escape");
    assert!(live.fires());
}

#[test]
fn it_fires_while_a_second_layout_is_active_whatever_letter_that_has_there() {
    let desktop = desktop();
    let live = Live::start(&desktop, "Ctrl+Super+K");
    let k = "45"; // the keycode, in the evdev numbering of every PC keyboard
    press(&desktop, &format!("ctrl+super+{k}"));
    assert!(live.fires());
    let layouts = |layouts| {
        desktop.must("setxkbmap", &["-layout", layouts]).unwrap();
        desktop.must("xmodmap", &["-pke"]).unwrap()
    };
    // The first of them is active; the letter is only in the second.
    assert!(layouts("ru,us").contains("keycode  45 = Cyrillic_el Cyrillic_EL k K"));
    press(&desktop, &format!("ctrl+super+{k}"));
    assert!(live.fires());
    // It follows a change of the layouts.
    assert!(layouts("us").contains("keycode  45 = k K"));
    press(&desktop, &format!("ctrl+super+{k}"));
    assert!(live.fires());
}

#[test]
fn it_fires_while_a_menu_is_open() {
    let desktop = desktop();
    let live = Live::start(&desktop, STOP);
    let until = Instant::now() + SOON;
    loop {
        xdotool(&desktop, &["mousemove", "600", "400", "click", "3"]);
        thread::sleep(Duration::from_millis(200));
        // To look is to take it for a moment, in which no menu can.
        if is_held(&desktop) {
            break;
        }
        assert!(Instant::now() < until, "the window manager opens no menu");
    }
    press(&desktop, "ctrl+alt+shift+Escape");
    assert!(live.fires());
}

#[test]
fn it_fires_while_another_program_holds_the_keyboard() {
    let desktop = desktop();
    let live = Live::start(&desktop, STOP);
    let (x, screen) = connect(&desktop);
    let root = x.setup().roots[screen].root;
    let mode = GrabMode::ASYNC;
    let grab = x.grab_keyboard(true, root, x11rb::CURRENT_TIME, mode, mode);
    assert_eq!(grab.unwrap().reply().unwrap().status, GrabStatus::SUCCESS);
    press(&desktop, "ctrl+alt+shift+Escape");
    assert!(live.fires());
}

#[test]
fn it_fires_while_another_window_has_the_focus() {
    let mut desktop = desktop();
    let live = Live::start(&desktop, STOP);
    desktop.background("xev", "xev", &[]).unwrap();
    let sync = [
        "search",
        "--sync",
        "--name",
        "Event Tester",
        "windowfocus",
        "--sync",
    ];
    xdotool(&desktop, &sync);
    press(&desktop, "a");
    press(&desktop, "ctrl+alt+shift+Escape");
    assert!(live.fires());
    let seen = std::fs::read_to_string(desktop.path("xev.log")).unwrap();
    assert!(seen.contains("keysym 0x61, a"), "it had no focus");
}

#[test]
fn modifiers_that_were_held_before_it_listened_count() {
    let desktop = desktop();
    xdotool(
        &desktop,
        &["keydown", "ctrl", "keydown", "alt", "keydown", "shift"],
    );
    let live = Live::start(&desktop, STOP);
    press(&desktop, "Escape");
    assert!(live.fires());
    xdotool(
        &desktop,
        &["keyup", "ctrl", "keyup", "alt", "keyup", "shift"],
    );
    press(&desktop, "Escape");
    assert!(live.quiet(), "they are held no longer");
}

#[test]
fn a_press_that_is_held_for_a_second_is_told_once_and_a_short_one_never() {
    let desktop = desktop();
    let live = Live::start(&desktop, STOP);
    let modifiers = |what| xdotool(&desktop, &[what, "ctrl", what, "alt", what, "shift"]);
    modifiers("keydown");
    xdotool(
        &desktop,
        &["keydown", "Escape", "sleep", "0.6", "keyup", "Escape"],
    );
    assert!(live.fires());
    thread::sleep(Duration::from_millis(600));
    assert!(live.quiet(), "it was let go after 0.6 s");

    xdotool(
        &desktop,
        &["keydown", "Escape", "sleep", "2.3", "keyup", "Escape"],
    );
    let (pressed, at) = live.next();
    let (held, then) = live.next();
    assert_eq!((pressed, held), (Heard::Pressed, Heard::Held));
    let after = then.duration_since(at);
    assert!((900..1600).contains(&after.as_millis()), "{after:?}");
    assert!(live.quiet(), "once");

    xdotool(&desktop, &["key", "Escape", "key", "Escape"]);
    assert!(live.fires() && live.fires(), "a second press is a press");
    modifiers("keyup");
}

#[test]
fn an_idle_hotkey_wakes_nobody() {
    let desktop = desktop();
    let live = Live::start(&desktop, STOP);
    // Also after it had something to wait for.
    press(&desktop, "ctrl+alt+shift+Escape");
    assert!(live.fires());
    thread::sleep(HELD + Duration::from_millis(200));
    let before = live.switches();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(live.switches(), before);
}

#[test]
fn it_ends_with_whoever_wanted_it() {
    let desktop = desktop();
    let mut live = Live::start(&desktop, STOP);
    drop(live.until.take());
    assert!(live.ended.recv_timeout(SOON).unwrap());
    press(&desktop, "ctrl+alt+shift+Escape");
    assert!(live.quiet());
}

#[test]
fn a_key_that_the_keyboard_has_not_got_is_an_error_and_not_a_hotkey_that_never_fires() {
    let desktop = desktop();
    desktop
        .must("xmodmap", &["-e", "keysym F12 = NoSymbol"])
        .unwrap();
    let (x, screen) = connect(&desktop);
    assert!(Listener::over(x, screen, "F12".parse().unwrap()).is_err());
}
