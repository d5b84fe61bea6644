//! Requests of AWS. An agent signs them with the placeholder that its run was given,
//! which is checked here: a request by another key would be one in another's name.
//! The signature that leaves is made where the key is, over what was judged.

use crate::head::Head;
use crate::normalise::Target;
use crate::refuse::No;
use countersign_model::{AwsSettings, Digest, HeaderField};
use countersign_sigv4::{Authorization, Decoder, Key, NotSigned, Parts, Paths, Payload, Pieces};

/// Part of the agent's own signature, or of how its body comes: made anew, or undone.
const OF_THE_SIGNATURE: [&str; 6] = [
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-region-set",
    "x-amz-security-token",
    "x-amz-trailer",
];

/// The coding of a body that comes in pieces.
const PIECES: &[u8] = b"aws-chunked";

/// Whether a header is a word to AWS about the request.
pub(crate) fn is_forwarded(name: &str) -> bool {
    let is_theirs = ["x-amz-", "x-amzn-", "amz-sdk-"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    (is_theirs && !OF_THE_SIGNATURE.contains(&name)) || name == "smithy-protocol"
}

/// Refuses what says something twice: which of both counts, no one can tell.
pub(crate) fn said_once(fields: &[HeaderField]) -> Result<(), No> {
    let twice = fields.iter().enumerate().any(|(at, field)| {
        let before = &fields[..at];
        is_forwarded(&field.name) && before.iter().any(|b| b.name == field.name)
    });
    if twice {
        return Err(No::malformed("a header of AWS's stands in it twice"));
    }
    Ok(())
}

/// How a client of AWS writes and reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errors {
    Json,
    S3,
    Xml,
}

