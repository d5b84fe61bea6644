//! Providers that publish an OpenAPI description.

use crate::operation::{Catalogue, Key, Operation, letter, path};
use crate::{lexicon, secrets, source};
use countersign_catalogue::embedded::{Level, Traits};
use countersign_model::Effect;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Whose description it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Publisher {
    pub(crate) provider: &'static str,
    pub(crate) title: &'static str,
    pub(crate) host: &'static str,
    /// What stands before every path of the description.
    pub(crate) base: &'static str,
}

/// Adds the operations of a description.
pub(crate) fn read(file: &Path, publisher: Publisher, into: &mut Catalogue) -> Result<(), String> {
    let json = source::json(file)?;
    let tree = format!("{} {}", publisher.provider, publisher.host);
    let host = publisher.host.to_owned();
    into.hosts
        .insert((publisher.provider.to_owned(), host, tree.clone()));
    for (template, methods) in json["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let read = Read {
                json: &json,
                publisher,
                tree: &tree,
            };
            into.operations
                .extend(read.operation(template, method, operation));
        }
    }
    Ok(())
}

struct Read<'a> {
    json: &'a Value,
    publisher: Publisher,
    tree: &'a str,
}

impl Read<'_> {
    fn operation(&self, template: &str, method: &str, operation: &Value) -> Option<Operation> {
        let letter = letter(method)?;
        let name = operation["operationId"].as_str()?;
        let last = name.rsplit(['/', '.']).next().unwrap_or(name);
        let nouns: Vec<String> = template
            .rsplit('/')
            .find(|segment| !segment.is_empty() && !segment.contains('{'))
            .map(lexicon::words)
            .unwrap_or_default();
        let method = method.to_ascii_uppercase();
        let said = lexicon::judge(&lexicon::words(last), &nouns, Some(&method));
        let mut effects = said.effects;
        let replies = operation["responses"].as_object().into_iter().flatten();
        let good = replies.filter(|(status, _)| status.starts_with('2'));
        let media = good.flat_map(|(_, reply)| reply["content"].as_object().into_iter().flatten());
        let shows = media
            .filter_map(|(_, media)| self.secret_in(&media["schema"], &mut BTreeSet::new(), 0))
            .next();
        if shows.is_some() {
            effects = effects.with(Effect::Secret);
        }
        let mut traits = Traits::default();
        if said.verb_reads {
            traits = traits.with(Traits::VERB_READS);
        }
        Some(Operation {
            provider: self.publisher.provider,
            service: name
                .split_once('/')
                .map_or("", |(service, _)| service)
                .to_owned(),
            title: self.publisher.title.to_owned(),
            name: name.to_owned(),
            tree: self.tree.to_owned(),
            keys: vec![Key {
                path: path(&format!("{}{template}", self.publisher.base))?,
                method: letter,
                wants: Vec::new(),
            }],
            object: None,
            effects,
            traits,
            level: Level::Unlabelled,
            shows,
        })
    }

    /// The field of a schema, or of one within it, that holds a secret.
    fn secret_in(&self, schema: &Value, seen: &mut BTreeSet<String>, depth: u8) -> Option<String> {
        // Descriptions are not nested deeper than this by people.
        if depth > 12 {
            return None;
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.json.pointer(reference.trim_start_matches('#'))?;
            return seen
                .insert(reference.to_owned())
                .then(|| self.secret_in(target, seen, depth + 1))
                .flatten();
        }
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            if property["type"].to_string().contains("string") && secrets::is_secret(field) {
                return Some(field.clone());
            }
            if let Some(inner) = self.secret_in(property, seen, depth + 1) {
                return Some(inner);
            }
        }
        let parts = ["oneOf", "anyOf", "allOf"]
            .iter()
            .filter_map(|part| schema[*part].as_array())
            .flatten();
        parts
            .chain(schema.get("items"))
            .find_map(|part| self.secret_in(part, seen, depth + 1))
    }
}
