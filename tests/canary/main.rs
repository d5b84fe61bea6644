//! Guarantees G1 and G9, by canaries: marked secrets go through every path that
//! there is, and are then looked for in everything that was written anywhere.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

mod echo;
mod hunt;
mod vault;

use countersign_testkit::scene::said;
use countersign_testkit::upstream::Upstream;
use countersign_testkit::{Scene, random};
use echo::{Fate, PATHS};
use hunt::Hunt;
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::time::Duration;

/// The ways to present a credential: an account, and how it is configured.
const WAYS: [(&str, &str); 4] = [
    ("bearer", "bearer"),
    ("basic", "basic"),
    ("header", "header:X-Key"),
    ("query", "query:key"),
];

/// A desktop whose programs talk as much as they can, and everything that was
/// said at it.
struct Stage {
    scene: Scene,
    heard: Vec<(String, Vec<u8>)>,
    /// By the names of the accounts.
    secrets: Vec<(String, String)>,
    services: Vec<Upstream>,
}

#[test]
fn a_marked_secret_is_nowhere_but_in_the_keyring_and_at_its_service() {
    let mut stage = Stage::set();
    stage.refuse_bad_credentials();
    stage.restart();
    stage.ask_everything();
    stage.look_around();
    stage.have_no_certificate();
    stage.guess();
    stage.command_everything();
    assert_closed_to_the_same_user(&stage.scene);
    stage.stop_and_resume();
    stage.die_by_a_signal();

    let named: Vec<(&str, &str)> = stage
        .secrets
        .iter()
        .map(|(name, secret)| (name.as_str(), secret.as_str()))
        .collect();
    let hunt = Hunt::for_secrets(&named);
    for (place, bytes) in &stage.heard {
        hunt.clean(place, bytes);
    }
    let folder = stage.scene.desktop.folder();
    assert_all_is_there(&stage.scene);
    let mut searched = hunt.clean_files(folder);
    if stage.scene.desktop.person().is_another() {
        let uid = stage.scene.desktop.person().uid.as_raw();
        for place in hunt::in_common_folders(uid) {
            searched += hunt.clean_files(&place);
        }
    }
    assert!(searched > 500_000, "only {searched} bytes were searched");
}

/// What an agent writes in its own words is kept as its words, a guess too; but
/// nothing tells it whether the guess is right.
#[test]
fn a_guess_is_answered_the_same_whether_it_is_right_or_wrong() {
    let mut stage = Stage::set();
    let right = stage.secret("bearer");
    stage.scene.set_credential("bearer", &right).unwrap();
    let mut answers = Vec::new();
    for guess in [right.clone(), random::mark::<40>()] {
        let told = stage.denied(&format!(
            "silent\ninclude\nurl = \"https://bearer.example/say/{guess}?q={guess}\"\ndata = \"{guess}\"\n\
             header = \"Countersign-Reason: {guess}\"\nheader = \"Authorization: Bearer {guess}\"\n"
        ));
        assert!(!told.contains(&guess), "{told}");
        let (_, body) = told.rsplit_once("\r\n\r\n").unwrap();
        // What the launcher says of accounts without a credential comes behind it.
        let mut values = serde_json::Deserializer::from_str(body).into_iter::<Value>();
        let problem = values.next().unwrap().unwrap();
        let id = problem["request"].as_str().unwrap().to_owned();
        answers.push(told.replace(&id, "ID"));
    }
    assert_eq!(answers[0], answers[1]);
    assert!(stage.service("bearer").seen().is_empty());
}

impl Stage {
    fn set() -> Self {
        let mut desktop = Scene::plain_desktop()
            .unwrap()
            .with_env("RUST_BACKTRACE", "1")
            .with_env("RUST_LOG", "trace");
        // What goes over the bus is written to bus.log as it is.
        desktop
            .background("bus", "dbus-monitor", &["--session", "--pcap"])
            .unwrap();
        let scene = Scene::at(desktop, 1).unwrap();
        let mut stage = Self {
            secrets: vec![("mail".to_owned(), scene.credential.clone())],
            scene,
            heard: Vec::new(),
            services: Vec::new(),
        };
        let mut text = stage.scene.read_config().unwrap();
        let mut names = vec!["\"mail\"".to_owned()];
        let ways = WAYS.iter().map(|(name, how)| (*name, *name, *how));
        // Its certificate is of another CA than the account's.
        for (name, served, how) in ways.chain([("stranger", "bearer", "bearer")]) {
            if name == served {
                let session = random::mark::<40>();
                let service = echo::start(&format!("{name}.example"), &session).unwrap();
                stage.services.push(service);
                stage.secrets.push((format!("{name}'s session"), session));
            }
            let settings = format!(
                "hosts = [\"{name}.example\"]\ncredential = \"{how}\"\neffects.\"GET /**\" = [\"read\"]"
            );
            let service = stage.service(served);
            text += &stage.scene.account(name, &settings, service).unwrap();
            names.push(format!("\"{name}\""));
            stage.secrets.push((name.to_owned(), random::mark::<40>()));
        }
        let text = text.replace("[\"mail\"]", &format!("[{}]", names.join(", ")));
        let block = stage.scene.accept(&text).unwrap();
        stage.hear("accepting", block);
        stage
    }

