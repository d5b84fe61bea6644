//! Slack.

use crate::body::{Content, Fault};
use crate::inspect::Inspector;
use crate::judgement::{Facts, Judgement, fx};
use crate::smuggled::own_credential;
use crate::table::{Habits, Table};
use crate::words::{self, field};
use countersign_model::Effect::Bulk;
use countersign_model::{Foreign, Objects};

/// Slack's operations.
pub(crate) static TABLE: Table = Table::new("slack", include_str!("table.txt"), HABITS, screen);

const HABITS: Habits = Habits {
    json_anyway: false,
    get_may_change: true,
};

/// Slack's inspectors. No body adds effects, but for the number of people;
/// each makes sure that the parameters can be read in one way only.
pub(crate) const INSPECTORS: &[Inspector] = &[
    Inspector {
        name: "slack-params",
        worst: fx(&[]),
        inspect: params,
    },
    Inspector {
        name: "slack-message",
        worst: fx(&[]),
        inspect: message,
    },
    Inspector {
        name: "slack-people",
        worst: fx(&[Bulk]),
        inspect: people,
    },
];

/// Slack takes a token from the query and the body, and prefers it there.
fn screen(facts: &Facts<'_>, judgement: &mut Judgement) {
    for name in ["token", "client_secret"] {
        let in_body = match facts.content {
            Content::Json(value) => value.get(name).is_some(),
            Content::Form(pairs) => pairs.iter().any(|(n, _)| n == name),
            Content::Multipart(parts) => parts.iter().any(|p| p.name.as_deref() == Some(name)),
            _ => false,
        };
        if in_body || facts.query_has(name) {
            own_credential(judgement, name);
        }
    }
}

/// Every parameter, from wherever it comes, once.
fn params(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    let in_body: Vec<&str> = match facts.content {
        Content::Absent => Vec::new(),
        Content::Json(value) => value
            .as_object()
            .ok_or(Fault::Unexpected)?
            .keys()
            .map(String::as_str)
            .collect(),
        Content::Form(pairs) => pairs.iter().map(|(name, _)| name.as_str()).collect(),
        Content::Multipart(parts) => parts.iter().filter_map(|p| p.name.as_deref()).collect(),
        Content::Unreadable(fault) => return Err(*fault),
        Content::NotRead => return Err(Fault::NotRead),
        Content::Mail(_) | Content::Text(_) | Content::Binary => return Err(Fault::Unexpected),
    };
    let mut names: Vec<&str> = facts.query.iter().map(|(name, _)| name.as_str()).collect();
    names.extend(in_body);
    names.sort_unstable();
    for two in names.windows(2) {
        if two[0] == two[1] {
            judgement.doubt(words::twice(two[0]), "repeated parameter");
        }
    }
    Ok(())
}

/// A message: readers see its blocks and attachments, and its text only where
/// there are none.
fn message(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    params(facts, judgement)?;
    let mut built = Vec::new();
    for (name, label) in [
        ("blocks", "Blocks"),
        ("attachments", "Attachments"),
        ("unfurls", "Previews"),
    ] {
        let given = match facts.content {
            Content::Json(value) => value.get(name).map(ToString::to_string),
            _ => None,
        };
        if let Some(value) = given.or_else(|| facts.field(name)) {
            judgement.fields.push(field(label, value));
            built.push(name);
        }
    }
    if let Some(text) = facts.field("text").or_else(|| facts.field("markdown_text")) {
        judgement.fields.push(field("Text", text));
    }
    if !built.is_empty() {
        let what = format!(
            " (it is made of {}, which readers see instead of a plain text)",
            built.join(" and ")
        );
        let words = std::mem::take(&mut judgement.words);
        judgement.words = words.ours(what);
    }
    Ok(())
}

/// Two people or more at once are `bulk`.
fn people(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    params(facts, judgement)?;
    let users = facts.field("users").ok_or(Fault::Missing)?;
    let users: Vec<&str> = users
        .split(',')
        .map(str::trim)
        .filter(|u| !u.is_empty())
        .collect();
    if users.is_empty() {
        return Err(Fault::Unexpected);
    }
    if users.len() > 1 {
        judgement.raise(fx(&[Bulk]), "count");
        let words = std::mem::take(&mut judgement.words);
        judgement.words = words::counted(words.ours(": "), users.len() as u64, "person", "people");
    }
    judgement.objects = Objects::these(users.into_iter().map(Foreign::from).collect());
    Ok(())
}
