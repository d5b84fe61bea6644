//! Running other programs: with a clean environment, and so that a person who
//! waits sees that something goes on.

use std::env;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// What went wrong, for the person at the terminal.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

const STILL: Duration = Duration::from_secs(15);

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// A program at the root of the checkout, without what could reach into a real
/// installation of ours, and without what cargo told *us*.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root());
    for (key, _) in env::vars_os() {
        let text = key.to_string_lossy();
        let from_cargo = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_PRIMARY_",
        ];
        if text.starts_with("COUNTERSIGN_") || from_cargo.iter().any(|p| text.starts_with(p)) {
            command.env_remove(&key);
        }
    }
    command
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = program(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    if env::var_os("CI").is_some() {
        // Nothing is compiled twice there: incremental files only cost disk.
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// Runs a command whose own output tells what goes on.
pub(crate) fn show(command: &mut Command) -> Result {
    println!("$ {}", words(command));
    let status = command.status().map_err(|e| cannot_start(command, &e))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{} failed ({status})", words(command)))
    }
}

/// Runs a command in silence but for a sign of life; its output is shown when
/// it fails, and returned when it does not.
pub(crate) fn quiet(what: &str, command: &mut Command) -> Result<String> {
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| cannot_start(command, &e))?;
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut all = Vec::new();
            if let Some(mut pipe) = pipe {
                let _what_there_is = pipe.read_to_end(&mut all);
            }
            String::from_utf8_lossy(&all).into_owned()
        })
    };
    let out = read(child.stdout.take().map(|p| Box::new(p) as _));
    let err = read(child.stderr.take().map(|p| Box::new(p) as _));
    let (done, wait) = mpsc::channel::<()>();
    let what_too = what.to_owned();
    let signs = thread::spawn(move || {
        while wait.recv_timeout(STILL) == Err(RecvTimeoutError::Timeout) {
            println!("  … {what_too}: {} s", begun.elapsed().as_secs());
        }
    });
    let status = child.wait().map_err(|e| cannot_start(command, &e))?;
    drop(done);
    let _sign_thread_never_panics = signs.join();
    let out = out.join().unwrap_or_default();
    if status.success() {
        return Ok(out);
    }
    let err = err.join().unwrap_or_default();
    Err(format!(
        "{what} failed ({status})\n$ {}\n{}\n{}",
        words(command),
        out.trim(),
        err.trim()
    ))
}

/// The first line that a program prints, when it can be run at all.
pub(crate) fn first_line(name: &str, args: &[&str]) -> Option<String> {
    let output = program(name)
        .args(args)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output
        .status
        .success()
        .then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

fn words(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    command
        .get_args()
        .fold(name, |line, arg| line + " " + &arg.to_string_lossy())
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!(
        "{} cannot be started: {error}",
        command.get_program().to_string_lossy()
    )
}
