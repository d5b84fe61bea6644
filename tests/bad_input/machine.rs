//! A full disk, no descriptors left.

use crate::{READ, assert_refused, assert_works, ends, status};
use countersign_testkit::Scene;
use countersign_testkit::scene::said;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

fn must(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        said(&output)
    );
}

/// A small disk of the person's, mounted until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(scene: &countersign_testkit::Desktop, path: &Path) -> Self {
        scene.person().make_folder(path).unwrap();
        let person = scene.person();
        let options = format!("size=2m,mode=0700,uid={},gid={}", person.uid, person.gid);
        must(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                &options,
                "none",
                path.to_str().unwrap(),
            ],
        );
        Self(path.to_owned())
    }

    fn fill(&self) {
        let mut filler = fs::File::create(self.0.join("filler")).unwrap();
        let block = [b'x'; 4096];
        while filler.write_all(&block).is_ok() {}
        while filler.write_all(b"x").is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Reads until the ledger has failed; everything that got through has a record,
/// and after the failure nothing gets through any more.
fn assert_fails_closed(scene: &mut Scene) {
    let mut told = String::new();
    for _ in 0..30 {
        told = scene
            .script(&format!("for i in 1 2 3 4 5 6 7 8 9 10; do {READ}; done"))
            .unwrap();
        if told.contains("ledger-failed") {
            break;
        }
    }
    assert!(
        told.contains("ledger-failed") && told.contains("The audit trail cannot be written"),
        "{told}"
    );
    assert_refused_or_no_run(scene);
    let warnings = status(scene)["warnings"].to_string();
    assert!(
        warnings.contains("ledger") || warnings.contains("trail"),
        "{warnings}"
    );
    ends(scene, &["stop"], 0);
    assert!(!status(scene)["stopped"].is_null());
    ends(scene, &["run", "--agent", "inbox-bot", "--", "true"], 6);
}

fn assert_refused_or_no_run(scene: &Scene) {
    let before = scene.mailbox.upstream.seen().len();
    let told = scene.script(READ).unwrap();
    assert!(told.contains("ledger-failed"), "{told}");
    assert_eq!(scene.mailbox.upstream.seen().len(), before);
}

#[test]
fn on_a_full_disk_nothing_is_released_and_the_stop_works() {
    let desktop = Scene::plain_desktop().unwrap();
    if desktop.person().is_another() {
        let state = desktop.path("home/.local/state/countersign");
        let disk = SmallDisk::mount(&desktop, &state);
        let mut scene = Scene::at(desktop, 3).unwrap();
        assert_works(&scene);
        disk.fill();
        assert_fails_closed(&mut scene);
        assert_recovers(&mut scene, || {
            fs::remove_file(state.join("filler")).unwrap()
        });
    } else {
        // An ordinary user mounts nothing: files that may not grow fail alike.
        assert_growing_fails_closed(desktop);
    }
}

#[test]
fn where_files_may_not_grow_nothing_is_released_and_the_stop_works() {
    assert_growing_fails_closed(Scene::plain_desktop().unwrap());
}

fn assert_growing_fails_closed(desktop: countersign_testkit::Desktop) {
    let mut scene = Scene::at(desktop, 3).unwrap();
    assert_works(&scene);
    let pid = scene.authority.pid().to_string();
    must("prlimit", &["--pid", &pid, "--fsize=65536:65536"]);
    assert_fails_closed(&mut scene);
    // Nothing to free: the next authority has no limit.
    assert_recovers(&mut scene, || ());
}

fn assert_recovers(scene: &mut Scene, free: impl FnOnce()) {
    // It cannot end in order, having no trail to say so.
    scene.authority.kill().unwrap();
    free();
    scene.start_again().unwrap();
    let verified = ends(scene, &["ledger", "verify"], 0);
    assert!(verified.contains("Intact"), "{verified}");
    assert!(
        !status(scene)["stopped"].is_null(),
        "the stop outlives the restart"
    );
    scene.confirm(&["resume"]).unwrap();
    assert_works(scene);
}

#[test]
fn without_a_descriptor_left_nothing_is_released_and_it_recovers() {
    let scene = Scene::start(3).unwrap();
    assert_works(&scene);
    let pid = scene.authority.pid().to_string();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let before = scene.mailbox.upstream.seen().len();
    // Two runs hold connections already; then not one more can be opened.
    let script = format!("sleep 1; {}", READ.replace("--max-time 20", "--max-time 3"));
    let run = scene.run(&["sh", "-c", &script]).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    must("prlimit", &["--pid", &pid, &format!("--nofile={open}:")]);
    let told = said(&run.wait_with_output().unwrap());
    assert!(!told.contains("status=200"), "{told}");
    assert_eq!(
        scene.mailbox.upstream.seen().len(),
        before,
        "nothing was released"
    );

    must("prlimit", &["--pid", &pid, "--nofile=1024:"]);
    assert_works(&scene);
    assert_eq!(status(&scene)["stopped"], serde_json::Value::Null);
    assert!(ends(&scene, &["ledger", "verify"], 0).contains("Intact"));
    let _ = assert_refused;
}
