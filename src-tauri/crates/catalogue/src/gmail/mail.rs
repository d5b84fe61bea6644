//! Mails inside requests: who gets them, and what they say.

use crate::body::multipart::has_too_many_parts;
use crate::body::{Content, Fault};
use crate::judgement::{Facts, Judgement, get};
use crate::words::{counted, field, listed};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use countersign_model::{Field, Foreign, Objects, Words};
use mail_parser::{Header, HeaderName, HeaderValue, Message, MessageParser, MimeHeaders, PartType};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// A mail, as far as people need it to decide.
#[derive(Debug)]
struct Letter {
    /// The addresses of To, Cc and Bcc, in this order, each once.
    recipients: Vec<String>,
    subject: Option<String>,
    fields: Vec<Field>,
    /// Whether the fields hold all that it says.
    complete: bool,
}

/// Reads the mail of a request and says whom it goes to.
pub(super) fn inspect(facts: &Facts<'_>, judgement: &mut Judgement) -> Result<(), Fault> {
    if facts
        .query
        .iter()
        .any(|(name, value)| name == "uploadType" && value == "resumable")
    {
        // Its content comes in requests of its own.
        return Err(Fault::NotRead);
    }
    let Some((raw, nothing_else)) = source(facts)? else {
        return Ok(());
    };
    let letter = read(&raw).ok_or(Fault::Malformed)?;
    judgement.words = sentence(&judgement.operation, &letter, facts);
    judgement.fields.extend(letter.fields);
    judgement.fields_are_all = letter.complete && nothing_else;
    judgement.source = String::from_utf8(raw).ok();
    if judgement.operation.ends_with(".send") || judgement.operation.contains(".drafts.") {
        let addresses: Vec<Foreign> = letter
            .recipients
            .iter()
            .map(|a| a.as_str().into())
            .collect();
        judgement.objects = Objects::these(addresses);
    }
    if judgement.operation.ends_with(".send") && letter.recipients.is_empty() {
        return Err(Fault::Unexpected);
    }
    Ok(())
}

/// The mail's bytes, and whether the request says nothing besides; `None` for
/// sending a draft that is stored already.
fn source(facts: &Facts<'_>) -> Result<Option<(Vec<u8>, bool)>, Fault> {
    match facts.content {
        Content::Mail(raw) => Ok(Some((raw.clone(), true))),
        Content::Multipart(parts) => {
            let is_mail = |kind: &Option<String>| kind.as_deref() == Some("message/rfc822");
            let mut mails = parts.iter().filter(|part| is_mail(&part.media_type));
            match (mails.next(), mails.next()) {
                (Some(mail), None) => Ok(Some((mail.content.clone(), false))),
                _ => Err(Fault::Unexpected),
            }
        }
        _ => of_json(facts.object()?),
    }
}

fn of_json(body: &Map<String, Value>) -> Result<Option<(Vec<u8>, bool)>, Fault> {
    let message = match get(body, "message") {
        Some(Value::Object(message)) => Some(message),
        Some(_) => return Err(Fault::Unexpected),
        None => None,
    };
    let only = |object: &Map<String, Value>, names: &[&str]| {
        object.keys().all(|name| names.contains(&name.as_str()))
    };
    let raw = match get(message.unwrap_or(body), "raw") {
        Some(Value::String(raw)) => raw,
        Some(_) => return Err(Fault::Unexpected),
        // `{"id": …}`: a draft that is sent as it is stored.
        None if only(body, &["id"]) && !body.is_empty() => return Ok(None),
        None => return Err(Fault::Missing),
    };
    let nothing_else = match message {
        Some(message) => only(body, &["message"]) && only(message, &["raw"]),
        None => only(body, &["raw"]),
    };
    Ok(Some((decode(raw).ok_or(Fault::Malformed)?, nothing_else)))
}

/// Base64 in either alphabet, with or without padding, as Google reads it.
fn decode(text: &str) -> Option<Vec<u8>> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['+', '/']) {
        alphabet::STANDARD
    } else {
        alphabet::URL_SAFE
    };
    GeneralPurpose::new(&alphabet, config).decode(text).ok()
}

