//! What a launcher may hand the authority as a run's port; and who may come in
//! by that.

use crate::{assert_works, ends};
use countersign_testkit::Scene;
use countersign_testkit::scene::{piped, said};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

/// A launcher that says what it likes on its lease. Each case gives how the
/// lease went on; `ended` is what they all must say.
const LAUNCHER: &str = r#"
import json, os, select, socket, struct, sys, tempfile
control = sys.argv[1]
def say(lease, **message):
    text = json.dumps(message).encode()
    lease.sendall(struct.pack('>I', len(text)) + text)
def hear(lease):
    length = struct.unpack('>I', lease.recv(4, socket.MSG_WAITALL))[0]
    return json.loads(lease.recv(length, socket.MSG_WAITALL))
def begin(contained=True):
    lease = socket.socket(socket.AF_UNIX)
    lease.connect(control)
    say(lease, ask='begin-run', agent='inbox-bot', task='t', argv=['x'], folder='/', contained=contained, loopback=False)
    assert hear(lease)['reply'] == 'run-begun'
    return lease
def hand(lease, *sockets):
    say(lease, ask='listening')
    try:
        socket.send_fds(lease, [b'\0'], [s.fileno() for s in sockets])
    except ConnectionError:
        pass
def tcp(address='127.0.0.1'):
    s = socket.socket()
    s.bind((address, 0))
    s.listen()
    return s
def over(lease):
    if not select.select([lease], [], [], 10)[0]:
        return 'kept'
    try:
        return 'told' if lease.recv(1) else 'ended'
    except ConnectionError:
        return 'ended'
def wrong(name, *sockets):
    lease = begin()
    hand(lease, *sockets)
    print(name, over(lease), flush=True)

wrong('nothing')
wrong('file', tempfile.TemporaryFile())
wrong('udp', socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
wrong('unbound', socket.socket())
wrong('everywhere', tcp('0.0.0.0'))
wrong('two', tcp(), tcp())
# Hosts' ports and a name server belong into a network of the run's own.
wrong('hosts', tcp(), tcp('0.0.0.0'))
wrong('many', *[tcp('0.0.0.0') for _ in range(40)])
# It calls its run contained, and the port lies in the machine's network.
wrong('lied', tcp())
# What is refused is closed: its other end sees that.
ours, theirs = socket.socketpair()
lease = begin()
hand(lease, theirs)
theirs.close()
print('pair', over(lease), flush=True)
print('closed', over(ours), flush=True)
lease = begin()
first = tcp()
hand(lease, first)
hand(lease, tcp())
print('second', over(lease), flush=True)
lease = begin()
say(lease, ask='status')
print('other', over(lease), flush=True)
lease = socket.socket(socket.AF_UNIX)
lease.connect(control)
say(lease, ask='listening')
print('runless', hear(lease)['reply'], flush=True)
# One that says nothing further holds nothing up.
silent = begin()
say(silent, ask='listening')
# This one's port lies in the machine's network, as it says.
lease = begin(contained=False)
port = tcp()
hand(lease, port)
number = port.getsockname()[1]
port.close()
own = socket.create_connection(('127.0.0.1', number))
own.sendall(b'GET / HTTP/1.1\r\n\r\n')
print('own', own.recv(8).decode(), flush=True)
print('port', number, flush=True)
sys.stdin.readline()
say(lease, ask='end-run', exit_code=0)
print('end', over(lease), flush=True)
sys.stdin.readline()
"#;

/// Begins runs until no more are begun, says so, and when all of them are over. A
/// process may have so many connections, so there are several.
const CROWD: &str = r#"
import json, os, socket, struct, sys, tempfile
def ask():
    lease = socket.socket(socket.AF_UNIX)
    lease.connect(sys.argv[1])
    # Each has a folder of its own: two runs never write to the same files.
    folder = tempfile.mkdtemp()
    text = json.dumps(dict(ask='begin-run', agent='inbox-bot', task='t', argv=['x'], folder=folder, contained=True, loopback=False)).encode()
    try:
        lease.sendall(struct.pack('>I', len(text)) + text)
    except BrokenPipeError:
        pass
    length = struct.unpack('>I', lease.recv(4, socket.MSG_WAITALL))[0]
    return lease, json.loads(lease.recv(length, socket.MSG_WAITALL))
begun, over = os.pipe(), os.pipe()
while True:
    child = os.fork()
    if child == 0:
        leases = []
        while True:
            lease, reply = ask()
            if reply['reply'] != 'run-begun':
                os.write(begun[1], ('%d %s\n' % (len(leases), reply.get('sentence'))).encode())
                break
            leases.append(lease)
        told = sum(1 for lease in leases if lease.recv(1))
        os.write(over[1], b'%d\n' % told)
        os._exit(0)
    count, sentence = os.read(begun[0], 1000).decode().strip().split(' ', 1)
    print(count, sentence, flush=True)
    if int(count) < 16:
        break
told = 0
os.close(over[1])
for line in os.fdopen(over[0]):
    told += int(line)
print(told, 'told', flush=True)
"#;

/// What comes back from a port until its end, if it can be connected to at all.
fn back_from(port: u16) -> io::Result<Vec<u8>> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut back = Vec::new();
    // Whoever is turned away may find the connection gone already.
    let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut back);
    Ok(back)
}