    fn service(&self, name: &str) -> &Upstream {
        let host = format!("{name}.example");
        self.services.iter().find(|s| s.host() == host).unwrap()
    }

    fn secret(&self, name: &str) -> String {
        let mut all = self.secrets.iter();
        all.find(|(of, _)| of == name).unwrap().1.clone()
    }

    fn hear(&mut self, place: &str, bytes: impl Into<Vec<u8>>) {
        self.heard.push((place.to_owned(), bytes.into()));
    }

    fn hear_all(&mut self, place: &str, output: Output) -> String {
        let text = said(&output);
        self.hear(&format!("{place}, stdout"), output.stdout);
        self.hear(&format!("{place}, stderr"), output.stderr);
        text
    }

    fn command(&mut self, args: &[&str]) -> String {
        let output = self.scene.countersign(args).unwrap();
        self.hear_all(&format!("countersign {}", args.join(" ")), output)
    }

    /// A contained script of the agent's, and what it said.
    fn script(&mut self, place: &str, script: &str) -> String {
        let run = self.scene.run(&["sh", "-c", script]).unwrap();
        let output = run.wait_with_output().unwrap();
        self.hear_all(place, output)
    }

    /// Credentials that cannot be taken or shown, and the words about them.
    fn refuse_bad_credentials(&mut self) {
        for (account, bad) in [
            // Not of the form user:password.
            ("basic", self.secret("basic")),
            ("header", format!("two\n{}", self.secret("header"))),
            ("bearer", format!("with spaces {}", self.secret("bearer"))),
        ] {
            let told = match self.scene.set_credential(account, &bad) {
                Ok(block) => block,
                Err(refused) => refused.to_string(),
            };
            self.hear(&format!("a bad credential of {account}"), told);
        }
        for (account, bad) in [
            // Longer than a credential may be.
            ("query", self.secret("query").repeat(2000)),
            ("No Name", self.secret("mail")),
            ("nowhere", self.secret("mail")),
        ] {
            let mut set = self.scene.spawn(&["credential", "set", account]).unwrap();
            // Refused before all was read, perhaps.
            let _broken_pipe = set.stdin.take().unwrap().write_all(bad.as_bytes());
            let output = set.wait_with_output().unwrap();
            assert!(!output.status.success(), "{account}");
            self.hear_all("a credential that is refused", output);
        }
        let told = self.script(
            "an agent without good credentials",
            "for w in bearer basic header query; do curl -sS -v --max-time 20 https://$w.example/raw; done",
        );
        assert!(told.contains("\"reason\""), "{told}");
        for way in ["bearer", "basic", "header", "query"] {
            assert_eq!(self.service(way).seen().len(), 0, "{way}");
            let good = match way {
                "basic" => format!("someone:{}", self.secret(way)),
                _ => self.secret(way),
            };
            let block = self.scene.set_credential(way, &good).unwrap();
            self.hear("setting a credential", block);
        }
        let stranger = self.secret("stranger");
        let block = self.scene.set_credential("stranger", &stranger).unwrap();
        self.hear("setting a credential", block);
    }

    /// So that every credential comes out of the keyring anew.
    fn restart(&mut self) {
        self.scene.shut_down().unwrap();
        self.hear("the terminal before", self.scene.authority.screen());
        self.scene.start_again().unwrap();
    }

    /// Every reply of every service, to an agent that keeps what it gets.
    fn ask_everything(&mut self) {
        let paths: Vec<&str> = PATHS.iter().map(|(path, _)| *path).collect();
        let script = format!(
            "ask() {{ curl -sS -v -i --suppress-connect-headers --max-time 20 -o \"$1.$2\" \"https://$1.example/$2\" 2> \"$1.$2.log\"; echo \"$1/$2 $?\"; }}\n\
             all() {{ for p in {} plain; do ask $1 ${{p#/}}; done; curl -sS https://$1.example/session; }}\n\
             for w in bearer basic header query; do all $w & done; wait",
            paths.join(" ")
        );
        let told = self.script("the agent that asks for everything", &script);
        let folder = self.scene.work().unwrap();
        for (way, _) in WAYS {
            for (path, fate) in PATHS.into_iter().chain([("/plain", Fate::Stripped)]) {
                let name = format!("{way}.{}", &path[1..]);
                let reply = fs::read(folder.join(&name)).unwrap_or_default();
                let reply = String::from_utf8_lossy(&reply).into_owned();
                let log = fs::read_to_string(folder.join(format!("{name}.log"))).unwrap();
                let whole = told.contains(&format!("{way}{path} 0\n"));
                let right = match fate {
                    Fate::Withheld => whole && reply.contains("reply-held-credential"),
                    Fate::Stripped => {
                        whole && reply.starts_with("HTTP/") && !reply.contains("\"reason\"")
                    }
                    // Told, or seen to break off.
                    Fate::Cut => !whole || reply.contains("\"reason\""),
                };
                assert!(
                    right,
                    "{way}{path}: {fate:?}, whole: {whole}: {reply:.300} {log}"
                );
            }
        }
        self.assert_all_was_sent();
    }

