//! Microsoft Graph, from the request builders of its Python client.

use crate::lexicon;
use crate::operation::{Catalogue, Key, Operation, letter, path};
use crate::source;
use countersign_catalogue::embedded::{Level, Traits};
use regex::Regex;
use std::fs;
use std::path::{Path, PathBuf};

const HOST: &str = "graph.microsoft.com";
const PROVIDER: &str = "microsoft-graph";

/// Adds every builder's methods.
pub(crate) fn read(package: &Path, into: &mut Catalogue) -> Result<(), String> {
    let wrong = |e: regex::Error| e.to_string();
    let template = Regex::new(r#"request_adapter, "\{\+baseurl\}([^"]*)""#).map_err(wrong)?;
    let methods = Regex::new(r"async def (get|post|put|patch|delete)\(").map_err(wrong)?;
    let query = Regex::new(r"\{[?&][^}]*\}").map_err(wrong)?;
    let mut files = Vec::new();
    collect(&package.join("generated"), &mut files)?;
    let tree = PROVIDER.to_owned();
    into.hosts.insert((tree.clone(), HOST.to_owned(), tree));
    for file in files {
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let Some(found) = template.captures(&text).and_then(|found| found.get(1)) else {
            continue;
        };
        let plain = query.replace_all(found.as_str(), "");
        let plain = plain.replace("%2D", "-").replace("%2d", "-");
        for method in methods
            .captures_iter(&text)
            .filter_map(|found| found.get(1))
        {
            into.operations.extend(operation(method.as_str(), &plain));
        }
    }
    Ok(())
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), String> {
    for entry in source::files(folder, "")? {
        if entry.is_dir() {
            collect(&entry, into)?;
        } else if entry.to_string_lossy().ends_with("_request_builder.py") {
            into.push(entry);
        }
    }
    Ok(())
}

fn operation(method: &str, template: &str) -> Option<Operation> {
    let segments: Vec<&str> = template.split('/').filter(|s| !s.is_empty()).collect();
    let last = segments.last().copied().unwrap_or_default();
    let called = last.split('(').next().unwrap_or_default();
    let called = called.trim_start_matches("microsoft.graph.");
    let words = lexicon::words(called);
    let is_action = !last.starts_with('{')
        && method == "post"
        && lexicon::is_verb(words.first().map_or("", String::as_str));
    let verb = match method {
        "get" if last.starts_with('{') => "get",
        "get" => "list",
        "post" if is_action => "",
        "post" => "create",
        "delete" => "delete",
        _ => "update",
    };
    let named: Vec<String> = if is_action {
        words
    } else {
        std::iter::once(verb.to_owned()).chain(words).collect()
    };
    let nouns: Vec<String> = segments
        .iter()
        .rev()
        .filter(|segment| !segment.starts_with('{'))
        .take(2)
        .flat_map(|segment| lexicon::words(segment))
        .collect();
    let said = lexicon::judge(&named, &nouns, Some(&method.to_ascii_uppercase()));
    // A function may do more than its method says, unless it only compares.
    let function = last.contains('(') && called != "delta" && called != "count";
    let literals = segments.iter().filter(|segment| !segment.starts_with('{'));
    let mut name: Vec<&str> = literals.map(|s| s.split('(').next().unwrap_or(s)).collect();
    if !verb.is_empty() {
        name.push(verb);
    }
    Some(Operation {
        provider: PROVIDER,
        service: segments.first().copied().unwrap_or_default().to_owned(),
        title: "Microsoft Graph".to_owned(),
        name: name.join("."),
        tree: PROVIDER.to_owned(),
        keys: vec![Key {
            path: path(&format!("/v1.0{template}"))?,
            method: letter(method)?,
            wants: Vec::new(),
        }],
        object: None,
        effects: said.effects,
        traits: if said.verb_reads && !function {
            Traits::VERB_READS
        } else {
            Traits::default()
        },
        level: Level::Unlabelled,
        shows: None,
    })
}
