//! Passages between this machine's loopback and a run's: `ports` and `host_ports`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

use countersign_testkit::programs::built;
use countersign_testkit::scene::{piped, said};
use countersign_testkit::{Group, Hierarchy, Scene};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Gives one page at this address and port, until it is ended.
const SERVER: &str = r"
import http.server, socket, sys
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'the page of the run')
Server((sys.argv[1], int(sys.argv[2])), Page).serve_forever()
";

/// Says what answers at a port of loopback, or why nothing does.
const CALLER: &str = r"
import socket, sys
for port in sys.argv[1:]:
    try:
        with socket.create_connection(('127.0.0.1', int(port)), 10) as peer:
            peer.sendall(b'hello'); peer.shutdown(socket.SHUT_WR)
            print(port, 'answers', peer.makefile('rb').read())
    except OSError as error:
        print(port, 'refused', error.errno)
";

/// Calls a port of loopback, and once more when there is a file of that name.
const TWICE: &str = r"
import os, socket, sys, time
def call():
    with socket.create_connection(('127.0.0.1', int(sys.argv[1])), 10) as peer:
        peer.sendall(b'hello'); peer.shutdown(socket.SHUT_WR)
        print(peer.makefile('rb').read(), flush=True)
call()
while not os.path.exists(sys.argv[2]): time.sleep(0.05)
try: call()
except OSError as error: print('refused', error.errno)
";

/// Sends to a port of loopback as long as somebody takes it.
const POURER: &str = r"
import socket, sys, time
peer = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
while True:
    peer.sendall(b'x' * 1000); time.sleep(0.002)
";

/// As [`SERVER`]; and listens at one more port, where it accepts nothing.
const KEEPER: &str = r"
import socket, sys
keeps = socket.create_server(('127.0.0.1', int(sys.argv[3])), backlog=512)
";

/// Connects 300 times, more than go on at once, and says how many were reset.
const CROWD: &str = r"
import socket, sys
peers = []
for _ in range(300):
    peers.append(socket.create_connection(('127.0.0.1', int(sys.argv[1])), 10))
    peers[-1].sendall(b'hello')
print('connected', flush=True)
reset = 0
try:
    for peer in peers:
        try: peer.recv(1)
        except ConnectionResetError: reset += 1
except OSError as error: print(error)
print(reset, 'were reset')
";

