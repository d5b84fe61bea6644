//! AWS, from botocore's service descriptions.

use crate::iam::Levels;
use crate::operation::{Catalogue, Key, Operation, Wanted, letter, path};
use crate::{lexicon, secrets, source};
use countersign_catalogue::embedded::{Level, Traits};
use countersign_model::{Effect, Effects};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Adds all services of a botocore package: the newest version of each.
pub(crate) fn read(package: &Path, levels: &Levels, into: &mut Catalogue) -> Result<(), String> {
    for service in source::files(&package.join("data"), "")? {
        if !service.is_dir() {
            continue;
        }
        let versions = source::files(&service, "")?;
        let described = versions.iter().rev().find_map(|version| {
            ["service-2.json.gz", "service-2.json"]
                .map(|name| version.join(name))
                .into_iter()
                .find(|file| file.exists())
        });
        let Some(file) = described else { continue };
        let name = service
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let described = Service {
            json: source::json(&file)?,
            name,
        };
        let mut hosts = hosts(&file.with_file_name("endpoint-rule-set-1.json.gz"))?;
        let prefixed: Vec<String> = described
            .prefixes()
            .iter()
            .flat_map(|prefix| hosts.iter().map(move |host| format!("{prefix}{host}")))
            .collect();
        hosts.extend(prefixed);
        for host in hosts {
            let tree = format!("aws {}", described.name);
            into.hosts.insert(("aws".to_owned(), host, tree));
        }
        into.operations.extend(described.operations(levels));
    }
    Ok(())
}

struct Service {
    json: Value,
    name: String,
}

impl Service {
    fn metadata(&self) -> &Value {
        &self.json["metadata"]
    }

    fn shape(&self, name: &str) -> &Value {
        &self.json["shapes"][name]
    }

    /// What operations put before the host, as host patterns have it.
    fn prefixes(&self) -> BTreeSet<String> {
        let operations = self.json["operations"].as_object();
        let prefixes = operations
            .into_iter()
            .flat_map(|all| all.values())
            .filter_map(|operation| operation["endpoint"]["hostPrefix"].as_str());
        prefixes
            .map(|prefix| {
                if prefix.starts_with('{') {
                    "{x}.".to_owned()
                } else {
                    prefix.to_owned()
                }
            })
            .filter(|prefix| prefix == "{x}." || !prefix.contains('{'))
            .collect()
    }

    /// All of them, but for those that another one took the place of.
    fn operations(&self, levels: &Levels) -> Vec<Operation> {
        let all = self.json["operations"].as_object().into_iter().flatten();
        let (old, mut operations): (Vec<_>, Vec<_>) = all
            .map(|(name, operation)| {
                let old = operation["deprecated"].as_bool().unwrap_or(false);
                (old, self.operation(name, operation, levels))
            })
            .partition(|(old, _)| *old);
        for (_, old) in old {
            let replaced = |key: &Key| operations.iter().any(|(_, o)| o.keys.contains(key));
            if !old.keys.iter().all(replaced) {
                operations.push((true, old));
            }
        }
        operations
            .into_iter()
            .map(|(_, operation)| operation)
            .collect()
    }

    fn operation(&self, name: &str, operation: &Value, levels: &Levels) -> Operation {
        let level = levels.of(&self.name, self.metadata(), name);
        let said = lexicon::judge(&lexicon::words(name), &[], None);
        let mut effects = with_level(said.effects, level);
        let mut traits = Traits::default();
        if said.verb_reads {
            traits = traits.with(Traits::VERB_READS);
        }
        let output = operation["output"]["shape"].as_str().unwrap_or_default();
        let shows = self.secret_in(output, &mut BTreeSet::new());
        if shows.is_some() {
            effects = effects.with(Effect::Secret);
        }
        let input = operation["input"]["shape"].as_str().unwrap_or_default();
        let rpc = self.protocols().iter().all(|p| !is_rest(p));
        let object = self.object(name, input, rpc);
        if object.as_ref().is_some_and(|(_, list)| *list) {
            traits = traits.with(Traits::COUNTED);
        }
        if self.streams(input) {
            traits = traits.with(Traits::OPAQUE);
        }
        Operation {
            provider: "aws",
            service: self.name.clone(),
            title: self.metadata()["serviceId"]
                .as_str()
                .unwrap_or(&self.name)
                .to_owned(),
            name: name.to_owned(),
            tree: format!("aws {}", self.name),
            keys: self.keys(name, operation, input),
            object: object.map(|(name, _)| name),
            effects,
            traits,
            level,
            shows,
        }
    }

    fn protocols(&self) -> Vec<String> {
        let metadata = self.metadata();
        let listed = metadata["protocols"].as_array().into_iter().flatten();
        let mut all: Vec<String> = listed
            .filter_map(|p| p.as_str().map(str::to_owned))
            .collect();
        if all.is_empty() {
            all.extend(metadata["protocol"].as_str().map(str::to_owned));
        }
        if metadata.get("awsQueryCompatible").is_some() && !all.iter().any(|p| p == "query") {
            all.push("query".to_owned());
        }
        all
    }

