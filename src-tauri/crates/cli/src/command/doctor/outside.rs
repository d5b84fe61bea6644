//! What is on this machine for an agent to be kept away from. Each thing is
//! first reached from out here: what nobody can reach proves nothing.

use super::attempt::{Attempt, Came};
use super::canary::Held;
use crate::home::Home;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// Below the home folder: of each group of tools, where it keeps its secrets.
const SECRET: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".aws",
    ".config/gh",
    ".config/gcloud",
    ".netrc",
    ".git-credentials",
    ".npmrc",
    ".pypirc",
    ".cargo/credentials.toml",
    ".docker",
    ".kube",
    ".mozilla",
    ".config/google-chrome",
    ".config/chromium",
    ".local/share/keyrings",
    ".password-store",
    ".bash_history",
    ".zsh_history",
];

/// One boundary, and the attempts to cross it from inside a run.
pub(super) struct Boundary {
    pub(super) name: &'static str,
    pub(super) attempts: Vec<Attempt>,
    /// What holds, if none succeeds.
    pub(super) holds: String,
}

/// What the doctor itself puts where no agent may reach.
pub(super) struct Bait {
    /// Is in the launcher's environment.
    pub(super) mark: String,
    /// A file in Countersign's own state.
    file: BaitFile,
    ports: Vec<TcpListener>,
}

struct BaitFile(PathBuf);

impl Drop for BaitFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Bait {
    /// # Errors
    /// What the system says.
    pub(super) fn lay(home: &Home) -> std::io::Result<Self> {
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let mark = random.map(|byte| format!("{byte:02x}")).concat();
        let file = BaitFile(home.state.join(format!("doctor-{mark}")));
        std::fs::write(&file.0, &mark)?;
        // A machine without IPv6 has one loopback less to keep closed.
        let ports = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        ];
        let ports = ports
            .into_iter()
            .filter_map(|address| TcpListener::bind(address).ok())
            .collect();
        Ok(Self { mark, file, ports })
    }
}

/// Every boundary that a contained run has.
pub(super) fn boundaries(home: &Home, bait: &Bait, other: Option<&Held>) -> Vec<Boundary> {
    let variable = |name: &str| std::env::var_os(name);
    let mut known = BTreeSet::new();
    let mut boundaries: Vec<Boundary> = sockets(home, variable)
        .into_iter()
        .map(|(name, attempts)| {
            let there = reachable(attempts);
            known.extend(there.iter().cloned());
            Boundary {
                name,
                holds: summary(&there),
                attempts: there,
            }
        })
        .collect();
    let rest: Vec<Attempt> = reachable(listening())
        .into_iter()
        .filter(|attempt| !known.contains(attempt))
        .collect();
    boundaries.push(Boundary {
        name: "Every other local socket",
        holds: summary(&rest),
        attempts: rest,
    });
    boundaries.push(files(home, bait, variable));
    let ports = bait.ports.iter().filter_map(|p| p.local_addr().ok());
    boundaries.push(Boundary {
        name: "Ports of this machine",
        attempts: reachable(ports.map(Attempt::Connect).collect()),
        holds: "a port on loopback is open to you, not to a run".into(),
    });
    boundaries.extend(of_the_run_itself(bait));
    if let Some(held) = other {
        boundaries.push(Boundary {
            name: "Another run",
            attempts: vec![
                Attempt::Connect(held.port),
                Attempt::Abstract(held.name.clone()),
                Attempt::See(held.file.clone()),
            ],
            holds: "its port, its socket and its file are out of reach".into(),
        });
    }
    boundaries
}

