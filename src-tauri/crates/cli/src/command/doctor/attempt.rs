//! One attempt to cross a boundary. The same code runs outside, where it shows
//! that there is something to reach, and inside a run, where it must fail.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::{Deserialize, Serialize};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the gateway may take to answer; a refusal is recorded first.
const GATEWAY: Duration = Duration::from_secs(10);
/// More processes than this in a canary's run are not its own: init, the canary,
/// and what a launcher between may add.
const PROCESSES: usize = 4;

/// What is tried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Attempt {
    /// Connect to a Unix socket in the file system.
    Socket(PathBuf),
    /// Connect to one in the abstract namespace: its name, without the first zero.
    Abstract(Vec<u8>),
    /// Connect by TCP.
    Connect(SocketAddr),
    /// See that this file or folder is there.
    See(PathBuf),
    /// Find this text in an environment or command line of any process.
    Find(String),
    /// Find descriptors above 2 that were there from the beginning.
    Descriptors,
    /// Have a capability, or miss a lock of the sandbox.
    Powers,
    /// See a network interface besides loopback.
    Interfaces,
    /// See processes that are not the run's own.
    Processes,
    /// Get anything but a refusal out of the gateway for a host that is nobody's.
    Gateway,
}

/// What became of an attempt: the boundary was crossed, and how; or not.
pub(super) type Crossed = Option<String>;

impl Attempt {
    /// Tries it.
    pub(super) fn make(&self) -> Crossed {
        match self {
            Self::Socket(path) => {
                let address = SocketAddrUnix::new(path.as_path()).ok()?;
                answers(&address).then(|| path.display().to_string())
            }
            Self::Abstract(name) => {
                let address = SocketAddrUnix::new_abstract_name(name).ok()?;
                answers(&address).then(|| format!("@{}", String::from_utf8_lossy(name)))
            }
            Self::Connect(address) => TcpStream::connect_timeout(address, PATIENCE)
                .is_ok()
                .then(|| address.to_string()),
            Self::See(path) => path
                .symlink_metadata()
                .is_ok()
                .then(|| path.display().to_string()),
            Self::Find(text) => in_any_process(text),
            Self::Descriptors => inherited(),
            Self::Powers => powers(),
            Self::Interfaces => interfaces(),
            Self::Processes => processes(),
            Self::Gateway => gateway(),
        }
    }
}

/// Whether something listens there that lets us connect.
fn answers(address: &SocketAddrUnix) -> bool {
    // Not blocking: who listens may have no room left.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let Ok(socket) = socket else {
        return false;
    };
    matches!(
        connect(&socket, address),
        Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS)
    )
}

fn in_any_process(text: &str) -> Crossed {
    let needle = text.as_bytes();
    let holds = |file: &Path| {
        std::fs::read(file)
            .is_ok_and(|bytes| bytes.windows(needle.len()).any(|part| part == needle))
    };
    process_folders()
        .flat_map(|folder| [folder.join("environ"), folder.join("cmdline")])
        .find(|file| holds(file))
        .map(|file| file.display().to_string())
}

fn process_folders() -> impl Iterator<Item = PathBuf> {
    let is_process = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()))
    };
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(is_process)
}

/// What lies above 2, but for the descriptor that reads the list.
fn inherited() -> Crossed {
    let open = std::fs::read_dir("/proc/self/fd").ok()?;
    open.filter_map(Result::ok)
        .filter(|entry| {
            let number = entry.file_name().to_string_lossy().parse::<u32>();
            number.is_ok_and(|number| number > 2)
        })
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .find(|to| !to.starts_with("/proc"))
        .map(|to| format!("a descriptor of {}", to.display()))
}

/// Source: proc(5), `/proc/pid/status`.
fn powers() -> Crossed {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return Some("its own status cannot be read".into());
    };
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
            .unwrap_or_default()
    };
    let nothing = |mask: &str| !mask.is_empty() && mask.bytes().all(|b| b == b'0');
    if !nothing(field("CapEff:")) || !nothing(field("CapPrm:")) {
        return Some(format!("it has capabilities ({})", field("CapEff:")));
    }
    if field("NoNewPrivs:") != "1" {
        return Some("it could gain privileges".into());
    }
    if field("Seccomp:") != "2" {
        return Some("no filter stands before its system calls".into());
    }
    None
}

/// Source: proc(5), `/proc/net/dev`: two lines of heading, then one an interface.
fn interfaces() -> Crossed {
    let table = std::fs::read_to_string("/proc/net/dev").ok()?;
    table
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next())
        .map(str::trim)
        .find(|name| *name != "lo")
        .map(|name| format!("the interface {name}"))
}

fn processes() -> Crossed {
    let count = process_folders().count();
    (count > PROCESSES).then(|| format!("{count} processes"))
}

/// Asks the way out for a host that nobody assigned (RFC 2606 keeps the name
/// free), as an agent would.
fn gateway() -> Crossed {
    let Some(proxy) = std::env::var("HTTPS_PROXY")
        .ok()
        .and_then(|url| url.strip_prefix("http://")?.parse::<SocketAddr>().ok())
    else {
        return Some("there is no way to it".into());
    };
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&proxy, PATIENCE)?;
        stream.set_read_timeout(Some(GATEWAY))?;
        let host = "countersign-doctor.invalid";
        write!(
            stream,
            "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"
        )?;
        let mut reply = [0; 512];
        let length = stream.read(&mut reply)?;
        let reply = String::from_utf8_lossy(reply.get(..length).unwrap_or_default());
        Ok(reply.lines().next().unwrap_or_default().to_owned())
    };
    match asked() {
        Ok(line) if line.starts_with("HTTP/1.1 403") => None,
        Ok(line) => Some(format!("it answered {line:?}")),
        Err(error) => Some(format!("it does not answer: {error}")),
    }
}
