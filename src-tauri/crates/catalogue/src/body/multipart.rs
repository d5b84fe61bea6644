//! `multipart/…` bodies, by the reader that also reads mails.

use mail_parser::{Encoding, MessageParser, MimeHeaders, PartType};

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// `name` of its `Content-Disposition`.
    pub(crate) name: Option<String>,
    /// Its media type, lower case, without parameters.
    pub(crate) media_type: Option<String>,
    /// Its content, with the transfer encoding undone.
    pub(crate) content: Vec<u8>,
}

/// How many parts are read at most.
const LIMIT: usize = 200;

/// The parts of a body whose `Content-Type` is given; `None` when it has none,
/// or too many.
pub(crate) fn parts(content_type: &[u8], body: &[u8]) -> Option<Vec<Part>> {
    if content_type.iter().any(|b| b.is_ascii_control()) {
        return None;
    }
    let text = [b"Content-Type: ", content_type, b"\r\n\r\n", body].concat();
    let message = MessageParser::default().parse(&text)?;
    let all: Vec<Part> = message
        .parts
        .iter()
        .filter(|part| !matches!(part.body, PartType::Multipart(_)))
        .map(|part| Part {
            name: part
                .content_disposition()
                .and_then(|disposition| disposition.attribute("name"))
                .map(str::to_owned),
            media_type: part.content_type().map(|kind| {
                let subtype = kind.subtype().unwrap_or("");
                format!("{}/{subtype}", kind.ctype()).to_ascii_lowercase()
            }),
            content: match &part.body {
                PartType::Message(inner) if part.encoding != Encoding::None => {
                    inner.raw_message.to_vec()
                }
                // The reader leaves it where it stands.
                PartType::Message(_) => {
                    let (start, end) = (part.raw_body_offset(), part.raw_end_offset());
                    text.get(start as usize..end as usize)
                        .unwrap_or_default()
                        .to_vec()
                }
                _ => part.contents().to_vec(),
            },
        })
        .collect();
    (!all.is_empty() && all.len() <= LIMIT).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_fields_and_attached_messages_are_found() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"channel\"\r\n\r\nC1\r\n\
            --b\r\nContent-Type: message/rfc822\r\n\r\nTo: a@example.com\r\n\r\nhi\r\n--b--\r\n";
        let parts = parts(b"multipart/form-data; boundary=b", body).unwrap();
        assert_eq!(parts[0].name.as_deref(), Some("channel"));
        assert_eq!(parts[0].content, b"C1");
        assert_eq!(parts[1].media_type.as_deref(), Some("message/rfc822"));
        assert!(parts[1].content.starts_with(b"To: a@example.com"));
    }

    #[test]
    fn a_header_cannot_be_smuggled_through_the_boundary() {
        assert_eq!(
            parts(b"multipart/mixed; boundary=b\r\nX: y", b"--b--"),
            None
        );
    }
}
