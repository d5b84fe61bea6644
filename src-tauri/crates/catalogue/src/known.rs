//! Hosts that a table describes.

use crate::judgement::{Facts, Judgement, fx};
use crate::path::Segments;
use crate::table::{BodyRole, Found, Habits, Table};
use crate::{RequestView, plain, verbs, words};
use countersign_model::Effect::Write;
use countersign_model::{Account, Effects, Objects};

/// The operation that a request is, if the table holds it.
pub(crate) fn find(table: &Table, method: &str, host: &str, path: &str) -> Option<Found> {
    table.find(host, method, &Segments::of(path)?)
}

/// Judges by the table and the inspector of the operation.
pub(crate) fn judge(found: &Found, facts: &Facts<'_>) -> Judgement {
    let entry = &found.entry;
    let value = |name: &str| facts.value(name);
    let mut judgement = Judgement::new(
        entry.operation.to_owned(),
        entry.effects,
        words::fill(entry.words, &value),
        "catalogue",
    );
    if !entry.object.is_empty() {
        judgement.objects =
            words::fill_value(entry.object, &value).map_or_else(Objects::unknown, Objects::one);
    }
    if found.ambiguous {
        judgement.doubt(words::ambiguous(), "catalogue");
    }
    if let BodyRole::Inspected(inspector) = entry.body {
        inspector.raise(facts, &mut judgement);
    }
    judgement
}

/// An operation that nothing holds: never routine, at least a write unless it
/// only reads, and whatever its name suggests. `named` is the name that it says
/// itself, besides its path.
pub(crate) fn unknown(
    account: &Account,
    request: &RequestView<'_>,
    named: Option<&str>,
    habits: Option<Habits>,
) -> Judgement {
    let mut target = format!("{}{}", request.host, request.path);
    let mut effects = effects_of_unknown(habits, request.method, request.path);
    let mut operation = plain::operation(request.method, request.path);
    if let Some(name) = named {
        target = format!("{target} {name}");
        effects = effects.union(verbs::of_name(name, false));
        operation = plain::operation(request.method, &format!("{} {name}", request.path));
    }
    let mut judgement = Judgement::new(
        operation,
        effects,
        words::unknown(&account.provider.0, request.method, &target),
        "not in the catalogue, by method and name",
    );
    judgement.objects = Objects {
        listed: vec![request.path.into()],
        count: None,
    };
    judgement.unsure("not in the catalogue, by method and name");
    if Segments::of(request.path).is_none() {
        judgement.doubt(words::crooked_path(), "crooked path");
    }
    judgement
}

fn effects_of_unknown(habits: Option<Habits>, method: &str, path: &str) -> Effects {
    let by_method = verbs::of_method(method);
    let reads = by_method.is_read_only() && !habits.is_some_and(|h| h.get_may_change);
    let named = path
        .rsplit('/')
        .find(|segment| !segment.is_empty())
        .unwrap_or("");
    let least = if reads { Effects::NONE } else { fx(&[Write]) };
    by_method.union(least).union(verbs::of_name(named, reads))
}

/// What the same request would do with another method.
pub(crate) fn effects_with(table: &Table, method: &str, request: &RequestView<'_>) -> Effects {
    match find(table, method, request.host, request.path) {
        Some(found) => match found.entry.body {
            BodyRole::Inspected(inspector) => found.entry.effects.union(inspector.worst),
            BodyRole::Shown | BodyRole::Opaque => found.entry.effects,
        },
        None => effects_of_unknown(Some(table.habits), method, request.path),
    }
}
