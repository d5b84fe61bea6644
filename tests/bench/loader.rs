//! Starting the loader (this program again) and reading what it measured.

use crate::wire::Fault;
use crate::{bulk, load, stop};
use serde_json::Value;
use std::env;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// This program's name.
pub(crate) const NAME: &str = "countersign-bench";

/// What a loader prints: one JSON document.
pub(crate) type Answer = Value;

/// The loader's side: what the arguments say, to its end.
pub(crate) fn run(args: &[&str]) -> Result<Answer, Fault> {
    match args {
        ["crowd", run, processes, each] => {
            return stop::crowd(run, processes.parse()?, each.parse()?);
        }
        ["crowd-member", run, index, each] => {
            return stop::member(run, index.parse()?, each.parse()?);
        }
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match args {
        ["read", url, connections, milliseconds] => {
            let time = Duration::from_millis(milliseconds.parse()?);
            runtime.block_on(load::read(url, connections.parse()?, time))
        }
        ["down", url] => runtime.block_on(bulk::down(url, None)),
        ["down", url, per_second] => runtime.block_on(bulk::down(url, Some(per_second.parse()?))),
        ["up", url, bytes] => runtime.block_on(bulk::up(url, bytes.parse()?)),
        ["probe", into] => runtime.block_on(stop::probe(into)),
        _ => Err("this is no order for the loader".into()),
    }
}

/// The loader as a plain process, through this proxy or none.
pub(crate) fn plain(proxy: Option<u16>, ca: &Path, args: &[&str]) -> io::Result<Answer> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(args)
        .env_clear()
        .env("SSL_CERT_FILE", ca)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(port) = proxy {
        command.env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"));
    }
    answer(command.spawn()?)
}

/// Waits for a loader, and reads what it printed.
pub(crate) fn answer(child: Child) -> io::Result<Answer> {
    let output = child.wait_with_output()?;
    let read = |output: &Output| serde_json::from_slice(&output.stdout).ok();
    match read(&output) {
        Some(answer) if output.status.success() => Ok(answer),
        _ => Err(io::Error::other(format!(
            "the loader failed, {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}

/// A number of an answer.
pub(crate) fn number(answer: &Answer, name: &str) -> io::Result<f64> {
    answer[name]
        .as_f64()
        .ok_or_else(|| io::Error::other(format!("the loader said no {name}: {answer}")))
}
