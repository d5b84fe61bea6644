//! What a generated operation acts on.

use super::choice::{Found, Reached};
use crate::body::Content;
use crate::judgement::Facts;
use countersign_model::{Foreign, Objects};
use serde_json::Value;

/// What the request names, and how many there are.
pub(super) fn objects(found: &Found, facts: &Facts<'_>, path: &str) -> Objects {
    let field = found.operations.first().and_then(|o| o.object);
    match (found.reached, field) {
        (Reached::Path, None) => of_path(found, path),
        (Reached::Path, Some(field)) => {
            let of_body = named(field, facts);
            if of_body.listed.is_empty() && of_body.count.is_none() {
                of_path(found, path)
            } else {
                of_body
            }
        }
        (_, Some(field)) => named(field, facts),
        (_, None) => Objects::unknown(),
    }
}

/// The parameters of the path, as one name.
fn of_path(found: &Found, path: &str) -> Objects {
    if found.params.is_empty() {
        return Objects::unknown();
    }
    let mut name = found.params.join("/");
    // To an object store, `a/` is another key than `a`.
    if path.ends_with('/') && path.len() > 1 && found.params.len() > 1 {
        name.push('/');
    }
    Objects::one(name)
}

/// What a field of the request holds: a name, or a list of them.
fn named(field: &str, facts: &Facts<'_>) -> Objects {
    match facts.content {
        Content::Json(value) => match value.get(field) {
            Some(Value::String(name)) => Objects::one(name.as_str()),
            Some(Value::Array(items)) => {
                let names: Option<Vec<Foreign>> = items
                    .iter()
                    .map(|item| item.as_str().map(Foreign::from))
                    .collect();
                names.map_or(
                    Objects {
                        listed: Vec::new(),
                        count: Some(items.len() as u64),
                    },
                    Objects::these,
                )
            }
            _ => Objects::unknown(),
        },
        Content::Form(pairs) => of_pairs(field, pairs),
        Content::Absent => of_pairs(field, facts.query),
        _ => Objects::unknown(),
    }
}

/// `InstanceId.1=…&InstanceId.2=…`, `Names.member.1=…`, or the name alone.
fn of_pairs(field: &str, pairs: &[(String, String)]) -> Objects {
    let mut names = Vec::new();
    for (name, value) in pairs {
        let Some(rest) = name.strip_prefix(field) else {
            continue;
        };
        match rest.strip_prefix('.') {
            None if rest.is_empty() => names.push(Foreign::from(value.as_str())),
            // Another parameter, whose name begins alike.
            None => {}
            Some(rest) => {
                let number = rest.rsplit('.').next().unwrap_or(rest);
                let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
                if !plain || rest.matches('.').count() > 1 {
                    return Objects::unknown();
                }
                names.push(Foreign::from(value.as_str()));
            }
        }
    }
    if names.is_empty() {
        Objects::unknown()
    } else {
        Objects::these(names)
    }
}