/// A port that is nobody's, and that the kernel gives to no connection meanwhile: it
/// gives those from 32768. Source: ip(7), `ip_local_port_range`.
fn free() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    for _ in 0..COUNT {
        let next = begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + next % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// A scene whose agent has these passages, and what the human was asked about it.
fn scene(ports: &[u16], host_ports: &[u16]) -> (Scene, String) {
    let mut scene = Scene::start(1).unwrap();
    let config = with(&scene, ports, host_ports);
    let asked = scene.accept(&config).unwrap();
    (scene, asked)
}

fn with(scene: &Scene, ports: &[u16], host_ports: &[u16]) -> String {
    let config = scene.read_config().unwrap();
    let kept: Vec<&str> = config
        .lines()
        .filter(|line| !line.starts_with("ports") && !line.starts_with("host_ports"))
        .collect();
    let passages = format!("[agents.inbox-bot]\nports = {ports:?}\nhost_ports = {host_ports:?}");
    kept.join("\n").replacen("[agents.inbox-bot]", &passages, 1)
}

/// What the user's own browser would get.
fn fetched(scene: &Scene, port: u16) -> Output {
    let url = format!("http://127.0.0.1:{port}/");
    let mut command = scene.desktop.command("curl");
    command.args(["-sS", "--noproxy", "*", "--max-time", "10", &url]);
    command.output().unwrap()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_port_of_a_run_is_shown_to_its_user_and_to_nobody_else_until_the_stop() {
    let (four, six) = (free(), free());
    let (mut scene, asked) = scene(&[four, six], &[]);
    assert!(
        asked.contains(&format!(
            "shows port {four} of its runs at 127.0.0.1:{four}"
        )),
        "{asked}"
    );
    let script = format!("python3 -c \"$0\" 127.0.0.1 {four} & python3 -c \"$0\" ::1 {six} & wait");
    let run = scene.run(&["sh", "-c", &script, SERVER]).unwrap();
    for port in [four, six] {
        eventually("the page", || {
            said(&fetched(&scene, port)).contains("the page of the run")
        });
    }
    // Another user of the machine: these tests, where they run as root.
    if nix::unistd::Uid::effective().is_root() {
        let mut answer = Vec::new();
        // It may be reset before it knows that it is connected.
        if let Ok(mut stranger) = TcpStream::connect((Ipv4Addr::LOCALHOST, four)) {
            stranger.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stranger.write_all(b"GET / HTTP/1.0\r\n\r\n");
            let _ = stranger.read_to_end(&mut answer);
        }
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    // Taken back, it is shown no more, while the run goes on.
    let config = with(&scene, &[four], &[]);
    scene.accept(&config).unwrap();
    assert!(!fetched(&scene, six).status.success());
    assert!(fetched(&scene, four).status.success());
    // For a second run the port is taken.
    let folder = scene.desktop.path("home/second");
    scene.desktop.person().make_folder(&folder).unwrap();
    let mut second = scene.desktop.command(built("countersign").unwrap());
    second.args(["run", "--agent", "inbox-bot", "--", "true"]);
    let second = said(&second.current_dir(folder).output().unwrap());
    assert!(
        second.contains(&format!("Port {four} of the run is not shown")),
        "{second}"
    );

    assert!(scene.countersign(&["stop"]).unwrap().status.success());
    assert!(!fetched(&scene, four).status.success());
    // What was frozen is ended by the second.
    assert!(scene.countersign(&["stop"]).unwrap().status.success());
    let told = said(&run.wait_with_output().unwrap());
    assert!(
        told.contains(&format!(
            "Its port {four} is shown at http://127.0.0.1:{four}"
        )),
        "{told}"
    );
    eventually("its record", || {
        let timeline = said(&scene.countersign(&["timeline"]).unwrap());
        timeline.contains(&format!("from this machine to port {four} of run"))
            && timeline.contains(&format!("shows its port {four}, {six}"))
    });
}

#[test]
fn others_at_a_shown_port_are_looked_up_one_at_a_time_and_take_no_place() {
    let port = free();
    let (scene, _) = scene(&[port], &[]);
    let argv = ["python3", "-c", SERVER, "127.0.0.1", &port.to_string()];
    let mut run = scene.run(&argv).unwrap();
    let is_served = || said(&fetched(&scene, port)).contains("the page of the run");
    eventually("the page", is_served);
    let status = format!("/proc/{}/status", scene.authority.pid());
    let threads = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let threads = status
            .lines()
            .find_map(|line| line.strip_prefix("Threads:"));
        threads.unwrap().trim().parse::<usize>().unwrap()
    };
    // Another user of the machine: these tests, where they run as root.
    if nix::unistd::Uid::effective().is_root() {
        let (before, mut most, mut strangers) = (threads(), 0, Vec::new());
        for _ in 0..600 {
            // It may be reset before it knows that it is connected.
            strangers.extend(TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
            most = most.max(threads());
        }
        assert!(most <= before + 4, "{before} threads, then {most}");
        assert!(is_served(), "while the others still hold their ends");
    }
    assert!(scene.countersign(&["stop"]).unwrap().status.success());
    assert!(scene.countersign(&["stop"]).unwrap().status.success());
    run.wait().unwrap();
}

#[test]
fn a_port_of_this_machine_is_reached_where_the_human_accepted_it_and_recorded_before() {
    let listeners = [0, 0].map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let [allowed, other] = listeners.each_ref().map(|l| l.local_addr().unwrap().port());
    let (mut scene, asked) = scene(&[], &[allowed]);
    assert!(
        asked.contains(&format!(
            "reaches port {allowed} of this machine's loopback"
        )),
        "{asked}"
    );
    let [listener, _other] = listeners;
    let heard = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            stream.write_all(b"heard ").unwrap();
            stream.write_all(&heard).unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let call = |scene: &Scene| {
        let ports = [allowed, other].map(|port| port.to_string());
        let argv = ["python3", "-c", CALLER, &ports[0], &ports[1]];
        said(&scene.run(&argv).unwrap().wait_with_output().unwrap())
    };
    let told = call(&scene);
    assert!(
        told.contains(&format!("{allowed} answers b'heard hello'")),
        "{told}"
    );
    assert!(told.contains(&format!("{other} refused 111")), "{told}");
    for line in [
        format!("reaches this machine's port {allowed}"),
        format!("connects to port {allowed} of this machine"),
        format!("to port {allowed} of this machine: 5 bytes there, 11 back"),
    ] {
        eventually(&line, || {
            said(&scene.countersign(&["timeline"]).unwrap()).contains(&line)
        });
    }
    // Taken back, it is gone, for a run that goes on as well.
    let port = allowed.to_string();
    let goes_on = scene.run(&["python3", "-c", TWICE, &port, "taken-back"]);
    eventually("its first call", || heard.load(Ordering::Relaxed) == 2);
    let config = with(&scene, &[], &[]);
    scene.accept(&config).unwrap();
    std::fs::write(scene.work().unwrap().join("taken-back"), "").unwrap();
    let told = said(&goes_on.unwrap().wait_with_output().unwrap());
    assert_eq!(told.matches("heard hello").count(), 1, "{told}");
    let told = call(&scene);
    assert!(told.contains(&format!("{allowed} refused 111")), "{told}");
}

#[test]
fn what_went_through_is_found_by_agent_and_by_run_though_the_authority_ended_before_it() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (mut scene, _) = scene(&[], &[port.parse().unwrap()]);
    let run = scene.run(&["python3", "-c", POURER, &port]).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut [0; 10_000]).unwrap();
    let status = said(&scene.countersign(&["status", "--json"]).unwrap());
    let (_, id) = status.split_once("\"run\":\"").unwrap();
    let (id, _) = id.split_once('"').unwrap();
    scene.shut_down().unwrap();
    run.wait_with_output().unwrap();
    scene.start_again().unwrap();
    let timeline = |filter: &[&str]| {
        let all = [&["timeline"], filter].concat();
        said(&scene.countersign(&all).unwrap())
    };
    let lines = [
        format!("inbox-bot: run {id} connects to port {port} of this machine"),
        format!("inbox-bot: 1 connection(s) from run {id} to port {port} of this machine: "),
    ];
    for filter in [["--agent", "inbox-bot"], ["--run", id]] {
        let told = timeline(&filter);
        for line in &lines {
            assert!(told.contains(line), "{filter:?}, {line}: {told}");
        }
    }
    for filter in [["--agent", "helper"], ["--run", "run-0000000000000000"]] {
        let told = timeline(&filter);
        assert!(!told.contains(&port), "{filter:?}: {told}");
    }
}

#[test]
fn a_host_port_leads_to_no_other_runs_gateway() {
    let (mut scene, _) = scene(&[], &[]);
    let folder = scene.work().unwrap();
    let script =
        "echo ${HTTPS_PROXY#http://127.0.0.1:} > port; until [ -e done ]; do sleep 0.05; done";
    let mut other = scene
        .run_with(&["--uncontained"], &["sh", "-c", script])
        .unwrap();
    let mut port = 0;
    eventually("its port", || {
        let told = std::fs::read_to_string(folder.join("port")).unwrap_or_default();
        port = told.trim().parse().unwrap_or(0);
        port != 0
    });
    scene.accept(&with(&scene, &[], &[port])).unwrap();
    let url = "https://gmail.googleapis.com/gmail/v1/users/me/messages?maxResults=3";
    let script = format!(
        "curl -sS -o /dev/null -w 'by its own: %{{http_code}}\\n' '{url}'; \
         curl -skS -o /dev/null -w 'by the other: %{{http_connect}}\\n' -x http://127.0.0.1:{port} '{url}'"
    );
    let told = scene.script(&script).unwrap();
    assert!(told.contains("by its own: 200"), "{told}");
    assert!(told.contains("by the other: 000"), "{told}");
    std::fs::write(folder.join("done"), "").unwrap();
    other.wait().unwrap();
}

#[test]
fn the_stop_resets_what_is_on_its_way_to_this_machine() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (scene, _) = scene(&[], &[port]);
    let run = scene
        .run(&["python3", "-c", POURER, &port.to_string()])
        .unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let reader = std::thread::spawn(move || {
        let (mut piece, mut last, mut all) = ([0; 4096], Instant::now(), 0_u64);
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return (last, all, "closed"),
                Ok(length) => (last, all) = (Instant::now(), all + length as u64),
                Err(_) => return (last, all, "reset"),
            }
        }
    });
    std::thread::sleep(Duration::from_millis(500));
    let pressed = Instant::now();
    assert!(scene.countersign(&["stop"]).unwrap().status.success());
    let (last, all, how) = reader.join().unwrap();
    assert_eq!(how, "reset");
    assert!(all > 10_000, "{all}");
    let after = last.saturating_duration_since(pressed);
    // The command that stops has to start first.
    assert!(after < Duration::from_secs(2), "{after:?}");
    assert!(scene.countersign(&["stop"]).unwrap().status.success());
    run.wait_with_output().unwrap();
    let again = TcpStream::connect_timeout(
        &SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        Duration::from_secs(1),
    );
    assert!(again.is_ok(), "this machine's own is still there");
}

