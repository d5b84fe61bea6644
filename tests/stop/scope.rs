//! Where a login's control group is root's, the user's systemd gives the run a scope
//! in which it can be frozen.

use crate::{BEATS, ends, is_silent, run, status, until_it_beats};
use countersign_testkit::{Group, Hierarchy, Scene};
use std::io::{BufReader, Write as _};
use std::process::{Child, Stdio};

/// Stands in for the user's systemd: says what it is asked for, and answers once it
/// is told that it is done.
const SYSTEMD: &str = r#"
import sys
from gi.repository import Gio, GLib
MANAGER = "org.freedesktop.systemd1.Manager"
PAGE = Gio.DBusNodeInfo.new_for_xml(f"""<node><interface name="{MANAGER}">
<method name="StartTransientUnit">
  <arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="a(sv)" direction="in"/>
  <arg type="a(sa(sv))" direction="in"/><arg type="o" direction="out"/>
</method></interface></node>""").interfaces[0]
def called(bus, sender, path, interface, method, arguments, invocation):
    name, mode, properties, others = arguments.unpack()
    told = dict(properties)
    assert told["Delegate"] is True and mode == "fail" and others == []
    (process,) = told["PIDs"]
    print(name, process, flush=True)
    sys.stdin.readline()
    invocation.return_value(GLib.Variant("(o)", ("/org/freedesktop/systemd1/job/1",)))
bus = Gio.bus_get_sync(Gio.BusType.SESSION)
bus.register_object("/org/freedesktop/systemd1", PAGE, called)
owned = lambda *_: print("ready", flush=True)
Gio.bus_own_name_on_connection(bus, "org.freedesktop.systemd1", 0, owned, None)
GLib.MainLoop().run()
"#;

fn line(from: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

fn systemd(scene: &Scene) -> Child {
    let mut command = scene.desktop.command("/usr/bin/python3");
    command
        .args(["-c", SYSTEMD])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn a_run_asks_the_users_systemd_for_a_scope_and_is_frozen_in_it() {
    let scene = Scene::start(3).unwrap();
    let person = scene.desktop.person();
    let group = Group::make(Hierarchy::V2, person).unwrap();
    let mut systemd = systemd(&scene);
    let mut told = BufReader::new(systemd.stdout.take().unwrap());
    assert_eq!(line(&mut told), "ready");
    let mut agent = run(&scene, None, "inbox-bot", &["sh", "-c", BEATS]);
    let asked = line(&mut told);
    let (name, process) = asked.split_once(' ').unwrap();
    assert_eq!(process, agent.id().to_string());
    assert_eq!(name, format!("countersign-run-{process}.scope"));
    // What systemd does: a group of the person's, and the process in it.
    let scope = group.path().join(name);
    std::fs::create_dir(&scope).unwrap();
    person.give(&scope).unwrap();
    std::fs::write(scope.join("cgroup.procs"), process).unwrap();
    systemd
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"done\n")
        .unwrap();

    until_it_beats(&scene);
    assert_eq!(status(&scene)["runs"][0]["stop"], "freeze-v2");
    ends(&scene, &["stop"], 0);
    assert!(is_silent(&scene));
    assert_eq!(status(&scene)["runs"][0]["standing"], "frozen");
    agent.kill().unwrap();
    agent.wait().unwrap();
    systemd.kill().unwrap();
    systemd.wait().unwrap();
}
