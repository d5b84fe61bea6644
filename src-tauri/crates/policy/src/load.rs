//! Policy files: read, given ids, checked against the schema.

use crate::nesting;
use crate::problem::PolicyProblem;
use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use std::collections::BTreeSet;

/// How much policy there may be. What is larger is refused, not cut.
#[derive(Debug)]
pub struct Limits;

impl Limits {
    /// Policy files.
    pub const FILES: usize = 2000;
    /// Bytes of one policy file.
    pub const FILE: usize = 64 * 1024;
    /// Rules in all files.
    pub const RULES: usize = 5000;
}

const SCHEMA: &str = include_str!("../schema.cedarschema");

/// The schema that every rule is checked against.
///
/// # Errors
/// Never for the schema as it is shipped.
pub(crate) fn schema() -> Result<Schema, Vec<PolicyProblem>> {
    Schema::from_cedarschema_str(SCHEMA)
        .map(|(schema, _)| schema)
        .map_err(|error| {
            vec![PolicyProblem::of_cedar(
                "schema.cedarschema",
                SCHEMA,
                &error,
            )]
        })
}

/// Every rule of the files, under its id: the file's stem, or `stem:1`,
/// `stem:2`, … where a file has several.
///
/// # Errors
/// Every problem of every file.
pub(crate) fn rules(
    files: &[(String, String)],
    schema: &Schema,
) -> Result<Vec<Policy>, Vec<PolicyProblem>> {
    if files.len() > Limits::FILES {
        let found = files.len();
        let message = format!("at most {} policy files, found {found}", Limits::FILES);
        return Err(vec![PolicyProblem::of_file("policies", message)]);
    }
    let validator = Validator::new(schema.clone());
    let mut stems = BTreeSet::new();
    let mut rules = Vec::new();
    let mut problems = Vec::new();
    for (name, text) in files {
        let stem = match stem(name) {
            Ok(stem) if stems.insert(stem) => stem,
            Ok(stem) => {
                let message = format!("there is another policy file named {stem:?}");
                problems.push(PolicyProblem::of_file(name, message));
                continue;
            }
            Err(message) => {
                problems.push(PolicyProblem::of_file(name, message));
                continue;
            }
        };
        match rules_of_file(name, stem, text, &validator) {
            Ok(found) => rules.extend(found),
            Err(found) => problems.extend(found),
        }
    }
    if rules.len() > Limits::RULES {
        let message = format!("at most {} rules, found {}", Limits::RULES, rules.len());
        problems.push(PolicyProblem::of_file("policies", message));
    }
    if problems.is_empty() {
        Ok(rules)
    } else {
        Err(problems)
    }
}

/// The file name without folder and extension: rules are shown under it.
fn stem(name: &str) -> Result<&str, String> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let stem = file.strip_suffix(".cedar").unwrap_or_default();
    let ok = (1..=100).contains(&stem.len())
        && stem.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.')
        });
    if ok {
        Ok(stem)
    } else {
        Err(
            "a policy file is named NAME.cedar, of 1 to 100 of a-z, 0-9, '-', '_' and '.'"
                .to_owned(),
        )
    }
}

fn rules_of_file(
    name: &str,
    stem: &str,
    text: &str,
    validator: &Validator,
) -> Result<Vec<Policy>, Vec<PolicyProblem>> {
    if text.len() > Limits::FILE {
        let message = format!("at most {} bytes, found {}", Limits::FILE, text.len());
        return Err(vec![PolicyProblem::of_file(name, message)]);
    }
    if let Some(at) = nesting::too_deep(text) {
        return Err(vec![PolicyProblem::at(
            name,
            text,
            at,
            "nested deeper than a rule can be read",
        )]);
    }
    let set: PolicySet = text.parse().map_err(|errors: cedar_policy::ParseErrors| {
        errors
            .iter()
            .map(|e| PolicyProblem::of_cedar(name, text, e))
            .collect::<Vec<_>>()
    })?;
    if set.num_of_templates() > 0 {
        let message =
            "a rule names whom it is for: templates (?principal, ?resource) are not filled in here";
        return Err(vec![PolicyProblem::of_file(name, message)]);
    }
    let problems = validate(name, text, &set, validator);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(named(stem, &set))
}

/// Strict validation, and at most one step from the entities of the request to
/// their attributes: a rule cannot reach for entities that are not there when
/// it is evaluated. Warnings count as well: a rule that can never apply, or
/// whose text looks like something else, is not what its author meant.
fn validate(name: &str, text: &str, set: &PolicySet, validator: &Validator) -> Vec<PolicyProblem> {
    let result = validator.validate_with_level(set, ValidationMode::Strict, 1);
    let errors = result
        .validation_errors()
        .map(|e| PolicyProblem::of_cedar(name, text, e));
    let mut problems: Vec<PolicyProblem> = errors.collect();
    if problems.is_empty() {
        // Beside errors they only repeat them.
        problems.extend(
            result
                .validation_warnings()
                .map(|w| PolicyProblem::of_cedar(name, text, w)),
        );
    }
    problems.sort_by_key(|p| (p.line, p.column));
    problems
}

/// Cedar numbers the rules of a text `policy0`, `policy1`, … in their order (an
/// `@id` does not change that); here they get ids that people can find.
fn named(stem: &str, set: &PolicySet) -> Vec<Policy> {
    let mut policies: Vec<&Policy> = set.policies().collect();
    policies.sort_by_key(|policy| {
        let id: &str = policy.id().as_ref();
        id.strip_prefix("policy")
            .and_then(|n| n.parse::<usize>().ok())
    });
    let several = policies.len() > 1;
    policies
        .into_iter()
        .enumerate()
        .map(|(i, policy)| {
            let id = if several {
                format!("{stem}:{}", i + 1)
            } else {
                stem.to_owned()
            };
            policy.new_id(PolicyId::new(id))
        })
        .collect()
}
