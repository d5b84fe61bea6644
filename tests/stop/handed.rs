//! What a launcher may hand over as that which ends its run: nothing but that. And
//! what it hears when its run was killed.

use crate::{ends, soon, status};
use countersign_testkit::scene::{piped, said};
use countersign_testkit::{Group, Hierarchy, Scene};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Child;

/// What a launcher does that says what it likes on its leases.
const LAUNCHES: &str = r#"
import json, os, select, socket, struct, subprocess, sys, time
control, group = sys.argv[1:]
def say(lease, **message):
    text = json.dumps(message).encode()
    lease.sendall(struct.pack('>I', len(text)) + text)
def hear(lease):
    head = lease.recv(4, socket.MSG_WAITALL)
    if len(head) < 4:
        return None
    return json.loads(lease.recv(struct.unpack('>I', head)[0], socket.MSG_WAITALL))
def begin(stop):
    lease = socket.socket(socket.AF_UNIX)
    lease.connect(control)
    say(lease, ask='begin-run', agent='inbox-bot', task='t', argv=['x'], folder='/', contained=True, loopback=False, stop=stop)
    begun = hear(lease)
    assert begun['reply'] == 'run-begun'
    global run
    run = begun['run']
    return lease
def outcome(lease):
    if not select.select([lease], [], [], 10)[0]:
        return 'kept'
    try:
        heard = hear(lease)
        return heard['reply'] if heard else 'ended'
    except ConnectionError:
        return 'ended'
def hand(name, stop, *descriptors):
    lease = begin(stop)
    say(lease, ask='tree')
    try:
        socket.send_fds(lease, [b'\0'], list(descriptors))
    except ConnectionError:
        pass
    print(name, outcome(lease), flush=True)
    return lease
# An init of a namespace of its own, in a group of its own.
def init(inside):
    r, w = os.pipe()
    def enter():
        open(inside + '/cgroup.procs', 'w').write('0')
    child = subprocess.Popen(['bwrap', '--unshare-user', '--unshare-pid', '--as-pid-1', '--info-fd', str(w), '--ro-bind', '/', '/', 'sleep', '60'], pass_fds=[w], preexec_fn=enter)
    told = b''
    while b'}' not in told:
        told += os.read(r, 1000)
    pid = json.loads(told)['child-pid']
    return os.pidfd_open(pid)
def tree(name):
    inside = group + '/' + name
    os.mkdir(inside)
    return init(inside), os.open(inside, os.O_RDONLY)
"#;

/// Hands the wrong thing over, each on a lease of its own, and says how the lease
/// went on.
const HANDS: &str = r#"
good, folder = tree('run')
own = os.pidfd_open(os.getpid())
hand('nothing', 'kill')
hand('file', 'kill', os.open('/dev/null', os.O_RDONLY))
hand('itself', 'kill', own)
hand('authority', 'kill', os.pidfd_open(int(sys.stdin.readline())))
hand('other-means', 'freeze-v1', good, folder)
hand('no-group', 'freeze-v2', good)
hand('wrong-folder', 'freeze-v2', good, os.open('/', os.O_RDONLY))
hand('above', 'freeze-v2', good, os.open(group, os.O_RDONLY))
os.mkdir(group + '/other')
hand('not-its-own', 'freeze-v2', good, os.open(group + '/other', os.O_RDONLY))
hand('three', 'freeze-v2', good, folder, folder)
lease = begin('kill')
say(lease, ask='listening')
print('port-first', outcome(lease), flush=True)
lease = hand('good', 'freeze-v2', good, folder)
say(lease, ask='tree')
print('twice', outcome(lease), flush=True)
print('killed', bool(select.select([good], [], [], 10)[0]), flush=True)
"#;

/// Its runs are killed: before it is told to kill them, after, and by somebody else.
const KILLED: &str = r#"
def end(name):
    say(lease, ask='end-run', exit_code=None)
    print(name, run, outcome(lease), flush=True)
lease = hand('held', 'freeze-v2', *tree('sooner'))
sys.stdin.readline()
print('pressed', outcome(lease), flush=True)
end('sooner')
sys.stdin.readline()
lease = hand('held', 'freeze-v2', *tree('later'))
sys.stdin.readline()
print('pressed', outcome(lease), outcome(lease), flush=True)
end('later')
sys.stdin.readline()
lease = hand('held', 'freeze-v2', *tree('by-somebody'))
end('by-somebody')
"#;

/// A launcher in a group of its user's own, with that group as its second argument.
fn launcher(scene: &Scene, group: &Group, script: &str) -> Child {
    let control = scene.desktop.path("run/countersign/control.sock");
    let mut launcher = group.command(&scene.desktop, "python3");
    launcher
        .args(["-c", &format!("{LAUNCHES}{script}")])
        .arg(control)
        .arg(group.path());
    piped(&mut launcher).spawn().unwrap()
}

#[test]
fn a_launcher_hears_that_the_stop_has_killed_its_run_before_it_says_so_or_after() {
    let mut scene = Scene::start(3).unwrap();
    let group = Group::make(Hierarchy::V2, scene.desktop.person()).unwrap();
    let mut launcher = launcher(&scene, &group, KILLED);
    let mut go_on = launcher.stdin.take().unwrap();
    let mut lines = BufReader::new(launcher.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let mut go_on = || writeln!(go_on).unwrap();
    let mut all = Vec::new();
    for (name, presses, heard) in [("sooner", 1, "run-kill"), ("later", 2, "ended")] {
        assert_eq!(next(), "held run-held");
        for _ in 0..presses {
            ends(&scene, &["stop"], 0);
        }
        go_on();
        let told = ["run-frozen", "run-kill"][..presses].join(" ");
        assert_eq!(next(), format!("pressed {told}"));
        all.push((next(), name, heard, "stopped"));
        scene.confirm(&["resume"]).unwrap();
        go_on();
    }
    assert_eq!(next(), "held run-held");
    all.push((next(), "by-somebody", "ended", "its command was killed"));
    for (line, name, heard, why) in all {
        let run = line.split(' ').nth(1).unwrap().to_owned();
        assert_eq!(line, format!("{name} {run} {heard}"));
        soon("it is over", || {
            let trail = ends(&scene, &["timeline", "--run", &run], 0);
            trail.contains(&format!("{run} ended: {why}"))
        });
    }
    launcher.wait().unwrap();
}

#[test]
fn only_the_init_of_a_run_and_its_own_group_are_taken_and_they_end_with_the_lease() {
    let scene = Scene::start(3).unwrap();
    let group = Group::make(Hierarchy::V2, scene.desktop.person()).unwrap();
    let mut launcher = launcher(&scene, &group, HANDS);
    let pid = format!("{}\n", scene.authority.pid());
    let mut asked = launcher.stdin.take().unwrap();
    asked.write_all(pid.as_bytes()).unwrap();
    let told = said(&launcher.wait_with_output().unwrap());
    for expected in [
        "nothing ended",
        "file ended",
        "itself ended",
        "authority ended",
        "other-means ended",
        "no-group ended",
        "wrong-folder ended",
        "above ended",
        "not-its-own ended",
        "three ended",
        "port-first ended",
        "good run-held",
        "twice ended",
        "killed True",
    ] {
        assert!(
            told.lines().any(|line| line == expected),
            "{expected}: {told}"
        );
    }
    // It goes on as if nothing had been.
    assert!(status(&scene)["stopped"].is_null());
    ends(&scene, &["ledger", "verify"], 0);
}
