//! The desktop that all other tests stand on is a real one.

use countersign_testkit::desktop::{Desktop, Keyring, Options};
use countersign_testkit::programs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

/// Shows a notification with two buttons and prints which was clicked.
const NOTIFY: &str = r#"
import sys
from gi.repository import Gio, GLib
NAME, PATH = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"
bus, loop = Gio.bus_get_sync(Gio.BusType.SESSION), GLib.MainLoop()
def invoked(_bus, _sender, _path, _interface, _signal, arguments):
    print(arguments.unpack()[1], flush=True)
    loop.quit()
bus.signal_subscribe(None, NAME, "ActionInvoked", PATH, None, Gio.DBusSignalFlags.NONE, invoked)
asked = GLib.Variant("(susssasa{sv}i)", ("test", 0, "", "May I?", "Delete 3 messages", ["deny", "Deny", "approve", "Approve"], {}, 0))
bus.call_sync(NAME, PATH, NAME, "Notify", asked, None, Gio.DBusCallFlags.NONE, -1, None)
GLib.timeout_add_seconds(20, loop.quit)
loop.run()
"#;

#[test]
fn a_click_on_a_notifications_button_reaches_its_sender() {
    let desktop = Desktop::start(&Options::default()).unwrap();
    let mut sender = desktop
        .command("/usr/bin/python3")
        .args(["-c", NOTIFY])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    desktop.click_on("Approve", "push button", SOON).unwrap();
    let mut said = String::new();
    BufReader::new(sender.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert_eq!(said.trim(), "approve");
    assert!(sender.wait().unwrap().success());
    desktop
        .wait_until_gone("Approve", "push button", SOON)
        .unwrap();
}

#[test]
fn the_keyring_keeps_a_secret_while_it_is_open_and_asks_when_it_is_locked() {
    let desktop = Desktop::start(&Options {
        notify: false,
        tray: false,
        ..Options::default()
    })
    .unwrap();
    let mut store = desktop
        .command("secret-tool")
        .args(["store", "--label=test", "for", "the test"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    store.stdin.take().unwrap().write_all(b"kept").unwrap();
    assert!(store.wait().unwrap().success());
    assert_eq!(
        desktop
            .must("secret-tool", &["lookup", "for", "the test"])
            .unwrap(),
        "kept"
    );

    desktop.lock_keyring().unwrap();
    let mut waits = desktop
        .command("secret-tool")
        .args(["lookup", "for", "the test"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    desktop.wait_for("Unlock Login Keyring", "", SOON).unwrap();
    assert!(
        waits.try_wait().unwrap().is_none(),
        "a locked keyring must wait for the human"
    );
    desktop.type_text(desktop.keyring_password()).unwrap();
    desktop.key("Return").unwrap();
    let output = waits.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "kept");
}

#[test]
fn without_a_keyring_nobody_answers_and_nobody_waits() {
    let desktop = Desktop::start(&Options {
        keyring: Keyring::None,
        notify: false,
        tray: false,
        ..Options::default()
    })
    .unwrap();
    let asked = Instant::now();
    let output = desktop
        .run("secret-tool", &["lookup", "for", "the test"])
        .unwrap();
    assert!(!output.status.success());
    assert!(asked.elapsed() < SOON, "took {:?}", asked.elapsed());
}

#[test]
fn everything_at_the_desktop_runs_as_an_ordinary_user_and_ends_with_it() {
    let desktop = Desktop::start(&Options::default()).unwrap();
    assert_ne!(desktop.must("id", &["-u"]).unwrap().trim(), "0");
    let mut asleep = desktop.command("sleep").arg("600").spawn().unwrap();
    let shot = tempfile::NamedTempFile::new().unwrap();
    desktop.screenshot(shot.path()).unwrap();
    assert!(std::fs::read(shot.path()).unwrap().starts_with(b"\x89PNG"));
    let folder = desktop.folder().to_owned();
    drop(desktop);
    assert!(
        !asleep.wait().unwrap().success(),
        "the sleeper should have been ended"
    );
    assert!(!folder.exists());
}

#[test]
fn the_person_can_run_what_was_built() {
    let desktop = Desktop::start(&Options {
        notify: false,
        tray: false,
        keyring: Keyring::None,
        ..Options::default()
    })
    .unwrap();
    let program = programs::built("countersign-demo").unwrap();
    let output = desktop.command(program).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(2),
        "it should have said how it is used"
    );
}

/// A tray item whose menu says what was chosen.
const TRAY: &str = r#"
import gi
gi.require_version("Gtk", "3.0")
gi.require_version("AyatanaAppIndicator3", "0.1")
from gi.repository import AyatanaAppIndicator3 as Tray, Gtk
item = Tray.Indicator.new("test", "face-smile", Tray.IndicatorCategory.APPLICATION_STATUS)
item.set_status(Tray.IndicatorStatus.ACTIVE)
menu, entry = Gtk.Menu(), Gtk.MenuItem(label="Stop all")
entry.connect("activate", lambda _: (print("stop", flush=True), Gtk.main_quit()))
menu.append(entry)
menu.show_all()
item.set_menu(menu)
Gtk.main()
"#;

#[test]
fn a_tray_entry_can_be_chosen() {
    let desktop = Desktop::start(&Options {
        notify: false,
        keyring: Keyring::None,
        ..Options::default()
    })
    .unwrap();
    let item = desktop
        .command("/usr/bin/python3")
        .args(["-c", TRAY])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    desktop.choose_from_tray("Stop all", SOON).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&item.wait_with_output().unwrap().stdout),
        "stop\n"
    );
}