fn sentence(operation: &str, letter: &Letter, facts: &Facts<'_>) -> Words {
    let start = match operation.rsplit('.').next() {
        Some("send") => Words::new("Send a mail"),
        Some("create") => Words::new("Draft a mail"),
        Some("update") => match facts.param("id") {
            Some(id) => Words::new("Replace the draft ")
                .foreign(id)
                .ours(" by a mail"),
            None => Words::new("Replace a draft by a mail"),
        },
        _ => Words::new("Put a mail into the mailbox, addressed"),
    };
    let to = match letter.recipients.len() {
        0 => start.ours(" to nobody"),
        n if n > 3 => {
            let counted = counted(start.ours(" to "), n as u64, "address", "addresses");
            listed(counted.ours(": "), &letter.recipients)
        }
        _ => listed(start.ours(" to "), &letter.recipients),
    };
    match &letter.subject {
        Some(subject) => to.ours(", subject ").foreign(subject.as_str()),
        None => to.ours(", without a subject"),
    }
}

/// How many header fields and parts are shown; what has more is not complete.
const SHOWN: usize = 60;

fn read(raw: &[u8]) -> Option<Letter> {
    if has_too_many_parts(raw) {
        return None;
    }
    let message = MessageParser::default().parse(raw)?;
    let mut letter = Letter {
        recipients: Vec::new(),
        subject: message.subject().map(str::to_owned),
        fields: Vec::new(),
        complete: message.headers().len() <= SHOWN && message.parts.len() <= SHOWN,
    };
    for header in message.headers().iter().take(SHOWN) {
        show_header(&message, header, &mut letter);
    }
    for part in message.parts.iter().take(SHOWN) {
        letter.complete &= !part.is_encoding_problem;
        match &part.body {
            PartType::Text(text) => letter.fields.push(field("Text", text.as_ref())),
            PartType::Html(html) => letter.fields.push(field("HTML", html.as_ref())),
            PartType::Multipart(_) => {}
            PartType::Binary(_) | PartType::InlineBinary(_) | PartType::Message(_) => {
                letter.complete = false;
                let name = part.attachment_name().unwrap_or("without a name");
                letter.fields.push(field("Attachment", name));
            }
        }
    }
    Some(letter)
}

/// Every occurrence counts: a second `To` is a recipient like the first.
fn show_header(message: &Message<'_>, header: &Header<'_>, letter: &mut Letter) {
    let label = match &header.name {
        HeaderName::From => "From",
        HeaderName::To => "To",
        HeaderName::Cc => "Cc",
        HeaderName::Bcc => "Bcc",
        HeaderName::ResentTo => "Resent-To",
        HeaderName::ResentCc => "Resent-Cc",
        HeaderName::ResentBcc => "Resent-Bcc",
        HeaderName::ReplyTo => "Reply-To",
        HeaderName::Subject => {
            letter
                .fields
                .push(field("Subject", header.value.as_text().unwrap_or_default()));
            return;
        }
        HeaderName::MimeVersion | HeaderName::ContentType | HeaderName::ContentTransferEncoding => {
            return;
        }
        name => {
            let start = header.offset_start as usize;
            let value = message
                .raw_message
                .get(start..header.offset_end as usize)
                .unwrap_or_default();
            let line = format!(
                "{}: {}",
                name.as_str(),
                String::from_utf8_lossy(value).trim()
            );
            letter.fields.push(field("Header", line));
            return;
        }
    };
    let HeaderValue::Address(addresses) = &header.value else {
        // Something that Gmail may still find addresses in.
        letter.complete = false;
        return;
    };
    let mut shown = Vec::new();
    let mut known: HashSet<String> = letter.recipients.iter().cloned().collect();
    for one in addresses.iter() {
        let address = one.address().unwrap_or_default();
        shown.push(match one.name() {
            Some(name) => format!("{name} <{address}>"),
            None => address.to_owned(),
        });
        let receives = !matches!(label, "From" | "Reply-To");
        if receives && !address.is_empty() && known.insert(address.to_owned()) {
            letter.recipients.push(address.to_owned());
        }
    }
    letter.fields.push(field(label, shown.join(", ")));
}
