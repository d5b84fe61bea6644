//! What a rule sees of a request.

use cedar_policy::{Context, RestrictedExpression as Value};
use countersign_model::Action;

/// What the agent did on the account in the last hour, as the broker counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recent {
    /// Requests that were allowed.
    pub requests: u64,
    /// Objects that these acted on.
    pub objects: u64,
}

/// The attributes of `context`, but for `approval`: they are the same at every
/// rung of the ladder.
pub(crate) fn attributes(action: &Action, recent: Recent) -> Vec<(String, Value)> {
    let objects = &action.objects;
    let complete = objects.count == Some(objects.listed.len() as u64);
    let mut pairs = vec![
        ("operation".to_owned(), text(&action.operation)),
        (
            "objects".to_owned(),
            Value::new_set(objects.listed.iter().map(|o| text(o.raw()))),
        ),
        ("objects_complete".to_owned(), Value::new_bool(complete)),
        (
            "effects".to_owned(),
            Value::new_set(action.effects.iter().map(|e| text(e.word()))),
        ),
        // Whatever the catalogue says: with any other effect it is not routine.
        (
            "routine".to_owned(),
            Value::new_bool(action.routine && action.effects.is_read_only()),
        ),
    ];
    if let Some(count) = objects.count {
        pairs.push(("count".to_owned(), number(count)));
    }
    // A record of two different keys is always one.
    let lately = [("requests", recent.requests), ("objects", recent.objects)];
    if let Ok(record) = Value::new_record(lately.map(|(key, n)| (key.to_owned(), number(n)))) {
        pairs.push(("recent".to_owned(), record));
    }
    pairs
}

/// The context at one rung of the ladder.
pub(crate) fn at(attributes: &[(String, Value)], approval: u8) -> Result<Context, String> {
    let approval = ("approval".to_owned(), Value::new_long(i64::from(approval)));
    Context::from_pairs(attributes.iter().cloned().chain([approval])).map_err(|e| e.to_string())
}

fn text(value: &str) -> Value {
    Value::new_string(value.to_owned())
}

/// Cedar counts to 2^63 - 1; what is more is as much as it can say.
fn number(value: u64) -> Value {
    Value::new_long(i64::try_from(value).unwrap_or(i64::MAX))
}
