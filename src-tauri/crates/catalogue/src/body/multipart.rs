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
const LIMIT: usize = 60;

/// Whether a mail or a multipart body may have more parts, or nest them deeper,
/// than the reader takes without much time or stack: it descends into each part
/// that states its type, and looks for each part's end to the end of the text.
/// Every part that can nest states a `Content-Type`.
pub(crate) fn has_too_many_parts(text: &[u8]) -> bool {
    const STATED: &[u8] = b"content-type";
    let mut found = 0;
    for at in memchr::memchr2_iter(b'c', b'C', text) {
        let here = text.get(at..at + STATED.len());
        if here.is_some_and(|word| word.eq_ignore_ascii_case(STATED)) {
            found += 1;
            if found > LIMIT {
                return true;
            }
        }
    }
    false
}

/// The parts of a body whose `Content-Type` is given; `None` when it has none,
/// or too many.
pub(crate) fn parts(content_type: &[u8], body: &[u8]) -> Option<Vec<Part>> {
    if content_type.iter().any(|b| b.is_ascii_control()) {
        return None;
    }
    if has_too_many_parts(body) {
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
    fn messages_inside_messages_end_before_the_stack_does() {
        let nested = b"--b\n".to_vec();
        let body = [nested, b"Content-Type:message/rfc822\n\n".repeat(200_000)].concat();
        assert_eq!(parts(b"multipart/mixed; boundary=b", &body), None);
    }

    #[test]
    fn many_parts_within_parts_are_not_searched_for_their_ends() {
        let body = b"--b\nconTent-type:multipart/x;boundary=q\n\n".repeat(190_000);
        assert_eq!(parts(b"multipart/mixed; boundary=b", &body), None);
    }

    #[test]
    fn a_header_cannot_be_smuggled_through_the_boundary() {
        assert_eq!(
            parts(b"multipart/mixed; boundary=b\r\nX: y", b"--b--"),
            None
        );
    }
}
