use super::*;
use countersign_testkit::{Desktop, Keyring, Options};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use x11rb::rust_connection::DefaultStream;

const SOON: Duration = Duration::from_secs(10);

struct Live {
    desktop: Desktop,
    fired: mpsc::Receiver<Instant>,
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
    fn start(keys: &str) -> Self {
        let options = Options {
            notify: false,
            tray: false,
            keyring: Keyring::None,
            ..Options::default()
        };
        let desktop = Desktop::start(&options).unwrap();
        let (x, screen) = connect(&desktop);
        let mut listener = Listener::over(x, screen, Hotkey::parse(keys).unwrap()).unwrap();
        let (tx, fired) = mpsc::channel();
        thread::spawn(move || {
            listener.run(move || {
                let _ = tx.send(Instant::now());
            });
        });
        Self { desktop, fired }
    }
    fn press(&self, keys: &str) {
        self.desktop.must("xdotool", &["key", keys]).unwrap();
    }
    fn fires(&self) -> bool {
        self.fired.recv_timeout(SOON).is_ok()
    }
    fn quiet(&self) -> bool {
        self.fired.recv_timeout(Duration::from_millis(300)).is_err()
    }
}

#[test]
fn the_hotkey_fires_with_its_modifiers_and_not_without() {
    let live = Live::start("Ctrl+Alt+Shift+Escape");
    for no in [
        "Escape",
        "ctrl+Escape",
        "ctrl+alt+Escape",
        "ctrl+shift+Escape",
        "ctrl+alt+shift+a",
    ] {
        live.press(no);
    }
    assert!(live.quiet());
    live.press("ctrl+alt+shift+Escape");
    assert!(live.fires());
    assert!(live.quiet(), "once a press");
    live.press("super+ctrl+alt+shift+Escape");
    assert!(
        live.fires(),
        "more than needed does not keep it from firing"
    );
}

#[test]
fn neither_locks_nor_a_second_layout_keep_it_from_firing() {
    let live = Live::start("Ctrl+Alt+Shift+Escape");
    live.press("Num_Lock");
    live.press("Caps_Lock");
    live.press("ctrl+alt+shift+Escape");
    assert!(live.fires());
    live.desktop
        .must(
            "setxkbmap",
            &["-layout", "us,ru", "-option", "grp:alt_shift_toggle"],
        )
        .unwrap();
    live.press("ctrl+alt+shift+Escape");
    assert!(live.fires());
}

#[test]
fn it_fires_while_another_program_holds_the_keyboard() {
    let live = Live::start("Ctrl+Alt+Shift+Escape");
    let (x, screen) = connect(&live.desktop);
    use x11rb::protocol::xproto::{GrabMode, GrabStatus};
    let root = x.setup().roots[screen].root;
    let grabbed = x
        .grab_keyboard(
            true,
            root,
            x11rb::CURRENT_TIME,
            GrabMode::ASYNC,
            GrabMode::ASYNC,
        )
        .unwrap()
        .reply()
        .unwrap();
    assert_eq!(grabbed.status, GrabStatus::SUCCESS);
    live.press("ctrl+alt+shift+Escape");
    assert!(live.fires());
}

#[test]
fn a_key_that_the_keyboard_has_not_got_is_an_error_and_not_a_hotkey_that_never_fires() {
    let options = Options {
        notify: false,
        tray: false,
        keyring: Keyring::None,
        ..Options::default()
    };
    let desktop = Desktop::start(&options).unwrap();
    desktop
        .must("xmodmap", &["-e", "keysym F12 = NoSymbol"])
        .unwrap();
    let (x, screen) = connect(&desktop);
    assert!(Listener::over(x, screen, Hotkey::parse("F12").unwrap()).is_err());
}
