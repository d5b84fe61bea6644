//! An upload that streams ends at once, and its record says how much had gone.

use crate::{SOON, ends, run};
use countersign_testkit::upstream::{Reply, Upstream};
use countersign_testkit::{Scene, random};
use serde_json::Value;
use std::time::{Duration, Instant};

const TARGET: &str = "https://uploads.github.com/repos/octo/tales/releases/1/assets?name=large.bin";

#[test]
fn a_streaming_upload_ends_at_once_and_its_record_says_how_many_bytes_had_gone() {
    let mut scene = Scene::start(1).unwrap();
    let credential = random::credential();
    let files = Upstream::start("uploads.github.com", |_| Reply::status(201)).unwrap();
    let code = scene.account("code", "kind = \"github\"", &files).unwrap();
    let text = scene.read_config().unwrap();
    let text = text.replace("[\"mail\"]", "[\"mail\", \"code\"]") + &code;
    scene.accept(&text).unwrap();
    scene.set_credential("code", &credential).unwrap();

    // 64 KiB every ten milliseconds, without end.
    let script = format!(
        "python3 -c 'import sys, time\nwhile True: sys.stdout.buffer.write(bytes(65536)); sys.stdout.flush(); time.sleep(0.01)' \
         | curl -sS -H 'Content-Length: 10000000000' -H 'Content-Type: application/octet-stream' -X POST -T - '{TARGET}'"
    );
    let from = scene.authority.screen().len();
    let agent = run(&scene, None, "inbox-bot", &["sh", "-c", &script]);
    scene.authority.approve(from).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let pressed = Instant::now();
    ends(&scene, &["stop"], 0);
    while files.seen().is_empty() {
        assert!(pressed.elapsed() < SOON, "the upload goes on");
        std::thread::sleep(Duration::from_millis(5));
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
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no outcome");
}
