//! What was generated: the operations of the large public APIs, embedded.
//!
//! The data is made by `catalogue-gen` from the providers' own machine-readable
//! descriptions and lies in `data/`, beside where it came from (NOTICE) and how
//! good it is (REPORT). Hand-made tables come first; what they hold is judged
//! by them alone.

pub(crate) mod aws;
pub(crate) mod choice;
pub(crate) mod form;
mod judge;
pub(crate) mod listing;
pub(crate) mod matching;
mod object;
mod screen;
pub(crate) mod sentence;

pub(crate) use choice::Found;
pub(crate) use screen::screen;

use crate::body::Content;
use crate::body::form::Pairs;
use crate::judgement::{Facts, Judgement};
use crate::path::Segments;
use crate::{RequestView, kubernetes};
use countersign_model::Effects;
use form::Form;
use matching::Slashes;
use std::sync::OnceLock;

/// The embedded data.
pub static EMBEDDED: &[u8] = include_bytes!("../../data/catalogue.bin");

/// The embedded data, taken apart at its sections.
pub(crate) fn embedded() -> Option<&'static Form<'static>> {
    static FORM: OnceLock<Option<Form<'static>>> = OnceLock::new();
    FORM.get_or_init(|| Form::of(EMBEDDED)).as_ref()
}

/// Under which name the generated data holds a provider.
fn provider_of(provider: &str) -> Option<&'static str> {
    Some(match provider {
        "aws" => "aws",
        "gmail" | "google" => "google",
        "github" => "github",
        "slack" => "slack",
        "kubernetes" => "kubernetes",
        "microsoft-graph" => "microsoft-graph",
        "stripe" => "stripe",
        "gitlab" => "gitlab",
        "cloudflare" => "cloudflare",
        "openai" => "openai",
        _ => return None,
    })
}

/// Whether the generated data describes a provider.
pub(crate) fn describes(provider: &str) -> bool {
    provider_of(provider).is_some()
}

/// The operation that a request's host, method and path are.
pub(crate) fn by_path(provider: &str, request: &RequestView<'_>, query: &Pairs) -> Option<Found> {
    let form = embedded()?;
    let provider = provider_of(provider)?;
    if provider == "aws" {
        return aws::by_path(form, request, query);
    }
    let mut trees = form.trees(provider, request.host);
    if trees.is_empty() {
        // What stands at hosts of the user's own.
        trees = form.trees(provider, "*");
    }
    let path = Segments::of(request.path)?;
    // Where names hold slashes, and the provider says to encode them.
    let slashes = if provider == "gitlab" || request.host == "storage.googleapis.com" {
        Slashes::OfNames
    } else {
        Slashes::Split
    };
    choice::among(form, &trees, request, &path, query, slashes)
}

/// Whether a request's host, method and path are an operation of a provider.
#[must_use]
pub fn is_known(provider: &str, request: &RequestView<'_>) -> bool {
    by_path(provider, request, &Pairs::new()).is_some()
}

/// Judges a request by the generated data: by what it calls itself, and else by
/// its path.
///
/// # Errors
/// What is known of it otherwise: the data does not hold it.
pub(crate) fn judge_any(
    provider: &str,
    request: &RequestView<'_>,
    by_path: Option<Found>,
    facts: &Facts<'_>,
) -> Result<Judgement, Unknown> {
    if provider == kubernetes::PROVIDER {
        return kubernetes::judge(request, facts).ok_or_else(Unknown::default);
    }
    if provider_of(provider) != Some("aws") {
        let found = by_path.ok_or_else(Unknown::default)?;
        return Ok(judge::judge(request, &found, facts));
    }
    let named = aws::Named::of(request, facts.content, facts.query);
    let also = by_path.as_ref().map_or(Effects::NONE, Found::effects);
    let dispatched = embedded().and_then(|form| aws::dispatch(form, request, &named, by_path));
    let Some((found, besides)) = dispatched else {
        return Err(Unknown {
            names: named.names(),
            by_path: also,
        });
    };
    let mut judgement = judge::judge(request, &found, facts);
    if besides != Effects::NONE {
        judgement.raise(besides, "not in the catalogue, by method and name");
    }
    Ok(judgement)
}

/// What is known of a request that the data does not hold.
#[derive(Debug, Default)]
pub(crate) struct Unknown {
    /// What it calls itself, besides its path.
    pub(crate) names: Vec<String>,
    /// What its path alone would do.
    pub(crate) by_path: Effects,
}

/// Whether a request to AWS names its operation, besides its path.
pub(crate) fn names_its_operation(
    request: &RequestView<'_>,
    content: &Content,
    query: &Pairs,
) -> bool {
    aws::Named::of(request, content, query).says_any()
}

/// Whether a host is one of a service of AWS that the data holds.
pub(crate) fn is_service_of_aws(host: &str) -> bool {
    embedded().is_some_and(|form| aws::place(form, host).is_some())
}

/// What the same request would do with another method.
pub(crate) fn effects_with(
    provider: &str,
    method: &str,
    request: &RequestView<'_>,
    query: &Pairs,
) -> Effects {
    let other = RequestView { method, ..*request };
    if provider == kubernetes::PROVIDER {
        return kubernetes::effects(&other);
    }
    by_path(provider, &other, query).map_or(Effects::NONE, |found| found.effects())
}
