//! Hosts that no table describes: accounts and sites that are known by their
//! `hosts` alone.

use crate::judgement::Judgement;
use crate::{RequestView, verbs, words};
use countersign_model::Objects;

/// Judges by the method. GET and HEAD are routine; whatever they carry along is
/// for the layers above to doubt.
pub(crate) fn judge(request: &RequestView<'_>) -> Judgement {
    let target = format!("{}{}", request.host, request.path);
    let mut judgement = Judgement::new(
        operation(request.method, request.path),
        verbs::of_method(request.method),
        words::by_method(request.method, &target),
        "method",
    );
    judgement.objects = Objects::one(request.path);
    if !matches!(request.method, "GET" | "HEAD") {
        judgement.unsure("method");
    }
    judgement
}

/// Method and path, in printable ASCII.
pub(crate) fn operation(method: &str, path: &str) -> String {
    printable(&format!("{method} {path}"))
}

/// With a question mark for what is not printable ASCII.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_graphic() || c == ' ' {
                c
            } else {
                '?'
            }
        })
        .collect()
}