    fn keys(&self, name: &str, operation: &Value, input: &str) -> Vec<Key> {
        let target = self.metadata()["targetPrefix"].as_str();
        let mut keys = Vec::new();
        for protocol in self.protocols() {
            let named = |path: String| Key {
                path,
                method: '*',
                wants: Vec::new(),
            };
            match protocol.as_str() {
                "json" => keys.extend(target.map(|target| named(format!("T:{target}.{name}")))),
                "query" | "ec2" => keys.push(named(format!("A:{name}"))),
                "smithy-rpc-v2-cbor" => {
                    let id = self.metadata()["serviceId"].as_str().unwrap_or_default();
                    let id = target.map_or_else(|| id.replace(' ', ""), str::to_owned);
                    keys.push(Key {
                        path: format!("/service/{id}/operation/{name}"),
                        method: 'P',
                        wants: Vec::new(),
                    });
                }
                _ => keys.extend(self.rest(operation, input)),
            }
        }
        keys
    }

    /// Method and path, and what else tells it from its like.
    fn rest(&self, operation: &Value, input: &str) -> Option<Key> {
        let http = &operation["http"];
        let uri = http["requestUri"].as_str().unwrap_or("/");
        let (template, query) = uri.split_once('?').unwrap_or((uri, ""));
        let mut wants = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (part, None),
            };
            // It only says the name again.
            if name != "x-id" {
                wants.push(Wanted {
                    header: false,
                    name: name.to_owned(),
                    value: value.filter(|v| !v.is_empty()),
                });
            }
        }
        let shape = self.shape(input);
        let required = shape["required"].as_array().into_iter().flatten();
        for member in required.filter_map(Value::as_str) {
            let described = &shape["members"][member];
            let name = described["locationName"].as_str().unwrap_or(member);
            match described["location"].as_str() {
                Some("querystring") => wants.push(Wanted {
                    header: false,
                    name: name.to_owned(),
                    value: None,
                }),
                Some("header") if name.eq_ignore_ascii_case("x-amz-copy-source") => {
                    wants.push(Wanted {
                        header: true,
                        name: name.to_lowercase(),
                        value: None,
                    });
                }
                _ => {}
            }
        }
        wants.sort();
        wants.dedup();
        Some(Key {
            path: path(template)?,
            method: letter(http["method"].as_str().unwrap_or("POST"))?,
            wants,
        })
    }

    /// The field that names what an operation acts on, and whether it is a list.
    fn object(&self, operation: &str, input: &str, rpc: bool) -> Option<(String, bool)> {
        let shape = self.shape(input);
        let required: Vec<&str> = shape["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let protocols = self.protocols();
        let (ec2, query) = (
            protocols.iter().any(|p| p == "ec2"),
            protocols.iter().any(|p| p == "query"),
        );
        let mut best: Option<(i32, String, bool)> = None;
        for (name, member) in shape["members"].as_object().into_iter().flatten() {
            if member.get("location").is_some() {
                continue;
            }
            let described = self.shape(member["shape"].as_str().unwrap_or_default());
            let (text, list) = match described["type"].as_str() {
                Some("string") => (true, false),
                Some("list") => {
                    let of = described["member"]["shape"].as_str().unwrap_or_default();
                    (self.shape(of)["type"] == "string", true)
                }
                _ => continue,
            };
            let lower = name.to_lowercase();
            if [
                "clienttoken",
                "clientrequesttoken",
                "nexttoken",
                "idempotencytoken",
                "clientid",
            ]
            .contains(&lower.as_str())
            {
                continue;
            }
            let ends: &[&str] = if list {
                &[
                    "identifiers",
                    "names",
                    "keys",
                    "arns",
                    "ids",
                    "entries",
                    "items",
                    "resources",
                ]
            } else {
                &[
                    "identifier",
                    "bucket",
                    "email",
                    "name",
                    "arn",
                    "key",
                    "url",
                    "id",
                ]
            };
            let Some(stem) = ends.iter().find_map(|end| lower.strip_suffix(end)) else {
                continue;
            };
            // Of the fields that name something, that of the operation's own noun.
            let own = !stem.is_empty() && operation.to_lowercase().contains(stem);
            let needed = required.contains(&name.as_str());
            let other = ["role", "kms", "tag"]
                .iter()
                .any(|word| lower.contains(word));
            let score = 2 * i32::from(needed) + 3 * i32::from(own) + i32::from(text)
                - 2 * i32::from(other && !own);
            // A list alone counts where the service takes it by name; a path
            // says what it acts on by itself.
            let useful = score >= 3 && (rpc || list);
            if useful && best.as_ref().is_none_or(|(most, ..)| score > *most) {
                let own = member["locationName"].as_str();
                let wire = match (member["queryName"].as_str(), own) {
                    (Some(name), _) if ec2 => name.to_owned(),
                    (None, Some(own)) if ec2 => capital(own),
                    (_, Some(own)) if query && !ec2 => own.to_owned(),
                    _ => name.clone(),
                };
                best = Some((score, wire, list));
            }
        }
        best.map(|(_, name, list)| (name, list))
    }

    fn streams(&self, input: &str) -> bool {
        let shape = self.shape(input);
        let payload = shape["payload"].as_str().unwrap_or_default();
        let member = &shape["members"][payload];
        let described = self.shape(member["shape"].as_str().unwrap_or_default());
        let streaming = |value: &Value| value["streaming"].as_bool().unwrap_or(false);
        !payload.is_empty()
            && described["type"] == "blob"
            && (streaming(member) || streaming(described))
    }

    /// The field of a shape, or of one within it, that holds a secret.
    fn secret_in(&self, name: &str, seen: &mut BTreeSet<String>) -> Option<String> {
        if name.is_empty() || !seen.insert(name.to_owned()) {
            return None;
        }
        let shape = self.shape(name);
        let of = |value: &Value| value["shape"].as_str().unwrap_or_default().to_owned();
        match shape["type"].as_str()? {
            "structure" => shape["members"]
                .as_object()?
                .iter()
                .find_map(|(field, member)| {
                    let inner = of(member);
                    let kind = self.shape(&inner)["type"].as_str();
                    let leaf = matches!(kind, Some("string" | "blob" | "map"));
                    if leaf && secrets::is_secret(field) {
                        Some(field.clone())
                    } else {
                        self.secret_in(&inner, seen)
                    }
                }),
            "list" => self.secret_in(&of(&shape["member"]), seen),
            "map" => self.secret_in(&of(&shape["value"]), seen),
            _ => None,
        }
    }
}

