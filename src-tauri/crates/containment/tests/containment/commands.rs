//! How a command begins and ends; what is refused before it begins.

use crate::stage::{PROBE, Stage, am_root, eventually};
use countersign_containment::{Support, platform};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Write;
use std::process::Stdio;

#[test]
fn an_exit_code_passes_through() {
    let stage = Stage::new();
    for code in [0, 1, 42, 255] {
        assert_eq!(stage.shell(&format!("exit {code}")).code, Some(code));
    }
}

#[test]
fn a_signal_that_ends_the_command_passes_through_as_a_shell_would_say_it() {
    let stage = Stage::new();
    assert_eq!(stage.shell("kill -SEGV $$").code, Some(128 + libc::SIGSEGV));
    assert_eq!(stage.shell("kill -KILL $$").code, Some(128 + libc::SIGKILL));
}

#[test]
fn a_signal_to_the_launcher_reaches_the_command() {
    let stage = Stage::new();
    let script = "trap 'echo got it; exit 7' TERM; touch ready; while :; do sleep 0.05; done";
    let launcher = stage
        .launch(&[], &["/bin/sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the command begins", || stage.folder.join("ready").exists());
    kill(Pid::from_raw(launcher.id().cast_signed()), Signal::SIGTERM).unwrap();
    let output = launcher.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, b"got it\n");
}

#[test]
fn a_command_that_stops_itself_is_continued() {
    let stage = Stage::new();
    let ran = stage.shell("kill -STOP $$; echo on");
    assert_eq!((ran.code, ran.output.as_str()), (Some(0), "on\n"));
}

#[test]
fn input_output_and_errors_are_relayed_apart_from_each_other() {
    let stage = Stage::new();
    let mut launcher = stage
        .launch(&[], &["/bin/sh", "-c", "cat; echo wrong >&2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let sent = vec![b'y'; 300_000];
    let mut input = launcher.stdin.take().unwrap();
    let feeder = {
        let sent = sent.clone();
        std::thread::spawn(move || input.write_all(&sent).unwrap())
    };
    let output = launcher.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert_eq!(output.stdout, sent);
    assert_eq!(output.stderr, b"wrong\n");
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let ran = Stage::new().run(&["no-such-program"]);
    assert_eq!(ran.code, Some(99));
    assert!(
        ran.errors.contains("cannot start \"no-such-program\""),
        "{ran:?}"
    );
    assert!(ran.errors.contains("No such file"), "{ran:?}");
}

#[test]
fn the_command_runs_in_the_working_folder_as_its_own_user() {
    let stage = Stage::new();
    let ran = stage.shell("pwd; id -u; stat -c %u .; echo $HOME; cd ~ && pwd");
    let home = stage.home.display();
    let lines: Vec<&str> = ran.output.lines().collect();
    assert_eq!(lines[0], stage.folder.to_str().unwrap());
    assert_eq!(lines[1], lines[2]);
    assert_ne!(lines[1], "0");
    assert_eq!(lines[3..], [home.to_string(), home.to_string()]);
}

#[test]
fn a_working_folder_reached_by_a_link_is_checked_where_it_really_is() {
    let mut stage = Stage::new();
    stage.make_folder(&stage.home.join(".ssh"));
    let link = stage.path().join("link");
    std::os::unix::fs::symlink(stage.home.join(".ssh"), &link).unwrap();
    let project = std::mem::replace(&mut stage.folder, link);
    let ran = stage.shell("true");
    assert_eq!(ran.code, Some(99));
    assert!(
        ran.errors.contains(".ssh, which no agent may see"),
        "{ran:?}"
    );

    let link = stage.path().join("good");
    std::os::unix::fs::symlink(&project, &link).unwrap();
    stage.folder = link;
    assert_eq!(
        stage.shell("pwd -P").output.trim(),
        project.to_str().unwrap()
    );
}

#[test]
fn the_home_folder_and_folders_that_hold_the_authoritys_are_refused() {
    let mut stage = Stage::new();
    for (folder, because) in [
        (stage.home.clone(), "is or holds the home folder"),
        (stage.path(), "is or holds the home folder"),
        ("/".into(), "is or holds the home folder"),
        (stage.path().join("authority"), "which no agent may see"),
        ("/etc".into(), "which no agent may see"),
        ("/nowhere".into(), "is not a folder"),
    ] {
        stage.folder = folder;
        let ran = stage.shell("true");
        assert_eq!(ran.code, Some(99), "{ran:?}");
        assert!(ran.errors.contains(because), "{ran:?}");
    }
}

#[test]
fn root_is_refused_with_words_and_an_ordinary_user_is_contained() {
    let support = platform().support();
    if am_root() {
        let Support::NotContained { why, fix } = support else {
            panic!("root was called contained");
        };
        assert!(why.starts_with("root cannot be contained"), "{why}");
        assert!(fix.contains("ordinary user"), "{fix}");
        let mut stage = Stage::new();
        stage.user = None;
        let output = stage.launch(&[], &[PROBE, "environment"]).output().unwrap();
        assert_eq!(output.status.code(), Some(99));
        assert!(String::from_utf8_lossy(&output.stderr).contains("root cannot be contained"));
        assert!(output.stdout.is_empty());
    } else {
        assert!(matches!(support, Support::Contained { .. }), "{support:?}");
    }
}

#[test]
fn a_gateway_that_is_not_there_is_refused() {
    let mut stage = Stage::new();
    stage.gateway = stage.path().join("authority/other.sock");
    let ran = stage.shell("true");
    assert!(
        ran.errors.contains("gateway or ask socket is not there"),
        "{ran:?}"
    );
}

#[test]
fn a_program_outside_a_run_cannot_be_made_its_init() {
    let stage = Stage::new();
    let mut probe = std::process::Command::new(stage.path().join("probe"));
    let output = probe
        .arg("init-of-a-run")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("this is not a run"));
}
