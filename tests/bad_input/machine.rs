//! A full disk, no descriptors left.

use crate::{READ, assert_works, ends, requests, run_ends_in, status};
use countersign_testkit::scene::said;
use countersign_testkit::{Desktop, Scene};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Limits the authority, as the person whose process it is.
fn limit(scene: &Scene, what: &str) {
    let pid = scene.authority.pid().to_string();
    scene
        .desktop
        .must("prlimit", &["--pid", &pid, what])
        .unwrap();
}

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
    fn mount(scene: &Desktop, path: &Path) -> Self {
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

impl SmallDisk {
    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A run reads until the ledger has failed, and goes on: nothing gets through
/// any more, nothing begins, and the stop still works.
fn assert_fails_closed(scene: &Scene, fill: impl FnOnce()) {
    let folder = scene.work().unwrap();
    let other = scene.desktop.path("home").join("other");
    scene.desktop.person().make_folder(&other).unwrap();
    let script = format!(
        "{READ}; touch ready; until [ -e go ]; do sleep 0.05; done; \
         for i in $(seq 400); do {READ} | tee -a told | grep -q ledger-failed && break; done; {READ}; \
         touch failed; sleep 60"
    );
    let run = scene.run(&["sh", "-c", &script]).unwrap();
    wait_until(&folder.join("ready"));
    fill();
    scene
        .desktop
        .person()
        .write(&folder.join("go"), "")
        .unwrap();
    wait_until(&folder.join("failed"));

    let warnings = status(scene)["warnings"].to_string();
    assert!(
        warnings.contains("The ledger has failed and nothing is released"),
        "{warnings}"
    );
    let told = run_ends_in(scene, &other, "inbox-bot", &["true"], 1);
    assert!(told.contains("The audit trail cannot be written"), "{told}");
    ends(scene, &["stop"], 0);
    assert!(!status(scene)["stopped"].is_null());
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    let last = said(&output);
    let last = last
        .rsplit_once("status=200")
        .map_or(last.as_str(), |(_, last)| last);
    assert!(
        last.contains("\"reason\":\"ledger-failed\"") && last.contains("status=403"),
        "{last}"
    );
    let answered = fs::read_to_string(folder.join("told")).unwrap_or_default();
    let answered = 1 + answered.matches("status=200").count();
    assert_eq!(
        scene.mailbox.upstream.seen().len(),
        answered,
        "what was answered was sent, and no more"
    );
}

fn wait_until(file: &Path) {
    for _ in 0..600 {
        if file.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{} is not there", file.display());
}

/// After the cause is gone, a new authority finds every record, and the stop
/// still engaged.
fn assert_recovers(scene: &mut Scene, free: impl FnOnce()) {
    // It cannot end in order, having no trail to say so.
    scene.authority.kill().unwrap();
    free();
    scene.start_again().unwrap();
    let sent = scene.mailbox.upstream.seen().len();
    let allowed = requests(scene)
        .iter()
        .filter(|r| r["event"]["decision"] == "allow")
        .count();
    assert!(allowed >= sent, "{allowed} records of {sent} requests");
    assert!(ends(scene, &["ledger", "verify"], 0).contains("Intact"));
    assert!(
        !status(scene)["stopped"].is_null(),
        "the stop outlives the restart"
    );
    scene.confirm(&["resume"]).unwrap();
    assert_works(scene);
}

#[test]
fn on_a_full_disk_nothing_is_released_and_the_stop_works() {
    let desktop = Scene::plain_desktop().unwrap();
    if !desktop.person().is_another() {
        // Only root mounts a disk to fill: an ordinary user's files may not
        // grow instead.
        return growing_fails_closed(desktop);
    }
    let disk = SmallDisk::mount(&desktop, &desktop.path("home/.local/state/countersign"));
    let mut scene = Scene::at(desktop, 3).unwrap();
    assert_fails_closed(&scene, || disk.fill());
    assert_recovers(&mut scene, || disk.empty());
}

#[test]
fn where_files_may_not_grow_nothing_is_released_and_the_stop_works() {
    growing_fails_closed(Scene::plain_desktop().unwrap());
}

fn growing_fails_closed(desktop: Desktop) {
    let mut scene = Scene::at(desktop, 3).unwrap();
    assert_fails_closed(&scene, || limit(&scene, "--fsize=131072"));
    // Nothing to free: the next authority has no limit.
    assert_recovers(&mut scene, || ());
}

#[test]
fn without_a_descriptor_left_nothing_is_released_and_it_recovers() {
    let scene = Scene::start(3).unwrap();
    assert_works(&scene);
    let folder = scene.work().unwrap();
    let read = READ.replace("--max-time 20", "--max-time 2");
    let script = format!("touch ready; until [ -e go ]; do sleep 0.05; done; {read}; {read}");
    let run = scene.run(&["sh", "-c", &script]).unwrap();
    wait_until(&folder.join("ready"));
    let before = scene.mailbox.upstream.seen().len();
    // What is open stays open; not one more can be opened.
    limit(&scene, "--nofile=8:");
    scene
        .desktop
        .person()
        .write(&folder.join("go"), "")
        .unwrap();
    let told = said(&run.wait_with_output().unwrap());
    assert!(!told.contains("status=200"), "{told}");
    assert_eq!(
        scene.mailbox.upstream.seen().len(),
        before,
        "nothing was released"
    );

    limit(&scene, "--nofile=1024:");
    assert_works(&scene);
    assert!(status(&scene)["stopped"].is_null());
    assert!(ends(&scene, &["ledger", "verify"], 0).contains("Intact"));
}
