//! Linux: the launch of a contained run.

use crate::control::{self, Order, Report, Start, within};
use crate::environment::{self, WayOut};
use crate::freezer::Freezer;
use crate::later::{self, COMMON};
use crate::layout::{ASK, CA_JKS, CA_PEM, INIT, Layout, Plan};
use crate::network::Laid;
use crate::places::{Owner, Places};
use crate::relay::{self, Relay};
use crate::session::{begin_in, inherit_only, memory_file};
use crate::support::{No, readable, usable};
use crate::terminal::{self, Inner, Outer};
use crate::tree::Root;
use crate::walk::walk;
use crate::{
    Containment, ContainmentError, Exit, Group, HandOver, HandedOver, Passages, ProcessTree,
    RunSpec, Running, Support, fence, filter, git, init, network, over, own, trust,
};
use rustix::event::Timespec;
use rustix::fd::{AsFd, OwnedFd};
use std::fs::File;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};

/// Containment by bubblewrap (`bwrap`), for ordinary users.
#[derive(Debug, Clone, Copy)]
pub struct Bubblewrap;

/// How long the sandbox may take to be set up before it is given up.
const SETUP: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

impl Containment for Bubblewrap {
    fn support(&self) -> Support {
        match usable() {
            Ok(_) => {
                let mut layers = vec![
                    "user, process, network, IPC, host name and cgroup namespaces (bubblewrap)",
                    "file system by allow-list",
                    "no capabilities, no new privileges, no further user namespaces",
                    "system calls by allow-list (seccomp)",
                    "no network but the gateway",
                    "resource limits per process",
                    "process tree that ends with its init",
                ];
                layers.extend(fence::layers());
                Support::Contained { layers }
            }
            Err(No { why, fix }) => Support::NotContained { why, fix },
        }
    }

    fn spawn(&self, spec: RunSpec, hand_over: HandOver) -> Result<Running, ContainmentError> {
        let bwrap =
            usable().map_err(|No { why, fix }| ContainmentError::NotContained { why, fix })?;
        let launch = Launch::prepare(&bwrap, &spec)?;
        let hand_over: HandOver = match spec.keep {
            None => hand_over,
            // So that nobody puts back what it leaves behind while it goes on.
            Some(keep) => Box::new(move |handed_over| {
                if let Some((init, _)) = handed_over.tree {
                    over::begins(keep.folder(), init)?;
                }
                hand_over(handed_over)
            }),
        };
        let (tell, told) = mpsc::channel();
        // bubblewrap dies with the *thread* that started it. This one waits for
        // the run's end; the caller's may end sooner.
        let keeper = std::thread::Builder::new()
            .name("run-keeper".into())
            .spawn(move || launch.keep(hand_over, &tell))
            .map_err(ContainmentError::system("start a thread"))?;
        match told.recv() {
            Ok(tree) => Ok(Running::new(tree, true, keeper)),
            // It ended before it told: its result says why.
            Err(_) => match keeper.join() {
                Ok(Err(error)) => Err(error),
                Ok(Ok(_)) | Err(_) => Err(ContainmentError::Setup("the launch failed".into())),
            },
        }
    }
}

/// A run that is ready to be started.
struct Launch {
    command: Command,
    /// The memory files that the command names; open until it has read them.
    files: Vec<OwnedFd>,
    start: Start,
    /// Our end of the socket to init; init's is the command's standard input.
    control: Arc<OwnedFd>,
    /// What bubblewrap and init complain of, until the agent's command runs.
    complaints: File,
    /// This program, the ports of the run's hosts, and of this machine that it reaches.
    program: PathBuf,
    ports: Vec<u16>,
    host_ports: Vec<u16>,
    /// Whether a port of it is to be shown.
    shows: bool,
    inner: Inner,
    outer: Outer,
    group: Option<Arc<Group>>,
    ends_with: Option<OwnedFd>,
}

