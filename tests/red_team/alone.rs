//! An agent against its walls: files, kernel, processes, sockets.

use crate::range::{Range, SECRETS, agent};
use countersign_testkit::scene::said;
use std::io::Read as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

#[test]
fn no_secret_process_knob_or_link_leads_out_of_a_run() {
    let range = Range::new();
    let home = range.scene.desktop.path("home");
    let mut places: Vec<String> = SECRETS
        .iter()
        .map(|secret| home.join(secret).display().to_string())
        .collect();
    places
        .extend([range.scene.config(), range.scene.state()].map(|path| path.display().to_string()));
    places.extend(["/etc/shadow", "/root", "/etc/sudoers"].map(str::to_owned));
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    range.withstands(agent!("secret_places.py"), &places);
    range.withstands(agent!("other_processes.py"), &[]);
    range.withstands(agent!("kernel_knobs.py"), &[]);
    range.withstands(agent!("starve_init.py"), &[]);

    let outside = home.join("notes");
    range.write(&outside, "mine\n");
    range.write(&home.join(".bashrc"), "mine\n");
    range.withstands(agent!("links_out.py"), &[outside.to_str().unwrap()]);
    for file in [&outside, &home.join(".bashrc")] {
        assert_eq!(std::fs::read_to_string(file).unwrap(), "mine\n");
    }
    assert!(!home.join(".ssh/authorized_keys").exists());
    range.still_works();
}

/// Connects to each of these.
const CONNECT: &str = "import socket, sys
for path in sys.argv[1:]:
    socket.socket(socket.AF_UNIX).connect('\\0' + path[1:] if path[0] == '@' else path)";

#[test]
fn no_socket_of_the_users_answers_and_no_command_of_the_products_obeys() {
    let range = Range::new();
    let desktop = &range.scene.desktop;
    let work = range.folder("work");
    let runtime = desktop.path("run");
    // An editor's, an engine's, a multiplexer's, in places of theirs.
    let listening = [
        work.join("editor.sock"),
        runtime.join("docker.sock"),
        runtime.join("tmux"),
    ];
    let _listeners = listening.each_ref().map(|path| {
        let listener = UnixListener::bind(path).unwrap();
        desktop.person().give(path).unwrap();
        listener
    });
    let name = format!("red-team-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    let other = range
        .command(
            "helper",
            &range.folder("other"),
            &["sh", "-c", "echo up; read line"],
        )
        .spawn();
    let mut other = other.unwrap();
    let mut up = [0; 2];
    other.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    let mut sockets: Vec<String> = desktop
        .env()
        .iter()
        .filter_map(|(_, value)| Some(value.split_once("path=")?.1.split(',').next()?.to_owned()))
        .collect();
    sockets.extend(listening.map(|path| path.display().to_string()));
    sockets.push(format!("@{name}"));
    sockets.push(
        runtime
            .join("countersign/control.sock")
            .display()
            .to_string(),
    );
    let runs = std::fs::read_dir(runtime.join("countersign/runs")).unwrap();
    let others = runs.map(|run| run.unwrap().path().join("gateway.sock"));
    sockets.extend(others.map(|path| path.display().to_string()));
    assert!(sockets.len() >= 7, "{sockets:?}");
    // From outside they all can be reached.
    let outside = desktop
        .command("python3")
        .args(["-c", CONNECT])
        .args(&sockets)
        .output()
        .unwrap();
    assert!(outside.status.success(), "{}", said(&outside));
    let sockets: Vec<&str> = sockets.iter().map(String::as_str).collect();
    range.withstands(agent!("sockets.py"), &sockets);
    range.withstands(agent!("command_itself.py"), &[]);
    range.still_works();
    drop(other.stdin.take());
    other.wait().unwrap();
}

#[test]
fn root_is_refused_with_words() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let range = Range::new();
    let program = countersign_testkit::programs::built("countersign").unwrap();
    let output = std::process::Command::new(program)
        .args(["run", "--agent", "inbox-bot", "--", "true"])
        .envs(range.scene.desktop.env().iter().cloned())
        .current_dir(range.folder("work"))
        .output()
        .unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("root cannot be contained"), "{text}");
}
