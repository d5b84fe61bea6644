//! The scene of most black-box tests: a desktop without windows, an authority
//! at a terminal, a mailbox, and an agent that may use it.

use crate::desktop::{Desktop, Options};
use crate::upstream::{Mailbox, Upstream};
use crate::{Authority, programs, random};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// Everything that the main job needs. The agent is `inbox-bot`, its account
/// `mail`.
#[derive(Debug)]
pub struct Scene {
    /// The authority; its terminal is the only surface.
    pub authority: Authority,
    /// The service behind the account `mail`.
    pub mailbox: Mailbox,
    /// The credential of `mail`.
    pub credential: String,
    /// Where all of it runs.
    pub desktop: Desktop,
}

impl Scene {
    /// A scene with this many messages, configured and accepted.
    ///
    /// # Errors
    /// When a part does not start, or a step is refused.
    pub fn start(messages: usize) -> io::Result<Self> {
        Self::at(Self::plain_desktop()?, messages)
    }

    /// A desktop with an open keyring, and neither notifications nor a tray.
    ///
    /// # Errors
    /// When a part does not start.
    pub fn plain_desktop() -> io::Result<Desktop> {
        Desktop::start(&Options {
            notify: false,
            tray: false,
            ..Options::default()
        })
    }

    /// As [`Scene::start`], at this desktop.
    ///
    /// # Errors
    /// When a part does not start, or a step is refused.
    pub fn at(desktop: Desktop, messages: usize) -> io::Result<Self> {
        let authority = Authority::on_a_terminal(&desktop, &[])?;
        let credential = random::credential();
        let mailbox = Mailbox::start(&credential, messages)?;
        let mut scene = Self {
            authority,
            mailbox,
            credential,
            desktop,
        };
        let mail = scene.account(
            "mail",
            "kind = \"gmail\"\nenvironment = \"personal\"\ncredential = \"bearer\"",
            &scene.mailbox.upstream,
        )?;
        scene.accept(&format!(
            "[agents.inbox-bot]\naccounts = [\"mail\"]\n\n{mail}"
        ))?;
        let secret = scene.credential.clone();
        scene.set_credential("mail", &secret)?;
        Ok(scene)
    }

    /// The folder of `countersign.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.desktop.path("home/.config/countersign")
    }

    /// The folder of the ledger, the accepted configuration and the latch.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.desktop.path("home/.local/state/countersign")
    }

    /// The section of an account that is served by this upstream, whose CA is
    /// written beside the configuration.
    ///
    /// # Errors
    /// When the CA cannot be written.
    pub fn account(&self, name: &str, settings: &str, upstream: &Upstream) -> io::Result<String> {
        let ca = format!("{name}-ca.pem");
        self.desktop
            .person()
            .write(&self.config().join(&ca), upstream.ca_pem())?;
        let address = upstream.address();
        Ok(format!(
            "[accounts.{name}]\n{settings}\nconnect_to = \"{address}\"\nca = \"{ca}\"\n\n"
        ))
    }

    /// Writes `countersign.toml`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_config(&self, text: &str) -> io::Result<()> {
        self.desktop
            .person()
            .write(&self.config().join("countersign.toml"), text)
    }

    /// What stands in `countersign.toml`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_config(&self) -> io::Result<String> {
        std::fs::read_to_string(self.config().join("countersign.toml"))
    }

    /// Writes `countersign.toml` and accepts it at the terminal; what was asked.
    ///
    /// # Errors
    /// When it is not accepted, with what was said.
    pub fn accept(&mut self, text: &str) -> io::Result<String> {
        self.write_config(text)?;
        let from = self.authority.screen().len();
        let accept = self.spawn(&["config", "accept"])?;
        self.approved(from, accept)
    }

    /// Sets a credential and approves that at the terminal; what was asked.
    ///
    /// # Errors
    /// When it is not stored, with what was said.
    pub fn set_credential(&mut self, account: &str, secret: &str) -> io::Result<String> {
        let from = self.authority.screen().len();
        let mut set = self.spawn(&["credential", "set", account])?;
        // Closed at the end of the statement: the credential is whole.
        set.stdin
            .take()
            .ok_or(io::ErrorKind::BrokenPipe)?
            .write_all(secret.as_bytes())?;
        self.approved(from, set)
    }

    /// Lifts the stop, or removes a credential, or whatever else ends in one
    /// question; what was asked.
    ///
    /// # Errors
    /// When it is refused, with what was said.
    pub fn confirm(&mut self, args: &[&str]) -> io::Result<String> {
        let from = self.authority.screen().len();
        let command = self.spawn(args)?;
        self.approved(from, command)
    }

    fn approved(&mut self, from: usize, mut command: Child) -> io::Result<String> {
        let asked = match self.authority.approve(from) {
            Ok(asked) => asked,
            Err(why) => {
                let _ended_already = command.kill();
                return Err(io::Error::other(format!(
                    "{why}; {}",
                    said(&command.wait_with_output()?)
                )));
            }
        };
        let output = command.wait_with_output()?;
        if output.status.success() {
            Ok(asked)
        } else {
            Err(io::Error::other(said(&output)))
        }
    }

    /// Runs `countersign ARGS` to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn countersign(&self, args: &[&str]) -> io::Result<Output> {
        self.authority.command(&self.desktop, args)
    }

    /// Starts `countersign ARGS` with pipes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, args: &[&str]) -> io::Result<Child> {
        piped(
            self.desktop
                .command(programs::built("countersign")?)
                .args(args),
        )
        .spawn()
    }

    /// Starts a command as the agent, contained, in [`Scene::work`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, argv: &[&str]) -> io::Result<Child> {
        self.run_with(&[], argv)
    }

    /// As [`Scene::run`], with options of `countersign run`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run_with(&self, options: &[&str], argv: &[&str]) -> io::Result<Child> {
        let mut command = self.desktop.command(programs::built("countersign")?);
        command
            .args(["run", "--agent", "inbox-bot", "--task", "tidy the inbox"])
            .args(options)
            .arg("--")
            .args(argv)
            .current_dir(self.work()?);
        piped(&mut command).spawn()
    }

    /// A shell script as the agent, contained, to its end: what it printed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn script(&self, script: &str) -> io::Result<String> {
        Ok(said(&self.run(&["sh", "-c", script])?.wait_with_output()?))
    }

    /// The agent's working folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn work(&self) -> io::Result<PathBuf> {
        let folder = self.desktop.path("home/work");
        self.desktop.person().make_folder(&folder)?;
        Ok(folder)
    }

    /// Ends the authority in order.
    ///
    /// # Errors
    /// When it does not end.
    pub fn shut_down(&mut self) -> io::Result<()> {
        self.authority.shut_down(&self.desktop)
    }

    /// Starts the authority again, at a terminal of its own.
    ///
    /// # Errors
    /// When it does not start: with what it said.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.authority = Authority::on_a_terminal(&self.desktop, &[])?;
        Ok(())
    }
}

/// With all three standard streams as pipes.
pub fn piped(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

/// All that a command printed.
#[must_use]
pub fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
