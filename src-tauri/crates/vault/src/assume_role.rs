//! From an access key to the credentials of a role, inside the vault: they are had
//! anew before they expire. Source: AWS STS API Reference, "AssumeRole".

use crate::aws::AccessKey;
use crate::clock::Moment;
use crate::token_endpoint::{Endpoint, FORM, explain, failed, whole_body};
use crate::{Place, VaultError};
use bytes::Bytes;
use countersign_model::{
    Account, AwsScope, AwsSettings, BodyCommitment, CredentialVersion, Digest, ExactRequest,
    HeaderField, Scheme,
};
use percent_encoding::percent_encode;
use reqwest::StatusCode;
use reqwest::header::HOST;
use std::time::Duration;

/// What is asked for: the longest that a role gives unless its owner says more.
const LIFE: Duration = Duration::from_secs(3600);
/// Not used in their last minutes: clocks differ, and requests take time.
const MARGIN: Duration = Duration::from_secs(300);
/// After a failure the service is left alone for so long; whoever asks in the
/// meantime hears of that failure.
const PAUSE: Duration = Duration::from_secs(2);
/// From the first packet to the last byte of the reply.
const LIMIT: Duration = Duration::from_secs(10);

/// A role to act as.
#[derive(Clone)]
pub(crate) struct Role {
    pub(crate) arn: String,
    /// What its owner wants to hear.
    pub(crate) external_id: Option<String>,
}

/// The credentials of one account's role. Whoever uses it holds the credential's
/// lock, so that they are asked for once at a time.
#[derive(Default)]
pub(crate) struct Session {
    current: Option<(CredentialVersion, Moment, AccessKey)>,
    failed: Option<(Moment, VaultError)>,
}

impl Session {
    /// What signs for the account: the key itself, or that of its role.
    pub(crate) async fn key(
        &mut self,
        account: &Account,
        settings: &AwsSettings,
        of: &CredentialVersion,
        key: AccessKey,
    ) -> Result<AccessKey, VaultError> {
        let Some(role) = key.role().cloned() else {
            return Ok(key);
        };
        if let Some((version, until, key)) = &self.current
            && version == of
            && *until > Moment::now()
        {
            return Ok(key.clone());
        }
        if let Some((at, error)) = &self.failed
            && at.age() < PAUSE
        {
            return Err(error.clone());
        }
        let asked = Moment::now();
        let assumed = tokio::time::timeout(LIMIT, assume(account, settings, &key, &role))
            .await
            .unwrap_or_else(|_| Err(failed("the token service did not answer in time")))
            .inspect_err(|error| self.failed = Some((Moment::now(), error.clone())))?;
        self.failed = None;
        self.current = Some((of.clone(), asked.after(LIFE - MARGIN), assumed.clone()));
        Ok(assumed)
    }
}

async fn assume(
    account: &Account,
    settings: &AwsSettings,
    key: &AccessKey,
    role: &Role,
) -> Result<AccessKey, VaultError> {
    let region = &settings.region;
    let domain = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    let url = format!("https://sts.{region}.{domain}/");
    let endpoint = Endpoint::at(account, &url).await?;
    let body = form(role);
    let exact = ExactRequest {
        scheme: Scheme::Https,
        method: "POST".into(),
        host: endpoint.authority().to_owned(),
        port: Scheme::Https.default_port(),
        path: "/".into(),
        query: None,
        headers: vec![HeaderField {
            name: "content-type".into(),
            value: b"application/x-www-form-urlencoded".to_vec(),
        }],
        trailers: Vec::new(),
        body: BodyCommitment::Exact {
            digest: Digest::of(&body),
            length: body.len() as u64,
        },
        credential: None,
        account_digest: account.digest(),
    };
    let scope = AwsScope {
        region: region.clone(),
        service: "sts".into(),
    };
    let signed = key.sign(&exact, &scope)?;
    let client = endpoint.client(account).await?;
    let mut request = client
        .post(endpoint.dial())
        .header(HOST, endpoint.authority())
        .body(Bytes::from(body));
    for field in &exact.headers {
        request = request.header(&field.name, field.value.as_slice());
    }
    if let Place::Headers(headers) = &signed.place {
        for (name, value) in headers {
            request = request.header(name, value.expose());
        }
    }
    let response = request.send().await.map_err(|e| explain(&e))?;
    let status = response.status();
    let reply = whole_body(response).await?;
    if status != StatusCode::OK {
        return Err(failed(&format!(
            "the token service answered {} to AssumeRole",
            status.as_u16()
        )));
    }
    let found =
        ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|name| element(&reply, name));
    let [Some(id), Some(secret), Some(token)] = found else {
        return Err(failed("the token service's reply holds no credentials"));
    };
    AccessKey::temporary(id, secret, token)
}

fn form(role: &Role) -> Vec<u8> {
    let life = LIFE.as_secs().to_string();
    let mut fields = vec![
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", role.arn.as_str()),
        ("RoleSessionName", "countersign"),
        ("DurationSeconds", life.as_str()),
    ];
    fields.extend(role.external_id.as_deref().map(|id| ("ExternalId", id)));
    let pairs: Vec<String> = fields
        .into_iter()
        .map(|(name, value)| format!("{name}={}", percent_encode(value.as_bytes(), FORM)))
        .collect();
    pairs.join("&").into_bytes()
}

/// The text of an element that stands once and holds nothing but plain text.
fn element<'a>(document: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let place = |of: &str| {
        let mut places = document
            .windows(of.len())
            .enumerate()
            .filter(|(_, window)| *window == of.as_bytes())
            .map(|(at, _)| at);
        let first = places.next()?;
        places.next().is_none().then_some(first)
    };
    let text = document.get(place(&begin)? + begin.len()..place(&end)?)?;
    let plain = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'<' | b'&');
    text.iter().all(plain).then_some(text)
}

impl Role {
    /// `arn:aws:iam::123456789012:role/NAME`, and an id of up to 1224 characters.
    pub(crate) fn new(arn: &str, external_id: Option<&str>) -> Option<Self> {
        let plain = |text: &str, most| {
            (2..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        let fits = plain(arn, 2048)
            && arn.starts_with("arn:")
            && external_id.is_none_or(|id| plain(id, 1224));
        fits.then(|| Self {
            arn: arn.to_owned(),
            external_id: external_id.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_that_is_not_plain_or_stands_twice_is_none() {
        let reply = b"<A><Key>abc/+=</Key><Two>1</Two><Two>2</Two><In><B>x</B></In><Open></A>";
        assert_eq!(element(reply, "Key"), Some(&b"abc/+="[..]));
        for none in ["Two", "In", "Open", "Missing"] {
            assert_eq!(element(reply, none), None, "{none}");
        }
        assert_eq!(element(b"</Key>x<Key>", "Key"), None);
    }

    #[test]
    fn a_role_is_asked_for_with_what_its_owner_wants_to_hear() {
        let role = Role::new("arn:aws:iam::000000000000:role/a+b", Some("id&1")).unwrap();
        let form = String::from_utf8(form(&role)).unwrap();
        assert!(form.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A000000000000%3Arole%2Fa%2Bb&"));
        assert!(form.ends_with("&ExternalId=id%261"), "{form}");
        assert!(Role::new("role/a", None).is_none());
        assert!(Role::new("arn:aws:iam::0:role/a b", None).is_none());
    }
}
