//! Inside a throw-away run: `canary try PLAN` makes the attempts of a file and
//! prints what became of each; `canary hold` offers what another run must not
//! reach, until it is told that it is over.

use super::attempt::{Attempt, Came};
use crate::client::Failure;
use crate::say;
use serde::{Deserialize, Serialize};
use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A run that holds something ends by itself after so long.
const HOLDS: Duration = Duration::from_secs(60);
/// How often it looks whether it is over.
const LOOKS: Duration = Duration::from_millis(20);

/// What `canary hold` writes when it holds it.
pub(super) const READY: &str = "ready";
/// What tells `canary hold` that it is over.
pub(super) const OVER: &str = "over";

/// What a run holds and another must not reach.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) port: SocketAddr,
    pub(super) name: Vec<u8>,
    pub(super) file: PathBuf,
}

/// Makes every attempt of the plan.
pub(crate) fn try_all(plan: &Path) -> Result<(), Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::new(format!("The plan: {e}"));
    let bytes = std::fs::read(plan).map_err(|e| failed(&e))?;
    let attempts: Vec<Attempt> = serde_json::from_slice(&bytes).map_err(|e| failed(&e))?;
    let came: Vec<Came> = attempts.iter().map(Attempt::make).collect();
    say::json(&came);
    Ok(())
}

/// Listens, on a port and under a name, and leaves a file, until it is over.
pub(crate) fn hold(mark: &str) -> Result<(), Failure> {
    let held = || -> std::io::Result<()> {
        let name = mark.as_bytes().to_vec();
        let port = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
        let _named = UnixListener::bind_addr(&UnixAddress::from_abstract_name(&name)?)?;
        let file = std::env::temp_dir().join(mark);
        std::fs::write(&file, mark)?;
        let held = Held {
            port: port.local_addr()?,
            name,
            file,
        };
        // Whole or not at all: who waits for it reads it at once.
        std::fs::write("writing", serde_json::to_vec(&held)?)?;
        std::fs::rename("writing", READY)?;
        let began = Instant::now();
        while !Path::new(OVER).exists() && began.elapsed() < HOLDS {
            std::thread::sleep(LOOKS);
        }
        Ok(())
    };
    held().map_err(|e| Failure::new(e.to_string()))
}