    /// The hunt is not for what never was: each service got the real secret,
    /// with each of the requests, once.
    fn assert_all_was_sent(&self) {
        for (way, _) in WAYS {
            let seen = self.service(way).seen();
            assert_eq!(seen.len(), PATHS.len() + 2, "{way}");
            let secret = self.secret(way);
            for request in &seen {
                assert_eq!(echo::presented(request).as_ref(), Some(&secret), "{way}");
            }
            let session = self.secret(&format!("{way}'s session"));
            let with_session = seen.iter().filter(|s| {
                let cookie = s.header("cookie").unwrap_or_default();
                cookie.contains(&session)
            });
            assert_eq!(with_session.count(), 1, "{way}: the session goes on");
        }
    }

    /// All that an agent can see of itself and of the machine.
    fn look_around(&mut self) {
        let told = self.script(
            "an agent that looks around",
            "env; cat /proc/*/environ /proc/*/cmdline /proc/*/maps 2>/dev/null; ls -lR /proc/self/fd /run /tmp 2>/dev/null; \
             find / -xdev -type f -size -256k -newermt '1 hour ago' -exec cat {} + 2>/dev/null",
        );
        assert!(told.contains("HTTPS_PROXY"), "{told:.300}");
    }

    fn have_no_certificate(&mut self) {
        let before = self.service("bearer").seen().len();
        let told = self.script(
            "an agent at a stranger's",
            "curl -sS -v -i --max-time 20 https://stranger.example/raw",
        );
        assert!(told.contains("could not prove over TLS"), "{told}");
        assert_eq!(self.service("bearer").seen().len(), before);
    }

    /// An agent that has guessed the secret puts it where credentials stand:
    /// it is dropped there, whether it is right or not.
    fn guess(&mut self) {
        let secret = self.secret("query");
        let header = |name: &str, value: &str| format!("header = \"{name}: {value}\"\n");
        let guess = format!(
            "silent\nrequest = POST\nurl = \"https://query.example/guess?key={secret}&access_token={secret}\"\n{}{}{}{}{}",
            header("Authorization", &format!("Bearer {secret}")),
            header("Cookie", &format!("s={secret}")),
            header("X-Api-Key", &secret),
            header("X-Auth-Token", &secret),
            header("X-Unheard-Of", &secret),
        );
        let told = self.denied(&guess);
        assert!(told.contains("denied-by-human"), "{told}");
    }

    /// The agent asks for what a file of curl's options says, and the human
    /// says no. What the agent got; the file is gone.
    fn denied(&mut self, options: &str) -> String {
        let file = self.scene.work().unwrap().join("options");
        self.scene.desktop.person().write(&file, options).unwrap();
        let from = self.scene.authority.screen().len();
        let run = self.scene.run(&["curl", "-K", "options"]).unwrap();
        let asked = self.scene.authority.wait_for("Approve? [y/N] ", from);
        asked.unwrap();
        self.scene.authority.type_line("n").unwrap();
        let output = run.wait_with_output().unwrap();
        fs::remove_file(file).unwrap();
        self.hear_all("an agent that was denied", output)
    }

