use crate::{AccountId, AgentId, Digest, Effects, Recipe};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a provider that the catalogue knows (`gmail`, `github`,
/// `slack`), or `http` for a host that is described by its account alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Provider(pub String);

impl Provider {
    /// A host that no catalogue describes.
    pub const PLAIN: &'static str = "http";
    /// Whether only the account's own `effects` describe it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0 == Self::PLAIN
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The user's label for what an account holds: `production`, `staging`,
/// `personal`, … Empty means that the user said nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Environment(pub String);

impl Environment {
    /// Whether the label is the word that policies are stricter about.
    #[must_use]
    pub fn is_production(&self) -> bool {
        self.0 == "production"
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an account's credential is presented to its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialKind {
    /// `Authorization: Bearer …`
    Bearer,
    /// `Authorization: Basic …`; the secret is `user:password`.
    Basic,
    /// A header of this (lower-case) name.
    Header(String),
    /// A query parameter of this name.
    Query(String),
    /// OAuth 2: the secret is an `authorized_user` JSON document with a refresh
    /// token; access tokens are fetched inside the vault.
    Oauth2,
    /// AWS's signature version 4: the secret is an access key, and never leaves
    /// the vault; each request is signed there.
    Aws(AwsSettings),
    /// The host knows no credential: the account is a site.
    None,
}

/// What the user says of an account of AWS, or of a service that signs as AWS does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsSettings {
    /// The region of hosts that name none, and what runs find in `AWS_REGION`.
    pub region: String,
    /// The signing name of the service, for hosts that are not AWS's own.
    pub service: Option<String>,
}

impl CredentialKind {
    /// The text of `credential = "…"`.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Bearer => "bearer".into(),
            Self::Basic => "basic".into(),
            Self::Header(name) => format!("header:{name}"),
            Self::Query(name) => format!("query:{name}"),
            Self::Oauth2 => "oauth2".into(),
            Self::Aws(_) => "aws".into(),
            Self::None => "none".into(),
        }
    }
}

/// Where a signature of AWS counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsScope {
    /// The region: `eu-west-1`.
    pub region: String,
    /// The signing name of the service: `s3`, `iam`.
    pub service: String,
}

/// Why a host pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadHostPattern(pub String);

/// A host, exact or with one leading `*.`; lower case, ASCII (punycode).
/// `*.example.com` matches one or more labels before `example.com`, never
/// `example.com` itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostPattern(String);

impl HostPattern {
    /// From text that is already normalised: lower-case letters, digits, `-`
    /// and `.`, optionally after `*.`; no trailing dot, no port.
    ///
    /// # Errors
    /// Says which rule is broken. Whether a wildcard lies over a public suffix
    /// is for the configuration to check: it has the list.
    pub fn new(text: &str) -> Result<Self, BadHostPattern> {
        let bad = |rule: &str| Err(BadHostPattern(format!("host {text:?}: {rule}")));
        let host = text.strip_prefix("*.").unwrap_or(text);
        if host.is_empty() || host.len() > 253 {
            return bad("1 to 253 characters");
        }
        for label in host.split('.') {
            let ok = !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_')
                });
            if !ok {
                return bad("labels are a-z, 0-9 and '-' in lower case; '*.' only in front");
            }
        }
        Ok(Self(text.to_owned()))
    }
    /// The text, as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The host under the wildcard, if it is one.
    #[must_use]
    pub fn wildcard_base(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }
    /// Whether a normalised host (lower case, no trailing dot, no port) matches.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self.wildcard_base() {
            None => host == self.0,
            Some(base) => host
                .strip_suffix(base)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|labels| {
                    !labels.is_empty() && labels.split('.').all(|l| !l.is_empty())
                }),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `effects."POST /posts" = ["publish"]`: what the user says an operation does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectsRule {
    /// The method, upper case.
    pub method: String,
    /// A path; `*` stands for one segment, a trailing `/**` for any rest.
    pub path: String,
    /// What it does. Never empty.
    pub effects: Effects,
}

/// A system that an agent may reach with the user's rights, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub id: AccountId,
    /// Who describes its operations.
    pub provider: Provider,
    /// Where it is. Never empty.
    pub hosts: Vec<HostPattern>,
    /// The port that its credential may travel to.
    pub port: u16,
    /// The user's label.
    pub environment: Environment,
    /// Labels that policies can use.
    pub tags: Vec<String>,
    /// How its credential is presented.
    pub credential: CredentialKind,
    /// Where the host really is, `address:port` (like curl's `--connect-to`).
    pub connect_to: Option<String>,
    /// PEM of the CA that vouches for it instead of the system's.
    pub ca_pem: Option<String>,
    /// `http://` allowed. A setting of its own, off by default.
    pub plaintext: bool,
    /// What the user says its operations do.
    pub effects: Vec<EffectsRule>,
    /// Request headers to forward besides the usual ones, lower case.
    pub forward_headers: Vec<String>,
    /// OAuth 2: where tokens are refreshed, when the credential does not say.
    pub token_url: Option<String>,
}

impl Account {
    /// Whether it is a site: a host that knows no credential.
    #[must_use]
    pub fn is_site(&self) -> bool {
        self.credential == CredentialKind::None
    }
    /// Whether a normalised host is one of its hosts.
    #[must_use]
    pub fn has_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|h| h.matches(host))
    }
    /// Digest over everything that is configured here: part of what a permit
    /// is bound to, so that a change of configuration ends older permits.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let text = serde_json::to_vec(self).unwrap_or_default();
        Digest::of_parts("countersign/account/1", &[&text])
    }
}

/// An agent, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its name.
    pub id: AgentId,
    /// The groups that policies can name.
    pub groups: Vec<String>,
    /// The accounts and sites that it was assigned.
    pub accounts: Vec<AccountId>,
    /// How its runs are prepared, when it is an agent whose ways are known.
    pub recipe: Option<Recipe>,
    /// Ports of its contained runs that are shown on this machine's loopback.
    pub ports: Vec<u16>,
    /// Ports of this machine's loopback that its contained runs reach, unjudged.
    pub host_ports: Vec<u16>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_matches_whole_labels_and_never_the_domain_itself() {
        let p = HostPattern::new("*.example.com").unwrap();
        assert!(p.matches("a.example.com") && p.matches("a.b.example.com"));
        for no in [
            "example.com",
            "evilexample.com",
            ".example.com",
            "a..example.com",
            "example.com.evil",
        ] {
            assert!(!p.matches(no), "{no}");
        }
    }

    #[test]
    fn a_pattern_that_could_be_read_twice_is_refused() {
        for bad in [
            "",
            "*",
            "*.",
            "a.*.b",
            "Example.com",
            "a..b",
            "a.",
            ".a",
            "a:443",
            "a/b",
            "-a",
            "ä.de",
            "**.a",
        ] {
            assert!(HostPattern::new(bad).is_err(), "{bad:?}");
        }
    }
}
