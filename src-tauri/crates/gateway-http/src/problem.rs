//! What an agent reads when it is refused: RFC 9457, with a sentence that tells
//! a model what to do. Never a word that somebody else wrote (G7).

use crate::agent::Whole;
use crate::aws;
use crate::head::Head;
use countersign_model::{ReasonCode, Refusal, RequestId};
use http::{HeaderMap, HeaderValue, StatusCode};

/// A refusal, ready to be written.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    /// The request, unless the stop kept one from being drawn.
    pub(crate) request: Option<RequestId>,
    pub(crate) reason: ReasonCode,
    pub(crate) detail: String,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self {
            request: Some(refusal.request),
            reason: refusal.reason,
            detail: refusal.detail,
        }
    }
}

impl Problem {
    /// With the reason's own advice.
    pub(crate) fn new(request: Option<RequestId>, reason: ReasonCode) -> Self {
        Self {
            request,
            reason,
            detail: reason.advice().to_owned(),
        }
    }

    /// 502 where we failed to get a reply that could be passed on, else 403.
    pub(crate) const fn status(&self) -> StatusCode {
        match self.reason {
            ReasonCode::Upstream | ReasonCode::ReplyHeldCredential => StatusCode::BAD_GATEWAY,
            _ => StatusCode::FORBIDDEN,
        }
    }

    const fn title(&self) -> &'static str {
        match self.reason {
            ReasonCode::Upstream => "The service did not answer",
            ReasonCode::ReplyHeldCredential => "The reply was withheld",
            ReasonCode::Waiting => "Waiting for the user",
            ReasonCode::Stopped => "Stopped",
            _ => "Refused",
        }
    }

    /// The answer, but for what frames it.
    pub(crate) fn whole(&self) -> Whole {
        let code = self.reason.code();
        let mut body = serde_json::json!({
            "type": format!("urn:countersign:{code}"),
            "title": self.title(),
            "status": self.status().as_u16(),
            "detail": self.detail,
            "reason": code,
        });
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: HeaderValue| headers.insert(name, value);
        set(
            "content-type",
            HeaderValue::from_static("application/problem+json"),
        );
        set("cache-control", HeaderValue::from_static("no-store"));
        if let (Some(id), Some(map)) = (&self.request, body.as_object_mut()) {
            map.insert("request".into(), id.as_str().into());
            if let Ok(value) = HeaderValue::from_str(id.as_str()) {
                set("countersign-request", value);
            }
        }
        Whole {
            status: self.status(),
            headers,
            body: body.to_string().into(),
        }
    }
}

impl Problem {
    /// The answer as this client reads it: AWS's own look for errors of AWS's shape,
    /// and tell nothing of another.
    pub(crate) fn answer_to(&self, head: &Head) -> Whole {
        let mut whole = self.whole();
        match aws::reads_errors_as(head) {
            None => {}
            Some(aws::Errors::Json) => {
                let Ok(mut body) = serde_json::from_slice::<serde_json::Value>(&whole.body) else {
                    return whole;
                };
                if let Some(map) = body.as_object_mut() {
                    map.insert("__type".into(), "AccessDeniedException".into());
                    map.insert("message".into(), self.detail.clone().into());
                }
                whole.body = body.to_string().into();
            }
            Some(xml) => {
                whole.body = self.as_xml(xml == aws::Errors::S3).into();
                whole
                    .headers
                    .insert("content-type", HeaderValue::from_static("application/xml"));
            }
        }
        whole
    }

    /// Of S3 the error is the document. Else it stands where most services have it,
    /// and once more where EC2 does.
    fn as_xml(&self, of_s3: bool) -> String {
        let detail = escaped(&self.detail);
        let reason = self.reason.code();
        let request = self.request.as_ref().map_or("", RequestId::as_str);
        let words = format!(
            "<Code>AccessDenied</Code><Message>{detail}</Message><Reason>{reason}</Reason>"
        );
        let request = format!("<RequestId>{request}</RequestId>");
        let document = if of_s3 {
            format!("<Error>{words}{request}</Error>")
        } else {
            format!(
                "<ErrorResponse><Error><Type>Sender</Type>{words}</Error><Errors><Error>{words}</Error></Errors>{request}</ErrorResponse>"
            )
        };
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{document}")
    }
}

/// Text in XML (XML 1.0 sections 2.2 and 2.4): what it cannot hold at all is a space.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_and_which_request_it_was() {
        let id = RequestId::from_random([3; 10]);
        let problem = Problem::new(Some(id.clone()), ReasonCode::DeniedByHuman);
        let text = String::from_utf8(crate::wire::answer(&problem.whole(), true, true)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"));
        assert!(head.contains("content-type: application/problem+json"));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["reason"], "denied-by-human");
        assert_eq!(
            body["detail"],
            "The user denied this. Do not retry; ask them."
        );
        assert_eq!(body["request"], id.as_str());
    }

    #[test]
    fn a_client_of_aws_reads_the_sentence_where_it_looks_for_one() {
        let mut problem = Problem::new(None, ReasonCode::DeniedByHuman);
        problem.detail = "They say: <no> & \u{1}".into();
        let answer = |headers: &[(&str, &str)]| {
            let lines: String = headers
                .iter()
                .map(|(n, v)| format!("{n}: {v}\r\n"))
                .collect();
            let head = format!("POST / HTTP/1.1\r\nhost: h\r\n{lines}\r\n");
            let whole = problem.answer_to(&crate::head::parse(head.as_bytes()).unwrap());
            String::from_utf8(whole.body.to_vec()).unwrap()
        };
        let signed = ("authorization", "AWS4-HMAC-SHA256 Credential=…");
        let form = (
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        );
        let xml = answer(&[signed, form]);
        assert!(xml.contains("<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>They say: &lt;no&gt; &amp;  </Message>"), "{xml}");
        assert!(
            xml.contains("<Errors><Error><Code>AccessDenied</Code>"),
            "{xml}"
        );
        let s3 = answer(&[signed, ("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]);
        assert!(s3.contains("?>\n<Error><Code>AccessDenied</Code>"), "{s3}");
        let json = answer(&[signed, ("content-type", "application/x-amz-json-1.0")]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&json["message"], &json["reason"]),
            (&problem.detail.as_str().into(), &"denied-by-human".into())
        );
        let other = answer(&[form]);
        assert!(
            other.contains("\"detail\"") && !other.contains("__type"),
            "{other}"
        );
    }

    #[test]
    fn an_upstream_that_fails_is_not_called_a_refusal() {
        assert_eq!(
            Problem::new(None, ReasonCode::Upstream).status(),
            StatusCode::BAD_GATEWAY
        );
    }
}