impl Launch {
    /// Checks everything and writes it all down; starts nothing.
    fn prepare(bwrap: &Path, spec: &RunSpec) -> Result<Self, ContainmentError> {
        let owner =
            Owner::of_this_process().map_err(ContainmentError::system("look up this user"))?;
        let places = Places::of(&owner, |name| std::env::var_os(name), &spec.hidden);
        let folder = places.working_folder(&spec.folder)?;
        let is_socket = |path: &Path| {
            path.metadata()
                .is_ok_and(|found| found.file_type().is_socket())
        };
        if !is_socket(&spec.gateway) || spec.ask.as_deref().is_some_and(|ask| !is_socket(ask)) {
            return Err(ContainmentError::Spec(
                "the run's gateway or ask socket is not there",
            ));
        }
        if spec.argv.is_empty() {
            return Err(ContainmentError::Spec("there is no command to run"));
        }
        own::check(&spec.own, &spec.files).map_err(ContainmentError::Spec)?;
        let certificates = trust::certificates(&spec.ca_pem)
            .ok_or(ContainmentError::Spec("the run's CA is no PEM certificate"))?;

        let caller_path = std::env::var_os("PATH");
        let mut read_only = optional_tools(caller_path.as_deref());
        for path in &spec.read_only {
            read_only.push(places.readable(path)?);
        }
        let search = environment::search_path(caller_path.as_deref(), &places, &folder, &read_only);
        let way_out = WayOut {
            port: network::PROXY_PORT,
            ca_pem: CA_PEM.into(),
            ca_jks: CA_JKS.into(),
            ask: spec.ask.as_ref().map(|_| ASK.into()),
        };
        let settings = environment::settings(&way_out, &git::Settings::of(&owner.home));
        let environment = environment::contained(
            std::env::vars_os(),
            &owner,
            &search,
            &spec.placeholders,
            settings,
        );

        let found =
            walk(&folder).map_err(ContainmentError::system("look through the working folder"))?;
        let user_base = std::env::var_os("PYTHONUSERBASE");
        let later = spec
            .keep
            .as_ref()
            .map(|keep| later::prepare(&folder, &found, keep, &owner.home, user_base.as_deref()))
            .transpose()
            .map_err(ContainmentError::system(
                "keep the working folder's settings apart",
            ))?;
        let (inner, outer) =
            terminal::arrange().map_err(ContainmentError::system("make a terminal for the run"))?;
        let console = outer.terminal_path();
        let filters = filter::programs()
            .map_err(|error| ContainmentError::Setup(format!("no system call filter: {error}")))?;
        let layout = Layout::of(&Plan {
            owner: &owner,
            places: &places,
            folder: &folder,
            found: &found,
            later: later.as_ref(),
            read_only: &read_only,
            own: &spec.own,
            files: &spec.files,
            program: &spec.program,
            ask: spec.ask.as_deref(),
            ca_pem: &trust::pem(&certificates),
            ca_jks: &trust::jks(&certificates),
            temporary_bytes: spec.limits.memory_bytes,
            filters: &filters,
            console: console.as_deref(),
        });
        let (files, options) = layout
            .and_then(Layout::into_files)
            .map_err(ContainmentError::system("lay out the run's file system"))?;
        let (control, init_end) =
            control::pair().map_err(ContainmentError::system("make a socket pair"))?;
        let complaints =
            memory_file(b"").map_err(ContainmentError::system("make a memory file"))?;
        let to_complaints = complaints
            .try_clone()
            .map_err(ContainmentError::system("duplicate a file"))?;

        let mut command = Command::new(bwrap);
        command
            .args(["--args", &options, "--", INIT, init::SUBCOMMAND])
            .env_clear()
            .stdin(init_end)
            .stdout(Stdio::null())
            .stderr(to_complaints);
        inherit_only(&mut command, &files);
        if let Some(group) = &spec.group {
            let entrance = group.entrance().try_clone_to_owned();
            begin_in(
                &mut command,
                entrance.map_err(ContainmentError::system("duplicate a file"))?,
            );
        }
        let ends_with = spec.ends_with.as_deref().map(OwnedFd::try_clone);
        let ends_with = ends_with
            .transpose()
            .map_err(ContainmentError::system("duplicate a file"))?;
        Ok(Self {
            command,
            files,
            start: Start {
                terminal: outer.master.is_some(),
                limits: spec.limits,
                writable: vec![folder.clone().into(), owner.home.into(), COMMON.into()],
                folder: folder.into(),
                argv: spec.argv.clone(),
                environment: environment.into_iter().collect(),
            },
            control: Arc::new(control),
            complaints: complaints.into(),
            program: spec.program.clone(),
            ports: spec.ports.clone(),
            host_ports: spec.host_ports.clone(),
            shows: !spec.shown.is_empty(),
            inner,
            outer,
            group: spec.group.clone(),
            ends_with,
        })
    }

