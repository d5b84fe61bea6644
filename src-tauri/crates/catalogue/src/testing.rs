//! What the tests of this crate share.

use crate::{BodyView, Recognised, RequestView, kind, recognise};
use countersign_model::{Account, CredentialKind, Environment, HeaderField, HostPattern, Provider};

/// An account of a provider, at one host.
pub(crate) fn account(provider: &str, host: &str) -> Account {
    let known = kind(provider);
    Account {
        id: "test".parse().unwrap(),
        provider: Provider(provider.into()),
        hosts: vec![HostPattern::new(host).unwrap()],
        port: 443,
        environment: Environment::default(),
        tags: vec![],
        credential: known.map_or(CredentialKind::Bearer, |k| k.credential.kind()),
        connect_to: None,
        ca_pem: None,
        plaintext: false,
        effects: vec![],
        forward_headers: vec![],
        token_url: None,
    }
}

/// A request in the making.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) account: Account,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: Vec<HeaderField>,
    pub(crate) body: Option<Vec<u8>>,
}

/// `draft("gmail", "GET /gmail/v1/users/me/profile?alt=json")`, at the
/// provider's first host.
pub(crate) fn draft(provider: &str, line: &str) -> Draft {
    let host = kind(provider).map_or("forum.example", |k| k.hosts[0]);
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    Draft {
        account: account(provider, host),
        method: method.into(),
        host: host.into(),
        path: path.into(),
        query,
        headers: vec![],
        body: None,
    }
}

impl Draft {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(HeaderField {
            name: name.into(),
            value: value.as_bytes().to_vec(),
        });
        self
    }
    pub(crate) fn json(self, body: &str) -> Self {
        self.typed("application/json", body.as_bytes())
    }
    pub(crate) fn form(self, body: &str) -> Self {
        self.typed("application/x-www-form-urlencoded", body.as_bytes())
    }
    pub(crate) fn typed(mut self, media_type: &str, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self.header("content-type", media_type)
    }
    pub(crate) fn at(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }
    pub(crate) fn with_body(&self, body: BodyView<'_>) -> Recognised {
        recognise(
            &self.account,
            &RequestView {
                method: &self.method,
                host: &self.host,
                path: &self.path,
                query: self.query.as_deref(),
                headers: &self.headers,
                body,
            },
        )
    }
    pub(crate) fn judge(&self) -> Recognised {
        self.with_body(self.body.as_deref().map_or(BodyView::None, BodyView::Whole))
    }
    /// The effects as words, comma-separated.
    pub(crate) fn effects(&self) -> String {
        let words: Vec<_> = self.judge().effects.iter().map(|e| e.word()).collect();
        words.join(",")
    }
    pub(crate) fn words(&self) -> String {
        self.judge().words.to_string()
    }
}
