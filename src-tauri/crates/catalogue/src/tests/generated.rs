//! The generated data as a whole: every template, every label, its size.

use crate::BodyView;
use crate::RequestView;
use crate::generated::choice::{Found, among};
use crate::generated::embedded;
use crate::generated::form::{Level, Traits};
use crate::generated::listing::Listed;
use crate::generated::matching::{Slashes, exact};
use crate::path::Segments;
use countersign_model::{Digest, Effect, HeaderField};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// All that the data holds, listed once.
pub(super) fn listed() -> &'static [Listed<'static>] {
    static ALL: LazyLock<Vec<Listed<'static>>> = LazyLock::new(|| embedded().unwrap().list());
    &ALL
}

fn method(letter: char) -> &'static str {
    match letter {
        'G' | '*' => "GET",
        'H' => "HEAD",
        'P' => "POST",
        'U' => "PUT",
        'A' => "PATCH",
        'D' => "DELETE",
        other => panic!("{other} is no method's letter"),
    }
}

/// What a request finds that is made of a template and what it wants besides.
fn found(listed: &Listed<'_>, path: &str) -> Option<Found> {
    let (mut query, mut headers) = (Vec::new(), Vec::new());
    for want in &listed.operation.wants {
        let value = want.value.unwrap_or("1");
        if want.header {
            headers.push(HeaderField {
                name: want.name.to_owned(),
                value: value.into(),
            });
        } else {
            query.push((want.name.to_owned(), value.to_owned()));
        }
    }
    let request = RequestView {
        method: method(listed.method),
        host: "",
        path,
        query: None,
        headers: &headers,
        body: BodyView::None,
    };
    let segments = Segments::of(path)?;
    among(
        embedded()?,
        &[listed.tree],
        &request,
        &segments,
        &query,
        Slashes::Split,
    )
}

#[test]
fn every_generated_template_filled_in_finds_itself() {
    let mut seen = 0;
    let mut not_alone = BTreeSet::new();
    for each in listed() {
        seen += 1;
        let name = &each.operation.name;
        if each.path.starts_with("T:") || each.path.starts_with("A:") {
            let at = exact(embedded().unwrap(), each.tree, &each.path);
            assert!(at.is_some(), "{}", each.path);
            continue;
        }
        let path = each
            .path
            .replace("{**}", "some/where")
            .replace("{}", "something1");
        let path = if path.is_empty() { "/" } else { &path };
        let found = found(each, path).unwrap_or_else(|| panic!("{path} finds nothing"));
        let itself = found
            .operations
            .iter()
            .any(|o| o.name == *name && o.class == each.operation.class);
        assert!(
            itself,
            "{} {path} finds {:?}",
            each.method, found.operations
        );
        if !found.is_sure() {
            not_alone.insert(format!("{} {}", each.method, each.path));
            // Where nobody can tell them apart, the answer is all of them.
            let union = found.effects();
            assert_eq!(union.union(each.operation.class.effects), union, "{path}");
        }
    }
    assert!(seen > 49_000, "{seen} keys");
    assert!(
        not_alone.is_empty(),
        "these cannot be told from others: {not_alone:#?}"
    );
}

#[test]
fn the_embedded_form_is_small_enough() {
    assert!(crate::generated::EMBEDDED.len() <= 2 << 20);
}

#[test]
fn no_operation_that_iam_says_changes_something_goes_alone() {
    let mut verb_reads_wrongly = BTreeSet::new();
    let (mut all, mut labelled, mut reads, mut routine) = (0, 0, 0, 0);
    let operations: BTreeSet<_> = listed()
        .iter()
        .filter(|each| each.operation.service.provider == "aws")
        .map(|each| {
            let o = &each.operation;
            (
                format!("{}:{}", o.service.name, o.name),
                o.class.level,
                o.class.effects.to_string(),
                o.class.traits.0,
            )
        })
        .collect();
    for (name, level, effects, traits) in &operations {
        let traits = Traits(*traits);
        let alone = effects == "read" && traits.has(Traits::AGREED);
        all += 1;
        labelled += u32::from(*level != Level::Unlabelled);
        reads += u32::from(level.reads());
        routine += u32::from(alone);
        let changes = !level.reads() && *level != Level::Unlabelled;
        assert!(
            !alone || !changes,
            "{name} goes alone, and IAM says {level:?}"
        );
        let second = level.reads() || traits.has(Traits::CURATED);
        assert!(!alone || second, "{name} goes alone by its name only");
        if traits.has(Traits::VERB_READS) && changes {
            verb_reads_wrongly.insert(name.clone());
        }
    }
    // These may only become tighter.
    assert!(
        labelled * 1000 >= all * 928,
        "{labelled} of {all} are labelled"
    );
    assert!(
        verb_reads_wrongly.len() <= 38,
        "{} verbs read and IAM says they change something: {verb_reads_wrongly:#?}",
        verb_reads_wrongly.len()
    );
    assert!(
        routine * 1000 >= reads * 941,
        "{routine} of {reads} reads go alone"
    );
}

