//! How long a judgement takes: `cargo run -p countersign-policy --example speed`

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use countersign_model::{
    Account, Action, Agent, CredentialKind, Effect, Effects, Environment, HostPattern, Objects,
    Provider, Words,
};
use countersign_policy::{DEFAULTS, Policies, Recent};
use std::time::Instant;

fn main() {
    let account = Account {
        id: "mail".parse().unwrap(),
        provider: Provider("gmail".into()),
        hosts: vec![HostPattern::new("gmail.googleapis.com").unwrap()],
        port: 443,
        environment: Environment("personal".into()),
        tags: vec![],
        credential: CredentialKind::Oauth2,
        connect_to: None,
        ca_pem: None,
        plaintext: false,
        effects: vec![],
        forward_headers: vec![],
        token_url: None,
    };
    let agent = Agent {
        id: "inbox-bot".parse().unwrap(),
        groups: vec![],
        accounts: vec![account.id.clone()],
        recipe: None,
        ports: Vec::new(),
        host_ports: Vec::new(),
    };
    let action = |effects: &[Effect], routine| Action {
        provider: account.provider.clone(),
        operation: "gmail.users.messages.get".into(),
        effects: Effects::of(effects),
        objects: Objects::one("18c2f0aa"),
        words: Words::new("Read a message"),
        routine,
        decided_by: "speed".into(),
        account: account.id.clone(),
        environment: account.environment.clone(),
        reason: None,
        data_digest: None,
    };
    let read = action(&[Effect::Read], true);
    let clear = action(&[Effect::Delete, Effect::Bulk], false);

    for others in [0, 100, 4000] {
        let mut files: Vec<(String, String)> = DEFAULTS
            .iter()
            .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))
            .collect();
        // Rules of other agents: they are sliced away.
        let rule = |i| format!("permit (principal == Agent::\"a{i}\", action, resource);\n");
        for file in 0..others / 100 {
            files.push((format!("f{file}.cedar"), (0..100).map(rule).collect()));
        }
        let policies = Policies::parse(&files).unwrap();
        for (what, action) in [("routine read", &read), ("bulk deletion", &clear)] {
            // The quickest of many batches: the others had company.
            let times = 500;
            let batch = |_| {
                let begin = Instant::now();
                for _ in 0..times {
                    std::hint::black_box(policies.judge(
                        &agent,
                        &account,
                        action,
                        &Recent::default(),
                    ));
                }
                begin.elapsed().as_secs_f64() * 1e6 / f64::from(times)
            };
            let each = (0..40).map(batch).fold(f64::INFINITY, f64::min);
            println!("{:>5} rules, {what}: {each:.1} µs", policies.ids().count());
        }
    }
}
