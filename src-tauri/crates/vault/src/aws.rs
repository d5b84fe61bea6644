//! Requests of AWS are signed here, so that the key itself goes nowhere. Source: AWS
//! IAM User Guide, "Create a signed AWS API request".

use crate::assume_role::Role;
use crate::oauth::Text;
use crate::{Place, Presented, Secret, VaultError};
use countersign_model::{AwsScope, BodyCommitment, Digest, ExactRequest, HeaderField};
use countersign_sigv4::{Key, Moment, Parts, Paths, Payload, authorization, signature};
use serde::Deserialize;
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Left out of the signature: a service's own front may write them anew, and none
/// of them changes what a request does.
const UNSIGNED: [&str; 3] = ["accept-encoding", "content-length", "user-agent"];

/// An access key, and the session token that belongs to it if it is a temporary one.
#[derive(Clone)]
pub(crate) struct AccessKey {
    key: Key,
    token: Option<Secret>,
    /// It is there to assume this role, and for nothing else.
    role: Option<Role>,
}

/// As AWS's own tools print credentials (`credential_process`, STS).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    #[serde(borrow)]
    access_key_id: Text<'a>,
    #[serde(borrow)]
    secret_access_key: Text<'a>,
    #[serde(borrow)]
    session_token: Option<Text<'a>>,
    /// Ours: to be assumed with this key.
    role_arn: Option<String>,
    external_id: Option<String>,
}

impl AccessKey {
    /// From `ID:SECRET`, `ID:SECRET:TOKEN`, or the JSON document of AWS's tools, in
    /// which `RoleArn` (and `ExternalId`) may say a role to act as.
    pub(crate) fn parse(secret: &Secret) -> Result<Self, VaultError> {
        let bytes = secret.expose();
        if bytes.first() == Some(&b'{') {
            // The parser's own message could quote the document.
            let document: Document<'_> = serde_json::from_slice(bytes)
                .map_err(|_| refused("it is no document with AccessKeyId and SecretAccessKey"))?;
            let role = match &document.role_arn {
                None => None,
                Some(arn) => {
                    let role = Role::new(arn, document.external_id.as_deref());
                    Some(role.ok_or_else(|| refused("its RoleArn or ExternalId is none"))?)
                }
            };
            let key = Self::of(
                document.access_key_id.0.as_bytes(),
                document.secret_access_key.0.as_bytes(),
                document.session_token.as_ref().map(|t| t.0.as_bytes()),
            )?;
            return Ok(Self { role, ..key });
        }
        let mut parts = bytes.splitn(3, |&b| b == b':');
        let (id, key) = (parts.next().unwrap_or_default(), parts.next());
        let key = key.ok_or_else(|| refused("it is not of the form ID:SECRET"))?;
        Self::of(id, key, parts.next())
    }

    fn of(id: &[u8], secret: &[u8], token: Option<&[u8]>) -> Result<Self, VaultError> {
        let token = token.filter(|token| !token.is_empty());
        let id = std::str::from_utf8(id).unwrap_or_default();
        let key = Key::new(id, Zeroizing::new(secret.to_vec()))
            .ok_or_else(|| refused("it is no access key id, with its secret key"))?;
        if token.is_some_and(|t| t.len() < 8 || !t.iter().all(u8::is_ascii_graphic)) {
            return Err(refused("its session token is visible ASCII"));
        }
        Ok(Self {
            key,
            token: token.map(|token| Secret::new(token.to_vec())),
            role: None,
        })
    }

    /// As the token service gave it.
    pub(crate) fn temporary(id: &[u8], secret: &[u8], token: &[u8]) -> Result<Self, VaultError> {
        Self::of(id, secret, Some(token))
    }

    /// The role that it is there to assume.
    pub(crate) const fn role(&self) -> Option<&Role> {
        self.role.as_ref()
    }

    /// Signs what was judged, as it will be sent, for now and for this scope.
    pub(crate) fn sign(
        &self,
        exact: &ExactRequest,
        scope: &AwsScope,
    ) -> Result<Presented, VaultError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| VaultError::Internal("the clock stands before 1970".into()))?;
        Ok(self.sign_at(exact, scope, &Moment::from_unix(now.as_secs())))
    }

    fn sign_at(&self, exact: &ExactRequest, scope: &AwsScope, at: &Moment) -> Presented {
        let payload = match exact.body {
            BodyCommitment::None => Payload::Exact(Digest::of(b"")),
            BodyCommitment::Exact { digest, .. } => Payload::Exact(digest),
            // It is not known yet; of what the service gets, TLS lets nothing be
            // changed. Services other than S3 do not take it, and say so.
            BodyCommitment::Streamed => Payload::Stated("UNSIGNED-PAYLOAD"),
        };
        let mut added = vec![("x-amz-date", at.to_string().into_bytes())];
        if Paths::of(&scope.service) == Paths::Verbatim {
            added.push(("x-amz-content-sha256", payload.text().into_bytes()));
        }
        if let Some(token) = &self.token {
            added.push(("x-amz-security-token", token.expose().to_vec()));
        }
        let mut headers = exact.headers.clone();
        let field = |name: &str, value: &[u8]| HeaderField {
            name: name.to_owned(),
            value: value.to_vec(),
        };
        headers.push(field("host", exact.authority().as_bytes()));
        headers.extend(added.iter().map(|(name, value)| field(name, value)));
        let mut signed: Vec<&str> = headers
            .iter()
            .map(|h| h.name.as_str())
            .filter(|name| !UNSIGNED.contains(name))
            .collect();
        signed.sort_unstable();
        signed.dedup();
        let parts = Parts {
            method: &exact.method,
            path: &exact.path,
            query: exact.query.as_deref(),
            headers: &headers,
        };
        let made = signature(&self.key, scope, at, &parts, &signed, payload);
        let authorization = authorization(&self.key, scope, at, &signed, &made);
        added.push(("authorization", authorization.into_bytes()));
        let mut needles = vec![Secret::new(made.into_bytes())];
        needles.extend(self.token.clone());
        let secret = |(name, value): (&str, Vec<u8>)| (name.to_owned(), Secret::new(value));
        Presented {
            place: Place::Headers(added.into_iter().map(secret).collect()),
            needles,
        }
    }
}

fn refused(why: &str) -> VaultError {
    VaultError::Refused(why.to_owned())
}

#[cfg(test)]
#[path = "aws_tests.rs"]
mod tests;
