//! `countersign desktop`: what the launcher's icon does.

use super::ask::{home, said};
use crate::client::{Client, Failure};
use crate::exit;
use countersign_protocol::control::{Ask, Reply};
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long an authority may take until it answers.
const START: Duration = Duration::from_secs(20);

pub(crate) fn open() -> Result<(), Failure> {
    let home = home()?;
    if let Ok(mut client) = Client::connect(&home) {
        client.send(&Ask::ShowWindow {})?;
        return said(&client.answer()?, false);
    }
    let program = std::env::current_exe().map_err(|e| Failure::new(e.to_string()))?;
    let mut authority = Command::new(program)
        .args(["serve", "--desktop"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Its own group: it outlives the terminal that started it.
        .process_group(0)
        .spawn()
        .map_err(|e| Failure::new(format!("The authority could not be started: {e}")))?;
    let began = Instant::now();
    loop {
        if let Ok(mut client) = Client::connect(&home) {
            client.send(&Ask::Status {})?;
            if matches!(client.answer()?, Reply::Status(_)) {
                return Ok(());
            }
        }
        if let Ok(Some(_)) = authority.try_wait() {
            let mut said = String::new();
            if let Some(stderr) = authority.stderr.take() {
                let _ = stderr.take(16 * 1024).read_to_string(&mut said);
            }
            return Err(Failure(exit::FAILED, said.trim().to_owned()));
        }
        if began.elapsed() > START {
            return Err(Failure::new(
                "The authority was started and does not answer.",
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
