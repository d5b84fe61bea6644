//! Google, from the discovery documents of its Python client.

use crate::operation::{Catalogue, Key, Operation, letter, path};
use crate::{lexicon, secrets, source};
use countersign_catalogue::embedded::{Level, Traits};
use countersign_model::Effect;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Adds every API of a google-api-python-client package.
pub(crate) fn read(package: &Path, into: &mut Catalogue) -> Result<(), String> {
    for file in source::files(&package.join("discovery_cache/documents"), ".json")? {
        let json = source::json(&file)?;
        let root = json["rootUrl"].as_str().unwrap_or_default();
        let host = root
            .strip_prefix("https://")
            .map(|h| h.trim_end_matches('/'));
        let Some(host) = host.filter(|host| !host.is_empty() && !host.contains('/')) else {
            continue;
        };
        let tree = format!("google {host}");
        into.hosts
            .insert(("google".to_owned(), host.to_owned(), tree.clone()));
        let api = Api { json: &json, tree };
        api.methods(&json, &mut into.operations);
    }
    Ok(())
}

struct Api<'a> {
    json: &'a Value,
    tree: String,
}

impl Api<'_> {
    fn methods(&self, at: &Value, into: &mut Vec<Operation>) {
        let methods = at["methods"]
            .as_object()
            .into_iter()
            .flat_map(|m| m.values());
        into.extend(methods.filter_map(|method| self.operation(method)));
        let below = at["resources"]
            .as_object()
            .into_iter()
            .flat_map(|r| r.values());
        below.for_each(|resource| self.methods(resource, into));
    }

    fn operation(&self, method: &Value) -> Option<Operation> {
        let id = method["id"].as_str()?;
        let http = method["httpMethod"].as_str()?;
        let mut parts: Vec<&str> = id.split('.').collect();
        let last = parts.pop()?;
        let nouns = parts.iter().skip(1).rev().take(1);
        let nouns: Vec<String> = nouns.flat_map(|part| lexicon::words(part)).collect();
        let mut said = lexicon::judge(&lexicon::words(last), &nouns, Some(http));
        // It asks what the caller may do, and changes nothing.
        if last == "testIamPermissions" {
            said.effects = [Effect::Read].into_iter().collect();
        }
        let mut effects = said.effects;
        let mut traits = Traits::default();
        if said.verb_reads {
            traits = traits.with(Traits::VERB_READS);
        }
        let reply = method["response"]["$ref"].as_str().unwrap_or_default();
        let shows = self.secret_in(reply, &mut BTreeSet::new());
        if shows.is_some() {
            effects = effects.with(Effect::Secret);
        }
        let keys = self.keys(method, http);
        (!keys.is_empty()).then(|| Operation {
            provider: "google",
            service: self.json["name"].as_str().unwrap_or_default().to_owned(),
            title: self.title(),
            name: id.to_owned(),
            tree: self.tree.clone(),
            keys,
            object: None,
            effects,
            traits,
            level: Level::Unlabelled,
            shows,
        })
    }

    fn title(&self) -> String {
        let title = self.json["canonicalName"]
            .as_str()
            .or(self.json["title"].as_str())
            .unwrap_or_default();
        let title = title.strip_suffix(" API").unwrap_or(title);
        match title.strip_prefix("Google ") {
            Some(rest) if rest.len() > 3 => rest.to_owned(),
            _ => title.to_owned(),
        }
    }

    fn keys(&self, method: &Value, http: &str) -> Vec<Key> {
        let service = self.json["servicePath"].as_str().unwrap_or_default();
        let own = method["flatPath"].as_str().or(method["path"].as_str());
        let mut templates: Vec<String> = own
            .map(|path| format!("/{service}{}", path.trim_start_matches('/')))
            .into_iter()
            .collect();
        let uploads = method["mediaUpload"]["protocols"].as_object();
        for upload in uploads.into_iter().flat_map(|all| all.values()) {
            templates.extend(upload["path"].as_str().map(str::to_owned));
        }
        let keys = templates.iter().filter_map(|template| {
            Some(Key {
                path: path(template)?,
                method: letter(http)?,
                wants: Vec::new(),
            })
        });
        let mut keys: Vec<Key> = keys.collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// The field of a schema, or of one within it, that holds a secret.
    fn secret_in(&self, name: &str, seen: &mut BTreeSet<String>) -> Option<String> {
        if name.is_empty() || !seen.insert(name.to_owned()) {
            return None;
        }
        self.secret_in_schema(&self.json["schemas"][name], seen)
    }

    fn secret_in_schema(&self, schema: &Value, seen: &mut BTreeSet<String>) -> Option<String> {
        if let Some(name) = schema["$ref"].as_str() {
            return self.secret_in(name, seen);
        }
        let properties = schema["properties"].as_object().into_iter().flatten();
        for (field, property) in properties {
            if property["type"] == "string" && secrets::is_secret(field) {
                return Some(field.clone());
            }
            if let Some(inner) = self.secret_in_schema(property, seen) {
                return Some(inner);
            }
        }
        ["items", "additionalProperties"]
            .iter()
            .filter_map(|inner| schema.get(*inner))
            .find_map(|inner| self.secret_in_schema(inner, seen))
    }
}
