//! The stop works when nothing else does; and however the authority ends while
//! it engages, it is engaged afterwards.

use crate::{BEATS, SILENCE, beats, ends, is_silent, run, soon, status, until_it_beats};
use countersign_testkit::scene::piped;
use countersign_testkit::{Scene, random};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead as _, BufReader};
use std::time::Duration;

/// Takes the ledger's write lock, says so, and keeps it until its input ends.
const HOLD: &str = "import sqlite3, sys\n\
    db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)\n\
    db.execute('BEGIN IMMEDIATE')\n\
    print('held', flush=True)\n\
    sys.stdin.read()\n";

fn signal(scene: &Scene, signal: Signal) {
    let pid = i32::try_from(scene.authority.pid()).unwrap();
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Sets a soft limit of the authority, as the person whose process it is.
fn limit(scene: &Scene, what: &str) {
    let pid = scene.authority.pid().to_string();
    let desktop = &scene.desktop;
    desktop.must("prlimit", &["--pid", &pid, what]).unwrap();
}

/// It is silent from the signal on.
fn is_stopped_by_a_signal(scene: &Scene) {
    signal(scene, Signal::SIGUSR1);
    std::thread::sleep(Duration::from_millis(50));
    let before = beats(scene);
    std::thread::sleep(SILENCE);
    assert_eq!(beats(scene), before);
}

#[test]
fn it_engages_without_a_descriptor_left() {
    let scene = Scene::start(3).unwrap();
    let agent = run(&scene, None, "inbox-bot", &["sh", "-c", BEATS]);
    until_it_beats(&scene);
    // Below what is open already: nothing can be opened any more.
    limit(&scene, "--nofile=3:");
    is_stopped_by_a_signal(&scene);
    assert_eq!(agent.wait_with_output().unwrap().status.code(), Some(6));
    limit(&scene, "--nofile=1024:");
    soon("it answers again", || {
        scene.countersign(&["status"]).unwrap().status.success()
    });
    assert_eq!(status(&scene)["stopped"]["trigger"], "signal");
}

#[test]
fn it_engages_while_no_file_can_be_written() {
    let mut scene = Scene::start(3).unwrap();
    let agent = run(&scene, None, "inbox-bot", &["sh", "-c", BEATS]);
    until_it_beats(&scene);
    limit(&scene, "--fsize=0:");
    is_stopped_by_a_signal(&scene);
    assert_eq!(agent.wait_with_output().unwrap().status.code(), Some(6));
    let now = status(&scene);
    assert!(
        now["warnings"]
            .to_string()
            .contains("could not be written down"),
        "{now}"
    );
    // Nothing says so on disk, and a run was open: that is enough.
    scene.authority.kill().unwrap();
    scene.start_again().unwrap();
    assert!(!status(&scene)["stopped"].is_null());
}

#[test]
fn it_engages_while_the_ledger_hangs_and_the_command_answers() {
    let scene = Scene::start(3).unwrap();
    let read = "curl -sS --max-time 5 'https://gmail.googleapis.com/gmail/v1/users/me/messages?maxResults=3'";
    let script = format!("while :; do {read}; done > /dev/null 2>&1 & {BEATS}");
    let agent = run(&scene, None, "inbox-bot", &["sh", "-c", &script]);
    until_it_beats(&scene);
    let mut holder = scene.desktop.command("python3");
    holder
        .args(["-c", HOLD])
        .arg(scene.state().join("ledger.db"));
    let mut holder = piped(&mut holder).spawn().unwrap();
    let mut held = String::new();
    BufReader::new(holder.stdout.take().unwrap())
        .read_line(&mut held)
        .unwrap();
    assert_eq!(held, "held\n");
    // Its requests wait for the ledger now.
    std::thread::sleep(SILENCE);
    let told = ends(&scene, &["stop"], 0);
    assert!(told.contains("Everything is stopped"), "{told}");
    assert!(is_silent(&scene));
    assert_eq!(agent.wait_with_output().unwrap().status.code(), Some(6));
    drop(holder.stdin.take());
    holder.wait().unwrap();
    soon("it is on record", || {
        crate::timeline(&scene).contains("STOP engaged by command")
    });
}

#[test]
fn however_the_authority_ends_while_it_engages_it_is_engaged_afterwards() {
    let mut scene = Scene::start(3).unwrap();
    for round in 0..12 {
        let mut agent = run(&scene, None, "inbox-bot", &["sh", "-c", BEATS]);
        until_it_beats(&scene);
        signal(&scene, Signal::SIGUSR1);
        // From none to three milliseconds, at random.
        let [moment] = random::bytes::<1>();
        std::thread::sleep(Duration::from_micros(u64::from(moment) * 12));
        scene.authority.kill().unwrap();
        assert!(is_silent(&scene), "round {round}");
        agent.wait().unwrap();
        scene.start_again().unwrap();
        assert!(!status(&scene)["stopped"].is_null(), "round {round}");
        scene.confirm(&["resume"]).unwrap();
    }
    // Nothing was open: what the command was told holds.
    for _ in 0..3 {
        ends(&scene, &["stop"], 0);
        scene.authority.kill().unwrap();
        scene.start_again().unwrap();
        assert!(!status(&scene)["stopped"].is_null());
        scene.confirm(&["resume"]).unwrap();
    }
}
