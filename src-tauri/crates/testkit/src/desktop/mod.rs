//! A real desktop without a screen.
//!
//! An X server, a session bus, a keyring, a window manager, a notification
//! service and a tray host: those that users have, each as the person (never
//! as root), in a home, a runtime folder and a temporary folder of their own.

mod accessible;
mod config;
mod end;
mod hands;
mod portal;
mod start;
mod tray;

pub use portal::{Part, Portal};

use crate::person::{self, Person};
use crate::random;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a part of the desktop may take to be ready. It takes well under a
/// second; a machine that is busy with a build takes longer.
const READY: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Whether there is a keyring, and how it stands at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyring {
    /// gnome-keyring with an open login keyring.
    Unlocked,
    /// gnome-keyring with a locked login keyring: callers wait on its prompt.
    Locked,
    /// No program answers for `org.freedesktop.secrets`.
    None,
}

/// What the desktop has.
#[derive(Debug, Clone)]
pub struct Options {
    /// Width and height of the screen in pixels.
    pub size: (u32, u32),
    /// Whether a notification service runs.
    pub notify: bool,
    /// Whether a panel with a tray runs.
    pub tray: bool,
    /// The keyring.
    pub keyring: Keyring,
    /// Whether programs are asked for their dark theme.
    pub dark: bool,
    /// The portal.
    pub portal: Portal,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            size: (1280, 800),
            notify: true,
            tray: true,
            keyring: Keyring::Unlocked,
            dark: false,
            portal: Portal::None,
        }
    }
}

/// A desktop; all that runs in it ends when it is dropped.
#[derive(Debug)]
pub struct Desktop {
    person: Person,
    folder: TempDir,
    mark: String,
    password: String,
    env: Vec<(String, String)>,
    children: Vec<Child>,
}

impl Desktop {
    /// Starts a desktop for a person of its own and waits until it is ready.
    ///
    /// # Errors
    /// Says which part did not start, with the end of its log.
    pub fn start(options: &Options) -> io::Result<Self> {
        Self::start_for(person::ordinary()?, options)
    }

    /// As [`Desktop::start`], for this person.
    ///
    /// # Errors
    /// Says which part did not start, with the end of its log.
    pub fn start_for(person: Person, options: &Options) -> io::Result<Self> {
        let folder = person.folder()?;
        let mark = format!("desktop-{}", random::hex::<8>());
        let env = config::environment(folder.path(), &mark, options);
        let password = random::credential();
        let mut desktop = Self {
            person,
            folder,
            mark,
            password,
            env,
            children: Vec::new(),
        };
        for name in [
            "run",
            "tmp",
            "home/.local/share/keyrings",
            "home/.config",
            "home/.cache",
            "home/.local/state",
        ] {
            desktop
                .person
                .make_folder(&desktop.folder.path().join(name))?;
        }
        desktop.start_screen(options)?;
        desktop.start_bus(options)?;
        desktop.start_keyring(options.keyring)?;
        desktop.start_windows()?;
        if options.notify {
            desktop.start_notifications()?;
        }
        if options.tray {
            desktop.start_tray()?;
        }
        Ok(desktop)
    }

