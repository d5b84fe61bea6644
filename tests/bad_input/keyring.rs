//! A keyring that is not there, is locked, or locks half-way.

use crate::{READ, assert_refused, assert_works, outcome_of};
use countersign_testkit::desktop::{Desktop, Keyring, Options};
use countersign_testkit::{Authority, Scene, random};
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

/// Nothing that was read is used longer than this, by the vault's promise.
const CACHE: Duration = Duration::from_millis(5200);

fn desktop_with(keyring: Keyring) -> Desktop {
    Desktop::start(&Options {
        keyring,
        notify: false,
        tray: false,
        ..Options::default()
    })
    .unwrap()
}

#[test]
fn without_a_keyring_the_authority_says_so_and_the_fix_works() {
    let desktop = desktop_with(Keyring::None);
    let told = Authority::on_a_terminal(&desktop, &[])
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("No keyring answers") && told.contains("gnome-keyring"),
        "{told}"
    );
    assert!(told.contains("vault = \"file\""), "{told}");
    assert!(
        !desktop
            .path("home/.local/state/countersign/ledger.db")
            .exists(),
        "nothing was begun"
    );

    let passphrase = desktop.path("home/passphrase");
    desktop
        .person()
        .write(&passphrase, random::credential())
        .unwrap();
    let config = desktop.path("home/.config/countersign/countersign.toml");
    desktop
        .person()
        .write(&config, "vault = \"file\"\n")
        .unwrap();
    let mut authority = Authority::on_a_terminal(
        &desktop,
        &["--passphrase-file", passphrase.to_str().unwrap()],
    )
    .unwrap();
    authority.shut_down(&desktop).unwrap();

    desktop
        .person()
        .write(&passphrase, random::credential())
        .unwrap();
    let told = Authority::on_a_terminal(
        &desktop,
        &["--passphrase-file", passphrase.to_str().unwrap()],
    )
    .unwrap_err()
    .to_string();
    assert!(told.contains("passphrase does not open"), "{told}");
}

#[test]
fn a_keyring_that_is_locked_at_the_start_is_told_with_the_fix() {
    let desktop = desktop_with(Keyring::Locked);
    let told = Authority::on_a_terminal(&desktop, &[])
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("The keyring is locked.") && told.contains("Unlock the keyring"),
        "{told}"
    );
}

#[test]
fn a_keyring_that_locks_half_way_denies_until_it_is_open_again() {
    let scene = Scene::start(3).unwrap();
    assert_works(&scene);
    scene.desktop.lock_keyring().unwrap();
    std::thread::sleep(CACHE);
    assert_refused(&scene, "locked");
    let outcome = outcome_of(&scene, "maxResults=3").to_string();
    assert!(
        outcome.contains("not-sent") && outcome.contains("locked"),
        "the record says that nothing left: {outcome}"
    );

    unlock(&scene.desktop);
    let told = scene.script(READ).unwrap();
    assert!(told.contains("status=200"), "{told}");
}

/// Somebody stores a secret, and the human answers the keyring's prompt.
fn unlock(desktop: &Desktop) {
    let mut asks = desktop
        .command("secret-tool")
        .args(["store", "--label=test", "for", "the test"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    asks.stdin.take().unwrap().write_all(b"kept").unwrap();
    desktop
        .wait_for("Unlock Login Keyring", "", Duration::from_secs(20))
        .unwrap();
    desktop.type_text(desktop.keyring_password()).unwrap();
    desktop.key("Return").unwrap();
    asks.wait().unwrap();
}
