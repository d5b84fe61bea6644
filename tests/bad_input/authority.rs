//! A second authority, a stale socket, a damaged ledger, nobody to ask.

use crate::{assert_works, ends, reason_of, run_ends};
use countersign_testkit::Scene;
use countersign_testkit::authority::Authority;
use countersign_testkit::programs;
use countersign_testkit::scene::said;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_second_authority_is_refused_whatever_its_home_and_the_first_goes_on() {
    let scene = Scene::start(3).unwrap();
    let elsewhere = scene.desktop.path("home/elsewhere");
    for home in [None, Some(elsewhere)] {
        let mut second = scene
            .desktop
            .command(programs::built("countersign").unwrap());
        second
            .arg("serve")
            .envs(home.map(|home| ("COUNTERSIGN_HOME", home)));
        let output = second.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            said(&output).contains("An authority of yours is running already"),
            "{output:?}"
        );
    }
    assert_works(&scene);
}

#[test]
fn after_a_kill_commands_say_that_none_runs_and_the_next_start_replaces_the_socket() {
    let mut scene = Scene::start(3).unwrap();
    let socket = scene.desktop.path("run/countersign/control.sock");
    scene.authority.kill().unwrap();
    assert!(socket.exists(), "a stale socket is left");
    let told = ends(&scene, &["status"], 7);
    assert!(told.contains("No authority is running"), "{told}");
    let told = run_ends(&scene, "inbox-bot", &["true"], 7);
    assert!(told.contains("No authority is running"), "{told}");
    scene.start_again().unwrap();
    assert!(
        !scene.authority.screen().contains("stop is engaged"),
        "nothing was open: {}",
        scene.authority.screen()
    );
    assert_works(&scene);
}

#[test]
fn a_damaged_ledger_is_told_nothing_is_released_and_the_file_is_kept_as_it_is() {
    let mut scene = Scene::start(3).unwrap();
    assert_works(&scene);
    scene.shut_down().unwrap();
    let ledger = scene.state().join("ledger.db");
    let whole = fs::read(&ledger).unwrap();
    assert!(whole.len() > 3 * 4096, "{}", whole.len());
    let mut flipped = whole.clone();
    for byte in flipped.iter_mut().skip(2 * 4096).step_by(7) {
        *byte ^= 0x55;
    }
    for damaged in [
        flipped,
        whole[..whole.len() / 2].to_vec(),
        b"not a database at all".to_vec(),
        Vec::new(),
    ] {
        scene.desktop.person().write(&ledger, &damaged).unwrap();
        let told = scene.start_again().unwrap_err().to_string();
        assert!(
            told.contains("Nothing is released") && told.contains("ledger.db"),
            "{told}"
        );
        assert!(
            fs::read(&ledger).unwrap() == damaged,
            "the file was changed"
        );
        run_ends(&scene, "inbox-bot", &["true"], 7);
        assert_ne!(
            scene
                .countersign(&["ledger", "verify"])
                .unwrap()
                .status
                .code(),
            Some(0)
        );
    }
    scene.desktop.person().write(&ledger, &whole).unwrap();
    scene.start_again().unwrap();
    assert_works(&scene);
}

#[test]
fn a_socket_of_another_user_is_told_nothing() {
    let mut scene = Scene::start(1).unwrap();
    scene.shut_down().unwrap();
    let socket = scene.desktop.path("run/countersign/control.sock");
    let _ = fs::remove_file(&socket);
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    listener.set_nonblocking(true).unwrap();
    // Only where these tests are another user than the person, as in CI.
    let is_other = !nix::unistd::Uid::effective().eq(&scene.desktop.person().uid);
    if is_other {
        let mut status = scene.spawn(&["status"]).unwrap();
        // One that talks would wait for ever for an answer.
        let ended = (0..100).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            status.try_wait().unwrap()
        });
        let _over_already = status.kill();
        let told = said(&status.wait_with_output().unwrap());
        assert_eq!(ended.and_then(|e| e.code()), Some(1), "{told}");
        assert!(told.contains("is not yours"), "{told}");
        let (mut peer, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        std::io::Read::read_to_end(&mut peer, &mut heard).unwrap();
        assert!(heard.is_empty());
    }
}

#[test]
fn a_ledger_that_was_replaced_is_found_by_a_checkpoint_kept_elsewhere() {
    let mut scene = Scene::start(3).unwrap();
    let checkpoint = scene.desktop.path("home/kept");
    let note = ends(&scene, &["ledger", "checkpoint"], 0);
    scene.desktop.person().write(&checkpoint, note).unwrap();
    let against = [
        "ledger",
        "verify",
        "--checkpoint",
        checkpoint.to_str().unwrap(),
    ];
    assert_works(&scene);
    ends(&scene, &against, 0);

    scene.shut_down().unwrap();
    fs::remove_file(scene.state().join("ledger.db")).unwrap();
    scene.start_again().unwrap();
    // An accepted configuration that no trail vouches for may be an old one.
    let told = run_ends(&scene, "inbox-bot", &["true"], 1);
    assert!(told.contains("No configuration is in force"), "{told}");
    let config = scene.read_config().unwrap();
    scene.accept(&config).unwrap();
    assert_works(&scene);
    ends(&scene, &["ledger", "verify"], 0);
    let told = ends(&scene, &against, 1);
    assert!(told.contains("The ledger was"), "{told}");
}

#[test]
fn without_a_surface_what_asks_is_denied_and_routine_reads_go_on() {
    let mut scene = Scene::start(3).unwrap();
    scene.shut_down().unwrap();
    scene.authority = Authority::start(&scene.desktop, &[]).unwrap();
    assert_works(&scene);
    let id = scene.mailbox.ids()[0].clone();
    let url = format!("https://gmail.googleapis.com/gmail/v1/users/me/messages/{id}/trash");
    let told = scene
        .script(&format!(
            "curl -sS -w ' status=%{{http_code}}' -X POST {url}"
        ))
        .unwrap();
    assert!(
        told.contains("status=403") && told.contains("\"reason\":\"no-surface\""),
        "{told}"
    );
    assert_eq!(scene.mailbox.trashed(), 0);
    assert_eq!(reason_of(&scene, &id), "no-surface");

    scene
        .write_config(&(scene.read_config().unwrap() + "\n[agents.other]\naccounts = []\n"))
        .unwrap();
    let told = ends(&scene, &["config", "accept"], 5);
    assert!(told.contains("Nobody can be asked"), "{told}");
    assert!(
        ends(&scene, &["status"], 0).contains("nowhere"),
        "status says where it asks"
    );
}