#[test]
fn what_goes_alone_is_a_read_by_two_sources_and_nothing_else() {
    for each in listed() {
        let class = each.operation.class;
        assert!(!class.effects.is_empty(), "{}", each.operation.name);
        if class.traits.has(Traits::AGREED) {
            assert!(class.effects.is_read_only(), "{}", each.operation.name);
            assert!(!class.traits.has(Traits::BODY), "{}", each.operation.name);
        }
        let path = !each.path.starts_with("A:") && !each.path.starts_with("T:");
        if each.method == 'D' && path && each.operation.service.provider != "aws" {
            assert!(class.effects.has(Effect::Delete), "{}", each.operation.name);
        }
    }
}

#[test]
fn whatever_mints_or_shows_a_credential_is_secret() {
    let of = |name: &str| {
        let (service, operation) = name.split_once(':').unwrap();
        let found = listed().iter().find(|each| {
            each.operation.service.name == service && each.operation.name == operation
        });
        let found = found.unwrap_or_else(|| panic!("{name} is not there"));
        found.operation.class.effects
    };
    for name in [
        "sts:GetSessionToken",
        "sts:GetFederationToken",
        "sts:AssumeRole",
        "secretsmanager:GetSecretValue",
        "ssm:GetParameter",
        "kms:Decrypt",
        "ecr:GetAuthorizationToken",
        "redshift:GetClusterCredentials",
        "acm:ExportCertificate",
        "iam:CreateAccessKey",
        "lambda:GetFunction",
        "ec2:GetPasswordData",
    ] {
        assert!(of(name).has(Effect::Secret), "{name}: {}", of(name));
    }
}

#[test]
fn every_change_of_the_newest_generation_was_reviewed() {
    let text = include_str!("../../data/changes.txt");
    let reviewed: BTreeSet<&str> = include_str!("../../data/reviewed.txt").lines().collect();
    let digest = Digest::of_parts(
        "countersign/catalogue-data/1",
        &[crate::generated::EMBEDDED],
    );
    let to = format!("to {digest}");
    assert!(
        text.lines().any(|line| line == to),
        "changes.txt is of another generation than the data: write both by catalogue-gen"
    );
    let missing: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !reviewed.contains(line))
        .filter(|line| !line.starts_with("from "))
        .collect();
    assert!(
        missing.is_empty(),
        "nobody has reviewed these; once you have, copy them to reviewed.txt: {missing:#?}"
    );
}

#[test]
fn every_host_pattern_leads_to_trees_that_hold_something() {
    let trees: BTreeSet<u16> = listed().iter().map(|each| each.tree).collect();
    let patterns = embedded().unwrap().host_patterns();
    assert!(patterns.len() > 1000, "{}", patterns.len());
    for (provider, pattern, of_it) in patterns {
        assert!(!of_it.is_empty(), "{provider} {pattern}");
        assert!(
            of_it.iter().all(|tree| trees.contains(tree)),
            "{provider} {pattern}"
        );
    }
}

#[test]
fn a_form_that_is_cut_short_or_something_else_is_none_and_never_panics() {
    use crate::generated::form::Form;
    let bytes = crate::generated::EMBEDDED;
    for length in (0..bytes.len()).step_by(9_973) {
        if let Some(form) = Form::of(&bytes[..length]) {
            assert!(form.trees("aws", "nowhere").is_empty());
        }
    }
    assert!(Form::of(b"").is_none() && Form::of(b"countersign catalogue 2\n").is_none());
}
