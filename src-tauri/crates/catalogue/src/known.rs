//! Hosts that a table describes.

use crate::generated::Unknown;
use crate::judgement::{Facts, Judgement, fx};
use crate::path::Segments;
use crate::table::{BodyRole, Found, Habits, Table};
use crate::{RequestView, aws, plain, verbs, words};
use countersign_model::Effect::Write;
use countersign_model::{Effects, Objects};

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
/// only reads, and whatever its name suggests. Where it says its name itself,
/// besides its path, the name counts in place of the method.
pub(crate) fn unknown(
    provider: &str,
    request: &RequestView<'_>,
    said: &Unknown,
    habits: Option<Habits>,
) -> Judgement {
    let mut target = format!("{}{}", request.host, request.path);
    let mut effects = said.by_path;
    let mut path = request.path.to_owned();
    for name in &said.names {
        target = format!("{target} {name}");
        effects = effects.union(aws::effects_of_operation(name));
        path = format!("{path} {name}");
    }
    let by_name_alone = !said.names.is_empty()
        && matches!(request.path, "/" | "")
        && matches!(request.method, "GET" | "POST");
    if !by_name_alone {
        effects = effects.union(effects_of_unknown(habits, request.method, request.path));
    }
    let operation = plain::operation(request.method, &path);
    let mut judgement = Judgement::new(
        operation,
        effects,
        words::unknown(provider, request.method, &target),
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