    /// Who sits at the desk.
    #[must_use]
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// The folder that holds the home (`home`), the runtime folder (`run`), the
    /// temporary folder (`tmp`) and the logs. Only the person can read it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in [`Desktop::folder`].
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The environment of the programs of this desktop, complete.
    #[must_use]
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// The same desktop, with one variable more in the environment of the
    /// programs that are started from now on.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A command that runs at this desktop, as the person, with exactly
    /// [`Desktop::env`] as its environment and the home as working folder.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.person.command(program);
        command
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .current_dir(self.path("home"))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command at this desktop to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, program: &str, args: &[&str]) -> io::Result<Output> {
        self.command(program)
            .args(args)
            .output()
            .map_err(|e| named(program, &e))
    }

    /// Runs a command at this desktop that must succeed, and returns what it
    /// printed.
    ///
    /// # Errors
    /// When it fails, with its words.
    pub fn must(&self, program: &str, args: &[&str]) -> io::Result<String> {
        let output = self.run(program, args)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let why = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!(
            "{program} {args:?}: {}: {}",
            output.status,
            why.trim()
        )))
    }

    /// Starts a program that ends with the desktop; its output goes to
    /// `NAME.log` in [`Desktop::folder`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn background(
        &mut self,
        name: &str,
        program: impl AsRef<OsStr>,
        args: &[&str],
    ) -> io::Result<u32> {
        let child = self
            .logged(name, program)?
            .args(args)
            .spawn()
            .map_err(|e| named(name, &e))?;
        let pid = child.id();
        self.children.push(child);
        Ok(pid)
    }

    /// Waits until a program that was started with [`Desktop::background`] has
    /// written this, and returns what it has written.
    ///
    /// # Errors
    /// When it does not within ten seconds, with its log.
    pub fn wait_for_log(&self, name: &str, text: &str) -> io::Result<String> {
        let file = self.path(&format!("{name}.log"));
        for _ in 0..200 {
            let log = fs::read_to_string(&file).unwrap_or_default();
            if log.contains(text) && log.ends_with('\n') {
                return Ok(log);
            }
            sleep(Duration::from_millis(50));
        }
        Err(io::Error::other(format!(
            "{name} did not write {text:?}: {}",
            self.log(name)
        )))
    }

    /// Locks the login keyring: whoever wants a secret now waits on a prompt.
    ///
    /// # Errors
    /// When there is no keyring.
    pub fn lock_keyring(&self) -> io::Result<()> {
        let collection = "['/org/freedesktop/secrets/collection/login']";
        self.must(
            "gdbus",
            &[
                "call",
                "--session",
                "--dest",
                "org.freedesktop.secrets",
                "--object-path",
                "/org/freedesktop/secrets",
                "--method",
                "org.freedesktop.Secret.Service.Lock",
                collection,
            ],
        )
        .map(|_| ())
    }

    /// The password of the login keyring, for its prompt.
    #[must_use]
    pub fn keyring_password(&self) -> &str {
        &self.password
    }

    /// The end of a program's log.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let log = fs::read(self.path(&format!("{name}.log"))).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Waits until a name is owned on the session bus.
    ///
    /// # Errors
    /// When it is not in time; `part` names whose log is quoted.
    pub fn wait_for_bus_name(&self, part: &str, name: &str) -> io::Result<()> {
        let seconds = READY.as_secs().to_string();
        let waited = self.run("gdbus", &["wait", "--session", "--timeout", &seconds, name])?;
        if waited.status.success() {
            Ok(())
        } else {
            Err(self.failed(part))
        }
    }

    /// A command whose output goes to `NAME.log`, in a process group of its own.
    fn logged(&self, name: &str, program: impl AsRef<OsStr>) -> io::Result<Command> {
        let log = self.path(&format!("{name}.log"));
        self.person.write(&log, "")?;
        let log = fs::OpenOptions::new().append(true).open(log)?;
        let mut command = self.command(program);
        command
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        Ok(command)
    }

    fn wait(&self, part: &str, ready: impl Fn(&Self) -> io::Result<bool>) -> io::Result<()> {
        let until = Instant::now() + READY;
        while !ready(self)? {
            if Instant::now() > until {
                return Err(self.failed(part));
            }
            sleep(POLL);
        }
        Ok(())
    }

    fn failed(&self, part: &str) -> io::Error {
        io::Error::other(format!(
            "{part} did not start; the end of its log:\n{}",
            self.log(part)
        ))
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        end::everything(&self.mark, &self.person, &mut self.children);
    }
}

fn named(program: &str, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("{program}: {error} (`cargo xtask setup` installs what the tests need)"),
    )
}
