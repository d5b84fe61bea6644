//! Guarantee G2, record before act: the authority is killed at any moment of
//! the load, again and again, and whatever an upstream saw with the real
//! credential stands in the trail.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

use countersign_testkit::scene::said;
use countersign_testkit::upstream::{Ending, Reply, Seen, Upstream};
use countersign_testkit::{Scene, agents, random};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::process::Child;
use std::time::{Duration, Instant};

/// How often the authority is killed, and how often under `--long`.
const KILLS: usize = 40;
const LONG_KILLS: usize = 500;
/// What a busy machine may take for what takes a moment.
const SOON: Duration = Duration::from_secs(30);
/// The largest page of the timeline; a round asks for fewer things.
const PAGE: &str = "999";
const HOST: &str = "things.example";
const READ: &str =
    "curl -sS --max-time 20 -w ' status=%{http_code}' https://things.example/things/last";

/// What goes alone: reads are routine, and their records survive the end of the
/// program; writes are not, and their records survive loss of power.
const ACCOUNT: &str = "hosts = [\"things.example\"]\ncredential = \"bearer\"\n\
    effects.\"GET /**\" = [\"read\"]\neffects.\"POST /**\" = [\"write\"]";
const RULE: &str =
    "permit (principal, action == Action::\"write\", resource == Account::\"things\");\n";

#[test]
fn whatever_an_upstream_saw_stands_in_the_trail_however_the_authority_ends() {
    let kills = match std::env::var_os("COUNTERSIGN_LONG") {
        Some(_) => LONG_KILLS,
        None => KILLS,
    };
    let (mut scene, things, credential) = start();
    let mut total = Tally::default();
    for round in 0..kills {
        let before = things.count();
        let run = load(&scene, &format!("r{round}"));
        wait_until("the agent's first request came", || things.count() > before);
        std::thread::sleep(a_moment());
        scene.authority.kill().unwrap();
        ends(run);

        scene.start_again().unwrap();
        let told = scene.authority.wait_for("so the stop is engaged", 0);
        told.unwrap();
        let seen = things.seen_after(before);
        total.add(check(&scene, &seen, &credential, &format!("r{round}")));
        // The whole trail is read each time, which in the long run takes long.
        if round < KILLS || round % 10 == 0 {
            verify(&scene);
        }
        scene.confirm(&["resume"]).unwrap();
    }
    verify(&scene);
    println!("{kills} kills: {total:?}");
    let told = scene.script(READ).unwrap();
    assert!(told.contains("status=200"), "{told}");
    // The kills came in the midst of things, not before and not after them.
    assert!(total.reads > kills && total.writes > 0, "{total:?}");
    assert!(total.answered > 0 && total.unknown > kills, "{total:?}");
    assert!(total.hung > kills / 2, "{total:?}");
}

/// What the rounds came to.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    reads: usize,
    writes: usize,
    answered: usize,
    unknown: usize,
    unsent: usize,
    /// Of the unknown, those that the upstream never answers.
    hung: usize,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.answered += other.answered;
        self.unknown += other.unknown;
        self.unsent += other.unsent;
        self.hung += other.hung;
    }
}

/// A scene whose agent may read and write things alone.
fn start() -> (Scene, Upstream, String) {
    let mut scene = Scene::start(1).unwrap();
    let credential = random::credential();
    let good = credential.clone();
    let things = Upstream::start(HOST, move |seen| {
        if !seen.bears(&good) {
            Reply::status(401)
        } else if seen.path().starts_with("/hangs/") {
            Reply::status(200).ending(Ending::Hangs)
        } else {
            Reply::json(200, &serde_json::json!({"thing": seen.path()}))
        }
    })
    .unwrap();
    let person = scene.desktop.person();
    let rule = scene.config().join("policies/write-things-alone.cedar");
    person.write(&rule, RULE).unwrap();
    let agent = scene.work().unwrap().join("agent.py");
    person.write(&agent, agents::LOAD).unwrap();
    let account = scene.account("things", ACCOUNT, &things).unwrap();
    let text = scene.read_config().unwrap();
    let text = text.replace("[\"mail\"]", "[\"mail\", \"things\"]") + &account;
    scene.accept(&text).unwrap();
    scene.set_credential("things", &credential).unwrap();
    (scene, things, credential)
}

