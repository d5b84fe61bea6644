//! Services that hang, die, or are not who they should be.

use crate::{ends, outcome_of};
use countersign_testkit::upstream::{Ending, Reply, Upstream};
use countersign_testkit::{Scene, random};
use serde_json::Value;
use std::net::TcpListener;
use std::time::Duration;

const SITE: &str = "credential = \"bearer\"\neffects.\"GET /**\" = [\"read\"]";

fn section(name: &str, host: &str, address: &str, ca: &str) -> String {
    format!(
        "[accounts.{name}]\nhosts = [\"{host}\"]\n{SITE}\nconnect_to = \"{address}\"\nca = \"{ca}\"\n\n"
    )
}

#[test]
fn each_way_an_upstream_can_fail_is_told_apart_and_recorded() {
    let good = Upstream::start("good.example", |_| Reply::status(200)).unwrap();
    let other = Upstream::start("other.example", |_| Reply::status(200)).unwrap();
    let dying = Upstream::start("dying.example", |_| {
        let mut reply = Reply::status(200).ending(Ending::Dies);
        reply.body = vec![b'x'; 8000];
        reply
    })
    .unwrap();
    // Takes connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    // Nobody listens there any more.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let accounts = [
        // A certificate of another CA than the account's.
        (
            "stranger",
            section(
                "stranger",
                "good.example",
                &good.address().to_string(),
                "other-ca.pem",
            ),
        ),
        // A certificate of the right CA for another host.
        (
            "impostor",
            section(
                "impostor",
                "impostor.example",
                &other.address().to_string(),
                "other-ca.pem",
            ),
        ),
        (
            "dying",
            section(
                "dying",
                "dying.example",
                &dying.address().to_string(),
                "dying-ca.pem",
            ),
        ),
        (
            "silent",
            section(
                "silent",
                "silent.example",
                &silent.local_addr().unwrap().to_string(),
                "other-ca.pem",
            ),
        ),
        (
            "nobody",
            section(
                "nobody",
                "nobody.example",
                &nobody.to_string(),
                "other-ca.pem",
            ),
        ),
    ];
    let scene = with_accounts(
        &accounts,
        &[
            ("other-ca.pem", other.ca_pem()),
            ("dying-ca.pem", dying.ca_pem()),
        ],
    );

    let hosts = [
        "good.example",
        "impostor.example",
        "dying.example",
        "silent.example",
        "nobody.example",
    ];
    let script: String = hosts
        .iter()
        .map(|host| format!("(curl -sS --max-time 30 -o {host} -w '%{{http_code}}' https://{host}/ > {host}.status 2> {host}.error; echo \" curl=$?\" >> {host}.status) & "))
        .collect();
    scene.script(&format!("{script} wait")).unwrap();
    let folder = scene.work().unwrap();
    let read = |name: String| std::fs::read_to_string(folder.join(name)).unwrap_or_default();

    let mut details = Vec::new();
    for host in [
        "good.example",
        "impostor.example",
        "silent.example",
        "nobody.example",
    ] {
        let status = read(format!("{host}.status"));
        assert!(
            status.starts_with("502"),
            "{host}: {status} {}",
            read(format!("{host}.error"))
        );
        let problem: Value = serde_json::from_str(&read(host.to_owned())).unwrap();
        assert_eq!(problem["reason"], "upstream", "{host}: {problem}");
        details.push(problem["detail"].as_str().unwrap().to_owned());
        let outcome = outcome_of(&scene, host).to_string();
        assert!(outcome.contains("not-sent"), "{host}: {outcome}");
    }
    let certificate = |detail: &str| detail.contains("could not prove over TLS");
    assert!(
        certificate(&details[0]) && certificate(&details[1]),
        "{details:#?}"
    );
    assert!(details[2].contains("in time"), "{details:#?}");
    assert!(
        !certificate(&details[3]) && details[3] != details[2],
        "{details:#?}"
    );
    for upstream in [&good, &other] {
        assert_eq!(
            upstream.seen().len(),
            0,
            "no credential without verified TLS"
        );
    }

    // Half a reply is never a whole one: the client is told, or sees that it
    // broke off.
    let status = read("dying.example.status".into());
    assert!(
        status.starts_with("502") || !status.contains("curl=0"),
        "{status}"
    );
    assert_eq!(dying.seen().len(), 1);
    let outcome = outcome_of(&scene, "dying.example").to_string();
    assert!(outcome.contains("unknown"), "{outcome}");
    assert!(ends(&scene, &["ledger", "verify"], 0).contains("Intact"));
}

/// A scene with these CAs and accounts, each with a credential, for the agent.
fn with_accounts(accounts: &[(&str, String)], cas: &[(&str, &str)]) -> Scene {
    let mut scene = Scene::start(1).unwrap();
    for (name, pem) in cas {
        let path = scene.config().join(name);
        scene.desktop.person().write(&path, pem).unwrap();
    }
    let names: Vec<_> = accounts
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect();
    let all = format!("[\"mail\", {}]", names.join(", "));
    let mut text = scene.read_config().unwrap().replace("[\"mail\"]", &all);
    accounts
        .iter()
        .for_each(|(_, section)| text.push_str(section));
    scene.accept(&text).unwrap();
    for (name, _) in accounts {
        scene.set_credential(name, &random::credential()).unwrap();
    }
    scene
}

#[test]
fn a_request_that_hangs_at_the_upstream_is_unknown_when_the_agent_leaves_and_cut_by_the_stop() {
    let hanging = Upstream::start("hanging.example", |_| {
        Reply::status(200).ending(Ending::Hangs)
    })
    .unwrap();
    let ca = [("hanging-ca.pem", hanging.ca_pem())];
    let account = [(
        "hanging",
        section(
            "hanging",
            "hanging.example",
            &hanging.address().to_string(),
            "hanging-ca.pem",
        ),
    )];
    let scene = with_accounts(&account, &ca);

    let told = scene
        .script("curl -sS --max-time 1 https://hanging.example/left; echo code=$?")
        .unwrap();
    assert!(told.contains("code=28"), "{told}");
    let outcome = outcome_of(&scene, "hanging.example/left").to_string();
    assert!(outcome.contains("unknown"), "{outcome}");

    let run = scene
        .run(&[
            "curl",
            "-sS",
            "--max-time",
            "60",
            "https://hanging.example/cut",
        ])
        .unwrap();
    for _ in 0..200 {
        if hanging.seen().len() == 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    ends(&scene, &["stop"], 0);
    assert_eq!(run.wait_with_output().unwrap().status.code(), Some(6));
    let outcome = outcome_of(&scene, "hanging.example/cut").to_string();
    assert!(outcome.contains("cut"), "{outcome}");
    assert!(ends(&scene, &["ledger", "verify"], 0).contains("Intact"));
}
