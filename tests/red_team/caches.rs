//! An agent against whoever fetches from a cache after it.

use crate::range::{Range, agent};
use countersign_testkit::scene::said;

/// Where the user's own tools keep what they fetch, below the home folder.
const USERS: &[&str] = &[
    ".cache/pip",
    ".cache/uv",
    ".npm/_cacache",
    ".cargo/registry",
    "go/pkg/mod",
    ".m2/repository",
];

#[test]
fn a_poisoned_cache_is_found_by_the_agents_own_next_run_and_by_nobody_else() {
    let range = Range::new();
    for place in USERS {
        let path = range.scene.desktop.path("home").join(place);
        range.write(&path.join("of-the-user"), "x");
    }
    range.withstands(agent!("poisoned_caches.py"), &[]);
    let again = range.launch(agent!("poisoned_caches.py"), &[]);
    let found = said(&again.wait_with_output().unwrap());
    for cache in [".cache/pip", ".cache/cargo", ".cache/npm", ".m2/repository"] {
        assert!(
            found.contains(&format!("FOUND {cache}\n")),
            "{cache}: {found}"
        );
    }
    // What is no cache of its own was gone with the first run.
    assert!(!found.contains("FOUND .npm"), "{found}");

    let elsewhere = range.folder("elsewhere");
    let (name, program) = agent!("poisoned_caches.py");
    range.write(&elsewhere.join(name), program);
    let other = range
        .command("helper", &elsewhere, &["python3", name])
        .output();
    let other = said(&other.unwrap());
    assert!(other.contains("TRIED"), "{other}");
    assert!(!other.contains("FOUND"), "another agent's: {other}");

    let marks = range
        .scene
        .desktop
        .command("find")
        .args([".", "-name", "red-team-poison"])
        .current_dir(range.scene.desktop.path("home"))
        .output()
        .unwrap();
    let marks = said(&marks);
    assert!(marks.contains("agents/inbox-bot/.cache/pip/"), "{marks}");
    for mark in marks.lines() {
        assert!(
            mark.contains("/agents/inbox-bot/") || mark.contains("/agents/helper/"),
            "outside of what an agent keeps: {mark}"
        );
    }
}

#[test]
fn an_explanation_says_where_an_agents_caches_lie() {
    let range = Range::new();
    let folder = range.folder("work");
    let mut explain = range
        .scene
        .desktop
        .command(countersign_testkit::programs::built("countersign").unwrap());
    explain
        .args(["run", "--agent", "inbox-bot", "--explain", "--", "true"])
        .current_dir(&folder);
    let words = said(&explain.output().unwrap());
    for line in [
        "It reads and writes ~/.cache, which is the agent's own",
        "agents/inbox-bot/.cache",
        "It reads and writes ~/.m2/repository",
    ] {
        assert!(words.contains(line), "{line}: {words}");
    }
    // An explanation makes nothing.
    let kept = range.scene.desktop.path("home");
    let made = std::process::Command::new("find")
        .arg(kept)
        .args(["-path", "*/agents/inbox-bot/*"])
        .output()
        .unwrap();
    assert_eq!(said(&made), "");
}
