//! Providers whose paths are read from the source text of a client: for each
//! call that it makes, method and path, and the name of the function around it.

use crate::lexicon;
use crate::operation::{Catalogue, Key, Operation, letter, path};
use countersign_catalogue::embedded::{Level, Traits};
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) provider: &'static str,
    pub(crate) title: &'static str,
    /// `*` for what stands at hosts of the user's own.
    pub(crate) host: &'static str,
    /// What stands before every path.
    pub(crate) base: &'static str,
    /// What begins a function, with its name.
    pub(crate) function: &'static str,
    /// A call, with its method and path.
    pub(crate) call: &'static str,
}

pub(crate) const STRIPE: Client = Client {
    provider: "stripe",
    title: "Stripe",
    host: "api.stripe.com",
    base: "",
    function: r"def (\w+)\(",
    call: r#"_request\(\s*"(get|post|delete)",\s*"(/v\d/[^"]*)""#,
};

pub(crate) const CLOUDFLARE: Client = Client {
    provider: "cloudflare",
    title: "Cloudflare",
    host: "api.cloudflare.com",
    base: "/client/v4",
    function: r"def (\w+)\(",
    call: r#"self\._(get|post|put|patch|delete|get_api_list)\(\s*(?:path_template\(\s*)?f?"(/[^"]*)""#,
};

pub(crate) const OPENAI: Client = Client {
    provider: "openai",
    title: "OpenAI",
    host: "api.openai.com",
    base: "/v1",
    ..CLOUDFLARE
};

pub(crate) const GITLAB: Client = Client {
    provider: "gitlab",
    title: "GitLab",
    host: "*",
    base: "/api/v4/",
    function: r"\n  (\w+)\([^)]*\) \{",
    call: r"RequestHelper\.(get|post|put|patch|del)\(\)\(\s*this,\s*(?:endpoint)?`([^`]+)`",
};

/// Adds what a client calls, as its files below a folder say.
pub(crate) fn read(folder: &Path, client: Client, into: &mut Catalogue) -> Result<(), String> {
    let wrong = |e: regex::Error| e.to_string();
    let function = Regex::new(client.function).map_err(wrong)?;
    let call = Regex::new(client.call).map_err(wrong)?;
    let variable = Regex::new(r"\$\{[^}]*\}").map_err(wrong)?;
    let mut found: BTreeMap<(char, String), BTreeSet<String>> = BTreeMap::new();
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    for file in files {
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let functions: Vec<(usize, &str)> = function
            .captures_iter(&text)
            .filter_map(|f| Some((f.get(0)?.start(), f.get(1)?.as_str())))
            .collect();
        for made in call.captures_iter(&text) {
            let (Some(method), Some(template)) = (made.get(1), made.get(2)) else {
                continue;
            };
            let at = functions.partition_point(|(start, _)| *start < method.start());
            let Some((_, name)) = at.checked_sub(1).and_then(|at| functions.get(at)) else {
                continue;
            };
            let until = functions.get(at).map_or(text.len(), |(start, _)| *start);
            let posts = text
                .get(method.start()..until)
                .is_some_and(|rest| rest.contains(r#"method="post""#));
            let method = match method.as_str() {
                "get_api_list" if posts => "post",
                "get_api_list" => "get",
                "del" => "delete",
                plain => plain,
            };
            let template = variable.replace_all(template.as_str(), "{x}");
            let whole = format!("{}{template}", client.base);
            if let (Some(letter), Some(path)) = (letter(method), path(&whole)) {
                found
                    .entry((letter, path))
                    .or_default()
                    .insert((*name).to_owned());
            }
        }
    }
    let tree = client.provider.to_owned();
    into.hosts
        .insert((tree.clone(), client.host.to_owned(), tree));
    for ((method, path), names) in found {
        into.operations
            .push(operation(client, method, path, &names));
    }
    Ok(())
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), String> {
    if folder.is_file() {
        into.push(folder.to_owned());
        return Ok(());
    }
    for entry in crate::source::files(folder, "")? {
        if entry.is_dir() {
            collect(&entry, into)?;
        } else if entry.extension().is_some_and(|e| e == "py") {
            into.push(entry);
        }
    }
    Ok(())
}

/// The operation of a path. Several functions may call it, and each has a say.
fn operation(client: Client, method: char, path: String, names: &BTreeSet<String>) -> Operation {
    let literal = |segment: &&str| segment.bytes().all(|b| b > 2) && !segment.is_empty();
    let segments: Vec<&str> = path.trim_start_matches(client.base).split('/').collect();
    let mut literals: Vec<&str> = segments.iter().copied().filter(literal).collect();
    literals.retain(|segment| {
        !matches!(*segment, "v1" | "v2" | "accounts" | "zones") || segments.len() < 4
    });
    let nouns: Vec<String> = literals
        .last()
        .map(|s| lexicon::words(s))
        .unwrap_or_default();
    let word = match method {
        'G' => "GET",
        'D' => "DELETE",
        'P' => "POST",
        'U' => "PUT",
        _ => "PATCH",
    };
    let mut effects = countersign_model::Effects::NONE;
    let mut all_read = true;
    for name in names {
        let mut words = lexicon::words(name);
        words.retain(|word| word != "cls" && word != "async");
        // How GitLab's client calls what others call list and get.
        if let Some(first) = words.first_mut() {
            match first.as_str() {
                "all" => "list".clone_into(first),
                "show" | "retrieve" => "get".clone_into(first),
                _ => {}
            }
        }
        let said = lexicon::judge(&words, &nouns, Some(word));
        effects = effects.union(said.effects);
        all_read &= said.verb_reads;
    }
    let verb = names.iter().next().map_or("", String::as_str);
    let verb = verb
        .trim_start_matches('_')
        .trim_start_matches("cls_")
        .trim_end_matches("_async");
    Operation {
        provider: client.provider,
        service: literals.first().copied().unwrap_or_default().to_owned(),
        title: client.title.to_owned(),
        name: format!("{}.{verb}", literals.join(".")),
        tree: client.provider.to_owned(),
        keys: vec![Key {
            path,
            method,
            wants: Vec::new(),
        }],
        object: None,
        effects,
        traits: if all_read {
            Traits::VERB_READS
        } else {
            Traits::default()
        },
        level: Level::Unlabelled,
        shows: None,
    }
}
