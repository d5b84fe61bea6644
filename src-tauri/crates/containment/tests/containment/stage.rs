//! A throw-away user with a home, secrets, a project and a gateway.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The probe, as a run sees it: it is the program that holds init.
pub(crate) const PROBE: &str = "/run/countersign/init";

/// User and group id of the throw-away user, when the tests run as root.
const THROW_AWAY: u32 = 61_184;

pub(crate) struct Stage {
    root: tempfile::TempDir,
    pub(crate) home: PathBuf,
    /// The working folder, in the home folder.
    pub(crate) folder: PathBuf,
    pub(crate) gateway: PathBuf,
    /// Stands in every secret of this stage; no run may ever print it.
    pub(crate) canary: String,
    /// Who launches, if not the user that the tests run as.
    pub(crate) user: Option<u32>,
    /// More variables of the caller.
    pub(crate) variables: BTreeMap<String, String>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("containment-")
            .tempdir()
            .unwrap();
        let path = root.path().canonicalize().unwrap();
        let stage = Self {
            home: path.join("home"),
            folder: path.join("home/project"),
            gateway: path.join("authority/run.sock"),
            canary: format!("canary-{}", random()),
            user: am_root().then_some(THROW_AWAY),
            variables: BTreeMap::new(),
            root,
        };
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        // Copied by another process: a program that this one holds open for writing
        // while a test in another thread forks cannot be executed (ETXTBSY).
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_containment-probe"))
            .arg(path.join("probe"))
            .status();
        assert!(copied.unwrap().success());
        std::fs::set_permissions(path.join("probe"), PermissionsExt::from_mode(0o755)).unwrap();
        for private in [&stage.home, &stage.folder, &path.join("authority")] {
            stage.make_folder(private);
        }
        stage.answer_at_the_gateway();
        // Nothing looks at it but as base64.
        stage.write(
            &path.join("ca.pem"),
            "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n",
        );
        stage
    }

    /// A gateway that reads to the end and sends it all back twice.
    fn answer_at_the_gateway(&self) {
        let listener = UnixListener::bind(&self.gateway).unwrap();
        self.give(&self.gateway);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let (mut stream, mut all) = (stream, Vec::new());
                    stream.read_to_end(&mut all).unwrap();
                    let _ = stream.write_all(&all).and_then(|()| stream.write_all(&all));
                });
            }
        });
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.root.path().canonicalize().unwrap()
    }

    pub(crate) fn make_folder(&self, path: &Path) {
        let mut made = PathBuf::new();
        for part in path.components() {
            made.push(part);
            if !made.exists() {
                std::fs::create_dir(&made).unwrap();
                std::fs::set_permissions(&made, PermissionsExt::from_mode(0o700)).unwrap();
                self.give(&made);
            }
        }
    }

    /// A file of the user's.
    pub(crate) fn write(&self, path: &Path, content: &str) {
        self.make_folder(path.parent().unwrap());
        std::fs::write(path, content).unwrap();
        self.give(path);
    }

    pub(crate) fn give(&self, path: &Path) {
        if am_root() {
            chown(path, Some(THROW_AWAY), Some(THROW_AWAY)).unwrap();
        }
    }

    /// The launcher, as the ordinary user; `options` are the probe's own.
    pub(crate) fn launch(&self, options: &[String], command: &[&str]) -> Command {
        self.launch_by(&[], options, command)
    }

    /// The launcher, started by the program `first`.
    pub(crate) fn launch_by(
        &self,
        first: &[&str],
        options: &[String],
        command: &[&str],
    ) -> Command {
        let probe = self.path().join("probe").display().to_string();
        let words: Vec<&str> = first
            .iter()
            .copied()
            .chain([probe.as_str(), "launch"])
            .collect();
        let mut launcher = Command::new(words[0]);
        launcher
            .args(&words[1..])
            .arg(format!("gateway={}", self.gateway.display()))
            .arg(format!("ca={}", self.path().join("ca.pem").display()))
            .arg(format!(
                "hidden={}",
                self.path().join("authority").display()
            ))
            .arg(format!("folder={}", self.folder.display()))
            .args(options)
            .arg("--")
            .args(command)
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm")
            .env("AWS_SECRET_ACCESS_KEY", &self.canary)
            .env("A_SECRET_OF_THE_CALLER", &self.canary)
            .envs(&self.variables)
            .current_dir("/")
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            launcher.uid(user).gid(user);
        }
        launcher
    }

    /// Runs the command contained, to its end.
    pub(crate) fn run(&self, command: &[&str]) -> Ran {
        self.run_with(&[], command)
    }

    pub(crate) fn run_with(&self, options: &[String], command: &[&str]) -> Ran {
        Ran::of(&self.launch(options, command).output().unwrap())
    }

    /// Runs a shell script contained, to its end.
    pub(crate) fn shell(&self, script: &str) -> Ran {
        self.run(&["/bin/sh", "-c", script])
    }
}

/// How a launcher ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What the probe found out about `name`: `ok` or an error number.
    pub(crate) fn finding(&self, name: &str) -> &str {
        let line = self
            .output
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no finding about {name} in {self:?}"))
    }

    /// Asserts that the attempt failed with this error number.
    pub(crate) fn assert_refused(&self, name: &str, errno: i32) {
        assert_eq!(self.finding(name), errno.to_string(), "{name}: {self:?}");
    }
}

pub(crate) fn am_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// A word that nothing else on the machine contains.
pub(crate) fn random() -> String {
    let mut bytes = [0; 12];
    std::fs::File::open("/dev/urandom")
        .unwrap()
        .read_exact(&mut bytes)
        .unwrap();
    bytes.map(|byte| format!("{byte:02x}")).concat()
}

/// Processes of this machine whose command line contains the word.
pub(crate) fn processes_with(word: &str) -> usize {
    let commands = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    commands
        .filter(|command| String::from_utf8_lossy(command).contains(word))
        .count()
}

/// Waits until it holds, for ten seconds at most.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{what}: not within ten seconds");
}