/// What needs nothing out here to be tried.
fn of_the_run_itself(bait: &Bait) -> Vec<Boundary> {
    let of = |name, attempts, holds: &str| Boundary {
        name,
        attempts,
        holds: holds.into(),
    };
    // Addresses that lead nowhere (RFC 5737, RFC 3849), and where machines in a
    // cloud are told their credentials.
    let far: [SocketAddr; 3] = [
        (Ipv4Addr::new(192, 0, 2, 1), 443).into(),
        (Ipv4Addr::new(169, 254, 169, 254), 80).into(),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 443).into(),
    ];
    let mut network = vec![Attempt::Interfaces];
    network.extend(far.map(Attempt::Connect));
    vec![
        of(
            "Your environment",
            vec![Attempt::Find(bait.mark.clone())],
            "a variable of yours is in no process that a run sees",
        ),
        of(
            "Open files",
            vec![Attempt::Descriptors],
            "a run inherits no descriptor",
        ),
        of(
            "Privileges",
            vec![Attempt::Powers],
            "no capability, none to be gained, system calls filtered",
        ),
        of(
            "Other processes",
            vec![Attempt::Processes],
            "a run sees only its own",
        ),
        of(
            "The network",
            network,
            "there is no way out but the gateway",
        ),
        of(
            "The gateway",
            vec![Attempt::Gateway],
            "it answers, and refuses a host that is nobody's",
        ),
    ]
}

fn reachable(attempts: Vec<Attempt>) -> Vec<Attempt> {
    let there = |attempt: &Attempt| matches!(attempt.make(), Came::Crossed(_));
    let attempts: BTreeSet<Attempt> = attempts.into_iter().collect();
    attempts.into_iter().filter(there).collect()
}

fn summary(there: &[Attempt]) -> String {
    match there {
        [] => "there is none here".into(),
        [one] => match one.make() {
            Came::Crossed(what) => format!("you reach {what}, a run does not"),
            // It has gone in this moment.
            _ => "you reached it, a run does not".into(),
        },
        many => format!("you reach {}, a run none of them", many.len()),
    }
}

fn files(home: &Home, bait: &Bait, variable: impl Fn(&str) -> Option<OsString>) -> Boundary {
    let mut attempts = vec![
        Attempt::See(bait.file.0.clone()),
        Attempt::See(home.config_file()),
    ];
    let user = variable("HOME").map(PathBuf::from);
    for folder in user.iter() {
        attempts.extend(SECRET.iter().map(|name| Attempt::See(folder.join(name))));
    }
    let attempts = reachable(attempts);
    Boundary {
        name: "Secret files",
        holds: format!(
            "{} places that you see, Countersign's own among them, are not there for a run",
            attempts.len()
        ),
        attempts,
    }
}

