//! Files that are wrong, were edited, or were forged.

use crate::{READ, assert_works, ends, run_ends, status};
use countersign_testkit::Scene;
use countersign_testkit::scene::said;
use countersign_testkit::upstream::{Reply, Upstream};
use std::fs;

#[test]
fn a_malformed_configuration_is_told_by_line_and_the_last_accepted_one_stays_in_force() {
    let scene = Scene::start(3).unwrap();
    let right = scene.read_config().unwrap();
    let line = right.lines().count() + 2;
    for (wrong, expected) in [
        ("[accounts.more]\nhosts = 5\n", "expected"),
        ("[accounts.more]\nhosts = [\"*.com\"]\n", "public suffix"),
        ("[accounts.more\n", "expected"),
        ("[agents.other]\nacounts = []\n", "accounts"),
        ("[agents.other]\naccounts = [\"nowhere\"]\n", "nowhere"),
    ] {
        scene.write_config(&format!("{right}\n{wrong}")).unwrap();
        for told in [
            ends(&scene, &["config", "check"], 1),
            ends(&scene, &["config", "accept"], 1),
        ] {
            let place = [line, line + 1].map(|line| format!("countersign.toml:{line}:"));
            assert!(
                place.iter().any(|place| told.contains(place)),
                "line {line}: {told}"
            );
            assert!(told.contains(expected), "{wrong}: {told}");
        }
    }
    let told = ends(&scene, &["config", "accept"], 1);
    assert!(
        told.contains("the last accepted state stays in force"),
        "{told}"
    );
    assert_works(&scene);
    assert_eq!(status(&scene)["config_changed"], true);
}

#[test]
fn an_edit_changes_nothing_before_a_yes_and_nothing_after_a_no() {
    let mut scene = Scene::start(3).unwrap();
    let other = Upstream::start("docs.example", |_| Reply::status(200)).unwrap();
    let site = scene
        .account(
            "docs",
            "hosts = [\"docs.example\"]\ncredential = \"none\"",
            &other,
        )
        .unwrap();
    let edited = scene
        .read_config()
        .unwrap()
        .replace("[\"mail\"]", "[\"mail\", \"docs\"]")
        + &site;
    let counter = status(&scene)["config"].clone();
    let read = "curl -sS -w ' status=%{http_code}' https://docs.example/";

    scene.write_config(&edited).unwrap();
    let told = scene.script(read).unwrap();
    assert!(
        told.contains("not-assigned") || told.contains("403"),
        "{told}"
    );

    let from = scene.authority.screen().len();
    let accept = scene.spawn(&["config", "accept"]).unwrap();
    let block = scene.authority.wait_for(" to approve: ", from).unwrap();
    assert!(block.contains("docs.example"), "{block}");
    scene.authority.type_line("no").unwrap();
    let output = accept.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let told = scene.script(read).unwrap();
    assert!(
        told.contains("not-assigned") || told.contains("403"),
        "{told}"
    );
    assert_eq!(other.seen().len(), 0);
    assert_eq!(status(&scene)["config"], counter);

    scene.accept(&edited).unwrap();
    assert!(scene.script(read).unwrap().contains("status=200"));
    assert_eq!(other.seen().len(), 1);
}

#[test]
fn what_was_shown_is_accepted_and_not_what_is_on_disk_by_then() {
    let mut scene = Scene::start(3).unwrap();
    let right = scene.read_config().unwrap();
    let from = scene.authority.screen().len();
    scene
        .write_config(&format!("{right}\n[agents.shown]\naccounts = []\n"))
        .unwrap();
    let accept = scene.spawn(&["config", "accept"]).unwrap();
    scene.authority.wait_for(" to approve: ", from).unwrap();
    scene
        .write_config(&format!(
            "{right}\n[agents.smuggled]\naccounts = [\"mail\"]\n"
        ))
        .unwrap();
    scene.authority.approve(from).unwrap();
    assert!(accept.wait_with_output().unwrap().status.success());
    run_ends(&scene, "shown", &["true"], 0);
    let told = run_ends(&scene, "smuggled", &["true"], 1);
    assert!(told.contains("No agent smuggled"), "{told}");
    assert_eq!(status(&scene)["config_changed"], true);
}

#[test]
fn a_rule_with_an_error_is_told_by_line_and_not_taken() {
    let scene = Scene::start(3).unwrap();
    let rule = scene.config().join("policies/wrong.cedar");
    for (wrong, what) in [
        (
            "permit (principal, action, resource)\n  when { context.nonsense };\n",
            "nonsense",
        ),
        (
            "permit (principal, action, resource);\nforbid (\n",
            "wrong.cedar",
        ),
    ] {
        scene.desktop.person().write(&rule, wrong).unwrap();
        for args in [
            ["policy", "check", rule.to_str().unwrap()].as_slice(),
            &["config", "check"],
            &["config", "accept"],
        ] {
            let told = ends(&scene, args, 1);
            assert!(
                told.contains("wrong.cedar:") && told.contains(what),
                "{args:?}: {told}"
            );
        }
    }
    assert_works(&scene);
}

#[test]
fn an_accepted_state_that_was_forged_removed_or_rolled_back_denies_and_says_so() {
    let mut scene = Scene::start(3).unwrap();
    let accepted = scene.state().join("accepted.json");
    let older = fs::read(&accepted).unwrap();
    let text = scene.read_config().unwrap() + "\n[agents.other]\naccounts = []\n";
    scene.accept(&text).unwrap();
    let newest = fs::read(&accepted).unwrap();
    let forged = String::from_utf8(newest.clone())
        .unwrap()
        .replace("personal", "harmless");
    assert_ne!(forged.as_bytes(), newest);

    for (content, sentence) in [
        (Some(older), "is older than what was accepted last"),
        (None, "no accepted configuration is stored"),
        (
            Some(forged.into_bytes()),
            "is not the one that was accepted here",
        ),
        (Some(b"{".to_vec()), "is not the one that was accepted here"),
    ] {
        scene.shut_down().unwrap();
        match content {
            Some(content) => scene.desktop.person().write(&accepted, content).unwrap(),
            None => fs::remove_file(&accepted).unwrap(),
        }
        scene.start_again().unwrap();
        scene.authority.wait_for(sentence, 0).unwrap();
        assert!(status(&scene)["config"].is_null());
        let told = run_ends(&scene, "inbox-bot", &["true"], 1);
        assert!(told.contains("No configuration is in force"), "{told}");
    }
    assert_eq!(scene.mailbox.upstream.seen().len(), 0);

    scene.accept(&text).unwrap();
    assert_works(&scene);
    scene.shut_down().unwrap();
    scene.start_again().unwrap();
    assert_works(&scene);
}

#[test]
fn an_account_that_is_taken_away_is_gone_for_a_run_that_is_under_way() {
    let mut scene = Scene::start(3).unwrap();
    let folder = scene.work().unwrap();
    let script = format!("{READ}; until [ -e go ]; do sleep 0.05; done; {READ}");
    let run = scene.run(&["sh", "-c", &script]).unwrap();
    let text = scene.read_config().unwrap();
    scene
        .accept(&text.replace("accounts = [\"mail\"]", "accounts = []"))
        .unwrap();
    scene
        .desktop
        .person()
        .write(&folder.join("go"), "")
        .unwrap();
    let told = said(&run.wait_with_output().unwrap());
    assert_eq!(told.matches("status=200").count(), 1, "{told}");
    assert_eq!(scene.mailbox.upstream.seen().len(), 1);
}
