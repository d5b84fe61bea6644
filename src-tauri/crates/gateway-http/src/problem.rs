//! What an agent reads when it is refused: RFC 9457, with a sentence that tells
//! a model what to do. Never a word that somebody else wrote (G7).

use crate::agent::Whole;
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
    fn an_upstream_that_fails_is_not_called_a_refusal() {
        assert_eq!(
            Problem::new(None, ReasonCode::Upstream).status(),
            StatusCode::BAD_GATEWAY
        );
    }
}
