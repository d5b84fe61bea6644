//! Programs of the user's own, outside of any run, against the stop's way to the
//! authority.

use crate::range::{Range, agent, soon};
use countersign_testkit::scene::{piped, said};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long `countersign stop` may take on a busy machine with a flood on it; its
/// share of that without one is some 30 ms.
const IN_TIME: Duration = Duration::from_secs(2);

fn beats(range: &Range) -> u64 {
    let file = range.folder("work").join("beats");
    std::fs::metadata(file).map_or(0, |file| file.len())
}

/// A run that beats, and is silent once it is stopped.
fn beating(range: &Range) -> Child {
    let script = "while :; do echo >> beats; sleep 0.02; done";
    let work = range.folder("work");
    let run = range
        .command("inbox-bot", &work, &["sh", "-c", script])
        .spawn();
    soon("it beats", || beats(range) > 3);
    run.unwrap()
}

fn until_silent(range: &Range) {
    soon("it is silent", || {
        let before = beats(range);
        std::thread::sleep(Duration::from_millis(300));
        beats(range) == before
    });
}

#[test]
fn a_flood_at_the_control_socket_does_not_keep_the_stop_waiting() {
    let range = Range::new();
    let mut run = beating(&range);
    let control = range.scene.desktop.path("run/countersign/control.sock");
    let (name, program) = agent!("control_flood.py");
    let file = range.scene.desktop.path("home").join(name);
    range.write(&file, program);
    let mut command: Command = range.scene.desktop.command("python3");
    command.arg(&file).arg(&control).arg("6");
    let mut flood = piped(&mut command)
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(flood.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "FLOODING");
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    let stopped = range.scene.countersign(&["stop"]).unwrap();
    let took = began.elapsed();
    assert!(stopped.status.success(), "{}", said(&stopped));
    assert!(
        !said(&stopped).contains("does not answer"),
        "{}",
        said(&stopped)
    );
    until_silent(&range);
    assert!(took < IN_TIME, "{took:?}");
    assert_eq!(lines.next().unwrap().unwrap(), "TRIED");
    flood.wait().unwrap();
    // The second press, in peace, ends what the first has frozen.
    assert!(range.scene.countersign(&["stop"]).unwrap().status.success());
    run.wait().unwrap();
    let status = range.scene.countersign(&["status"]).unwrap();
    assert!(
        said(&status).to_lowercase().contains("stopped"),
        "{}",
        said(&status)
    );
}

/// A program that took the control socket's place, and never says anything.
fn listens(range: &Range, control: &Path) -> Child {
    let script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); \
                  s.listen(); print('UP', flush=True); sys.stdin.read()";
    let mut command = range.scene.desktop.command("python3");
    command.args(["-c", script]).arg(control);
    let mut listener = piped(&mut command).spawn().unwrap();
    let mut up = [0; 3];
    listener
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut up)
        .unwrap();
    listener
}

#[test]
fn a_stop_that_nobody_answers_at_the_control_socket_is_engaged_all_the_same() {
    let range = Range::new();
    let mut run = beating(&range);
    let control = range.scene.desktop.path("run/countersign/control.sock");
    let aside = control.with_extension("aside");
    std::fs::rename(&control, &aside).unwrap();
    for silent in [true, false] {
        let listener = silent.then(|| listens(&range, &control));
        let stopped = range.scene.countersign(&["stop"]).unwrap();
        let told = said(&stopped);
        assert!(
            stopped.status.success() && told.contains("does not answer"),
            "{told}"
        );
        until_silent(&range);
        if let Some(mut listener) = listener {
            drop(listener.stdin.take());
            listener.wait().unwrap();
            std::fs::remove_file(&control).unwrap();
        }
    }
    std::fs::rename(&aside, &control).unwrap();
    let timeline = said(&range.scene.countersign(&["timeline"]).unwrap());
    assert_eq!(timeline.matches("STOP engaged by").count(), 1, "{timeline}");
    assert!(timeline.contains("engaged by command"), "{timeline}");
    assert!(range.scene.countersign(&["stop"]).unwrap().status.success());
    run.wait().unwrap();
}