fn soon(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

fn is_refused(port: u16) -> bool {
    back_from(port).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

/// As another user of the machine, where the tests are one.
fn assert_turned_away(scene: &Scene, port: u16) {
    let back = back_from(port).unwrap();
    if scene.desktop.person().is_another() {
        assert!(back.is_empty(), "{}", String::from_utf8_lossy(&back));
    } else {
        assert!(back.starts_with(b"HTTP/1.1 "), "{back:?}");
    }
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// What stands in a file, once something does.
fn content(path: &Path) -> String {
    let read = || fs::read_to_string(path).unwrap_or_default();
    soon("it is written", || read().ends_with('\n'));
    read().trim().to_owned()
}

#[test]
fn a_launcher_that_hands_over_something_else_has_ended_its_run() {
    let scene = Scene::start(3).unwrap();
    let control = scene.desktop.path("run/countersign/control.sock");
    let mut command = scene.desktop.command("python3");
    command.args(["-c", LAUNCHER]).arg(control);
    let mut launcher = piped(&mut command).spawn().unwrap();
    let mut lines = BufReader::new(launcher.stdout.take().unwrap()).lines();
    let mut next = || {
        let line = lines.next().and_then(Result::ok).unwrap_or_default();
        let (name, found) = line.split_once(' ').unwrap_or((&line, ""));
        (name.to_owned(), found.to_owned())
    };
    for name in [
        "nothing",
        "file",
        "udp",
        "unbound",
        "everywhere",
        "two",
        "hosts",
        "many",
        "lied",
        "pair",
        "closed",
        "second",
        "other",
    ] {
        assert_eq!(next(), (name.into(), "ended".into()));
    }
    assert_eq!(next(), ("runless".into(), "failed".into()));
    assert_eq!(next(), ("own".into(), "HTTP/1.1".into()));
    let port = next().1.parse().unwrap();
    assert_turned_away(&scene, port);
    let go_on = |launcher: &mut Child| writeln!(launcher.stdin.as_mut().unwrap()).unwrap();
    go_on(&mut launcher);
    assert_eq!(next(), ("end".into(), "ended".into()));
    soon("the port of a run that has ended is closed", || {
        is_refused(port)
    });
    go_on(&mut launcher);
    assert!(launcher.wait().unwrap().success());

    let told = ends(&scene, &["timeline", "--json", "--limit", "900"], 0);
    let broken = told.matches("its launcher broke the protocol").count();
    assert_eq!(broken, 12, "{told}");
    assert_works(&scene);
}

#[test]
fn the_port_of_an_uncontained_run_is_its_users_and_ends_with_it() {
    let scene = Scene::start(3).unwrap();
    let folder = scene.work().unwrap();
    let script = "curl -sS -o /dev/null -w '%{http_code}\\n' 'https://gmail.googleapis.com/gmail/v1/users/me/messages?maxResults=3' > code 2>&1; \
                  echo ${HTTPS_PROXY#http://127.0.0.1:} > port; while [ ! -e done ]; do sleep 0.05; done";
    let mut run = scene
        .run_with(&["--uncontained"], &["sh", "-c", script])
        .unwrap();
    let port = content(&folder.join("port")).parse().unwrap();
    assert_eq!(content(&folder.join("code")), "200");
    assert_turned_away(&scene, port);
    fs::write(folder.join("done"), "").unwrap();
    assert!(run.wait().unwrap().success());
    soon("it is closed", || is_refused(port));
}

#[test]
fn the_stop_closes_the_port_also_to_what_an_uncontained_run_left_behind() {
    let scene = Scene::start(3).unwrap();
    let folder = scene.work().unwrap();
    let left_behind = "import socket, sys, time\n\
                       port = int(sys.argv[1])\n\
                       while True:\n\
                       \x20   try:\n\
                       \x20       socket.create_connection(('127.0.0.1', port)).close()\n\
                       \x20   except ConnectionRefusedError:\n\
                       \x20       break\n\
                       \x20   time.sleep(0.05)\n\
                       open('refused', 'w').write('refused\\n')\n";
    let script = "setsid python3 -c \"$0\" ${HTTPS_PROXY#http://127.0.0.1:} > said 2>&1 < /dev/null & \
                  echo begun > begun; sleep 60";
    let mut run = scene
        .run_with(&["--uncontained"], &["sh", "-c", script, left_behind])
        .unwrap();
    content(&folder.join("begun"));
    std::thread::sleep(Duration::from_millis(500));
    assert!(!folder.join("refused").exists());
    ends(&scene, &["stop"], 0);
    content(&folder.join("refused"));
    assert_eq!(run.wait().unwrap().code(), Some(6));
}

#[test]
fn nobody_but_the_authority_keeps_a_runs_port_open() {
    let mut scene = Scene::start(3).unwrap();
    let folder = scene.work().unwrap();
    let mut uncontained = scene
        .run_with(
            &["--uncontained"],
            &[
                "sh",
                "-c",
                "echo ${HTTPS_PROXY#http://127.0.0.1:} > port; sleep 60",
            ],
        )
        .unwrap();
    let inside = "import socket, time\n\
                  while True:\n\
                  \x20   socket.create_connection(('127.0.0.1', 3128)).close()\n\
                  \x20   open('reached', 'a').write('reached\\n')\n\
                  \x20   time.sleep(0.05)\n";
    let mut contained = scene.run(&["python3", "-c", inside]).unwrap();
    let port = content(&folder.join("port")).parse().unwrap();
    let reached = || fs::metadata(folder.join("reached")).map_or(0, |file| file.len());
    soon("the contained run reaches its own", || reached() > 0);
    // Suspended, the launchers can end nothing: what is open now stays open.
    for launcher in [&uncontained, &contained] {
        send(launcher, Signal::SIGSTOP);
    }
    assert!(!is_refused(port));
    let before = reached();
    soon("it still does", || reached() > before);
    scene.authority.kill().unwrap();
    soon("the port is closed", || is_refused(port));
    // It is refused there, or has ended with the authority.
    soon("the contained run's is closed", || {
        let before = reached();
        std::thread::sleep(Duration::from_millis(300));
        reached() == before
    });
    for launcher in [&mut uncontained, &mut contained] {
        launcher.kill().unwrap();
        launcher.wait().unwrap();
    }
}

#[test]
fn a_process_of_an_uncontained_run_hands_nothing_over() {
    let scene = Scene::start(3).unwrap();
    let control = scene.desktop.path("run/countersign/control.sock");
    let script = format!(
        "import json, socket, struct\n\
         s = socket.socket(socket.AF_UNIX)\n\
         s.connect('{}')\n\
         text = json.dumps({{'ask': 'listening'}}).encode()\n\
         port = socket.create_server(('127.0.0.1', 0))\n\
         try:\n\
         \x20   socket.send_fds(s, [struct.pack('>I', len(text)) + text], [port.fileno()])\n\
         except ConnectionError:\n\
         \x20   pass\n\
         except PermissionError:\n\
         \x20   s.sendall(struct.pack('>I', len(text)) + text)\n\
         print(s.recv(1000))\n",
        control.display()
    );
    let run = scene
        .run_with(&["--uncontained"], &["python3", "-c", &script])
        .unwrap();
    let output = run.wait_with_output().unwrap();
    let told = said(&output);
    assert!(
        told.contains("A process of a run may not command the authority"),
        "{told}"
    );
    assert_works(&scene);
}

#[test]
fn the_stop_is_heard_while_runs_hold_every_place() {
    let scene = Scene::start(3).unwrap();
    let control = scene.desktop.path("run/countersign/control.sock");
    let mut command = scene.desktop.command("python3");
    command.args(["-c", CROWD]).arg(control);
    let mut crowd = piped(&mut command).spawn().unwrap();
    let mut lines = BufReader::new(crowd.stdout.take().unwrap()).lines();
    for _ in 0..8 {
        let full = lines.next().unwrap().unwrap();
        assert!(full.starts_with("16 This process has too many"), "{full}");
    }
    let full = lines.next().unwrap().unwrap();
    assert!(full.starts_with("0 Too many"), "{full}");
    let stopped = scene.countersign(&["stop"]).unwrap();
    assert!(stopped.status.success(), "{}", said(&stopped));
    assert_eq!(lines.next().unwrap().unwrap(), "128 told");
    crowd.wait().unwrap();
}