type Sockets = (&'static str, Vec<Attempt>);

/// The sockets that act with the user's rights, by what they are.
fn sockets(home: &Home, variable: impl Fn(&str) -> Option<OsString>) -> Vec<Sockets> {
    let session = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    let in_session = |name: &str| session.iter().map(|s| s.join(name)).collect::<Vec<_>>();
    let named = |name: &str| variable(name).map(PathBuf::from).into_iter();
    let socket = |path: PathBuf| Attempt::Socket(path);

    let mut bus: Vec<Attempt> = variable("DBUS_SESSION_BUS_ADDRESS")
        .map(|address| of_bus_address(&address))
        .unwrap_or_default();
    bus.extend(in_session("bus").into_iter().map(socket));

    let keyring = named("GNOME_KEYRING_CONTROL")
        .map(|folder| folder.join("control"))
        .chain(in_session("keyring/control"))
        .chain(in_session("keyring/ssh"))
        .map(socket);
    let agents = named("SSH_AUTH_SOCK")
        .chain(in_session("gnupg/S.gpg-agent"))
        .chain(in_session("gcr/ssh"))
        .map(socket);
    let containers = ["/var/run/docker.sock", "/run/podman/podman.sock"]
        .map(PathBuf::from)
        .into_iter()
        .chain(in_session("docker.sock"))
        .chain(in_session("podman/podman.sock"))
        .map(socket);
    let terminals = variable("TMUX")
        .and_then(|it| {
            it.as_bytes()
                .split(|b| *b == b',')
                .next()
                .map(<[u8]>::to_vec)
        })
        .map(|path| PathBuf::from(OsString::from_vec(path)))
        .into_iter()
        .chain(named("NVIM"))
        .chain(named("VSCODE_IPC_HOOK_CLI"))
        .map(socket);
    vec![
        ("Session bus, and the keyring on it", bus),
        (
            "System bus",
            vec![socket("/run/dbus/system_bus_socket".into())],
        ),
        ("Keyring's own socket", keyring.collect()),
        ("Display", display(&session, &variable)),
        ("SSH and GPG agents", agents.collect()),
        ("Containers", containers.collect()),
        ("Terminals and editors", terminals.collect()),
        ("Countersign's control socket", vec![socket(home.control())]),
    ]
}

/// Source: D-Bus specification, "Server Addresses".
fn of_bus_address(address: &OsString) -> Vec<Attempt> {
    let address = address.to_string_lossy();
    address
        .split(';')
        .filter_map(|one| one.strip_prefix("unix:"))
        .flat_map(|one| one.split(','))
        .filter_map(|part| match part.split_once('=')? {
            ("path", path) => Some(Attempt::Socket(path.into())),
            ("abstract", name) => Some(Attempt::Abstract(name.into())),
            _ => None,
        })
        .collect()
}

/// Source: X(7), "DISPLAY NAMES"; wl_display_connect(3).
fn display(
    session: &Option<PathBuf>,
    variable: &impl Fn(&str) -> Option<OsString>,
) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    let x11 = variable("DISPLAY")
        .and_then(|display| display.into_string().ok())
        .and_then(|display| {
            let number = display.rsplit_once(':')?.1.split('.').next()?;
            number.parse::<u16>().ok()
        });
    if let Some(number) = x11 {
        let path = format!("/tmp/.X11-unix/X{number}");
        attempts.push(Attempt::Abstract(path.clone().into_bytes()));
        attempts.push(Attempt::Socket(path.into()));
        attempts.push(Attempt::Connect(
            (Ipv4Addr::LOCALHOST, 6000_u16.saturating_add(number)).into(),
        ));
    }
    if let Some(name) = variable("WAYLAND_DISPLAY") {
        let base = session.as_deref().unwrap_or_else(|| Path::new("/"));
        attempts.push(Attempt::Socket(base.join(name)));
    }
    attempts
}

/// Every stream socket that listens on this machine, as the kernel lists them.
/// Source: proc(5), `/proc/net/unix`.
fn listening() -> Vec<Attempt> {
    const ACCEPTS: &str = "00010000";
    const STREAM: &str = "0001";
    let table = std::fs::read("/proc/net/unix").unwrap_or_default();
    let table = String::from_utf8_lossy(&table);
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(3);
            let listens = fields.next() == Some(ACCEPTS) && fields.next() == Some(STREAM);
            // The state and the inode stand between.
            let path = fields.nth(2).filter(|_| listens)?;
            Some(match path.strip_prefix('@') {
                Some(name) => Attempt::Abstract(name.into()),
                None => Attempt::Socket(path.into()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_socket_that_listens_is_found_and_reached_and_one_that_is_gone_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let there = Attempt::Socket(path.clone());
        let listener = UnixListener::bind(&path).unwrap();
        assert!(listening().contains(&there));
        assert_eq!(reachable(vec![there.clone(), there.clone()]).len(), 1);
        drop(listener);
        assert!(reachable(vec![there]).is_empty());
    }

    #[test]
    fn a_bus_address_may_name_paths_and_abstract_names_and_several() {
        let address = "unix:path=/run/user/7/bus,guid=1;tcp:host=x;unix:abstract=/tmp/dbus-a";
        assert_eq!(
            of_bus_address(&address.into()),
            [
                Attempt::Socket("/run/user/7/bus".into()),
                Attempt::Abstract(b"/tmp/dbus-a".to_vec())
            ]
        );
    }

    #[test]
    fn a_display_is_a_path_a_name_and_a_port() {
        let variable = |name: &str| (name == "DISPLAY").then(|| ":7.0".into());
        let attempts = display(&None, &variable);
        assert!(attempts.contains(&Attempt::Socket("/tmp/.X11-unix/X7".into())));
        assert!(attempts.contains(&Attempt::Connect((Ipv4Addr::LOCALHOST, 6007).into())));
    }
}
