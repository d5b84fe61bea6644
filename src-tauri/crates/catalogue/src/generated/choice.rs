//! Which of the operations that fit is meant.

use super::form::{Form, Operation, Traits, Want};
use super::matching::{self, Slashes};
use crate::RequestView;
use crate::body::form::Pairs;
use crate::path::Segments;
use crate::request::header;
use countersign_model::Effects;

/// The operation that a request is: one, or several that nobody can tell apart.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Those that fit; never empty.
    pub(crate) operations: Vec<Operation<'static>>,
    /// What the parameters of the path stand for.
    pub(crate) params: Vec<String>,
    /// How it was reached.
    pub(crate) reached: Reached,
    /// Where it is, where the host says so.
    pub(crate) region: Option<String>,
    /// Why it might be another one: our words.
    pub(crate) doubt: Option<&'static str>,
}

/// How an operation was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// By method and path.
    Path,
    /// By the name in `X-Amz-Target`.
    Target,
    /// By the name in `Action`.
    Action,
}

impl Found {
    /// What any of them does.
    pub(crate) fn effects(&self) -> Effects {
        let all = self.operations.iter();
        all.fold(Effects::NONE, |all, one| all.union(one.class.effects))
    }
    /// Whether all of them have a trait.
    pub(crate) fn all_have(&self, one: Traits) -> bool {
        self.operations.iter().all(|o| o.class.traits.has(one))
    }
    /// Whether its body may stream: content of any size, on which nothing
    /// depends.
    pub(crate) fn streams(&self) -> bool {
        self.all_have(Traits::OPAQUE)
    }
    /// Whether they are alike in all that is judged, and have one name unless
    /// they read, and nothing in the request speaks for one of them.
    pub(crate) fn is_sure(&self) -> bool {
        let Some(first) = self.operations.first() else {
            return false;
        };
        let alike = |o: &Operation<'_>| {
            let (one, other) = (o.class, first.class);
            let agreed = [one, other].map(|class| class.traits.has(Traits::AGREED));
            let judged = one.effects == other.effects && agreed[0] == agreed[1];
            judged && (o.name == first.name || agreed[0] && o.wants == first.wants)
        };
        self.operations.iter().all(alike)
    }
}

/// The byte of a method in the index; 0 for one that no template has.
pub(crate) fn method_byte(method: &str) -> u8 {
    match method {
        "GET" => b'G',
        "HEAD" => b'H',
        "POST" => b'P',
        "PUT" => b'U',
        "PATCH" => b'A',
        "DELETE" => b'D',
        _ => 0,
    }
}

/// The operation of a path in one of several trees.
pub(crate) fn among(
    form: &'static Form<'static>,
    trees: &[u16],
    request: &RequestView<'_>,
    path: &Segments,
    query: &Pairs,
    slashes: Slashes,
) -> Option<Found> {
    let mut operations = Vec::new();
    let mut params = Vec::new();
    let mut doubt = None;
    for &tree in trees {
        let method = method_byte(request.method);
        let mut hits = matching::search(form, tree, method, path, slashes)?;
        // Servers run the handler of GET for HEAD, unless they have their own.
        if hits.is_empty() && method == b'H' {
            hits = matching::search(form, tree, b'G', path, slashes)?;
        }
        for hit in hits {
            let all = form.operations(hit.entries);
            if all.iter().any(|o| repeats_what_decides(&o.wants, query)) {
                doubt = Some("what tells its operations apart is there twice");
            }
            let chosen = meant(all, request, query);
            if operations.is_empty() && !chosen.is_empty() {
                params = hit.params;
            }
            operations.extend(chosen);
        }
    }
    (!operations.is_empty()).then_some(Found {
        operations,
        params,
        reached: Reached::Path,
        region: None,
        doubt,
    })
}

/// Those whose wants are met, without those that another one says more than.
fn meant(
    all: Vec<Operation<'static>>,
    request: &RequestView<'_>,
    query: &Pairs,
) -> Vec<Operation<'static>> {
    let met = |want: &Want<'_>| {
        if want.header {
            header(request.headers, want.name).next().is_some()
        } else {
            let named = |(name, value): &(String, String)| {
                name == want.name && want.value.is_none_or(|wanted| value == wanted)
            };
            query.iter().any(named)
        }
    };
    let fit: Vec<_> = all
        .into_iter()
        .filter(|o| o.wants.iter().all(met))
        .collect();
    let says_more = |more: &Operation<'_>, less: &Operation<'_>| {
        more.wants.len() > less.wants.len() && less.wants.iter().all(|w| more.wants.contains(w))
    };
    let kept = fit
        .iter()
        .filter(|one| !fit.iter().any(|other| says_more(other, one)));
    kept.cloned().collect()
}

fn repeats_what_decides(wants: &[Want<'_>], query: &Pairs) -> bool {
    let times = |want: &Want<'_>| query.iter().filter(|(n, _)| n == want.name).count();
    wants.iter().any(|want| !want.header && times(want) > 1)
}
