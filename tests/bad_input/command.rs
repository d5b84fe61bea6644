//! The command: wrong usage, exit codes, and who may not use it.

use crate::{assert_works, ends, run_ends, status};
use countersign_testkit::Scene;
use countersign_testkit::programs;
use countersign_testkit::scene::said;

#[test]
fn an_unknown_agent_gets_no_run() {
    let scene = Scene::start(3).unwrap();
    let told = run_ends(&scene, "nobody", &["touch", "ran"], 1);
    assert!(
        told.contains("No agent nobody") && told.contains("countersign agent add nobody"),
        "{told}"
    );
    assert!(!scene.work().unwrap().join("ran").exists());
}

#[test]
fn the_exit_codes_are_those_of_the_design() {
    let mut scene = Scene::start(3).unwrap();
    ends(&scene, &["status"], 0);
    ends(&scene, &["account", "show", "nowhere"], 1);
    for wrong in [
        ["nonsense"].as_slice(),
        &["run"],
        &["timeline", "--since", "yesterday"],
        &["agent", "show", "Not A Name"],
    ] {
        ends(&scene, wrong, 2);
    }
    let mut empty = scene.spawn(&["credential", "set", "mail"]).unwrap();
    drop(empty.stdin.take());
    assert_eq!(empty.wait().unwrap().code(), Some(2));
    // The exit code of the agent's own command, and of a signal as a shell says it.
    run_ends(&scene, "inbox-bot", &["sh", "-c", "exit 42"], 42);
    run_ends(&scene, "inbox-bot", &["sh", "-c", "kill -TERM $$"], 143);

    let from = scene.authority.screen().len();
    let remove = scene.spawn(&["credential", "remove", "mail"]).unwrap();
    scene.authority.wait_for(" to approve: ", from).unwrap();
    scene.authority.type_line("no").unwrap();
    assert_eq!(remove.wait_with_output().unwrap().status.code(), Some(4));
    assert_works(&scene);

    // The stop answers what waits, and keeps what comes.
    let from = scene.authority.screen().len();
    let remove = scene.spawn(&["credential", "remove", "mail"]).unwrap();
    scene.authority.wait_for(" to approve: ", from).unwrap();
    ends(&scene, &["stop"], 0);
    assert_eq!(remove.wait_with_output().unwrap().status.code(), Some(6));
    run_ends(&scene, "inbox-bot", &["true"], 6);

    scene.shut_down().unwrap();
    for args in [
        ["status"].as_slice(),
        &["stop"],
        &["resume"],
        &["timeline"],
        &["config", "accept"],
    ] {
        ends(&scene, args, 7);
    }
}

#[test]
fn no_process_of_a_run_commands_the_authority() {
    let scene = Scene::start(3).unwrap();
    let countersign = programs::built("countersign").unwrap();
    let countersign = countersign.to_str().unwrap();
    let socket = scene.desktop.path("run/countersign/control.sock");
    let socket = socket.to_str().unwrap();
    let counter = status(&scene)["records"].clone();

    let reach = format!(
        "{countersign} status; echo code=$?; {countersign} shutdown; echo code=$?; ls -la {socket}; \
         python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"{socket}\")'"
    );
    let told = scene.script(&reach).unwrap();
    assert!(
        told.contains("code=7") || told.contains("code=1") || told.contains("code=127"),
        "{told}"
    );
    assert!(
        !told.contains("code=0") && !told.contains("● Running"),
        "{told}"
    );
    assert!(
        told.contains("FileNotFoundError") || told.contains("Permission"),
        "{told}"
    );

    // Uncontained it reaches the socket, and is refused there.
    for reach in [
        format!("{countersign} shutdown"),
        format!("sh -c '{countersign} shutdown; true'"),
        format!("setsid {countersign} shutdown"),
    ] {
        let run = scene
            .run_with(
                &["--uncontained"],
                &["sh", "-c", &format!("{reach} 2>&1; true")],
            )
            .unwrap();
        let told = said(&run.wait_with_output().unwrap());
        assert!(
            told.contains("A process of a run may not command the authority"),
            "{reach}: {told}"
        );
    }
    assert_works(&scene);
    assert_ne!(status(&scene)["records"], counter);
}

#[test]
fn a_process_that_left_its_uncontained_run_behind_is_still_of_the_run() {
    let scene = Scene::start(3).unwrap();
    let countersign = programs::built("countersign").unwrap();
    let orphan = format!(
        "(setsid sh -c 'sleep 0.3; {} shutdown > told 2>&1; touch done' &) ; sleep 5",
        countersign.display()
    );
    let mut run = scene
        .run_with(&["--uncontained"], &["sh", "-c", &orphan])
        .unwrap();
    let folder = scene.work().unwrap();
    for _ in 0..100 {
        if folder.join("done").exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let told = std::fs::read_to_string(folder.join("told")).unwrap();
    assert!(
        told.contains("A process of a run may not command the authority"),
        "{told}"
    );
    run.kill().unwrap();
    run.wait().unwrap();
    assert_works(&scene);
}

#[test]
fn root_is_not_contained_and_told_so() {
    // In a user namespace of its own the person is root: so this can be tried
    // as whoever runs the tests.
    let scene = Scene::start(3).unwrap();
    let countersign = programs::built("countersign").unwrap();
    let output = scene
        .desktop
        .command("unshare")
        .arg("--map-root-user")
        .arg(countersign)
        .args(["run", "--agent", "inbox-bot", "--", "touch", "ran"])
        .output()
        .unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("cannot be contained")
            && told.contains("root")
            && told.contains("ordinary user"),
        "{told}"
    );
    assert!(!scene.desktop.path("home/ran").exists());
}
