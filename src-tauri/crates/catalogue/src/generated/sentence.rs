//! The sentence of a generated operation: its own name in words, and what it
//! acts on. No sentence of a provider's documentation is shown.

use super::choice::Found;
use crate::words;
use countersign_model::{Objects, Words};

/// `Delete CloudFormation stack “prod-web” in “eu-west-1”`.
pub(super) fn sentence(found: &Found, objects: &Objects) -> Words {
    let Some(operation) = found.operations.first() else {
        return Words::default();
    };
    let (verb, noun) = verb_and_noun(&operation.name);
    let several = objects.count.filter(|n| *n > 1);
    let mut said = Words::new(format!("{verb} "));
    if let Some(n) = several {
        said = said.number(n).ours(" ");
    }
    let noun = if objects.count == Some(1) {
        singular(&noun)
    } else {
        noun
    };
    said = said.ours(format!("{} {noun}", operation.service.title).trim_end());
    let names: Vec<String> = objects.listed.iter().map(|o| o.raw().to_owned()).collect();
    if several.is_some() && !names.is_empty() {
        said = words::listed(said.ours(" ("), &names).ours(")");
    } else if let [name] = names.as_slice() {
        said = said.ours(" ").foreign(name.as_str());
    }
    match &found.region {
        Some(region) => said.ours(" in ").foreign(region.as_str()),
        None => said,
    }
}

/// What an operation is called, as a verb and what follows it.
fn verb_and_noun(name: &str) -> (String, String) {
    let mut parts = name.rsplit(['.', '/']).filter(|part| !part.is_empty());
    let last = split(parts.next().unwrap_or(name));
    let verbs = if last.len() > 1 && matches!(last[0].as_str(), "batch" | "bulk" | "admin") {
        2
    } else {
        1
    };
    let (verb, noun) = last.split_at(verbs.min(last.len()));
    let mut noun = noun.join(" ");
    if noun.is_empty() {
        noun = parts.next().map(split).unwrap_or_default().join(" ");
    }
    (capital(&verb.join(" ")), noun)
}

/// `DescribeDBInstances` → describe, DB, instances.
fn split(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let chars: Vec<char> = name.chars().collect();
    for (at, &c) in chars.iter().enumerate() {
        if !c.is_ascii_alphanumeric() {
            words.push(String::new());
            continue;
        }
        let before = at.checked_sub(1).map(|at| chars[at]);
        let after = chars.get(at + 1);
        let begins = before.is_none_or(|b| {
            c.is_ascii_uppercase()
                && (!b.is_ascii_uppercase() || after.is_some_and(char::is_ascii_lowercase))
        });
        match words.last_mut() {
            Some(word) if !begins => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    words.retain(|word| !word.is_empty());
    for word in &mut words {
        let shouted = word.len() > 1 && word.bytes().all(|b| !b.is_ascii_lowercase());
        if !shouted {
            word.make_ascii_lowercase();
        }
    }
    words
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// `policies` → policy.
pub(crate) fn singular(noun: &str) -> String {
    for (many, one) in [("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch")] {
        if let Some(stem) = noun.strip_suffix(many) {
            return format!("{stem}{one}");
        }
    }
    let plain = ["ss", "us", "is"].iter().any(|end| noun.ends_with(end));
    noun.strip_suffix('s')
        .filter(|_| !plain)
        .unwrap_or(noun)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_into_words() {
        let told = |name| {
            let (verb, noun) = verb_and_noun(name);
            format!("{verb}|{noun}")
        };
        assert_eq!(told("DeleteStack"), "Delete|stack");
        assert_eq!(told("DescribeDBInstances"), "Describe|DB instances");
        assert_eq!(told("compute.instances.delete"), "Delete|instances");
        assert_eq!(told("repos/delete-webhook"), "Delete|webhook");
        assert_eq!(told("BatchGetSecretValue"), "Batch get|secret value");
        assert_eq!(told("chat.postMessage"), "Post|message");
        assert_eq!(told("GetS3Object"), "Get|S3 object");
    }

    #[test]
    fn one_thing_has_no_plural() {
        let ones = ["instances", "policies", "addresses", "status", "access"].map(singular);
        assert_eq!(ones, ["instance", "policy", "address", "status", "access"]);
    }
}