    /// Starts the run, tells its tree, waits for its end.
    fn keep(
        self,
        hand_over: HandOver,
        tell: &mpsc::Sender<ProcessTree>,
    ) -> Result<Exit, ContainmentError> {
        let Self {
            mut command,
            files,
            start,
            control,
            complaints,
            program,
            ports,
            host_ports,
            shows,
            inner,
            outer,
            group,
            ends_with,
        } = self;
        let lay_out = |namespace| {
            let ports = (&*ports, &*host_ports);
            network::prepare(&program, namespace, ports, &complaints, SETUP)
        };
        let program = start.argv.first().cloned().unwrap_or_default();
        let start = start.to_bytes().ok_or(ContainmentError::Spec(
            "an argument or variable contains a NUL byte",
        ))?;
        let start = memory_file(&start).map_err(ContainmentError::system("make a memory file"))?;
        let caught = relay::catch().map_err(ContainmentError::system("catch signals"))?;
        let mut bwrap = command
            .spawn()
            .map_err(ContainmentError::system("start bubblewrap"))?;
        // Our copy of init's end of the socket, and of what bubblewrap reads.
        drop((command, files));

        let start = Order::Start([start, inner.stdin, inner.stdout, inner.stderr]);
        let orders = ends_with.map(Order::EndWith).into_iter().chain([start]);
        let tree = match begin(
            &control,
            lay_out,
            shows,
            hand_over,
            orders,
            group.as_deref(),
        ) {
            Ok(tree) => tree,
            Err(why) => {
                let _ = bwrap.kill();
                let _ = bwrap.wait();
                return Err(match why {
                    NotBegun::HandOver(source) => {
                        ContainmentError::system("hand the run over")(source)
                    }
                    NotBegun::Group(source) => {
                        ContainmentError::system("use the run's control group")(source)
                    }
                    NotBegun::Command(source) => ContainmentError::Command { program, source },
                    NotBegun::Setup => ContainmentError::Setup(complaint(&complaints)),
                });
            }
        };

        let to_init = Arc::clone(&control);
        let relay = Relay::begin(outer, caught, move |signal| {
            let _ = Order::Signal(signal).send(to_init.as_fd());
        });
        let relay = match relay {
            Ok(relay) => relay,
            Err(source) => {
                let _ = tree.kill();
                let _ = bwrap.wait();
                return Err(ContainmentError::system("relay the run's terminal")(source));
            }
        };
        // If nobody listens any more, the caller is gone, and the run is to be too.
        if tell.send(tree.clone()).is_err() {
            let _ = tree.kill();
        }

        let end = loop {
            match Report::receive(control.as_fd()) {
                Ok(Some(Report::Code(code))) => break Exit::Code(code),
                Ok(Some(Report::Signalled(signal))) => break Exit::Signal(signal),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break Exit::Killed,
            }
        };
        // bubblewrap ends after init, and init after every process of the run.
        let reaped = bwrap.wait();
        relay.end();
        reaped.map_err(ContainmentError::system("wait for bubblewrap"))?;
        Ok(end)
    }
}

/// Why init did not begin the command.
enum NotBegun {
    HandOver(std::io::Error),
    Group(std::io::Error),
    Command(std::io::Error),
    /// What init and bubblewrap complain of says more.
    Setup,
}

/// Has the run's network laid out, hands the run over, has the command begun,
/// and gives its tree.
fn begin(
    control: &OwnedFd,
    lay_out: impl FnOnce(OwnedFd) -> std::io::Result<Laid>,
    shows: bool,
    hand_over: HandOver,
    orders: impl Iterator<Item = Order>,
    group: Option<&Group>,
) -> Result<ProcessTree, NotBegun> {
    let heard = || match within(control.as_fd(), SETUP) {
        Ok(true) => Report::receive(control.as_fd()).ok().flatten(),
        Ok(false) | Err(_) => None,
    };
    let Some(Report::Init(init)) = heard() else {
        return Err(NotBegun::Setup);
    };
    let Some(Report::Network(namespace)) = heard() else {
        return Err(NotBegun::Setup);
    };
    let Laid { ports, reaching } = lay_out(namespace).map_err(|_| NotBegun::Setup)?;
    let mut passages = Passages {
        sockets: None,
        listeners: reaching,
    };
    if shows {
        let (ours, inits) = control::pair().map_err(|_| NotBegun::Setup)?;
        let told = Order::Asked(inits).send(control.as_fd());
        told.map_err(|_| NotBegun::Setup)?;
        passages.sockets = Some(ours);
    }
    let freezer = group.map(|group| Freezer::open(group.folder())).transpose();
    let freezer = freezer.map_err(NotBegun::Group)?;
    let handed_over = HandedOver {
        ports,
        passages,
        tree: Some((init.as_fd(), group.map(Group::folder))),
    };
    hand_over(handed_over).map_err(NotBegun::HandOver)?;
    for order in orders {
        // Dropped: the agent's side must be open in the run only, for its end to be
        // seen.
        order.send(control.as_fd()).map_err(|_| NotBegun::Setup)?;
    }
    match heard() {
        Some(Report::Running) => Ok(ProcessTree::new(Root::Namespace { init, freezer })),
        Some(Report::NoCommand(errno)) => {
            let error = std::io::Error::from_raw_os_error(errno);
            Err(NotBegun::Command(error))
        }
        _ => Err(NotBegun::Setup),
    }
}

fn complaint(file: &File) -> String {
    let mut said = [0; 4096];
    let count = file.read_at(&mut said, 0).unwrap_or(0);
    readable(&said[..count])
}

/// Folders of `/opt` (and Homebrew's) in which a program of the caller's `PATH`
/// lies: tools, each in a folder of its own.
fn optional_tools(path: Option<&std::ffi::OsStr>) -> Vec<PathBuf> {
    const HOMEBREW: &str = "/home/linuxbrew/.linuxbrew";
    let mut found: Vec<PathBuf> = std::env::split_paths(path.unwrap_or_default())
        .filter_map(|entry| {
            if entry.starts_with(HOMEBREW) {
                return Some(HOMEBREW.into());
            }
            // A name, and nothing that leads out again.
            match entry.strip_prefix("/opt").ok()?.components().next()? {
                std::path::Component::Normal(tool) => Some(Path::new("/opt").join(tool)),
                _ => None,
            }
        })
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect();
    found.sort();
    found.dedup();
    found
}
