//! Which request headers and query parameters go upstream. Everything here is
//! an allow-list: what is not named is dropped, and the agent's own credentials
//! are dropped whoever names them.

use crate::aws;
use crate::head::Head;
use countersign_catalogue::{Kind, VOLATILE_HEADERS};
use countersign_model::{Account, CredentialKind, Digest, ExactRequest, Foreign, HeaderField};

/// Headers that ordinary HTTP clients need and that no server takes for a
/// credential, for a routing instruction, or for somebody else's word about
/// who is calling. Sorted.
const COMMON: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-language",
    "cache-control",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "date",
    "digest",
    "git-protocol",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "last-event-id",
    "pragma",
    "prefer",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-correlation-id",
    "x-request-id",
    "x-requested-with",
];

/// Never forwarded, even if an account's `forward_headers` names them: framing,
/// hop-by-hop (RFC 9110 section 7.6.1), rebuilt by us, or credentials.
const NEVER: &[&str] = &[
    "accept-encoding",
    "api-key",
    "authentication",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "countersign-account",
    "countersign-reason",
    "expect",
    "host",
    "http2-settings",
    "if-range",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
    "x-auth-token",
    "x-goog-api-key",
];

/// Query parameters that known providers take for a credential.
const CREDENTIAL_PARAMETERS: &[&str] = &[
    "access_token",
    "api_key",
    "apikey",
    "auth_token",
    "key",
    "oauth_token",
    "token",
];

/// Instructions to treat a request as one of another method or path.
const OVERRIDES: &[&str] = &[
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// What the agent's reply may look like, and thereby what is asked upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It will be searched for credentials: no ranges (a credential could be
    /// read in pieces), and no coding that we cannot undo.
    Searched,
    /// A site's: nothing to search for, so it passes as it is.
    AsItIs,
}

/// The headers that will be forwarded, in order.
///
/// Known providers get [`COMMON`], the account's `forward_headers` and the
/// kind's; plain hosts the first two.
pub(crate) fn forwarded(
    head: &Head,
    account: &Account,
    kind: Option<&Kind>,
    reply: Reply,
) -> Vec<HeaderField> {
    let own = match &account.credential {
        CredentialKind::Header(name) => Some(name.as_str()),
        _ => None,
    };
    let of_aws = matches!(account.credential, CredentialKind::Aws(_));
    let listed = |name: &str| {
        (of_aws && aws::is_forwarded(name))
            || COMMON.binary_search(&name).is_ok()
            || account.forward_headers.iter().any(|h| h == name)
            || kind.is_some_and(|kind| kind.forward_headers.contains(&name))
    };
    let mut out = Vec::with_capacity(head.headers.len() + 1);
    for header in &head.headers {
        let name = header.name.as_str();
        let as_it_is =
            reply == Reply::AsItIs && matches!(name, "range" | "if-range" | "accept-encoding");
        let passes = as_it_is || (listed(name) && !NEVER.contains(&name));
        if passes && own != Some(name) && !is_nominated(head, name) {
            out.push(header.clone());
        }
    }
    if reply == Reply::Searched {
        let gzip = head
            .all("accept-encoding")
            .any(|v| v.windows(4).any(|w| w.eq_ignore_ascii_case(b"gzip")));
        let value = if gzip {
            b"gzip".as_slice()
        } else {
            b"identity"
        };
        out.push(HeaderField {
            name: "accept-encoding".into(),
            value: value.to_vec(),
        });
    }
    out
}