#[test]
fn what_waits_at_a_shown_port_is_reset_by_the_stop_and_before_the_run_goes_on() {
    let (port, kept) = (free(), free());
    let (mut scene, _) = scene(&[port, kept], &[]);
    let group = Group::make(Hierarchy::V2, scene.desktop.person()).unwrap();
    let mut run = group.command(&scene.desktop, built("countersign").unwrap());
    run.args(["run", "--agent", "inbox-bot", "--", "python3", "-c"])
        .arg(format!("{KEEPER}{SERVER}"))
        .args(["127.0.0.1", &port.to_string(), &kept.to_string()])
        .current_dir(scene.work().unwrap());
    let run = piped(&mut run).spawn().unwrap();
    eventually("the page", || {
        said(&fetched(&scene, port)).contains("the page of the run")
    });
    let mut crowd = scene.desktop.command("python3");
    crowd.args(["-c", CROWD, &kept.to_string()]);
    let mut crowd = piped(&mut crowd).spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(crowd.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "connected\n");
    let told = said(&scene.countersign(&["stop"]).unwrap());
    assert!(told.contains("1 run(s) are frozen"), "{told}");
    let mut told = String::new();
    out.read_to_string(&mut told).unwrap();
    assert!(crowd.wait().unwrap().success());
    assert_eq!(told, "300 were reset\n");

    let url = format!("http://127.0.0.1:{port}/");
    let mut meanwhile = scene.desktop.command("curl");
    meanwhile.args(["-sS", "--noproxy", "*", "--max-time", "20", &url]);
    let mut meanwhile = piped(&mut meanwhile).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(meanwhile.try_wait().unwrap().is_none(), "it waits");
    scene.confirm(&["resume"]).unwrap();
    let told = said(&meanwhile.wait_with_output().unwrap());
    assert!(!told.contains("the page of the run"), "{told}");
    let served = said(&fetched(&scene, port));
    assert!(served.contains("the page of the run"), "{served}");
    for _ in 0..2 {
        assert!(scene.countersign(&["stop"]).unwrap().status.success());
    }
    run.wait_with_output().unwrap();
}

#[test]
fn an_explanation_says_what_leads_in_and_out() {
    let (port, host_port) = (free(), free());
    let (scene, _) = scene(&[port], &[host_port]);
    let words = said(
        &scene
            .run_with(&["--explain"], &["true"])
            .unwrap()
            .wait_with_output()
            .unwrap(),
    );
    for line in [
        format!("Its port {port} is shown at 127.0.0.1:{port}"),
        format!("It reaches port {host_port} of this machine's loopback"),
    ] {
        assert!(words.contains(&line), "{line}: {words}");
    }
}
