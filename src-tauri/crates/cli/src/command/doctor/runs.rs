//! Throw-away runs of `countersign doctor`, begun as the human would begin them.

use super::attempt::{Attempt, Came};
use super::canary::{Held, OVER, READY};
use command_fds::{CommandFdExt as _, FdMapping};
use countersign_model::AgentId;
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a run may take to begin, and to make its attempts.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked after.
const LOOKS: Duration = Duration::from_millis(20);
/// This program, as a run sees it.
const PROGRAM: &str = "/run/countersign/init";
/// The variable in which the doctor's own environment holds the mark.
const VARIABLE: &str = "COUNTERSIGN_DOCTOR_MARK";
/// The descriptor that must not reach a run.
const DESCRIPTOR: i32 = 9;

/// A working folder that is gone with its run.
struct Folder(PathBuf);

impl Folder {
    fn make() -> io::Result<Self> {
        // Where it really is: `TMPDIR` may be a link.
        let base = std::env::temp_dir();
        let base = base.canonicalize().unwrap_or(base);
        // Made here and by nobody else, under a name that nobody knows before.
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = random.map(|byte| format!("{byte:02x}")).concat();
        let path = base.join(format!("countersign-doctor-{name}"));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes the attempts in a contained run whose launcher has the mark in its
/// environment, and a descriptor open that it did not ask for.
///
/// # Errors
/// One sentence: the run did not begin, or ended early.
pub(super) fn attempts(mark: &str, attempts: &[Attempt]) -> Result<Vec<Came>, String> {
    let folder = Folder::make().map_err(|e| e.to_string())?;
    let plan = serde_json::to_vec(attempts).map_err(|e| e.to_string())?;
    std::fs::write(folder.0.join("plan"), plan).map_err(|e| e.to_string())?;
    let mut command = command(&folder.0, &["try", "plan"]).map_err(|e| e.to_string())?;
    let open = File::open("/dev/null").map_err(|e| e.to_string())?;
    command
        .env(VARIABLE, mark)
        .fd_mappings(vec![FdMapping {
            parent_fd: open.into(),
            child_fd: DESCRIPTOR,
        }])
        .map_err(|e| e.to_string())?;
    let child = command.spawn().map_err(|e| e.to_string())?;
    let output = finished(child)?;
    let came: Vec<Came> =
        serde_json::from_slice(&output.stdout).map_err(|_| said(&output.stderr))?;
    if came.len() == attempts.len() {
        Ok(came)
    } else {
        Err("the run left attempts out".into())
    }
}

/// A run that holds what another must not reach.
pub(super) struct Other {
    child: Option<Child>,
    folder: Folder,
    pub(super) held: Held,
}

impl Other {
    /// # Errors
    /// One sentence: the run did not begin.
    pub(super) fn begin(mark: &str) -> Result<Self, String> {
        let folder = Folder::make().map_err(|e| e.to_string())?;
        let mut command = command(&folder.0, &["hold", mark]).map_err(|e| e.to_string())?;
        let mut child = command.spawn().map_err(|e| e.to_string())?;
        let began = Instant::now();
        loop {
            if let Ok(bytes) = std::fs::read(folder.0.join(READY)) {
                let held = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
                return Ok(Self {
                    child: Some(child),
                    folder,
                    held,
                });
            }
            let ended = child.try_wait().map_err(|e| e.to_string())?.is_some();
            if ended || began.elapsed() > PATIENCE {
                return Err(said(&finished(child)?.stderr));
            }
            std::thread::sleep(LOOKS);
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = std::fs::write(self.folder.0.join(OVER), "");
        if let Some(child) = self.child.take() {
            let _ = finished(child);
        }
    }
}

fn command(folder: &Path, canary: &[&str]) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["run", "--agent", AgentId::doctor().as_str()])
        .args(["--task", "countersign doctor", "--", PROGRAM, "canary"])
        .args(canary)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

/// Waits for the end; a run that does not end is ended.
fn finished(mut child: Child) -> Result<std::process::Output, String> {
    let began = Instant::now();
    while child.try_wait().map_err(|e| e.to_string())?.is_none() {
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
        }
        std::thread::sleep(LOOKS);
    }
    child.wait_with_output().map_err(|e| e.to_string())
}

/// What the run's launcher said, as one sentence.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.unwrap_or("the run ended without a word");
    line.strip_prefix("countersign: ")
        .unwrap_or(line)
        .to_owned()
}
