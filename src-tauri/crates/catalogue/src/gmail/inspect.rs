//! What the bodies of Gmail's operations add to them.

use super::{mail, messages};
use crate::body::Fault;
use crate::inspect::Inspector;
use crate::judgement::{Facts, Judgement, fx, get};
use crate::words::{field, join};
use countersign_model::Effect::{Bulk, Delete, Publish, Write};
use countersign_model::{Foreign, Objects, Words};
use serde_json::{Map, Value};

/// Gmail's inspectors.
pub(crate) const INSPECTORS: &[Inspector] = &[
    Inspector {
        name: "gmail-mail",
        worst: fx(&[]),
        inspect: mail::inspect,
    },
    Inspector {
        name: "gmail-labels",
        worst: fx(&[Delete]),
        inspect: labels,
    },
    Inspector {
        name: "gmail-batch-delete",
        worst: fx(&[Bulk]),
        inspect: batch_delete,
    },
    Inspector {
        name: "gmail-batch-modify",
        worst: fx(&[Delete, Bulk]),
        inspect: batch_modify,
    },
    Inspector {
        name: "gmail-forwarding",
        worst: fx(&[Publish, Delete]),
        inspect: forwarding,
    },
    Inspector {
        name: "gmail-vacation",
        worst: fx(&[Publish]),
        inspect: vacation,
    },
    Inspector {
        name: "gmail-filter",
        worst: fx(&[Publish, Delete]),
        inspect: filter,
    },
];

/// A list of strings; empty when the name is not there.
fn strings(object: &Map<String, Value>, name: &str) -> Result<Vec<String>, Fault> {
    match get(object, name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or(Fault::Unexpected))
            .collect(),
        Some(_) => Err(Fault::Unexpected),
    }
}

fn string<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v str> {
    get(object, name).and_then(Value::as_str)
}

/// A switch counts as on unless it is plainly off.
fn is_off(object: &Map<String, Value>, name: &str) -> bool {
    matches!(
        get(object, name),
        None | Some(Value::Null | Value::Bool(false))
    )
}

/// The ids of a batch: two or more are `bulk`, and so is a number that nobody knows.
fn ids(object: &Map<String, Value>, judgement: &mut Judgement) -> Result<usize, Fault> {
    let ids = strings(object, "ids")?;
    if ids.is_empty() {
        return Err(Fault::Unexpected);
    }
    if ids.len() > 1 {
        judgement.raise(fx(&[Bulk]), "count");
    }
    let count = ids.len();
    judgement.objects = Objects::these(ids.into_iter().map(Foreign::from).collect());
    Ok(count)
}

fn batch_delete(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    let count = ids(facts.object()?, judgement)?;
    judgement.words = messages(Words::new("Delete "), count).ours(" for good");
    Ok(())
}

fn batch_modify(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    let body = facts.object()?;
    let count = ids(body, judgement)?;
    relabel(body, &messages(Words::default(), count), judgement)
}

fn labels(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    let id = facts.param("id").unwrap_or_default();
    let what = if judgement.operation.contains(".threads.") {
        "the whole thread "
    } else {
        "the message "
    };
    relabel(facts.object()?, &Words::new(what).foreign(id), judgement)
}

/// Labels that take messages out of sight, and away after 30 days.
const REMOVING: &[(&str, &str)] = &[("TRASH", " to the bin"), ("SPAM", " to spam")];

fn relabel(
    body: &Map<String, Value>,
    what: &Words,
    judgement: &mut Judgement,
) -> Result<(), Fault> {
    let add = strings(body, "addLabelIds")?;
    let remove = strings(body, "removeLabelIds")?;
    let is_in =
        |all: &[String], label: &str| all.iter().any(|l| l.trim().eq_ignore_ascii_case(label));
    judgement.words = match REMOVING.iter().find(|(label, _)| is_in(&add, label)) {
        Some((_, place)) => {
            judgement.raise(fx(&[Delete]), "gmail-labels");
            join(Words::new("Move "), "", what).ours(*place)
        }
        None => {
            let mut words = join(Words::new("Change the labels of "), "", what);
            for (verb, labels) in [(": add ", &add), (": remove ", &remove)] {
                if !labels.is_empty() {
                    words = words.ours(verb).foreign(labels.join(", "));
                }
            }
            words
        }
    };
    for (label, labels) in [("Labels to add", add), ("Labels to remove", remove)] {
        if !labels.is_empty() {
            judgement.fields.push(field(label, labels.join(", ")));
        }
    }
    Ok(())
}

fn forwarding(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    let body = facts.object()?;
    if is_off(body, "enabled") {
        judgement.words = Words::new("Turn off the forwarding of new mail");
        return Ok(());
    }
    judgement.raise(fx(&[Publish]), "gmail-forwarding");
    let address = string(body, "emailAddress").ok_or(Fault::Unexpected)?;
    judgement.words = Words::new("Forward all new mail to ").foreign(address);
    // "trash" here; other dispositions leave the mail in sight.
    match string(body, "disposition") {
        Some("leaveInInbox" | "archive" | "markRead") => {}
        _ => {
            judgement.raise(fx(&[Delete]), "gmail-forwarding");
            let words = std::mem::take(&mut judgement.words);
            judgement.words = words.ours(" and move it to the bin");
        }
    }
    Ok(())
}

fn vacation(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    let body = facts.object()?;
    if is_off(body, "enableAutoReply") {
        judgement.words = Words::new("Turn off the automatic reply");
        return Ok(());
    }
    judgement.raise(fx(&[Publish]), "gmail-vacation");
    judgement.words = Words::new("Answer incoming mail automatically");
    for (name, label) in [
        ("responseSubject", "Subject"),
        ("responseBodyPlainText", "Text"),
        ("responseBodyHtml", "HTML"),
    ] {
        if let Some(text) = string(body, name) {
            judgement.fields.push(field(label, text));
        }
    }
    Ok(())
}

fn filter(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    let body = facts.object()?;
    let action = match get(body, "action") {
        None => return Ok(()),
        Some(action) => action.as_object().ok_or(Fault::Unexpected)?,
    };
    let mut words = Words::new("Make a filter for incoming mail");
    match get(action, "forward") {
        None | Some(Value::Null) => {}
        Some(forward) => {
            judgement.raise(fx(&[Publish]), "gmail-filter");
            let address = forward.as_str().ok_or(Fault::Unexpected)?;
            words = words.ours(", which forwards it to ").foreign(address);
        }
    }
    let add = strings(action, "addLabelIds")?;
    let remove = strings(action, "removeLabelIds")?;
    if add.iter().any(|l| {
        REMOVING
            .iter()
            .any(|(r, _)| l.trim().eq_ignore_ascii_case(r))
    }) {
        judgement.raise(fx(&[Delete]), "gmail-filter");
        words = words.ours(", which moves it to the bin or to spam");
    } else if remove
        .iter()
        .any(|label| label.trim().eq_ignore_ascii_case("INBOX"))
    {
        judgement.raise(fx(&[Write]), "gmail-filter");
        words = words.ours(", which keeps it out of the inbox");
    }
    judgement.words = words;
    Ok(())
}
