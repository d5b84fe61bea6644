//! A running authority, and the human at its terminal.

use crate::desktop::Desktop;
use crate::programs;
use nix::pty::{OpenptyResult, Winsize, openpty};
use std::fs::File;
use std::io::{self, Write as _};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An answer sooner than this after a question was shown is none.
const READ_IT: Duration = Duration::from_millis(800);
/// How long things may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);

/// `countersign serve` at a desktop. With a terminal of its own it asks there;
/// without, nobody can be asked unless it has the tray app.
#[derive(Debug)]
pub struct Authority {
    child: Child,
    terminal: Option<File>,
    screen: Arc<Mutex<String>>,
    env: Vec<(String, String)>,
}

impl Authority {
    /// Starts it with a terminal.
    ///
    /// # Errors
    /// When it does not answer in time: with what it said.
    pub fn on_a_terminal(desktop: &Desktop, args: &[&str]) -> io::Result<Self> {
        let size = Winsize {
            ws_row: 50,
            ws_col: 160,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let OpenptyResult { master, slave } = openpty(Some(&size), None)?;
        let mut command = desktop.command(programs::built("countersign")?);
        command
            .arg("serve")
            .args(args)
            .stdin(Stdio::from(slave.try_clone()?))
            .stdout(Stdio::from(slave.try_clone()?))
            .stderr(Stdio::from(slave));
        let master = File::from(master);
        let reader = master.try_clone()?;
        let mut authority = Self::spawn(command, desktop)?;
        authority.terminal = Some(master);
        authority.watch(reader)?;
        authority.wait_until_it_answers(desktop)?;
        Ok(authority)
    }

    /// Starts it without a terminal; with `--desktop` among `args`, the tray
    /// app asks.
    ///
    /// # Errors
    /// When it does not answer in time: with what it said.
    pub fn start(desktop: &Desktop, args: &[&str]) -> io::Result<Self> {
        let mut command = desktop.command(programs::built("countersign")?);
        command
            .arg("serve")
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut authority = Self::spawn(command, desktop)?;
        if let Some(stderr) = authority.child.stderr.take() {
            authority.watch(stderr)?;
        }
        authority.wait_until_it_answers(desktop)?;
        Ok(authority)
    }

    fn spawn(mut command: Command, desktop: &Desktop) -> io::Result<Self> {
        let child = command.spawn()?;
        Ok(Self {
            child,
            terminal: None,
            screen: Arc::default(),
            env: desktop.env().to_vec(),
        })
    }

    fn watch(&self, mut from: impl io::Read + Send + 'static) -> io::Result<()> {
        let screen = Arc::clone(&self.screen);
        std::thread::Builder::new()
            .name("terminal".into())
            .spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(n @ 1..) = from.read(&mut bytes) {
                    let text =
                        String::from_utf8_lossy(bytes.get(..n).unwrap_or_default()).into_owned();
                    screen
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push_str(&text);
                }
            })?;
        Ok(())
    }

    fn wait_until_it_answers(&mut self, desktop: &Desktop) -> io::Result<()> {
        let began = Instant::now();
        while began.elapsed() < SOON {
            if self.command(desktop, &["status"])?.status.success() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                std::thread::sleep(Duration::from_millis(100));
                return Err(io::Error::other(format!(
                    "serve ended, {status}: {}",
                    self.screen()
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(io::Error::other(format!(
            "serve does not answer: {}",
            self.screen()
        )))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes of the gateways that it has started.
    #[must_use]
    pub fn gateways(&self) -> Vec<i32> {
        let parent = format!("\nPPid:\t{}\n", self.pid());
        let is_one = |pid: &i32| {
            let of = |file| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let named = of("cmdline").split(|b| *b == 0).nth(1) == Some(b"gateway-of-a-run");
            named && String::from_utf8_lossy(&of("status")).contains(&parent)
        };
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(is_one)
            .collect()
    }

    /// The environment of its desktop.
    #[must_use]
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// Runs `countersign ARGS` at the desktop to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn command(&self, desktop: &Desktop, args: &[&str]) -> io::Result<Output> {
        desktop
            .command(programs::built("countersign")?)
            .args(args)
            .output()
    }

    /// Everything that was printed so far.
    #[must_use]
    pub fn screen(&self) -> String {
        self.screen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until a text was printed after `from` (a length of [`Self::screen`]),
    /// and returns what was printed since.
    ///
    /// # Errors
    /// When it is not in time: with what was printed instead.
    pub fn wait_for(&self, text: &str, from: usize) -> io::Result<String> {
        let began = Instant::now();
        loop {
            let screen = self.screen();
            let since = screen.get(from..).unwrap_or_default();
            if since.contains(text) {
                return Ok(since.to_owned());
            }
            if began.elapsed() > SOON {
                return Err(io::Error::other(format!(
                    "{text:?} was not printed, but: {since}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types a line at the terminal.
    ///
    /// # Errors
    /// When there is none.
    pub fn type_line(&mut self, line: &str) -> io::Result<()> {
        let terminal = self
            .terminal
            .as_mut()
            .ok_or_else(|| io::Error::other("no terminal"))?;
        terminal.write_all(format!("{line}\n").as_bytes())
    }

    /// Waits for a question printed after `from`, reads it, approves it as it
    /// asks to be approved, and returns the whole block.
    ///
    /// # Errors
    /// When there is no question in time.
    pub fn approve(&mut self, from: usize) -> io::Result<String> {
        let began = Instant::now();
        loop {
            let block = self.screen().get(from..).unwrap_or_default().to_owned();
            if let Some(prompt) = block.rfind("Approve? [y/N] ") {
                std::thread::sleep(READ_IT);
                self.type_line("y")?;
                return Ok(block.get(..prompt).unwrap_or_default().to_owned());
            }
            if let Some((before, id)) = block.rsplit_once("Type ").and_then(|(before, rest)| {
                rest.split_once(" to approve: ")
                    .map(|(id, _)| (before.to_owned(), id.to_owned()))
            }) {
                std::thread::sleep(READ_IT);
                self.type_line(&id)?;
                return Ok(before);
            }
            if began.elapsed() > SOON {
                return Err(io::Error::other(format!("no question was asked: {block}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to end in order and waits.
    ///
    /// # Errors
    /// When it does not end, or not in order.
    pub fn end(mut self, desktop: &Desktop) -> io::Result<()> {
        self.shut_down(desktop)
    }

    /// As [`Authority::end`], where it is kept: to be started again.
    ///
    /// # Errors
    /// When it does not end, or not in order.
    pub fn shut_down(&mut self, desktop: &Desktop) -> io::Result<()> {
        self.command(desktop, &["shutdown"])?;
        let began = Instant::now();
        while began.elapsed() < SOON {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() {
                    Ok(())
                } else {
                    Err(io::Error::other(format!("{status}: {}", self.screen())))
                };
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other("serve does not end"))
    }

    /// Kills it, as a crash would.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn crash(mut self) -> io::Result<()> {
        self.kill()
    }

    /// As [`Authority::crash`], where it is kept: to be started again.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
