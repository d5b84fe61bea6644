//! `countersign doctor` proves each boundary by trying to cross it.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

use countersign_testkit::scene::{Scene, piped, said};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Output;

/// State and words of each boundary.
fn checks(output: &Output) -> BTreeMap<String, (String, String)> {
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", said(output)));
    let text = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    checks
        .iter()
        .map(|check| {
            (
                text(check, "boundary"),
                (text(check, "state"), text(check, "found")),
            )
        })
        .collect()
}

#[test]
fn every_boundary_of_a_run_holds_and_the_humans_answer_comes_back() {
    let mut scene = Scene::start(3).unwrap();
    let from = scene.authority.screen().len();
    let doctor = scene.spawn(&["doctor", "--json"]).unwrap();
    let asked = scene.authority.approve(from).unwrap();
    assert!(asked.contains("countersign doctor"), "{asked}");
    let output = doctor.wait_with_output().unwrap();
    let checks = checks(&output);
    for (boundary, (state, found)) in &checks {
        assert!(
            state == "holds" || state == "absent",
            "{boundary}: {state}: {found}"
        );
    }
    // What this desktop has, a run was let loose on.
    for boundary in [
        "Session bus, and the keyring on it",
        "Display",
        "Countersign's control socket",
        "Secret files",
        "Ports of this machine",
        "Your environment",
        "Open files",
        "Privileges",
        "Other processes",
        "The network",
        "The gateway",
        "Another run",
        "Keyring",
        "Ledger takes records",
        "Ledger is intact",
        "Stop is kept",
        "Clock",
        "Your answer",
    ] {
        let (state, found) = &checks
            .get(boundary)
            .unwrap_or_else(|| panic!("no {boundary}"));
        assert_eq!(state, "holds", "{boundary}: {found}");
    }
    assert!(output.status.success());
    // It leaves nothing behind but its records.
    let verified = scene.countersign(&["ledger", "verify"]).unwrap();
    assert!(verified.status.success(), "{}", said(&verified));
    let left = std::fs::read_dir(scene.state()).unwrap();
    let left = left.filter_map(Result::ok).map(|e| e.file_name());
    assert!(
        left.into_iter()
            .all(|name| !name.to_string_lossy().starts_with("doctor"))
    );
}

#[test]
fn what_can_be_reached_is_reported_as_reached() {
    let scene = Scene::start(1).unwrap();
    let person = scene.desktop.person();
    let folder = scene.work().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let attempts = json!([
        {"connect": port.local_addr().unwrap()},
        {"see": scene.config()},
        {"find": "PLAINLY-MARKED"},
        {"socket": scene.desktop.env().iter().find_map(|(name, value)| {
            (name == "DBUS_SESSION_BUS_ADDRESS")
                .then(|| value.split(['=', ',']).nth(1).unwrap().to_owned())
        }).unwrap()},
        "powers",
        "processes",
        "gateway",
    ]);
    person
        .write(&folder.join("plan"), attempts.to_string())
        .unwrap();
    let program = countersign_testkit::programs::built("countersign").unwrap();
    let output = piped(
        scene
            .desktop
            .command(program)
            .args(["canary", "try", "plan"]),
    )
    .env("A_VARIABLE", "PLAINLY-MARKED")
    .current_dir(&folder)
    .output()
    .unwrap();
    let came: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", said(&output)));
    for (attempt, how) in attempts.as_array().unwrap().iter().zip(&came) {
        assert!(
            how.get("crossed").is_some(),
            "{attempt} was not reached, although nothing is in the way"
        );
    }
}

#[test]
fn what_could_not_be_tried_fails_like_what_does_not_hold() {
    let mut scene = Scene::start(1).unwrap();
    assert!(scene.countersign(&["stop"]).unwrap().status.success());
    let output = scene
        .countersign(&["doctor", "--unattended", "--json"])
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let (state, found) = checks(&output)["A throw-away run"].clone();
    assert_eq!(state, "untried");
    assert!(found.contains("stop is engaged"), "{found}");
    assert!(
        !checks(&output).contains_key("Your answer"),
        "nobody was asked"
    );

    scene.desktop.lock_keyring().unwrap();
    let output = scene
        .countersign(&["doctor", "--unattended", "--json"])
        .unwrap();
    assert_eq!(checks(&output)["Keyring"].0, "broken");

    scene.shut_down().unwrap();
    let output = scene.countersign(&["doctor", "--json"]).unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(checks(&output)["Authority"].0, "broken");
}