/// What a client looks for errors in, if it is one of AWS's: it goes by how it
/// speaks, since not all that is refused was read as far as its account.
pub(crate) fn reads_errors_as(head: &Head) -> Option<Errors> {
    head.first("authorization")
        .filter(|value| value.starts_with(b"AWS4-"))?;
    let of_form = head.first("content-type").is_some_and(|value| {
        value
            .to_ascii_lowercase()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    Some(if head.first("x-amz-content-sha256").is_some() {
        Errors::S3
    } else if of_form {
        Errors::Xml
    } else {
        Errors::Json
    })
}

/// What a request says of its signature: true once it was checked.
pub(crate) struct Claim<'a> {
    authorization: Authorization<'a>,
    parts: Parts<'a>,
    body: Stated<'a>,
}

/// What is said of the body.
enum Stated<'a> {
    /// That it is the one which was signed, and perhaps its digest.
    Exact(Option<&'a [u8]>),
    /// That it was not signed.
    Unsigned(&'a str),
    /// That it comes in pieces, and how long they are together.
    Pieces(&'a str, Pieces, u64),
}

impl<'a> Claim<'a> {
    /// Reads it, before anything of the body is.
    pub(crate) fn read(head: &'a Head, target: &'a Target, key: &Key) -> Result<Self, No> {
        let parts = Parts {
            method: &head.method,
            path: &target.path,
            query: target.query.as_deref(),
            headers: &head.headers,
        };
        let authorization = Authorization::read(&parts).map_err(refused)?;
        authorization.names(key).map_err(refused)?;
        for token in ["x-amz-security-token", "x-amz-s3session-token"] {
            if head.first(token).is_some() {
                return Err(No::unsupported(
                    "The request carries a session token, and none belongs to the access key of this run. Use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY as they are set, without a token.",
                ));
            }
        }
        Ok(Self {
            authorization,
            parts,
            body: stated(head)?,
        })
    }

    /// What is forwarded otherwise than for another account: no date but the
    /// signature's own; the body as its content; and ranges of an object of S3, which
    /// its clients cannot do without, and in which S3 repeats nothing of a request.
    pub(crate) fn adapt(
        &self,
        fields: &mut Vec<HeaderField>,
        head: &Head,
        settings: &AwsSettings,
        host: &str,
    ) {
        let in_pieces = matches!(self.body, Stated::Pieces(..));
        for field in fields.iter_mut().filter(|f| f.name == "content-encoding") {
            if in_pieces {
                field.value = without_pieces(&field.value);
            }
        }
        fields.retain(|field| match field.name.as_str() {
            "date" => false,
            "content-encoding" => !field.value.is_empty(),
            _ => true,
        });
        let scope = countersign_catalogue::aws_scope(settings, host);
        if head.method == "GET" && scope.is_some_and(|s| Paths::of(&s.service) == Paths::Verbatim) {
            let ranges = head
                .headers
                .iter()
                .filter(|h| matches!(h.name.as_str(), "range" | "if-range"));
            fields.extend(ranges.cloned());
        }
    }

    /// What takes the body apart, where it comes in pieces.
    pub(crate) fn decoder(&self, key: &Key) -> Option<(Decoder, u64)> {
        match self.body {
            Stated::Pieces(_, pieces, length) => {
                let decoder = Decoder::new(pieces, &self.authorization, key);
                Some((decoder, length))
            }
            _ => None,
        }
    }

    /// Whether the placeholder signed the request, with the body of this digest.
    pub(crate) fn check(&self, key: &Key, body: Digest) -> Result<(), No> {
        let payload = match self.body {
            Stated::Exact(None) => Payload::Exact(body),
            Stated::Exact(Some(digest)) if digest == body.to_string().as_bytes() => {
                Payload::Exact(body)
            }
            Stated::Exact(Some(_)) => {
                return Err(No::malformed("its body is not the one that was signed"));
            }
            Stated::Unsigned(text) | Stated::Pieces(text, ..) => Payload::Stated(text),
        };
        self.authorization
            .check(key, &self.parts, payload)
            .map_err(refused)
    }
}

/// The codings of a body whose pieces are put together.
fn without_pieces(codings: &[u8]) -> Vec<u8> {
    let kept: Vec<&[u8]> = codings
        .split(|&b| b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.eq_ignore_ascii_case(PIECES))
        .collect();
    kept.join(&b", "[..])
}

fn stated(head: &Head) -> Result<Stated<'_>, No> {
    const UNSIGNED: &[u8] = b"UNSIGNED-PAYLOAD";
    let Some(value) = head.first("x-amz-content-sha256") else {
        return Ok(Stated::Exact(None));
    };
    if head.all("x-amz-content-sha256").count() > 1 {
        return Err(No::malformed("it says twice how its body is signed"));
    }
    let text = std::str::from_utf8(value).unwrap_or_default();
    let pieces = Pieces::of(value);
    let says_pieces = head
        .all("content-encoding")
        .flat_map(|value| value.split(|&b| b == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(PIECES));
    if says_pieces && pieces.is_none() {
        return Err(No::malformed(
            "its body comes in pieces, and it does not say how they are signed",
        ));
    }
    if value == UNSIGNED {
        return Ok(Stated::Unsigned(text));
    }
    let Some(pieces) = pieces else {
        return if value.starts_with(b"STREAMING-") {
            Err(No::unsupported(
                "This way of signing a body in pieces is not supported here. Sign it with version 4 (AWS4-HMAC-SHA256).",
            ))
        } else {
            Ok(Stated::Exact(Some(value)))
        };
    };
    let length = head
        .first("x-amz-decoded-content-length")
        .and_then(|value| std::str::from_utf8(value).ok())
        .filter(|text| text.len() <= 15 && text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or(No::malformed("it does not say how long its content is"))?;
    Ok(Stated::Pieces(text, pieces, length))
}

fn refused(why: NotSigned) -> No {
    match why {
        NotSigned::Unsigned => No::unsupported(
            "The request is not signed. Sign it with the access key in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; it is signed anew with the user's when it leaves.",
        ),
        NotSigned::Presigned => No::unsupported(
            "Presigned URLs are not supported here: whoever has one may use it. Sign the request in its Authorization header.",
        ),
        NotSigned::Asymmetric => No::unsupported(
            "Signatures of version 4a (for several regions) are not supported here. Sign the request with version 4, for one region.",
        ),
        NotSigned::OtherScheme => No::unsupported(
            "Only signatures of version 4 (AWS4-HMAC-SHA256) are supported here. Sign the request so.",
        ),
        NotSigned::Malformed(rule) => No::because(
            countersign_model::ReasonCode::Malformed,
            &format!(
                "The signature of the request cannot be read: {rule}. Sign it as AWS's own tools do."
            ),
        ),
        NotSigned::OtherKey => No::unsupported(
            "The request is signed with another access key than this run's. Use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY as they are set; the user's own key is put in their place.",
        ),
        NotSigned::Wrong => {
            No::malformed("its signature is not of this request by the access key of this run")
        }
    }
}