    /// Every command that prints, with a change that waits to be accepted and
    /// a request that waits to be answered.
    fn command_everything(&mut self) {
        let accepted = self.scene.read_config().unwrap();
        let edited = accepted.clone() + "\n[agents.other]\naccounts = [\"bearer\", \"query\"]\n";
        self.scene.write_config(&edited).unwrap();
        let from = self.scene.authority.screen().len();
        let asks = self
            .scene
            .run(&["curl", "-sS", "-X", "POST", "https://query.example/things"]);
        let asks = asks.unwrap();
        self.scene
            .authority
            .wait_for("Approve? [y/N] ", from)
            .unwrap();
        for args in [
            ["status"].as_slice(),
            &["timeline", "--limit", "999"],
            &["requests"],
            &["config", "diff"],
            &["config", "check"],
            &["credential", "list"],
            &["account", "list"],
            &["account", "show", "basic"],
            &["agent", "list"],
            &["agent", "show", "inbox-bot"],
            &["ledger", "verify"],
            &["ledger", "checkpoint"],
            &["catalogue", "explain", "GET", "https://query.example/raw"],
            &["run", "--agent", "inbox-bot", "--explain", "--", "true"],
        ] {
            let told = self.command(args);
            assert!(!told.is_empty(), "{args:?}");
            let mut args = args.to_vec();
            args.insert(
                args.iter().position(|a| *a == "--").unwrap_or(args.len()),
                "--json",
            );
            self.command(&args);
        }
        let listed = self.command(&["timeline", "--json", "--limit", "999"]);
        let held = |line: &&str| {
            let entry: Value = serde_json::from_str(line).unwrap();
            entry["event"]["kind"] == "requested" && entry["event"]["decision"] == "allow"
        };
        let allowed = listed.lines().filter(held).count();
        assert!(allowed >= WAYS.len() * PATHS.len(), "{allowed} on record");
        self.scene.authority.approve(from).unwrap();
        let output = asks.wait_with_output().unwrap();
        let told = self.hear_all("an agent that was approved", output);
        assert!(told.contains("hello"), "{told}");
        self.scene.write_config(&accepted).unwrap();
    }

    fn stop_and_resume(&mut self) {
        self.command(&["stop", "--reason", "enough"]);
        self.command(&["status", "--json"]);
        let block = self.scene.confirm(&["resume"]).unwrap();
        self.hear("resuming", block);
    }

    /// What would leave a dump of its memory, if anything did.
    fn die_by_a_signal(&mut self) {
        let pid = self.scene.authority.pid();
        let desktop = &self.scene.desktop;
        if desktop.person().is_another() {
            // Where root may lift the limit, nothing but the flag keeps the
            // kernel from writing the dump.
            let mut lift = std::process::Command::new("prlimit");
            lift.args(["--pid", &pid.to_string(), "--core=unlimited"]);
            let _may_not_be_lifted = lift.output().unwrap();
        }
        // Dumps are written to the working folder, which is the home.
        desktop.must("kill", &["-ABRT", &pid.to_string()]).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        self.scene.authority.kill().unwrap();
        self.hear("the terminal", self.scene.authority.screen());
        let dumps = hunt::files(self.scene.desktop.folder());
        let is_dump = |path: &&std::path::PathBuf| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("core"))
        };
        assert_eq!(dumps.iter().find(is_dump), None);
    }
}

/// What is searched is what is meant: the trail with its journal, the seal, the
/// configuration, the logs of the desktop and the bus, the keyring, the replies.
fn assert_all_is_there(scene: &Scene) {
    let state = scene.state();
    for file in [
        state.join("ledger.db"),
        // Left by the end without order.
        state.join("ledger.db-wal"),
        state.join("ledger.db.index"),
        state.join("accepted.json"),
        state.join("stop"),
        scene.config().join("countersign.toml"),
        scene.desktop.path("bus.log"),
        scene.desktop.path("keyring.log"),
        scene
            .desktop
            .path("home/.local/share/keyrings/login.keyring"),
        scene.desktop.path("home/work/basic.plain"),
    ] {
        let found = fs::metadata(&file);
        assert!(found.is_ok(), "{} is missing", file.display());
    }
    let bus = fs::read(scene.desktop.path("bus.log")).unwrap();
    let text = String::from_utf8_lossy(&bus);
    assert!(text.contains("GetSecret"), "secrets went over the bus");
}

/// `PR_SET_DUMPABLE` 0: its memory, environment and descriptors are closed to
/// the user whose process it is, and to debuggers.
fn assert_closed_to_the_same_user(scene: &Scene) {
    let desktop = &scene.desktop;
    let read = |pid: u32, what: &str| {
        let path = format!("/proc/{pid}/{what}");
        let tool = if what == "fd" { "ls" } else { "head" };
        desktop.run(tool, &[&path]).unwrap().status.success()
    };
    let mut other = desktop.command("sleep").arg("60").spawn().unwrap();
    let closed = ["environ", "maps", "fd", "auxv", "syscall"];
    // The same can be read of a process that is not protected.
    let open: Vec<bool> = closed.iter().map(|what| read(other.id(), what)).collect();
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(open[..4].iter().all(|readable| *readable), "{open:?}");
    for what in closed {
        assert!(!read(scene.authority.pid(), what), "{what} can be read");
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", scene.authority.pid())).unwrap();
    let core = limits.lines().find(|l| l.starts_with("Max core file size"));
    let numbers: Vec<&str> = core.unwrap().split_whitespace().skip(4).take(2).collect();
    assert_eq!(numbers, ["0", "0"]);
    let folder = fs::metadata(scene.state()).unwrap().permissions();
    assert_eq!(folder.mode() & 0o777, 0o700);
}
