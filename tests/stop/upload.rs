//! An upload that streams ends at once, and its record says how much had gone; to a
//! service that reads slowly, too.

use crate::{SOON, ends, run};
use countersign_testkit::upstream::{Reply, Upstream};
use countersign_testkit::{Scene, random};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

const TARGET: &str = "https://uploads.github.com/repos/octo/tales/releases/1/assets?name=large.bin";

/// A scene whose account `code` is served there.
fn scene(files: &Upstream, at: SocketAddr) -> Scene {
    let mut scene = Scene::start(1).unwrap();
    let code = scene.account("code", "kind = \"github\"", files).unwrap();
    let code = code.replace(&files.address().to_string(), &at.to_string());
    let text = scene.read_config().unwrap();
    let text = text.replace("[\"mail\"]", "[\"mail\", \"code\"]") + &code;
    scene.accept(&text).unwrap();
    scene.set_credential("code", &random::credential()).unwrap();
    scene
}

/// Uploads without end: 64 KiB every ten milliseconds.
fn uploads() -> String {
    format!(
        "python3 -c 'import sys, time\nwhile True: sys.stdout.buffer.write(bytes(65536)); sys.stdout.flush(); time.sleep(0.01)' \
         | curl -sS -H 'Content-Length: 10000000000' -H 'Content-Type: application/octet-stream' -X POST -T - '{TARGET}'"
    )
}

/// A run that has been uploading to there for two seconds.
fn uploading(files: &Upstream) -> (Scene, Child) {
    let mut scene = scene(files, files.address());
    let from = scene.authority.screen().len();
    let agent = run(&scene, None, "inbox-bot", &["sh", "-c", &uploads()]);
    scene.authority.approve(from).unwrap();
    sleep(Duration::from_secs(2));
    (scene, agent)
}

#[test]
fn a_streaming_upload_ends_at_once_and_its_record_says_how_many_bytes_had_gone() {
    let files = Upstream::start("uploads.github.com", |_| Reply::status(201)).unwrap();
    let (scene, agent) = uploading(&files);
    let pressed = Instant::now();
    ends(&scene, &["stop"], 0);
    while files.seen().is_empty() {
        assert!(pressed.elapsed() < SOON, "the upload goes on");
        sleep(Duration::from_millis(5));
    }
    println!(
        "the upstream saw its end {} ms after `stop` was called",
        pressed.elapsed().as_millis()
    );
    assert_eq!(agent.wait_with_output().unwrap().status.code(), Some(6));

    let arrived = files.seen()[0].body.len() as u64;
    let outcome = outcome(&scene);
    assert_eq!(outcome["outcome"], "cut", "{outcome}");
    let sent = outcome["bytes_sent"].as_u64().unwrap();
    // What had gone is what arrived, and what was still on its way.
    assert!(arrived > 1 << 20, "{arrived} bytes arrived: {outcome}");
    assert!(
        (arrived..arrived + (4 << 20)).contains(&sent),
        "{arrived}: {outcome}"
    );
    let told = ends(&scene, &["timeline"], 0);
    assert!(told.contains(&format!("{sent} bytes had gone")), "{told}");
}

#[test]
fn a_gateway_that_does_not_run_keeps_no_connection_open_and_says_afterwards_how_it_ended() {
    let files = Upstream::start("uploads.github.com", |_| Reply::status(201)).unwrap();
    let (scene, agent) = uploading(&files);
    let gateway = scene.authority.gateways()[0];
    kill(Pid::from_raw(gateway), Signal::SIGSTOP).unwrap();
    ends(&scene, &["stop"], 0);
    let pressed = Instant::now();
    while files.seen().is_empty() {
        assert!(pressed.elapsed() < SOON, "the upload goes on");
        sleep(Duration::from_millis(5));
    }
    assert_eq!(agent.wait_with_output().unwrap().status.code(), Some(6));
    let outcome = outcome(&scene);
    assert_eq!(outcome["outcome"], "cut", "{outcome}");
    assert!(outcome["bytes_sent"].as_u64() > Some(1 << 20), "{outcome}");
}

/// A way to a service that takes a piece now and then, until it is told to take all
/// at once: how many bytes came from then on, and how that ended.
struct SlowWay {
    at: SocketAddr,
    at_once: Arc<AtomicBool>,
    thread: JoinHandle<(u64, io::Result<usize>)>,
}

impl SlowWay {
    fn to(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let at_once = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&at_once);
        let thread = thread::spawn(move || {
            let mut from = listener.accept().unwrap().0;
            let mut to = TcpStream::connect(service).unwrap();
            let (mut back, mut answers) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            thread::spawn(move || io::copy(&mut answers, &mut back));
            let (mut since, mut piece) = (0, [0; 4 << 10]);
            loop {
                match from.read(&mut piece) {
                    Ok(n @ 1..) => {
                        to.write_all(&piece[..n]).unwrap();
                        if told.load(Ordering::SeqCst) {
                            since += n as u64;
                        } else {
                            sleep(Duration::from_millis(5));
                        }
                    }
                    end => return (since, end),
                }
            }
        });
        Self {
            at,
            at_once,
            thread,
        }
    }
}

#[test]
fn what_a_slow_service_has_not_taken_when_the_stop_comes_never_reaches_it() {
    let files = Upstream::start("uploads.github.com", |_| Reply::status(201)).unwrap();
    let slow = SlowWay::to(files.address());
    let mut scene = scene(&files, slow.at);
    let from = scene.authority.screen().len();
    let agent = run(&scene, None, "inbox-bot", &["sh", "-c", &uploads()]);
    scene.authority.approve(from).unwrap();
    // Until every buffer on the way is full.
    sleep(Duration::from_secs(4));
    ends(&scene, &["stop"], 0);
    slow.at_once.store(true, Ordering::SeqCst);
    let (since, end) = slow.thread.join().unwrap();
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    println!("{since} bytes lay at the service's side already");
    assert_eq!(agent.wait_with_output().unwrap().status.code(), Some(6));
}

fn outcome(scene: &Scene) -> Value {
    let began = Instant::now();
    while began.elapsed() < SOON {
        let told = ends(scene, &["timeline", "--json", "--account", "code"], 0);
        let mut lines = told
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        if let Some(entry) = lines.find(|entry| !entry["settled"].is_null()) {
            return entry["settled"].clone();
        }
        sleep(Duration::from_millis(50));
    }
    panic!("no outcome");
}
