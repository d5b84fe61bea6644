//! Judgements that hold for more than one request.
//!
//! A judgement depends on the slice and on the context alone. Rules that read
//! nothing of the context but what [`Likeness`] holds judge any two actions of
//! the same likeness alike, so that Cedar is asked once; a property test compares
//! the two. A rule that counts, names objects or operations is evaluated each time.

use crate::judge::Judgement;
use cedar_policy::Policy;
use countersign_model::{Action, Effects};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// What such rules can tell apart: `context.effects`, `context.routine`. The
/// rungs of `context.approval` are climbed within one judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Likeness {
    effects: Effects,
    routine: bool,
}

/// The attributes of the context that a likeness stands for.
const READ: [&str; 3] = ["approval", "effects", "routine"];

impl Likeness {
    pub(crate) fn of(action: &Action) -> Self {
        Self {
            effects: action.effects,
            // As `context` says it.
            routine: action.routine && action.effects.is_read_only(),
        }
    }
}

/// Judgements by likeness, of one slice: at most two for each set of effects.
#[derive(Debug, Default)]
pub(crate) struct Kept(RwLock<HashMap<Likeness, Judgement>>);

impl Kept {
    pub(crate) fn get(&self, likeness: Likeness) -> Option<Judgement> {
        // A poisoned map is whole: each change of it is a single insertion.
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.get(&likeness).cloned()
    }

    pub(crate) fn keep(&self, likeness: Likeness, judgement: &Judgement) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.insert(likeness, judgement.clone());
    }
}

/// Whether a rule reads of the context only what a likeness stands for.
pub(crate) fn reads_only_likeness(rule: &Policy) -> bool {
    let json = rule.to_json();
    json.is_ok_and(|json| json.get("conditions").is_some_and(only_likeness))
}

/// The same of an expression, in Cedar's JSON format for policies. Whatever
/// takes the context otherwise than by an attribute (`has`, `==`, …) reads more.
fn only_likeness(expression: &Value) -> bool {
    let is_context = |value: &Value| value.get("Var").is_some_and(|var| var == "context");
    match expression {
        Value::Object(parts) => {
            if is_context(expression) {
                return false;
            }
            match parts.get(".") {
                Some(access) if access.get("left").is_some_and(is_context) => access
                    .get("attr")
                    .and_then(Value::as_str)
                    .is_some_and(|name| READ.contains(&name)),
                _ => parts.values().all(only_likeness),
            }
        }
        Value::Array(parts) => parts.iter().all(only_likeness),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(condition: &str) -> bool {
        let rule = format!("permit (principal, action, resource) when {{ {condition} }};");
        reads_only_likeness(&rule.parse().unwrap())
    }

    #[test]
    fn a_rule_that_reads_more_than_the_likeness_is_known() {
        for little in [
            "context.approval >= 1",
            "context.routine && resource.environment == \"context\"",
            "context.effects == [\"spend\"] || !context.routine",
            "principal.accounts.contains(resource)",
            "{ Var: \"context\" }.Var == \"x\"",
        ] {
            assert!(reads(little), "{little}");
        }
        for more in [
            "context.recent.requests < 5",
            "context.count < 5",
            "context has count",
            "context has recent.requests",
            "context.objects.contains(\"a\")",
            "context.operation like \"a*\"",
            "context.routine && context.objects_complete",
            "if context.routine then context.count < 1 else true",
            "context == { approval: 1 }",
            "[context].isEmpty()",
            "{ a: context }.a.routine",
            "context[\"operation\"] == \"x\"",
            "(if context.routine then context else context).approval > 1",
        ] {
            assert!(!reads(more), "{more}");
        }
    }

    #[test]
    fn a_routine_read_is_judged_once_by_the_default_rules() {
        for (name, text) in crate::DEFAULTS {
            let rule: Policy = text.parse().unwrap();
            let counts = *name == "model-inference.cedar";
            assert_eq!(reads_only_likeness(&rule), !counts, "{name}");
        }
    }
}
