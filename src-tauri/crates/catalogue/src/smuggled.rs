//! What a request carries past its own method, path and credential.
//!
//! Many servers let a header, a query parameter or a form field replace the
//! method or the path (for clients that can only GET and POST). What was judged
//! is then not what runs, so any of them ends `routine`, and the overriding
//! method's effects are added.

use crate::body::form::{self, Pairs};
use crate::body::{Content, MediaType};
use crate::judgement::{Judgement, fx};
use crate::request::header;
use crate::{BodyView, RequestView, verbs, words};
use countersign_model::Effect::{Exec, Secret, Write};
use countersign_model::{Account, CredentialKind, Effects};

const METHOD_HEADERS: &[&str] = &[
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-method",
];
const PATH_HEADERS: &[&str] = &[
    "x-original-url",
    "x-rewrite-url",
    "x-original-uri",
    "x-override-url",
    "x-forwarded-uri",
];
/// Lower case. `$httpMethod` and `$httpHeaders` are Google's.
const METHOD_FIELDS: &[&str] = &[
    "_method",
    "$httpmethod",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "http_method_override",
];
const HEADER_FIELDS: &[&str] = &["$httpheaders"];

const LAYER: &str = "override";
/// How many overriding methods are named.
const NAMED: usize = 8;

/// Raises a judgement by what was found. `effects_of` says what the same
/// request would do with another method.
pub(crate) fn raise(
    judgement: &mut Judgement,
    account: &Account,
    request: &RequestView<'_>,
    content: &Content,
    query: &Pairs,
    effects_of: &dyn Fn(&str) -> Effects,
) {
    let methods = overriding_methods(request, content, query);
    for method in methods.iter().take(NAMED) {
        judgement.raise(effects_of(method), LAYER);
        judgement.doubt(words::overridden(method), LAYER);
    }
    if methods.len() > NAMED {
        // Which of so many a server takes, nobody can say.
        judgement.raise(fx(&countersign_model::Effect::ALL), LAYER);
        judgement.doubt(words::overridden("another method"), LAYER);
    }
    for name in PATH_HEADERS {
        for value in header(request.headers, name) {
            judgement.raise(fx(&[Write, Exec]), LAYER);
            judgement.doubt(words::overridden(&String::from_utf8_lossy(value)), LAYER);
        }
    }
    for (name, value) in query
        .iter()
        .filter(|(name, _)| is_one_of(name, HEADER_FIELDS))
    {
        judgement.raise(fx(&[Write]), LAYER);
        judgement.doubt(words::overridden(&format!("{name}={value}")), LAYER);
    }
    if let CredentialKind::Query(name) = &account.credential
        && query.iter().any(|(n, _)| n == name)
    {
        own_credential(judgement, name);
    }
}

/// A credential that the agent brought along: the provider may prefer it to
/// the account's.
pub(crate) fn own_credential(judgement: &mut Judgement, name: &str) {
    const LAYER: &str = "credential of its own";
    judgement.raise(fx(&[Secret]), LAYER);
    judgement.doubt(words::own_credential(name), LAYER);
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names
        .iter()
        .any(|known| name.trim().eq_ignore_ascii_case(known))
}

fn overriding_methods(request: &RequestView<'_>, content: &Content, query: &Pairs) -> Vec<String> {
    let of_headers = METHOD_HEADERS
        .iter()
        .flat_map(|name| header(request.headers, name))
        .map(|value| String::from_utf8_lossy(value).into_owned());
    let mut found: Vec<String> = of_headers.chain(of_pairs(query)).collect();
    if let Content::Json(serde_json::Value::Object(object)) = content {
        let members = object
            .iter()
            .filter(|(name, _)| is_one_of(name, METHOD_FIELDS));
        found.extend(members.map(|(_, v)| v.as_str().unwrap_or("another method").to_owned()));
    }
    // Whatever is not plainly JSON may be taken for a form by some server, JSON
    // under the media type of a form included.
    if let (BodyView::Whole(bytes), false) =
        (request.body, MediaType::of(request.headers).is_json())
    {
        let text = String::from_utf8_lossy(bytes);
        found.extend(of_pairs(&form::laxly(&text)));
        if text.contains("\"_method\"") {
            found.push("another method".to_owned());
        }
    }
    let mut methods: Vec<String> = found
        .iter()
        .map(|m| m.trim().to_ascii_uppercase())
        .collect();
    methods.sort();
    methods.dedup();
    methods
}

fn of_pairs(pairs: &Pairs) -> impl Iterator<Item = String> {
    pairs
        .iter()
        .filter(|(name, _)| is_one_of(name, METHOD_FIELDS))
        .map(|(_, value)| value.clone())
}

/// What a method does where no table says more; a value that is no method may
/// become any.
pub(crate) fn effects_of_method(method: &str) -> Effects {
    let effects = verbs::of_method(method);
    if effects.has(Exec) {
        effects.union(fx(&[Write]))
    } else {
        effects
    }
}
