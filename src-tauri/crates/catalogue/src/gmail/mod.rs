//! Gmail.

mod inspect;
mod mail;

pub(crate) use inspect::INSPECTORS;

use crate::body::{Content, Fault};
use crate::judgement::{Facts, Judgement, snake};
use crate::smuggled::own_credential;
use crate::table::{Habits, Table};
use countersign_model::{Effects, Words};
use serde_json::Value;
use std::collections::BTreeSet;

/// Gmail's operations.
pub(crate) static TABLE: Table = Table::new("gmail", include_str!("table.txt"), HABITS, screen);

const HABITS: Habits = Habits {
    json_anyway: false,
    get_may_change: false,
};

/// What Google accepts as a credential in the query.
const CREDENTIALS: &[&str] = &["access_token", "oauth_token", "key"];

fn screen(facts: &Facts<'_>, judgement: &mut Judgement) {
    for name in CREDENTIALS {
        if facts.query_has(name) {
            own_credential(judgement, name);
        }
    }
    if let Content::Json(value) = facts.content
        && repeats_in_another_case(value)
    {
        judgement.unreadable(Fault::Repeated, Effects::NONE);
    }
    // `me` is the account's own mailbox; any other name must be seen.
    if let Some(user) = facts.param("userId").filter(|user| *user != "me") {
        let words = std::mem::take(&mut judgement.words);
        judgement.words = words.ours(" (mailbox ").foreign(user).ours(")");
    }
}

/// Protobuf's JSON takes `addLabelIds` and `add_label_ids` for the same name.
fn repeats_in_another_case(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            let names: BTreeSet<String> = members.keys().map(|name| snake(name)).collect();
            names.len() < members.len() || members.values().any(repeats_in_another_case)
        }
        Value::Array(items) => items.iter().any(repeats_in_another_case),
        _ => false,
    }
}

/// `3 messages`
fn messages(words: Words, n: usize) -> Words {
    crate::words::counted(words, n as u64, "message", "messages")
}