fn is_rest(protocol: &str) -> bool {
    protocol.starts_with("rest")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// Both layers: IAM's level raises what the name says.
fn with_level(said: Effects, level: Level) -> Effects {
    match level {
        Level::Unlabelled => said,
        Level::List | Level::Read => said.with(Effect::Read),
        Level::Write | Level::Tagging => without_read(said, Effect::Write),
        Level::Permissions => without_read(said, Effect::Permission),
    }
}

/// What changes something is no read by its name.
fn without_read(said: Effects, least: Effect) -> Effects {
    let changes = said
        .iter()
        .any(|e| !matches!(e, Effect::Read | Effect::Secret | Effect::Bulk));
    let kept = said
        .iter()
        .filter(|e| *e != Effect::Read)
        .collect::<Effects>();
    if changes && least == Effect::Write {
        kept
    } else {
        kept.with(least)
    }
}

/// The patterns of a service's hosts: below AWS's domains, with `{region}` for
/// a region and `{x}` for any other label.
fn hosts(file: &Path) -> Result<BTreeSet<String>, String> {
    let mut urls = BTreeSet::new();
    if file.exists() {
        collect(&source::json(file)?, &mut urls);
    }
    Ok(urls.iter().filter_map(|url| pattern(url)).collect())
}

fn collect(value: &Value, urls: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if members.get("type").is_some_and(|t| t == "endpoint")
                && let Some(url) = value["endpoint"]["url"].as_str()
            {
                urls.insert(url.to_owned());
            }
            members.values().for_each(|value| collect(value, urls));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, urls)),
        _ => {}
    }
}

fn pattern(url: &str) -> Option<String> {
    let host = url.strip_prefix("https://")?.split('/').next()?;
    let lower = host.to_lowercase();
    let known = [
        ".amazonaws.com",
        ".amazonaws.com.cn",
        ".api.aws",
        ".api.amazonwebservices.com.cn",
        "dnssuffix}",
    ];
    let end = known.iter().find(|end| lower.ends_with(*end))?;
    // A variable for the domain begins at the last brace.
    let name = if end.ends_with('}') {
        let (before, _) = host.rsplit_once(".{")?;
        before
    } else {
        &host[..host.len() - end.len()]
    };
    let labels = name.split('.').map(|label| {
        let lower = label.to_lowercase();
        if lower.starts_with('{') && lower.contains("region") || is_region(label) {
            Some("{region}".to_owned())
        } else if label.starts_with('{') && label.find('}') == Some(label.len() - 1) {
            Some("{x}".to_owned())
        } else {
            (!label.contains(['{', '#'])).then(|| label.to_owned())
        }
    });
    let labels: Vec<String> = labels.collect::<Option<_>>()?;
    // A variable in the middle would match what it should not.
    let inner = labels.iter().skip(1).any(|label| label == "{x}");
    (!inner && labels.last().is_some_and(|l| l != "{x}")).then(|| labels.join("."))
}

fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    parts.len() >= 3
        && parts
            .last()
            .is_some_and(|p| p.len() <= 2 && p.bytes().all(|b| b.is_ascii_digit()))
        && parts[..parts.len() - 1]
            .iter()
            .all(|p| p.len() >= 2 && p.bytes().all(|b| b.is_ascii_lowercase()))
}
