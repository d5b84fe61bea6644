//! Bodies, read strictly or not at all.

pub(crate) mod form;
pub(crate) mod json;
pub(crate) mod multipart;

use crate::request::header;
use crate::{BodyView, RequestView};
use countersign_model::HeaderField;
use form::Pairs;
use multipart::Part;
use serde_json::Value;

/// Why a body, or a part of one, could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Larger than the gateway reads.
    TooLarge,
    /// In a content encoding that was not undone.
    Encoded,
    /// The gateway did not read it, although something depends on it.
    NotRead,
    /// Its media type is stated more than once.
    Types,
    /// Not in UTF-8.
    Charset,
    /// A name stands in it twice.
    Repeated,
    /// Nested too deeply.
    Deep,
    /// Broken syntax.
    Malformed,
    /// Well-formed, and not what the operation takes.
    Unexpected,
    /// The operation needs one, and there is none.
    Missing,
}

/// A body, as far as it is understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// There is none.
    Absent,
    /// It was not read, and nothing depends on it.
    NotRead,
    /// JSON.
    Json(Value),
    /// A URL-encoded form.
    Form(Pairs),
    /// `multipart/…`
    Multipart(Vec<Part>),
    /// `message/rfc822`
    Mail(Vec<u8>),
    /// Other text.
    Text(String),
    /// Other bytes.
    Binary,
    /// It could not be read.
    Unreadable(Fault),
}

/// The stated media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MediaType {
    /// None is stated.
    Absent,
    /// Exactly one is.
    One {
        /// Type and subtype, lower case.
        essence: String,
        /// The charset, lower case.
        charset: Option<String>,
        /// The header's value.
        value: Vec<u8>,
    },
    /// Several are, or one that is not text.
    Unclear,
}

impl MediaType {
    /// From a request's headers.
    pub(crate) fn of(headers: &[HeaderField]) -> Self {
        let mut values = header(headers, "content-type");
        let (first, second) = (values.next(), values.next());
        let (Some(value), None) = (first, second) else {
            return if first.is_none() {
                Self::Absent
            } else {
                Self::Unclear
            };
        };
        let Ok(text) = std::str::from_utf8(value) else {
            return Self::Unclear;
        };
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or("").to_ascii_lowercase();
        let charsets: Vec<_> = parts
            .filter_map(|part| part.split_once('='))
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
            .map(|(_, value)| value.trim().trim_matches('"').to_ascii_lowercase())
            .collect();
        if charsets.len() > 1 || essence.contains(',') {
            return Self::Unclear;
        }
        Self::One {
            essence,
            charset: charsets.into_iter().next(),
            value: value.to_vec(),
        }
    }
    fn essence(&self) -> &str {
        match self {
            Self::One { essence, .. } => essence,
            Self::Absent | Self::Unclear => "",
        }
    }
    /// Whether it is JSON by its own word.
    pub(crate) fn is_json(&self) -> bool {
        is_json(self.essence())
    }
    fn is_utf8(&self) -> bool {
        match self {
            Self::One {
                charset: Some(charset),
                ..
            } => {
                matches!(charset.as_str(), "utf-8" | "utf8" | "us-ascii")
            }
            _ => true,
        }
    }
    /// Whether no server finds names and values in such a body: pictures,
    /// archives, bytes.
    pub(crate) fn is_opaque(&self) -> bool {
        let essence = self.essence();
        ["image/", "audio/", "video/", "font/"]
            .iter()
            .any(|kind| essence.starts_with(kind))
            && essence != "image/svg+xml"
            || matches!(
                essence,
                "application/octet-stream"
                    | "application/zip"
                    | "application/gzip"
                    | "application/x-gzip"
                    | "application/x-tar"
                    | "application/zstd"
                    | "application/pdf"
            )
    }
}

fn is_json(essence: &str) -> bool {
    essence == "application/json"
        || essence.ends_with("+json")
        // AWS's, in each of its versions.
        || essence.starts_with("application/x-amz-json-")
}

fn is_text(essence: &str) -> bool {
    essence.is_empty()
        || essence.starts_with("text/")
        || essence.ends_with("+xml")
        || [
            "xml",
            "javascript",
            "graphql",
            "yaml",
            "x-yaml",
            "toml",
            "x-ndjson",
            "sql",
        ]
        .iter()
        .any(|kind| essence.strip_prefix("application/") == Some(kind))
}

/// Reads a request's body. `needed` is whether anything depends on it;
/// `json_anyway` is for providers that read JSON whatever its media type says.
pub(crate) fn read(request: &RequestView<'_>, needed: bool, json_anyway: bool) -> Content {
    let bytes = match request.body {
        BodyView::None | BodyView::Whole([]) => return Content::Absent,
        BodyView::TooLarge { .. } => return Content::Unreadable(Fault::TooLarge),
        BodyView::Encoded => return Content::Unreadable(Fault::Encoded),
        BodyView::Streaming if needed => return Content::Unreadable(Fault::NotRead),
        BodyView::Streaming => return Content::NotRead,
        BodyView::Whole(bytes) => bytes,
    };
    let media = MediaType::of(request.headers);
    if media == MediaType::Unclear {
        return Content::Unreadable(Fault::Types);
    }
    let essence = media.essence();
    let textual = is_json(essence) || is_text(essence) || essence == FORM;
    if textual && !media.is_utf8() {
        return Content::Unreadable(Fault::Charset);
    }
    if is_json(essence) {
        return json::strict(bytes).map_or_else(Content::Unreadable, Content::Json);
    }
    if essence.is_empty() || json_anyway && textual {
        match json::strict(bytes) {
            Ok(value) => return Content::Json(value),
            // Looks like JSON to whoever guesses, and is not sound.
            Err(fault) if looks_like_json(bytes) => return Content::Unreadable(fault),
            Err(_) => {}
        }
    }
    match &media {
        _ if essence == FORM => form::strict(bytes).map_or_else(Content::Unreadable, Content::Form),
        _ if essence == "message/rfc822" => Content::Mail(bytes.to_vec()),
        MediaType::One { value, .. } if essence.starts_with("multipart/") => {
            multipart::parts(value, bytes)
                .map_or(Content::Unreadable(Fault::Malformed), Content::Multipart)
        }
        _ => match std::str::from_utf8(bytes) {
            Ok(text) if is_text(essence) => Content::Text(text.to_owned()),
            Err(_) if textual => Content::Unreadable(Fault::Charset),
            _ => Content::Binary,
        },
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

fn looks_like_json(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
}
