//! An operation on its way from a provider's description to the embedded form.

use countersign_catalogue::embedded::{Class, Level, MANY, ONE, Traits};
use countersign_model::Effects;
use std::collections::BTreeSet;

/// All that was read.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    /// Every operation.
    pub(crate) operations: Vec<Operation>,
    /// Provider, host pattern and the tree that answers there.
    pub(crate) hosts: BTreeSet<(String, String, String)>,
}

/// One operation of a provider.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) provider: &'static str,
    /// The provider's own name of the service: `cloudformation`.
    pub(crate) service: String,
    /// What people call it: `CloudFormation`.
    pub(crate) title: String,
    /// The provider's own name of the operation.
    pub(crate) name: String,
    /// The tree that it is found in; several services can share one.
    pub(crate) tree: String,
    pub(crate) keys: Vec<Key>,
    /// The field of the request that names what it acts on.
    pub(crate) object: Option<String>,
    pub(crate) effects: Effects,
    pub(crate) traits: Traits,
    pub(crate) level: Level,
    /// The field of its reply that holds a secret.
    pub(crate) shows: Option<String>,
}

/// A way to reach an operation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// A path in which [`ONE`] and [`MANY`] stand for parameters, or the name
    /// behind `T:` or `A:`.
    pub(crate) path: String,
    /// The letter of the method; `*` for all.
    pub(crate) method: char,
    pub(crate) wants: Vec<Wanted>,
}

/// What a request must have besides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub(crate) header: bool,
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

impl Operation {
    pub(crate) fn class(&self) -> Class {
        Class {
            effects: self.effects,
            traits: self.traits,
            level: self.level,
        }
    }
    /// `aws:s3:PutObject`, by which curated lists name it.
    pub(crate) fn full_name(&self) -> String {
        match self.provider {
            "aws" => format!("aws:{}:{}", self.service, self.name),
            provider => format!("{provider}:{}", self.name),
        }
    }
}

/// The letter that stands for a method in the index.
pub(crate) fn letter(method: &str) -> Option<char> {
    Some(match method.to_ascii_uppercase().as_str() {
        "GET" => 'G',
        "HEAD" => 'H',
        "POST" => 'P',
        "PUT" => 'U',
        "PATCH" => 'A',
        "DELETE" => 'D',
        "*" => '*',
        _ => return None,
    })
}

/// A template with `{name}` and `{name+}` (or `{+name}`) in the index's form,
/// without a slash at its end. `None` when it cannot be written so.
pub(crate) fn path(template: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = template.trim_end_matches('/');
    while let Some((before, braced)) = rest.split_once('{') {
        let (name, after) = braced.split_once('}')?;
        out.push_str(before);
        let many = name.ends_with('+') || name.starts_with('+') || name.ends_with('*');
        // What takes several segments begins with one.
        out.push(char::from(if many && before.ends_with('/') {
            MANY
        } else {
            ONE
        }));
        rest = after;
    }
    out.push_str(rest);
    let sound = out.is_empty() || out.starts_with('/');
    let plain = !out.contains("//") && !out.contains(['?', '#', '}', '%']);
    (sound && plain).then_some(out)
}
