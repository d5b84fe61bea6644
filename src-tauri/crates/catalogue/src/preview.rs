//! What a human may see of a request's data.

use crate::body::{Content, MediaType};
use crate::judgement::Judgement;
use crate::request::header;
use crate::{BodyView, RequestView, words};
use countersign_model::{DataPreview, Foreign};
use serde_json::Value;

/// The preview of a request, with the fields that its judgement understood.
/// Takes the judgement's fields, and its source in place of the body.
pub(crate) fn preview(
    request: &RequestView<'_>,
    content: &Content,
    judgement: Judgement,
) -> DataPreview {
    let mut fields = judgement.fields;
    if let Some(query) = request.query.filter(|query| !query.is_empty()) {
        fields.push(words::field("Query", query));
    }
    let mut fit = true;
    for field in &mut fields {
        fit &= cut(&mut field.value);
    }
    let unwrapped = judgement.source.is_some();
    let text = judgement
        .source
        .or_else(|| text(request, content))
        .map(|text| {
            let mut text = Foreign::from(text);
            let uncut = cut(&mut text);
            (text, uncut)
        });
    let no_body = *content == Content::Absent;
    let text_is_all = !unwrapped && text.as_ref().is_some_and(|(_, uncut)| *uncut);
    DataPreview {
        fields,
        whole: fit && (no_body || judgement.fields_are_all || text_is_all),
        text: text.map(|(text, _)| text),
        media_type: header(request.headers, "content-type")
            .next()
            .map(Foreign::from_bytes),
        length: length(request),
    }
}

/// Cuts a value to [`DataPreview::TEXT_LIMIT`] bytes; whether it was within.
fn cut(value: &mut Foreign) -> bool {
    let limit = DataPreview::TEXT_LIMIT;
    let raw = value.raw();
    if raw.len() <= limit {
        return true;
    }
    let end = (0..=limit)
        .rev()
        .find(|&at| raw.is_char_boundary(at))
        .unwrap_or(0);
    *value = Foreign::new(&raw[..end]);
    false
}

/// The body as text. Escapes that hide what is written are undone: JSON with
/// escaped characters and forms are written anew, names and values alike.
fn text(request: &RequestView<'_>, content: &Content) -> Option<String> {
    let BodyView::Whole(bytes) = request.body else {
        return None;
    };
    match content {
        Content::Json(value) => {
            let raw = std::str::from_utf8(bytes).ok()?;
            let escaped = raw.contains("\\u") || raw.contains("\\/");
            if escaped {
                serde_json::to_string_pretty(value).ok()
            } else {
                Some(raw.to_owned())
            }
        }
        Content::Form(pairs) => {
            let members = pairs
                .iter()
                .map(|(n, v)| (n.clone(), Value::String(v.clone())));
            serde_json::to_string_pretty(&Value::Object(members.collect())).ok()
        }
        Content::Absent | Content::NotRead | Content::Binary => None,
        Content::Text(_) | Content::Mail(_) | Content::Multipart(_) | Content::Unreadable(_) => {
            // Whatever its form: when it is text, it can be shown as it is.
            let opaque = MediaType::of(request.headers).is_opaque();
            std::str::from_utf8(bytes)
                .ok()
                .filter(|_| !opaque)
                .map(str::to_owned)
        }
    }
}

fn length(request: &RequestView<'_>) -> u64 {
    let stated = || {
        let value = header(request.headers, "content-length").next()?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    };
    match request.body {
        BodyView::None => 0,
        BodyView::Whole(bytes) => bytes.len() as u64,
        BodyView::TooLarge { length } => length.or_else(stated).unwrap_or(0),
        BodyView::Encoded | BodyView::Streaming => stated().unwrap_or(0),
    }
}
