//! OAuth 2: from a refresh token to an access token, inside the vault.
//!
//! The crate `oauth2` is not used: of its nine tenths that are other flows
//! nothing is needed, its requests own their bodies as plain strings, and its
//! errors carry what the endpoint wrote.

use crate::clock::Moment;
use crate::present::access_token;
use crate::thread::StoreThread;
use crate::token_endpoint::{self, Granted};
use crate::{Presented, Secret, VaultError};
use countersign_model::{Account, CredentialVersion};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;
use zeroize::{Zeroize as _, Zeroizing};

/// An access token is not used in its last minute: clocks differ, and requests
/// take time.
const MARGIN: Duration = Duration::from_secs(60);
/// After a failure the endpoint is left alone for so long; whoever asks in the
/// meantime hears of that failure.
const PAUSE: Duration = Duration::from_secs(2);

/// The secret of an [`Oauth2`](countersign_model::CredentialKind::Oauth2)
/// credential, as Google's tools write it (`authorized_user`).
pub(crate) struct AuthorizedUser {
    pub(crate) client_id: String,
    /// None for public clients.
    pub(crate) client_secret: Option<Secret>,
    pub(crate) refresh_token: Secret,
    pub(crate) token_uri: Option<String>,
}

impl AuthorizedUser {
    pub(crate) fn parse(document: &Secret) -> Result<Self, VaultError> {
        // The parser's own message could quote the document.
        let written: Written<'_> = serde_json::from_slice(document.expose()).map_err(|_| {
            VaultError::Refused(
                "it is no authorized_user document (client_id, refresh_token)".into(),
            )
        })?;
        Ok(Self {
            client_id: written.client_id.0.clone().into_owned(),
            client_secret: written
                .client_secret
                .filter(|s| !s.0.is_empty())
                .map(|s| s.secret()),
            refresh_token: written.refresh_token.secret(),
            token_uri: written.token_uri.map(|t| t.0.clone().into_owned()),
        })
    }

    /// The same document with the refresh token that replaces this one.
    fn rotated(&self, refresh_token: &Secret) -> Result<Secret, VaultError> {
        let text = |secret: &Secret| {
            String::from_utf8(secret.expose().to_vec())
                .map(Zeroizing::new)
                .map_err(|_| unwritable())
        };
        let client_secret = self.client_secret.as_ref().map(text).transpose()?;
        let refresh_token = text(refresh_token)?;
        let secrets = client_secret.as_ref().map_or(0, |s| s.len()) + refresh_token.len();
        let rest = self.client_id.len() + self.token_uri.as_ref().map_or(0, String::len);
        // Every character could become `\u0000`; the buffer must not grow.
        let mut out = Zeroizing::new(Vec::with_capacity(6 * (secrets + rest) + 128));
        let document = Rewritten {
            kind: "authorized_user",
            client_id: &self.client_id,
            client_secret: client_secret.as_ref().map(|s| s.as_str()),
            refresh_token: &refresh_token,
            token_uri: self.token_uri.as_deref(),
        };
        serde_json::to_writer(&mut *out, &document).map_err(|_| unwritable())?;
        Ok(Secret::from_zeroizing(out))
    }

    /// What must not come back in replies, besides the access token.
    fn needles(&self) -> Vec<Secret> {
        self.client_secret
            .iter()
            .chain([&self.refresh_token])
            .cloned()
            .collect()
    }
}

fn unwritable() -> VaultError {
    VaultError::Internal("the authorized_user document cannot be written".into())
}

/// The document, borrowed.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    client_id: Text<'a>,
    #[serde(borrow)]
    client_secret: Option<Text<'a>>,
    #[serde(borrow)]
    refresh_token: Text<'a>,
    #[serde(borrow)]
    token_uri: Option<Text<'a>>,
}

/// A string of a secret document: borrowed where it has no escapes, zeroised
/// where it has.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn secret(&self) -> Secret {
        Secret::new(self.0.as_bytes().to_vec())
    }
}

impl Drop for Text<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(text) = &mut self.0 {
            text.zeroize();
        }
    }
}

/// The document, written anew. Private: it holds secrets.
#[derive(Serialize)]
struct Rewritten<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a str>,
    refresh_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_uri: Option<&'a str>,
}

/// The access token of one credential. Whoever uses it holds the credential's
/// lock, so that there is one refresh at a time.
#[derive(Default)]
pub(crate) struct Tokens {
    current: Option<Token>,
    /// A document with a new refresh token, which the keyring did not take yet.
    unsaved: Option<(u64, Secret)>,
    failed: Option<(Moment, VaultError)>,
}

struct Token {
    version: u64,
    access_token: Secret,
    until: Moment,
}

impl Tokens {
    /// The account's request header, with an access token that is good for a
    /// while. `document` is what the keyring holds for this version.
    pub(crate) async fn present(
        &mut self,
        store: &StoreThread,
        account: &Account,
        of: &CredentialVersion,
        document: &Secret,
    ) -> Result<Presented, VaultError> {
        let newer = self.save(store, of).await?;
        let user = AuthorizedUser::parse(newer.as_ref().unwrap_or(document))?;
        if let Some(token) = &self.current
            && token.version == of.version
            && token.until > Moment::now()
        {
            return access_token(&token.access_token, user.needles());
        }
        if let Some((at, error)) = &self.failed
            && at.age() < PAUSE
        {
            return Err(error.clone());
        }
        let granted = token_endpoint::refresh(account, &user)
            .await
            .inspect_err(|error| {
                self.failed = Some((Moment::now(), error.clone()));
            })?;
        self.failed = None;
        let mut needles = user.needles();
        if let Some(new) = granted
            .refresh_token
            .as_ref()
            .filter(|n| n.expose() != user.refresh_token.expose())
        {
            needles.push(new.clone());
            self.unsaved = Some((of.version, user.rotated(new)?));
        }
        let presented = access_token(&granted.access_token, needles)?;
        self.current = Some(Token {
            version: of.version,
            until: usable_until(&granted),
            access_token: granted.access_token,
        });
        self.save(store, of).await?;
        Ok(presented)
    }

    /// Gives the keyring the document whose refresh token replaced the one it
    /// has, which is worth nothing any more; returns it. Where the keyring does
    /// not take it, that is tried again at the next use.
    async fn save(
        &mut self,
        store: &StoreThread,
        of: &CredentialVersion,
    ) -> Result<Option<Secret>, VaultError> {
        // One of another version is dropped: another secret was set since.
        self.unsaved = self
            .unsaved
            .take()
            .filter(|(version, _)| *version == of.version);
        let Some((_, document)) = self.unsaved.clone() else {
            return Ok(None);
        };
        let (at, saving) = (of.clone(), document.clone());
        store.call(move |items| items.rotate(&at, &saving)).await?;
        self.unsaved = None;
        Ok(Some(document))
    }
}

/// A minute before the token expires; of a short life, the first half.
fn usable_until(granted: &Granted) -> Moment {
    let life = granted
        .life
        .saturating_sub(MARGIN)
        .max(granted.life.min(2 * MARGIN) / 2);
    granted.asked.after(life)
}

#[cfg(test)]
#[path = "oauth_tests.rs"]
mod tests;
