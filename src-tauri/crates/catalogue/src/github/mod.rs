//! GitHub: REST by table, GraphQL not yet; git over https by a table of its own.

use crate::body::Fault;
use crate::inspect::Inspector;
use crate::judgement::{Facts, Judgement, fx};
use crate::smuggled::own_credential;
use crate::table::{Habits, Table};
use crate::words::{field, join};
use countersign_model::Effect::{Admin, Delete, Permission, Publish};
use countersign_model::{Effects, Words};
use serde_json::{Map, Value};

/// GitHub's operations.
pub(crate) static TABLE: Table = Table::new("github", include_str!("table.txt"), HABITS, screen);

/// git at GitHub. Another provider: another host, and another way to present the
/// same token.
pub(crate) static GIT: Table =
    Table::new("github-git", include_str!("git.txt"), GIT_HABITS, screen);

const GIT_HABITS: Habits = Habits {
    json_anyway: false,
    get_may_change: false,
};

const HABITS: Habits = Habits {
    json_anyway: true,
    get_may_change: false,
};

/// GitHub's inspectors.
pub(crate) const INSPECTORS: &[Inspector] = &[
    Inspector {
        name: "github-ref",
        worst: fx(&[Delete]),
        inspect: moved_ref,
    },
    Inspector {
        name: "github-repository",
        worst: REPOSITORY_WORST,
        inspect: repository,
    },
    Inspector {
        name: "github-visibility",
        worst: fx(&[Publish]),
        inspect: visibility,
    },
    Inspector {
        name: "github-graphql",
        worst: ANY_MUTATION,
        inspect: graphql,
    },
];

const REPOSITORY_WORST: Effects = fx(&[Publish, Permission, Admin]);
const ANY_MUTATION: Effects = fx(&[Delete, Publish, Permission, Admin]);

/// What GitHub accepts, or once accepted, as a credential in the query.
const CREDENTIALS: &[&str] = &["access_token", "client_secret", "token"];

fn screen(facts: &Facts<'_>, judgement: &mut Judgement) {
    for name in CREDENTIALS {
        if facts.query_has(name) {
            own_credential(judgement, name);
        }
    }
}

/// The body, unless the query speaks of the same things: then nobody can say
/// which of the two counts.
fn body_alone<'f>(facts: &'f Facts<'_>, names: &[&str]) -> Result<&'f Map<String, Value>, Fault> {
    if names.iter().any(|name| facts.query_has(name)) {
        return Err(Fault::Repeated);
    }
    facts.object()
}

/// A switch counts as on unless it is plainly off: servers take "true" and 1.
fn is_off(value: Option<&Value>) -> bool {
    matches!(value, None | Some(Value::Null | Value::Bool(false)))
}

/// Moving a ref by force drops the commits that only it held.
fn moved_ref(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    let body = body_alone(facts, &["force", "sha"])?;
    if !is_off(body.get("force")) {
        judgement.raise(fx(&[Delete]), "github-ref");
        let value = |name: &str| facts.value(name);
        judgement.words = crate::words::fill(
            "Rewrite the history of {ref} of {owner/repo}: move it by force[ to {$sha}]",
            &value,
        );
    }
    Ok(())
}

fn is_public(body: &Map<String, Value>) -> bool {
    let visibility = body.get("visibility").and_then(Value::as_str);
    let opened = body
        .get("private")
        .is_some_and(|private| *private != Value::Bool(true));
    opened || visibility.is_some_and(|v| v.eq_ignore_ascii_case("public"))
}

/// The settings of a repository: who sees it, its name, whether it is archived.
fn repository(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    let body = body_alone(facts, &["private", "visibility", "archived", "name"])?;
    let repository = facts.value("owner/repo").unwrap_or_default();
    let start =
        |verb: &str| Words::new(format!("{verb} the repository ")).foreign(repository.as_str());
    let mut sentences = Vec::new();
    if is_public(body) {
        judgement.raise(fx(&[Publish, Permission]), "github-repository");
        sentences.push(start("Show").ours(" to everybody"));
    } else if body.contains_key("private") || body.contains_key("visibility") {
        judgement.raise(fx(&[Permission]), "github-repository");
        sentences.push(start("Change who sees"));
    }
    if let Some(archived) = body.get("archived") {
        sentences.push(start(if is_off(Some(archived)) {
            "Unarchive"
        } else {
            "Archive"
        }));
    }
    if let Some(name) = body.get("name").and_then(Value::as_str) {
        sentences.push(start("Rename").ours(" to ").foreign(name));
    }
    for (name, value) in body {
        judgement
            .fields
            .push(field("Setting", format!("{name}: {value}")));
    }
    judgement.fields_are_all = true;
    let mut sentences = sentences.into_iter();
    if let Some(first) = sentences.next() {
        judgement.words = sentences.fold(first, |all, next| join(all, "; ", &next));
    }
    Ok(())
}

/// A new repository is public unless it says otherwise.
fn visibility(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    let body = body_alone(facts, &["private", "visibility"])?;
    let visibility = body.get("visibility").and_then(Value::as_str);
    let closed = body.get("private") == Some(&Value::Bool(true))
        || matches!(visibility, Some("private" | "internal"));
    let words = std::mem::take(&mut judgement.words);
    if is_public(body) || !closed {
        judgement.raise(fx(&[Publish]), "github-visibility");
        judgement.words = words.ours(", visible to everybody");
    } else {
        judgement.words = words.ours(", not public");
    }
    Ok(())
}

/// GraphQL is not read here: it always asks. A document that holds a mutation,
/// or none at all (a stored one), counts as the worst that mutations do.
fn graphql(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    judgement.unsure("github-graphql");
    let body = body_alone(facts, &["query", "operationName", "variables"])?;
    let document = body
        .get("query")
        .and_then(Value::as_str)
        .ok_or(Fault::Unexpected)?;
    judgement.fields.push(field("GraphQL", document));
    if document.contains("mutation") {
        judgement.raise(ANY_MUTATION, "github-graphql");
        judgement.words =
            Words::new("Change something by GraphQL; the request is not read in detail yet");
    }
    Ok(())
}
