//! The vault in a file, where there is no keyring.

use crate::hunt::{self, Hunt};
use countersign_testkit::scene::said;
use countersign_testkit::upstream::Mailbox;
use countersign_testkit::{Authority, Desktop, Keyring, Options, Scene, random};
use std::fs;

const READ: &str =
    "curl -sS -w ' status=%{http_code}' https://gmail.googleapis.com/gmail/v1/users/me/profile";

#[test]
fn a_vault_in_a_file_tells_neither_its_secrets_nor_its_passphrase() {
    let desktop = Desktop::start(&Options {
        notify: false,
        tray: false,
        keyring: Keyring::None,
        ..Options::default()
    })
    .unwrap()
    .with_env("RUST_BACKTRACE", "1");
    let (passphrase, credential) = (random::mark::<40>(), random::mark::<40>());
    let hunt = Hunt::for_secrets(&[("the vault", &passphrase), ("mail", &credential)]);
    let file = desktop.path("home/passphrase");
    desktop.person().write(&file, &passphrase).unwrap();
    let config = desktop.path("home/.config/countersign/countersign.toml");
    let vault = "vault = \"file\"\n";
    desktop.person().write(&config, vault).unwrap();

    let args = ["--passphrase-file", file.to_str().unwrap()];
    let mut scene = Scene {
        authority: Authority::on_a_terminal(&desktop, &args).unwrap(),
        mailbox: Mailbox::start(&credential, 1).unwrap(),
        credential: credential.clone(),
        desktop,
    };
    let settings = "kind = \"gmail\"\ncredential = \"bearer\"";
    let mail = scene
        .account("mail", settings, &scene.mailbox.upstream)
        .unwrap();
    let text = format!("{vault}[agents.inbox-bot]\naccounts = [\"mail\"]\n\n{mail}");
    hunt.clean("accepting", scene.accept(&text).unwrap().as_bytes());
    let block = scene.set_credential("mail", &credential).unwrap();
    hunt.clean("setting a credential", block.as_bytes());

    for round in 1..=2 {
        let told = scene.script(READ).unwrap();
        assert!(told.contains("status=200"), "{told}");
        assert!(scene.mailbox.upstream.seen()[round - 1].bears(&credential));
        hunt.clean("the agent", told.as_bytes());
        let status = said(&scene.countersign(&["status", "--json"]).unwrap());
        hunt.clean("status", status.as_bytes());
        scene.shut_down().unwrap();
        hunt.clean("the terminal", scene.authority.screen().as_bytes());
        if round == 1 {
            scene.authority = Authority::on_a_terminal(&scene.desktop, &args).unwrap();
        }
    }
    // A wrong passphrase is not repeated either.
    let wrong = random::mark::<40>();
    scene.desktop.person().write(&file, &wrong).unwrap();
    let refused = Authority::on_a_terminal(&scene.desktop, &args).unwrap_err();
    Hunt::for_secrets(&[("a wrong guess", &wrong)])
        .clean("its end", refused.to_string().as_bytes());
    hunt.clean("its end", refused.to_string().as_bytes());

    fs::remove_file(&file).unwrap();
    let searched = hunt.clean_files(scene.desktop.folder());
    assert!(searched > 50_000, "only {searched} bytes were searched");
    let files = hunt::files(&scene.state());
    assert!(
        files.contains(&scene.state().join("vault.age")),
        "{files:?}"
    );
}
