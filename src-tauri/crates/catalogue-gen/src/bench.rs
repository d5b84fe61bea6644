//! How large the catalogue is, and how long it takes to know a request.

use countersign_catalogue::embedded::{self, EMBEDDED, Form};
use countersign_catalogue::{BodyView, RequestView, recognise};
use countersign_model::{Account, CredentialKind, Environment, HeaderField, HostPattern, Provider};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Prints the figures.
pub(crate) fn bench() -> Result<(), String> {
    let form = Form::of(EMBEDDED).ok_or("the embedded data cannot be read")?;
    println!("embedded: {} bytes", EMBEDDED.len());
    let mut hosts: BTreeMap<u16, (String, String)> = BTreeMap::new();
    for (provider, pattern, trees) in form.host_patterns() {
        let host = match provider.as_str() {
            "aws" => format!("{}.amazonaws.com", pattern.replace("{region}", "eu-west-1")),
            _ => pattern.replace('*', "git.example.org"),
        };
        if host.contains('{') {
            continue;
        }
        for tree in trees {
            hosts
                .entry(tree)
                .or_insert((provider.clone(), host.clone()));
        }
    }
    let mut times = Vec::new();
    for each in form.list().iter().filter(|each| each.path.starts_with('/')) {
        let Some((provider, host)) = hosts.get(&each.tree) else {
            continue;
        };
        let path = each
            .path
            .replace("{**}", "some/where")
            .replace("{}", "something1");
        let request = RequestView {
            method: method(each.method),
            host,
            path: &path,
            query: None,
            headers: &[],
            body: BodyView::None,
        };
        // The second time: what lies in a cache then does so in service as well.
        black_box(embedded::is_known(provider, &request));
        let began = Instant::now();
        black_box(embedded::is_known(provider, black_box(&request)));
        times.push(began.elapsed());
    }
    say("match", &mut times);

    let json = |name: &str, value: &str| HeaderField {
        name: name.to_owned(),
        value: value.into(),
    };
    let fields: String = (0..5_000).map(|n| format!(" f{n}:id ")).collect();
    let graphql = format!(r#"{{"query":"query {{ {fields} }}"}}"#);
    let graphql = graphql
        .get(..64 << 10)
        .map_or_else(|| graphql.clone(), |cut| format!("{cut}\"}}"));
    let mut times = time(|| {
        let request = RequestView {
            method: "POST",
            host: "api.github.com",
            path: "/graphql",
            query: None,
            headers: &[json("content-type", "application/json")],
            body: BodyView::Whole(graphql.as_bytes()),
        };
        black_box(recognise(&account("github", "api.github.com")?, &request));
        Ok(())
    })?;
    say("match and inspect, 64 KiB of GraphQL", &mut times);
    let item = r#"{"PutRequest":{"Item":{"id":{"S":"something"},"n":{"N":"12345"}}}},"#;
    let items = item.repeat((1 << 20) / item.len());
    let dynamodb = format!(
        r#"{{"RequestItems":{{"t":[{}]}}}}"#,
        items.trim_end_matches(',')
    );
    let mut times = time(|| {
        let host = "dynamodb.eu-west-1.amazonaws.com";
        let request = RequestView {
            method: "POST",
            host,
            path: "/",
            query: None,
            headers: &[
                json("content-type", "application/x-amz-json-1.0"),
                json("x-amz-target", "DynamoDB_20120810.BatchWriteItem"),
            ],
            body: BodyView::Whole(dynamodb.as_bytes()),
        };
        black_box(recognise(&account("aws", host)?, &request));
        Ok(())
    })?;
    say("match and inspect, 1 MiB of DynamoDB", &mut times);
    Ok(())
}

fn time(mut once: impl FnMut() -> Result<(), String>) -> Result<Vec<Duration>, String> {
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        once()?;
        times.push(began.elapsed());
    }
    Ok(times)
}

fn say(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| {
        times
            .get(times.len() * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{what}: median {:?}, p99 {:?}, of {}",
        at(50),
        at(99),
        times.len()
    );
}

fn method(letter: char) -> &'static str {
    match letter {
        'H' => "HEAD",
        'P' => "POST",
        'U' => "PUT",
        'A' => "PATCH",
        'D' => "DELETE",
        _ => "GET",
    }
}

fn account(provider: &str, host: &str) -> Result<Account, String> {
    Ok(Account {
        id: "bench".parse().map_err(|_| "no such name")?,
        provider: Provider(provider.to_owned()),
        hosts: vec![HostPattern::new(host).map_err(|e| e.to_string())?],
        port: 443,
        environment: Environment::default(),
        tags: Vec::new(),
        credential: CredentialKind::Bearer,
        connect_to: None,
        ca_pem: None,
        plaintext: false,
        effects: Vec::new(),
        forward_headers: Vec::new(),
        token_url: None,
    })
}
