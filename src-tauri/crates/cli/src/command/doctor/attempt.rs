//! One attempt to cross a boundary. The same code runs outside, where it shows
//! that there is something to reach, and inside a run, where it must fail.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::{Deserialize, Serialize};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
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

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Came {
    /// The boundary was crossed, and how.
    Crossed(String),
    /// It held.
    Held,
    /// Nothing was shown, for this reason.
    Untried(String),
}

impl Came {
    fn crossed_if(crossed: bool, how: impl FnOnce() -> String) -> Self {
        if crossed {
            Self::Crossed(how())
        } else {
            Self::Held
        }
    }

    /// What an error shows: that it is not there or not allowed, or nothing.
    fn of(error: &io::Error, what: &str) -> Self {
        use io::ErrorKind as E;
        match error.kind() {
            E::NotFound
            | E::PermissionDenied
            | E::ConnectionRefused
            | E::NetworkUnreachable
            | E::HostUnreachable
            | E::AddrNotAvailable
            | E::NotADirectory
            | E::TimedOut => Self::Held,
            _ => Self::Untried(format!("{what}: {error}")),
        }
    }
}

impl Attempt {
    /// Tries it.
    pub(super) fn make(&self) -> Came {
        match self {
            Self::Socket(path) => {
                let what = path.display().to_string();
                let address = SocketAddrUnix::new(path.as_path());
                reached(address.and_then(|address| answers(&address)), what)
            }
            Self::Abstract(name) => {
                let what = format!("@{}", String::from_utf8_lossy(name));
                let address = SocketAddrUnix::new_abstract_name(name);
                reached(address.and_then(|address| answers(&address)), what)
            }
            Self::Connect(address) => match TcpStream::connect_timeout(address, PATIENCE) {
                Ok(_) => Came::Crossed(address.to_string()),
                Err(error) => Came::of(&error, &address.to_string()),
            },
            Self::See(path) => match path.symlink_metadata() {
                Ok(_) => Came::Crossed(path.display().to_string()),
                Err(error) => Came::of(&error, &path.display().to_string()),
            },
            Self::Find(text) => in_any_process(text),
            Self::Descriptors => inherited(),
            Self::Powers => powers(),
            Self::Interfaces => interfaces(),
            Self::Processes => processes(),
            Self::Gateway => gateway(),
        }
    }
}

fn reached(answers: Result<bool, Errno>, what: String) -> Came {
    match answers {
        Ok(answers) => Came::crossed_if(answers, || what),
        Err(error) => Came::of(&error.into(), &what),
    }
}

/// Whether something listens there that lets us connect.
fn answers(address: &SocketAddrUnix) -> Result<bool, Errno> {
    // Not blocking: who listens may have no room left.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, address) {
        Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS) => Ok(true),
        // It is of another type, and there all the same.
        Err(Errno::PROTOTYPE) => Ok(true),
        Err(error) => Err(error),
    }
}

fn in_any_process(text: &str) -> Came {
    let needle = text.as_bytes();
    let mut read = 0;
    for folder in process_folders() {
        for file in [folder.join("environ"), folder.join("cmdline")] {
            let Ok(bytes) = std::fs::read(&file) else {
                continue;
            };
            read += 1;
            if bytes.windows(needle.len()).any(|part| part == needle) {
                return Came::Crossed(file.display().to_string());
            }
        }
    }
    match read {
        0 => Came::Untried("no process can be looked at".into()),
        _ => Came::Held,
    }
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
fn inherited() -> Came {
    let open = match std::fs::read_dir("/proc/self/fd") {
        Ok(open) => open,
        Err(error) => return Came::Untried(format!("/proc/self/fd: {error}")),
    };
    let found = open
        .filter_map(Result::ok)
        .filter(|entry| {
            let number = entry.file_name().to_string_lossy().parse::<u32>();
            number.is_ok_and(|number| number > 2)
        })
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .find(|to| !to.starts_with("/proc"));
    found.map_or(Came::Held, |to| {
        Came::Crossed(format!("a descriptor of {}", to.display()))
    })
}

/// Source: proc(5), `/proc/pid/status`.
fn powers() -> Came {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return Came::Untried("its own status cannot be read".into());
    };
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
            .unwrap_or_default()
    };
    let nothing = |mask: &str| !mask.is_empty() && mask.bytes().all(|b| b == b'0');
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"];
    if let Some(set) = sets.into_iter().find(|set| !nothing(field(set))) {
        return Came::Crossed(format!("it has capabilities ({set} {})", field(set)));
    }
    if field("NoNewPrivs:") != "1" {
        return Came::Crossed("it could gain privileges".into());
    }
    Came::crossed_if(field("Seccomp:") != "2", || {
        "no filter stands before its system calls".into()
    })
}

/// Source: proc(5), `/proc/net/dev`: two lines of heading, then one an interface.
fn interfaces() -> Came {
    let table = match std::fs::read_to_string("/proc/net/dev") {
        Ok(table) => table,
        Err(error) => return Came::Untried(format!("/proc/net/dev: {error}")),
    };
    let names = table
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next());
    let other = names.map(str::trim).find(|name| *name != "lo");
    other.map_or(Came::Held, |name| {
        Came::Crossed(format!("the interface {name}"))
    })
}

fn processes() -> Came {
    match process_folders().count() {
        0 => Came::Untried("no process can be seen, not even its own".into()),
        count => Came::crossed_if(count > PROCESSES, || format!("{count} processes")),
    }
}

/// Asks the way out for a host that nobody assigned (RFC 2606 keeps the name
/// free), as an agent would.
fn gateway() -> Came {
    let Some(proxy) = std::env::var("HTTPS_PROXY")
        .ok()
        .and_then(|url| url.strip_prefix("http://")?.parse::<SocketAddr>().ok())
    else {
        return Came::Crossed("there is no way to it".into());
    };
    let asked = || -> io::Result<String> {
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
        Ok(line) if line.starts_with("HTTP/1.1 403") => Came::Held,
        Ok(line) => Came::Crossed(format!("it answered {line:?}")),
        Err(error) => Came::Crossed(format!("it does not answer: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_held_and_what_failed_for_another_reason_was_not_tried() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap();
        assert!(matches!(Attempt::Connect(address).make(), Came::Crossed(_)));
        drop(port);
        assert_eq!(Attempt::Connect(address).make(), Came::Held);
        assert_eq!(Attempt::See("/nowhere".into()).make(), Came::Held);
        // No name can be that long, so nothing was looked at.
        let unfit = PathBuf::from(format!("/{}", "x".repeat(5000)));
        for attempt in [Attempt::See(unfit.clone()), Attempt::Socket(unfit)] {
            assert!(matches!(attempt.make(), Came::Untried(_)), "{attempt:?}");
        }
    }
}
