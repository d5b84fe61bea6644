//! `launch KEY=VALUE… -- COMMAND…`: a run, started as `countersign run` would.

use countersign_containment::{
    HandOver, Keep, LeftBehind, Limits, OwnFile, OwnFolder, RunSpec, Running, harden_self,
    platform, settle, uncontained,
};
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Keys: `folder`, `gateway`, `ca` (a file), `hidden`, `read-only`, `keep` (a folder
/// for the run's own copies), `accept` (they are),
/// `placeholder` (NAME=VALUE), `own` (KEPT:BELOW), `file` (PATH:CONTENT), `processes`,
/// `host-port`, `uncontained`, `port` (`served`, as
/// it is by itself; `closed`; `failed`: it cannot be handed over; or a file: it is
/// served once that exists), and `kill-when` (a file: the run is killed once it
/// exists) with `report` (a file for the milliseconds that this took).
pub(crate) fn launch(arguments: impl Iterator<Item = String>) -> Result<ExitCode, Box<dyn Error>> {
    harden_self()?;
    let mut spec = RunSpec {
        argv: Vec::new(),
        folder: PathBuf::new(),
        gateway: PathBuf::new(),
        ask: None,
        ca_pem: String::new(),
        placeholders: Vec::new(),
        program: std::env::current_exe()?,
        limits: Limits::default(),
        hidden: Vec::new(),
        read_only: Vec::new(),
        keep: None,
        ports: Vec::new(),
        shown: Vec::new(),
        host_ports: Vec::new(),
        own: Vec::new(),
        files: Vec::new(),
        group: None,
        ends_with: None,
    };
    let (mut contained, mut kill_when, mut report) = (true, None, None);
    let (mut keep, mut accept) = (None, false);
    let mut port = "served".to_owned();
    let mut arguments = arguments;
    for argument in arguments.by_ref().take_while(|argument| argument != "--") {
        let (key, value) = argument.split_once('=').ok_or("KEY=VALUE expected")?;
        match key {
            "folder" => spec.folder = value.into(),
            "gateway" => spec.gateway = value.into(),
            "ca" => spec.ca_pem = std::fs::read_to_string(value)?,
            "keep" => keep = Some(Arc::new(Keep::make(Path::new(value), "run")?)),
            "accept" => accept = true,
            "hidden" => spec.hidden.push(value.into()),
            "read-only" => spec.read_only.push(value.into()),
            "placeholder" => {
                let (name, value) = value.split_once('=').ok_or("NAME=VALUE expected")?;
                spec.placeholders.push((name.into(), value.into()));
            }
            "own" => {
                let (kept, below_home) = value.split_once(':').ok_or("KEPT:BELOW expected")?;
                spec.own.push(OwnFolder {
                    kept: kept.into(),
                    below_home: below_home.into(),
                });
            }
            "file" => {
                let (path, content) = value.split_once(':').ok_or("PATH:CONTENT expected")?;
                spec.files.push(OwnFile {
                    path: path.into(),
                    content: content.into(),
                });
            }
            "processes" => spec.limits.processes = value.parse()?,
            "uncontained" => contained = false,
            "port" => port = value.into(),
            "host-port" => spec.ports.push(value.parse()?),
            "kill-when" => kill_when = Some(PathBuf::from(value)),
            "report" => report = Some(PathBuf::from(value)),
            _ => return Err(format!("unknown key {key}").into()),
        }
    }
    spec.argv = arguments.map(Into::into).collect();
    spec.keep.clone_from(&keep);
    let running = if contained {
        platform().spawn(spec, hand_over(port))?
    } else {
        uncontained(spec, hand_over(port))?
    };
    if let (Some(file), Some(report)) = (kill_when, report) {
        return kill_then_report(running, &file, &report);
    }
    let end = running.wait()?;
    if let Some(keep) = keep {
        tell(&settle(&keep)?, accept);
    }
    Ok(end.shell_code().into())
}

/// `settle KEEP`: what a run that was cut off left behind.
pub(crate) fn settle_kept(arguments: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let [kept] = arguments else {
        return Err("KEEP expected".into());
    };
    tell(&settle(&Keep::open(Path::new(kept))?)?, false);
    Ok(ExitCode::SUCCESS)
}

/// What was left behind, one thing a line.
fn tell(left: &LeftBehind, accept: bool) {
    for change in &left.changes {
        println!("change {}", change.path.display());
    }
    for path in &left.built_from {
        println!("built-from {}", path.display());
    }
    for path in &left.renamed {
        println!("renamed {}", path.display());
    }
    for (path, why) in &left.in_force {
        println!("in force {}: {why}", path.display());
    }
    if accept {
        for path in left.accept() {
            println!("refused {}", path.display());
        }
    }
}

/// What becomes of the run's port.
fn hand_over(port: String) -> HandOver {
    Box::new(move |handed_over| match port.as_str() {
        "closed" => Ok(()),
        "failed" => Err(io::ErrorKind::ConnectionRefused.into()),
        _ => {
            for socket in handed_over.ports {
                let when = port.clone();
                std::thread::spawn(move || serve(socket, &when));
            }
            Ok(())
        }
    })
}

/// A gateway that reads to the end and sends it all back twice.
fn serve(socket: OwnedFd, when: &str) {
    if when != "served" {
        wait_for(Path::new(when));
    }
    for stream in TcpListener::from(socket).incoming().map_while(Result::ok) {
        std::thread::spawn(move || answer(stream));
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    stream.write_all(&all)?;
    stream.write_all(&all)
}

fn wait_for(file: &Path) {
    for _ in 0..2000 {
        if file.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn kill_then_report(
    running: Running,
    when: &Path,
    report: &Path,
) -> Result<ExitCode, Box<dyn Error>> {
    wait_for(when);
    let began = Instant::now();
    running.kill()?;
    let end = running.wait()?;
    std::fs::write(report, format!("{} {end:?}", began.elapsed().as_millis()))?;
    Ok(end.shell_code().into())
}
