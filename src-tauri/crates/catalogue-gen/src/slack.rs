//! Slack, from the method names in its Python client.

use crate::lexicon;
use crate::operation::{Catalogue, Key, Operation};
use countersign_catalogue::embedded::{Level, Traits};
use regex::Regex;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const HOSTS: [&str; 2] = ["slack.com", "www.slack.com"];

/// Adds every method that the client calls.
pub(crate) fn read(package: &Path, into: &mut Catalogue) -> Result<(), String> {
    let file = package.join("web/client.py");
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let call = Regex::new(r#"api_call\(\s*"([A-Za-z.]+)""#).map_err(|e| e.to_string())?;
    let names: BTreeSet<&str> = call
        .captures_iter(&text)
        .filter_map(|found| found.get(1))
        .map(|found| found.as_str())
        .collect();
    for host in HOSTS {
        into.hosts
            .insert(("slack".to_owned(), host.to_owned(), "slack".to_owned()));
    }
    into.operations.extend(names.into_iter().map(operation));
    Ok(())
}

fn operation(name: &str) -> Operation {
    let mut parts: Vec<&str> = name.split('.').collect();
    let last = parts.pop().unwrap_or(name);
    let nouns: Vec<String> = parts.iter().flat_map(|part| lexicon::words(part)).collect();
    let said = lexicon::judge(&lexicon::words(last), &nouns, None);
    Operation {
        provider: "slack",
        service: parts.first().copied().unwrap_or_default().to_owned(),
        title: "Slack".to_owned(),
        name: name.to_owned(),
        tree: "slack".to_owned(),
        keys: vec![Key {
            path: format!("/api/{name}"),
            method: '*',
            wants: Vec::new(),
        }],
        object: None,
        effects: said.effects,
        traits: if said.verb_reads {
            Traits::VERB_READS
        } else {
            Traits::default()
        },
        level: Level::Unlabelled,
        shows: None,
    }
}