fn load(scene: &Scene, name: &str) -> Child {
    let argv = ["python3", "agent.py", "--host", HOST, "--name", name];
    scene.run(&argv).unwrap()
}

/// From 50 to 400 milliseconds, at random.
fn a_moment() -> Duration {
    let random = u16::from_le_bytes(random::bytes::<2>());
    Duration::from_millis(50 + u64::from(random) % 351)
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < SOON, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A run does not outlive its authority.
fn ends(mut run: Child) {
    let began = Instant::now();
    while run.try_wait().unwrap().is_none() {
        if began.elapsed() > SOON {
            let _ended_meanwhile = run.kill();
            panic!(
                "the run goes on: {}",
                said(&run.wait_with_output().unwrap())
            );
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn verify(scene: &Scene) {
    let verified = scene.countersign(&["ledger", "verify"]).unwrap();
    let told = said(&verified);
    assert!(
        verified.status.success() && told.contains("Intact"),
        "{told}"
    );
}

/// The trail against what the upstream saw in this round.
fn check(scene: &Scene, seen: &[Seen], credential: &str, name: &str) -> Tally {
    let records = allowed(scene, name);
    let mut times = BTreeMap::new();
    let mut tally = Tally::default();
    for request in seen.iter().filter(|seen| seen.bears(credential)) {
        let what = format!("{} {}", request.method, request.target);
        assert!(
            records.contains_key(&what),
            "the upstream saw {what} with the credential, and no record says that it was allowed"
        );
        *times.entry(what).or_insert(0) += 1;
        match request.method.as_str() {
            "GET" => tally.reads += 1,
            _ => tally.writes += 1,
        }
    }
    for (what, outcome) in &records {
        match outcome["outcome"].as_str() {
            // Nothing is called done that was not.
            Some("answered") => {
                assert_eq!(times.get(what), Some(&1), "{what}: {outcome}");
                tally.answered += 1;
            }
            Some("unknown") => {
                assert!(times.get(what) <= Some(&1), "{what} was sent twice");
                tally.unknown += 1;
            }
            // Nothing is called unsent that was sent. On a busy machine the
            // keyring, or a connection, may not be had in time.
            Some("not-sent") => {
                assert_eq!(times.get(what), None, "{what}: {outcome}");
                tally.unsent += 1;
            }
            _ => panic!("{what}: {outcome}"),
        }
    }
    let hangs = format!("GET /hangs/{name}");
    if times.contains_key(&hangs) {
        assert_eq!(records[&hangs]["outcome"], "unknown");
        tally.hung += 1;
    }
    tally
}

/// The requests of a round that the trail says were allowed, by method and
/// target, each with its outcome.
fn allowed(scene: &Scene, name: &str) -> HashMap<String, Value> {
    let args = ["timeline", "--json", "--account", "things", "--limit", PAGE];
    let timeline = scene.countersign(&args).unwrap();
    assert!(timeline.status.success(), "{}", said(&timeline));
    let lines = String::from_utf8(timeline.stdout).unwrap();
    let mut found = HashMap::new();
    for line in lines.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let event = &entry["event"];
        let target = event["target"].as_str().unwrap_or_default();
        let what = target.replacen(&format!("https://{HOST}"), "", 1);
        let of_round = [format!("/things/{name}-"), format!("/hangs/{name}")];
        let (_, path) = what.split_once(' ').unwrap_or_default();
        if of_round.iter().any(|start| path.starts_with(start)) && event["decision"] == "allow" {
            let twice = found.insert(what.clone(), entry["settled"].clone());
            assert!(twice.is_none(), "two records of {what}");
        }
    }
    found
}