/// Whether a `Connection` header makes this one hop-by-hop.
fn is_nominated(head: &Head, name: &str) -> bool {
    head.all("connection")
        .flat_map(|value| value.split(|&b| b == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

/// An override that would be dropped: the request would then mean something
/// else than the agent wrote. One that is forwarded is the catalogue's to read.
pub(crate) fn dropped_override(head: &Head, forwarded: &[HeaderField]) -> bool {
    OVERRIDES
        .iter()
        .any(|name| head.first(name).is_some() && !forwarded.iter().any(|h| h.name == *name))
}

/// The query without parameters that carry a credential; the rest verbatim.
/// Plain hosts lose only what their account names and `access_token`: a `key`
/// there may be anything. What AWS takes for one is refused instead (`aws`).
pub(crate) fn without_credentials(query: Option<&str>, account: &Account) -> Option<String> {
    let query = query?;
    if matches!(account.credential, CredentialKind::Aws(_)) {
        return Some(query.to_owned());
    }
    let own = match &account.credential {
        CredentialKind::Query(name) => Some(name.as_str()),
        _ => None,
    };
    let is_credential = |part: &str| {
        let name = part.split('=').next().unwrap_or(part);
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        let known = if account.provider.is_plain() {
            &CREDENTIAL_PARAMETERS[..1]
        } else {
            CREDENTIAL_PARAMETERS
        };
        own.is_some_and(|own| name.eq_ignore_ascii_case(own))
            || known.iter().any(|k| name.eq_ignore_ascii_case(k))
    };
    if !query.split('&').any(is_credential) {
        return Some(query.to_owned());
    }
    let kept: Vec<&str> = query
        .split('&')
        .filter(|part| !is_credential(part))
        .collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

/// The agent's stated reason, at most 500 characters of it.
pub(crate) fn reason(head: &Head) -> Option<Foreign> {
    let text = String::from_utf8_lossy(head.first("countersign-reason")?)
        .chars()
        .take(500)
        .collect::<String>();
    (!text.is_empty()).then(|| Foreign::new(text))
}

/// What makes two requests the same question: everything but what clients make
/// anew at each try.
pub(crate) fn same(exact: &ExactRequest, kind: Option<&Kind>) -> Digest {
    let volatile = |name: &str| {
        VOLATILE_HEADERS.contains(&name)
            || kind.is_some_and(|kind| kind.volatile_headers.contains(&name))
    };
    if !exact.headers.iter().any(|h| volatile(&h.name)) {
        return exact.digest();
    }
    let mut lasting = exact.clone();
    lasting.headers.retain(|h| !volatile(&h.name));
    lasting.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Framing;
    use countersign_model::{BodyCommitment, Environment, HostPattern, Provider, Scheme};

    fn account(provider: &str, credential: CredentialKind) -> Account {
        Account {
            id: "a".parse().unwrap(),
            provider: Provider(provider.into()),
            hosts: vec![HostPattern::new("a.example").unwrap()],
            port: 443,
            environment: Environment::default(),
            tags: vec![],
            credential,
            connect_to: None,
            ca_pem: None,
            plaintext: false,
            effects: vec![],
            forward_headers: vec!["x-listed".into(), "authorization".into()],
            token_url: None,
        }
    }
    fn head(headers: &[(&str, &str)]) -> Head {
        Head {
            method: "GET".into(),
            target: "/".into(),
            http_11: true,
            headers: headers
                .iter()
                .map(|(n, v)| HeaderField {
                    name: (*n).into(),
                    value: (*v).into(),
                })
                .collect(),
            framing: Framing::None,
            keep_alive: true,
        }
    }
    fn names(fields: &[HeaderField]) -> Vec<&str> {
        fields.iter().map(|f| f.name.as_str()).collect()
    }

    #[test]
    fn the_lists_are_in_order_so_that_they_can_be_searched() {
        for list in [COMMON, NEVER, CREDENTIAL_PARAMETERS, OVERRIDES] {
            assert!(list.is_sorted());
        }
    }

    #[test]
    fn an_agents_own_credentials_and_connection_headers_never_leave() {
        let head = head(&[
            ("authorization", "Bearer placeholder"),
            ("proxy-authorization", "Basic x"),
            ("cookie", "a=b"),
            ("x-api-key", "k"),
            ("x-own", "k"),
            ("connection", "keep-alive, X-Listed"),
            ("x-listed", "1"),
            ("x-unlisted", "1"),
            ("x-forwarded-for", "1.2.3.4"),
            ("te", "trailers"),
            ("countersign-reason", "because"),
            ("range", "bytes=0-0"),
            ("if-range", "x"),
            ("accept", "*/*"),
        ]);
        let account = account("http", CredentialKind::Header("x-own".into()));
        assert_eq!(
            names(&forwarded(&head, &account, None, Reply::Searched)),
            ["accept", "accept-encoding"]
        );
        let site = names(&forwarded(&head, &account, None, Reply::AsItIs)).join(" ");
        assert_eq!(site, "range if-range accept");
        assert_eq!(reason(&head).unwrap().raw(), "because");
    }

    #[test]
    fn the_reply_is_asked_for_in_a_coding_that_can_be_searched() {
        let account = account("http", CredentialKind::Bearer);
        for (asked, got) in [
            ("gzip, br, zstd", "gzip"),
            ("br", "identity"),
            ("", "identity"),
        ] {
            let fields = forwarded(
                &head(&[("accept-encoding", asked)]),
                &account,
                None,
                Reply::Searched,
            );
            assert_eq!(fields[0].value, got.as_bytes());
        }
    }

    #[test]
    fn a_method_override_is_never_dropped_in_silence() {
        let head = head(&[("x-http-method-override", "DELETE")]);
        let account = account("http", CredentialKind::Bearer);
        assert!(dropped_override(
            &head,
            &forwarded(&head, &account, None, Reply::Searched)
        ));
        assert!(!dropped_override(&head, &head.headers));
    }

    #[test]
    fn credential_parameters_are_dropped_and_the_rest_stays_verbatim() {
        let known = account("gmail", CredentialKind::Oauth2);
        let plain = account("http", CredentialKind::Query("sig".into()));
        let cut = |q: &str, a: &Account| without_credentials(Some(q), a);
        assert_eq!(cut("a=%2e&key=K&&b", &known).as_deref(), Some("a=%2e&&b"));
        assert_eq!(cut("KEY=K&acc%65ss_token=T", &known), None);
        assert_eq!(
            cut("key=K&sig=S&access_token=T", &plain).as_deref(),
            Some("key=K")
        );
        assert_eq!(cut("", &plain).as_deref(), Some(""));
    }

    #[test]
    fn a_retry_with_a_new_id_is_the_same_question_and_another_body_is_not() {
        let exact = |id: &str, body: &[u8]| ExactRequest {
            scheme: Scheme::Https,
            method: "POST".into(),
            host: "a.example".into(),
            port: 443,
            path: "/".into(),
            query: None,
            headers: head(&[("x-request-id", id), ("accept", "*/*")]).headers,
            trailers: vec![],
            body: BodyCommitment::Exact {
                digest: Digest::of(body),
                length: body.len() as u64,
            },
            credential: None,
            account_digest: Digest::of(b""),
        };
        assert_eq!(same(&exact("1", b"x"), None), same(&exact("2", b"x"), None));
        assert_ne!(same(&exact("1", b"x"), None), same(&exact("1", b"y"), None));
        assert_ne!(exact("1", b"x").digest(), exact("2", b"x").digest());
    }
}
