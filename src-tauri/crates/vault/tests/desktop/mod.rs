//! A session bus with a real gnome-keyring, in a home of its own.
//!
//! The environment of a test process with threads must not be changed, so each
//! test runs its own binary again, for itself alone, as a child inside that
//! session: [`in_session`] is both ends of it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const INSIDE: &str = "COUNTERSIGN_TEST_SESSION";
const PASSWORD: &[u8] = b"the password of the login keyring";

/// A session with a bus, on which a scenario can start a keyring, or without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Bus,
    NoBus,
}

/// Runs `scenario` in a process of its own inside a private session. `name` is
/// the name of the calling test.
pub(crate) fn in_session(session: Session, name: &str, scenario: fn(&Inside)) {
    if let Some(folder) = std::env::var_os(INSIDE) {
        scenario(&Inside {
            folder: folder.into(),
            keyring: None.into(),
        });
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for sub in ["run", "data/keyrings", "config", "cache"] {
        std::fs::create_dir_all(folder.path().join(sub)).unwrap();
    }
    // `login` is the default collection, as on a real desktop.
    std::fs::write(folder.path().join("data/keyrings/default"), "login").unwrap();
    let _bus = (session == Session::Bus).then(|| start_bus(folder.path()));
    let mut child = private(
        Command::new(std::env::current_exe().unwrap()),
        folder.path(),
    );
    child
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, folder.path());
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(
        text.contains("1 passed"),
        "the scenario {name} did not run: {text}"
    );
}

/// Inside the session.
pub(crate) struct Inside {
    folder: PathBuf,
    keyring: std::cell::RefCell<Option<Daemon>>,
}

impl Inside {
    /// Starts the keyring, unlocked; its files outlive it.
    pub(crate) fn start_keyring(&self) {
        let mut daemon = Command::new("gnome-keyring-daemon");
        daemon.args([
            "--foreground",
            "--unlock",
            "--components=secrets",
            "--control-directory",
        ]);
        daemon.arg(self.folder.join("run/keyring"));
        daemon
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = daemon
            .spawn()
            .expect("gnome-keyring is needed: see the README, set-up");
        child.stdin.take().unwrap().write_all(PASSWORD).unwrap();
        *self.keyring.borrow_mut() = Some(Daemon(child));
        let begun = Instant::now();
        while !outside_tasks(|| is_on_the_bus("org.freedesktop.secrets")) {
            assert!(
                begun.elapsed() < Duration::from_secs(15),
                "gnome-keyring did not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the keyring.
    pub(crate) fn kill_keyring(&self) {
        self.keyring.borrow_mut().take();
    }

    /// Stops the keyring from running, or lets it run on: it hangs in between.
    pub(crate) fn freeze_keyring(&self, frozen: bool) {
        use nix::sys::signal::{Signal, kill};
        let id = self
            .keyring
            .borrow()
            .as_ref()
            .map(|daemon| daemon.0.id())
            .unwrap();
        let signal = if frozen {
            Signal::SIGSTOP
        } else {
            Signal::SIGCONT
        };
        kill(
            nix::unistd::Pid::from_raw(i32::try_from(id).unwrap()),
            signal,
        )
        .unwrap();
    }

    /// Locks the default collection, as a screen lock would.
    pub(crate) fn lock_keyring(&self) {
        outside_tasks(lock_default_collection);
    }

    /// Every file of the session, for searches.
    pub(crate) fn everything_written(&self) -> Vec<u8> {
        let mut bytes = vec![];
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    bytes.extend(std::fs::read(entry.path()).unwrap());
                }
            }
        }
        bytes
    }
}

/// A process that ends with its handle, and no other.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A bus that starts nothing by itself: what is not running is not there.
fn start_bus(folder: &Path) -> Daemon {
    let config = folder.join("bus.conf");
    let socket = folder.join("run/bus");
    let text = format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"#,
        socket.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut daemon = private(Command::new("dbus-daemon"), folder);
    daemon
        .args(["--nofork", "--nopidfile", "--config-file"])
        .arg(config);
    let daemon = Daemon(
        daemon
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let begun = Instant::now();
    while !socket.exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "dbus-daemon did not start"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    daemon
}

/// A command with nothing of the real session in its environment.
fn private(mut command: Command, folder: &Path) -> Command {
    command.env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", folder);
    command.env("XDG_RUNTIME_DIR", folder.join("run"));
    command.env("XDG_DATA_HOME", folder.join("data"));
    command.env("XDG_CONFIG_HOME", folder.join("config"));
    command.env("XDG_CACHE_HOME", folder.join("cache"));
    command.env(
        "DBUS_SESSION_BUS_ADDRESS",
        format!("unix:path={}", folder.join("run/bus").display()),
    );
    command
}

/// D-Bus calls that block belong on a thread without a runtime: with zbus's
/// feature `tokio`, which another crate of the workspace may switch on, they
/// would panic inside a task.
fn outside_tasks<T: Send>(call: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(call).join().unwrap())
}

fn lock_default_collection() {
    let bus = zbus::blocking::Connection::session().unwrap();
    let secrets = Some("org.freedesktop.secrets");
    let service = Some("org.freedesktop.Secret.Service");
    let path: zbus::zvariant::OwnedObjectPath = bus
        .call_method(
            secrets,
            "/org/freedesktop/secrets",
            service,
            "ReadAlias",
            &"default",
        )
        .unwrap()
        .body()
        .deserialize()
        .unwrap();
    bus.call_method(
        secrets,
        "/org/freedesktop/secrets",
        service,
        "Lock",
        &vec![path],
    )
    .unwrap();
}

fn is_on_the_bus(name: &str) -> bool {
    let bus = zbus::blocking::Connection::session().unwrap();
    let dbus = Some("org.freedesktop.DBus");
    let reply = bus
        .call_method(dbus, "/org/freedesktop/DBus", dbus, "NameHasOwner", &name)
        .unwrap();
    reply.body().deserialize().unwrap()
}
