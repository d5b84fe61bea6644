//! The README's command blocks do what the README says, on a fresh home.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use countersign_testkit::desktop::{Desktop, Options};
use countersign_testkit::{Authority, programs, random};
use std::io::Write as _;
use std::process::{Child, Stdio};

const README: &str = include_str!("../README.md");
/// From an installed app to the first question of an agent of one's own.
const MOST: usize = 12;

/// The commands of each `sh` block, in order.
fn blocks() -> Vec<Vec<&'static str>> {
    README
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().lines().collect())
        .collect()
}

/// A line as a person types it, with the programs in the path.
fn typed(desktop: &Desktop, line: &str) -> Child {
    let programs = programs::built("countersign").unwrap();
    let path = format!("{}:/usr/bin:/bin", programs.parent().unwrap().display());
    let folder = desktop.path("home").join("project");
    desktop.person().make_folder(&folder).unwrap();
    desktop
        .command("sh")
        .env("PATH", path)
        .current_dir(folder)
        .args(["-c", line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn the_readme_leads_to_the_first_question_in_at_most_twelve_interactions() {
    let desktop = Desktop::start(&Options {
        notify: false,
        tray: false,
        ..Options::default()
    })
    .unwrap();
    let blocks = blocks();
    let place = |start: &str| blocks.iter().position(|b| b[0].starts_with(start)).unwrap();
    let (set_up, run, doctor, after) = (
        place("countersign account add"),
        place("countersign run"),
        place("countersign doctor"),
        place("countersign timeline"),
    );

    let mut interactions = 1; // starting it
    let mut authority = Authority::on_a_terminal(&desktop, &[]).unwrap();
    for line in &blocks[set_up] {
        let from = authority.screen().len();
        let mut command = typed(&desktop, line);
        interactions += 1;
        if line.contains("credential set") {
            let credential = random::credential();
            command
                .stdin
                .take()
                .unwrap()
                .write_all(credential.as_bytes())
                .unwrap();
            interactions += 1;
        }
        authority.approve(from).unwrap();
        interactions += 1;
        let output = command.wait_with_output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }

    let [line] = blocks[run][..] else {
        panic!("one command lets the agent work")
    };
    let from = authority.screen().len();
    let agent = typed(&desktop, line);
    interactions += 1;
    let question = authority.wait_for("Approve? [y/N] ", from).unwrap();
    assert!(
        question.contains("helper") && question.contains("try it out"),
        "{question}"
    );
    assert!(interactions <= MOST, "{interactions} interactions");
    println!("{interactions} interactions to the first question");
    authority.type_line("n").unwrap();
    let output = agent.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("denied-by-human"), "{output:?}");

    let from = authority.screen().len();
    let doctor = typed(&desktop, blocks[doctor][0]);
    authority.approve(from).unwrap();
    let output = doctor.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");

    for line in &blocks[after] {
        let output = typed(&desktop, line).wait_with_output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }
}

#[test]
fn the_two_commands_of_the_readme_exist() {
    let xtask: Vec<_> = blocks()
        .into_iter()
        .flatten()
        .filter_map(|line| line.strip_prefix("cargo xtask "))
        .collect();
    assert_eq!(xtask, ["run", "test"]);
    let listed = include_str!("../src-tauri/xtask/src/main.rs");
    for command in xtask {
        assert!(listed.contains(&format!("\"{command}\"")), "{command}");
    }
}
