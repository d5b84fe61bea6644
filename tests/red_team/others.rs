//! An agent against others: the authority, other agents, the stop.

use crate::range::{Range, agent, soon};
use countersign_testkit::scene::said;
use std::io::{BufRead as _, BufReader};
use std::time::Duration;

#[test]
fn two_runs_never_write_to_the_same_files_at_once() {
    let range = Range::new();
    let outer = range.folder("shared");
    let inner = range.folder("shared/inner");
    let link = range.scene.desktop.path("home").join("link");
    std::os::unix::fs::symlink("shared", &link).unwrap();
    let mut first = range
        .command("inbox-bot", &inner, &["sh", "-c", "echo up; read line"])
        .spawn()
        .unwrap();
    let mut up = [0; 2];
    std::io::Read::read_exact(first.stdout.as_mut().unwrap(), &mut up).unwrap();
    for (agent, folder) in [
        ("helper", &outer),
        ("helper", &inner),
        ("inbox-bot", &link),
        ("inbox-bot", &link.join("inner")),
    ] {
        let output = range.command(agent, folder, &["true"]).output().unwrap();
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("two runs never write to the same files"),
            "{text}"
        );
    }
    let elsewhere = range.folder("elsewhere");
    let output = range
        .command("helper", &elsewhere, &["true"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    drop(first.stdin.take());
    first.wait().unwrap();
    let output = range.command("helper", &outer, &["true"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn no_run_begins_where_an_earlier_one_is_not_put_back_yet() {
    let mut range = Range::new();
    let folder = range.folder("work");
    let kept = range.scene.state().join("left");
    let script =
        "mkdir -p sub/.vscode; echo red-team-trap > sub/.vscode/tasks.json; echo up; read line";
    let mut run = range
        .command("inbox-bot", &folder, &["sh", "-c", script])
        .spawn()
        .unwrap();
    let mut up = [0; 2];
    std::io::Read::read_exact(run.stdout.as_mut().unwrap(), &mut up).unwrap();
    let of_run = std::fs::read_dir(kept).unwrap().next().unwrap().unwrap();
    // What it left behind cannot be written down.
    let in_the_way = of_run.path().join("left.json");
    range
        .scene
        .desktop
        .person()
        .make_folder(&in_the_way)
        .unwrap();
    let from = range.scene.authority.screen().len();
    drop(run.stdin.take());
    let asked = range.scene.authority.wait_for(" to approve: ", from);
    assert!(asked.is_ok(), "{asked:?}");
    range.scene.authority.type_line("no").unwrap();
    let text = said(&run.wait_with_output().unwrap());
    assert!(text.contains("MAY BE IN FORCE"), "{text}");
    // It is put back all the same.
    assert!(!folder.join("sub/.vscode").exists());
    let next = |agent, folder| said(&range.command(agent, folder, &["true"]).output().unwrap());
    for agent in ["inbox-bot", "helper"] {
        let text = next(agent, &folder);
        assert!(text.contains("is not put back yet"), "{text}");
    }
    let listed = range.scene.countersign(&["kept"]).unwrap();
    assert_eq!(listed.status.code(), Some(1), "{}", said(&listed));
    std::fs::remove_dir(in_the_way).unwrap();
    let listed = range.scene.countersign(&["kept"]).unwrap();
    assert!(listed.status.success(), "{}", said(&listed));
    let output = range
        .command("helper", &folder, &["true"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn killing_and_flooding_reach_nobody_else() {
    let range = Range::new();
    let authority = range.scene.authority.pid().to_string();
    range.withstands(agent!("kill_others.py"), &[&authority]);
    range.still_works();
    range.withstands(agent!("floods.py"), &[]);
    range.still_works();
}

#[test]
fn what_an_agent_uses_up_of_its_users_quotas_leaves_others_theirs() {
    const OWN: &str = "import ctypes; c = ctypes.CDLL(None); t = ctypes.c_void_p(); \
        print('inotify', c.inotify_init1(0) >= 0, 'timer', c.timer_create(1, None, ctypes.byref(t)) == 0)";
    let range = Range::new();
    let mut run = range.launch(agent!("quotas.py"), &[]);
    let mut used = String::new();
    BufReader::new(run.stdout.as_mut().unwrap())
        .read_line(&mut used)
        .unwrap();
    assert!(used.starts_with("USED"), "{used}");
    let own = range
        .scene
        .desktop
        .command("python3")
        .args(["-c", OWN])
        .output()
        .unwrap();
    assert_eq!(said(&own), "inotify True timer True\n", "{used}");
    // A launcher hands descriptors over.
    let other = range
        .command("helper", &range.folder("elsewhere"), &["true"])
        .output()
        .unwrap();
    assert!(other.status.success(), "{used} {}", said(&other));
    drop(run.stdin.take());
    run.wait().unwrap();
}

#[test]
fn a_flood_of_refusals_fills_no_disk_and_every_refusal_is_in_the_trail() {
    let range = Range::new();
    let ledger = range.scene.state().join("ledger.db");
    let size = || {
        let files = ["", "-wal"].map(|end| format!("{}{end}", ledger.display()));
        let sizes = files.map(|file| std::fs::metadata(file).map_or(0, |file| file.len()));
        sizes.iter().sum::<u64>()
    };
    let before = size();
    let text = range.withstands(agent!("refusals.py"), &["1500"]);
    let grown = size() - before;
    // The records that there is room for, and the log in front of the database.
    assert!(grown < 8 << 20, "{grown} bytes");
    let told: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("told ")?.parse().ok())
        .unwrap();
    soon("the run has ended", || {
        said(&range.scene.countersign(&["timeline"]).unwrap()).contains("its command ended")
    });
    let timeline = range
        .scene
        .countersign(&[
            "timeline",
            "--json",
            "--limit",
            "1000",
            "--decision",
            "deny",
        ])
        .unwrap();
    let (mut records, mut counted) = (0, 0);
    for line in said(&timeline).lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        match entry["event"]["kind"].as_str().unwrap() {
            "requested" => records += 1,
            "more-refused" => counted += entry["event"]["count"].as_u64().unwrap(),
            other => panic!("{other}"),
        }
    }
    assert!(
        (10..1000).contains(&records) && counted > 10,
        "{records} {counted}"
    );
    assert_eq!(records + counted, told);
    let all = said(
        &range
            .scene
            .countersign(&["timeline", "--limit", "1000"])
            .unwrap(),
    );
    assert!(
        all.contains("from here on its refusals may be counted"),
        "{all}"
    );
    assert!(all.contains("more like this between"), "{all}");
    let verified = range.scene.countersign(&["ledger", "verify"]).unwrap();
    assert!(verified.status.success(), "{}", said(&verified));
    range.still_works();
}

#[test]
fn a_storm_of_detached_processes_is_over_with_the_stop() {
    let range = Range::new();
    let beats = range.folder("work/beats");
    let run = range.launch(agent!("storm.py"), &[beats.to_str().unwrap(), "50"]);
    let counted = || std::fs::read_dir(&beats).unwrap().count();
    for _ in 0..500 {
        if counted() == 50 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(counted(), 50);
    let stopped = range.scene.countersign(&["stop"]).unwrap();
    assert!(stopped.status.success(), "{}", said(&stopped));
    std::thread::sleep(Duration::from_millis(300));
    let read = || {
        let mut all: Vec<String> = std::fs::read_dir(&beats)
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        all.sort();
        all
    };
    let then = read();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(read(), then, "nothing beats any more");
    run.wait_with_output().unwrap();
}

/// What the user keeps in tool chains and caches.
const KEPT: &[&str] = &[
    ".cache/pip/wheel",
    ".npm/_cacache/index",
    ".cargo/bin/tool",
    ".cargo/registry/src/crate.rs",
    ".rustup/toolchains/rustc",
    ".m2/repository/library.jar",
    "go/pkg/mod/module.go",
    ".local/bin/tool",
    ".nvm/node",
];

#[test]
fn what_is_written_to_tool_chains_and_temporary_folders_reaches_nobody_else() {
    let range = Range::new();
    let home = range.scene.desktop.path("home");
    for kept in KEPT {
        range.write(&home.join(kept), "mine\n");
    }
    range.withstands(agent!("tool_chains.py"), &[]);
    for kept in KEPT {
        let now = std::fs::read_to_string(home.join(kept)).unwrap();
        assert_eq!(now, "mine\n", "{kept}");
    }
    // What is an agent's own lies in the state folder and in its working folder.
    let find = |places: &str| {
        let script = format!("find {places} -name red-team-poison -print 2>/dev/null; true");
        let found = range
            .scene
            .desktop
            .command("sh")
            .args(["-c", &script])
            .output();
        said(&found.unwrap())
    };
    let (work, state) = (home.join("work"), range.scene.state());
    let own = format!(
        "( -path {} -o -path {} ) -prune -o",
        work.display(),
        state.display()
    );
    let own = own.replace('(', "\\(").replace(')', "\\)");
    assert_eq!(find(&format!("{} {own}", home.display())), "");
    let shared = "/tmp /var/tmp /dev/shm /run /opt /var/cache /etc /usr/local -maxdepth 2";
    assert_eq!(find(shared), "");

    let hunt = "find ~ /tmp /var /dev/shm /run /opt /etc /usr/local -name red-team-poison -print 2>/dev/null; echo TRIED";
    let other = range
        .command("helper", &range.folder("elsewhere"), &["sh", "-c", hunt])
        .output()
        .unwrap();
    assert_eq!(said(&other), "TRIED\n");
}
