//! What the rest of the authority calls.

use crate::assume_role::Session;
use crate::aws::AccessKey;
use crate::cache::{self, Cache, Ready};
use crate::clock::Moment;
use crate::items::{Items, Purpose};
use crate::oauth::Tokens;
use crate::present::shape;
use crate::store::{EncryptedFile, Keyring};
use crate::thread::StoreThread;
use crate::{Presented, Secret, VaultError};
use countersign_model::{
    Account, AwsScope, CredentialId, CredentialKind, CredentialVersion, ExactRequest, InstallId,
};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as TaskMutex, watch};

/// Making a key of a passphrase takes its time on a slow machine, and nothing
/// in it can hang.
const PASSPHRASE_LIMIT: Duration = Duration::from_secs(60);
/// After a failed read, whoever waited for it hears of the same failure.
const SHARED_FAILURE: Duration = Duration::from_millis(250);

/// Where secrets are kept. There is no third place, and none is chosen silently.
#[derive(Debug, Clone)]
pub enum Backend {
    /// The keyring of the OS: Secret Service, Keychain, Credential Manager.
    Keyring,
    /// One encrypted file, because the user wrote `vault = "file"`.
    File {
        /// The file; made if there is none. Its folder must exist.
        path: PathBuf,
        /// Opens it; at least 8 bytes for a new one.
        passphrase: Secret,
    },
}

/// Limits.
#[derive(Debug, Clone, Copy)]
pub struct VaultOptions {
    /// How long a call waits for the keyring.
    pub timeout: Duration,
    /// How long a credential that was read may be used again; 5 s at most.
    pub cache: Duration,
}

impl Default for VaultOptions {
    /// 5 s each.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            cache: cache::LONGEST,
        }
    }
}

/// A handle; clones share one store, one thread and one cache.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    store: StoreThread,
    cache: Arc<Cache>,
    /// One lock per credential: it is read, and refreshed, once at a time.
    slots: Mutex<HashMap<CredentialId, Arc<TaskMutex<Slot>>>>,
    /// Counts the calls of [`Vault::forget`].
    forgotten: watch::Sender<u64>,
}

#[derive(Default)]
struct Slot {
    tokens: Tokens,
    session: Session,
    failed: Option<(Moment, CredentialVersion, VaultError)>,
}

impl Vault {
    /// Opens the store of an install. Blocks, at most for the time-out; call it
    /// before the async runtime starts. A locked keyring opens: each call then
    /// answers [`VaultError::Locked`] until the user unlocks it.
    ///
    /// # Errors
    /// [`VaultError::NoKeyring`] at once where there is none; of a file,
    /// [`VaultError::WrongPassphrase`] and [`VaultError::Damaged`].
    pub fn open(
        backend: Backend,
        install: InstallId,
        options: VaultOptions,
    ) -> Result<Self, VaultError> {
        let timeout = options.timeout;
        let open_limit = match backend {
            Backend::Keyring => timeout,
            Backend::File { .. } => PASSPHRASE_LIMIT,
        };
        let open_items = move || match backend {
            Backend::Keyring => Keyring::open(&install, timeout).map(|k| Items::new(Box::new(k))),
            Backend::File { path, passphrase } => {
                EncryptedFile::open(path, &passphrase, &install).map(|f| Items::new(Box::new(f)))
            }
        };
        Self::start(open_items, open_limit, options)
    }

    fn start(
        open_items: impl FnOnce() -> Result<Items, VaultError> + Send + 'static,
        open_limit: Duration,
        options: VaultOptions,
    ) -> Result<Self, VaultError> {
        let cache = Arc::new(Cache::new(options.cache));
        let sweeping = Arc::clone(&cache);
        let sweep = move || sweeping.sweep();
        let store =
            StoreThread::start(open_items, open_limit, options.timeout, cache.life(), sweep)?;
        let (forgotten, _) = watch::channel(0);
        Ok(Self(Arc::new(Inner {
            store,
            cache,
            slots: Mutex::default(),
            forgotten,
        })))
    }

    /// Sets a credential. Its version is one more than the last, also where it
    /// was removed in between; the first is 1.
    ///
    /// # Errors
    /// [`VaultError::Refused`] below 8 bytes, [`VaultError::TooLong`] above
    /// 64 KiB or what the keyring holds. After [`VaultError::TimedOut`] it may
    /// or may not be set. Whether it fits its account shows in [`Vault::present`].
    pub async fn set(
        &self,
        id: &CredentialId,
        secret: Secret,
    ) -> Result<CredentialVersion, VaultError> {
        let name = id.clone();
        let result = self
            .0
            .store
            .call(move |items| items.set(&name, &secret))
            .await;
        self.0.changed(id);
        result
    }

    /// Removes a credential; whether there was one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove(&self, id: &CredentialId) -> Result<bool, VaultError> {
        self.0.changed(id);
        let name = id.clone();
        let result = self.0.store.call(move |items| items.remove(&name)).await;
        self.0.changed(id);
        result
    }

    /// The credentials that are set, by name. Reads no secret.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self) -> Result<Vec<CredentialVersion>, VaultError> {
        self.0.store.call(Items::list).await
    }

    /// [`Vault::list`] for start-up: blocks, and needs no runtime.
    ///
    /// # Errors
    /// Those of the store.
    pub fn list_blocking(&self) -> Result<Vec<CredentialVersion>, VaultError> {
        self.0.store.call_blocking(Items::list)
    }

    /// The version of a credential that is set. Reads no secret.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn version(
        &self,
        id: &CredentialId,
    ) -> Result<Option<CredentialVersion>, VaultError> {
        let id = id.clone();
        self.0.store.call(move |items| items.version(&id)).await
    }

    /// The key of a purpose, 32 bytes; made on first use.
    ///
    /// # Errors
    /// Those of the store; [`VaultError::Damaged`] when it was made before and
    /// is gone.
    pub async fn key(&self, purpose: Purpose) -> Result<Secret, VaultError> {
        self.0.store.call(move |items| items.key(purpose)).await
    }

    /// [`Vault::key`] for start-up: blocks, and needs no runtime.
    ///
    /// # Errors
    /// Those of [`Vault::key`].
    pub fn key_blocking(&self, purpose: Purpose) -> Result<Secret, VaultError> {
        self.0.store.call_blocking(move |items| items.key(purpose))
    }

    /// A credential in the shape that its account's host expects. An access
    /// token is fetched where there is none that is good for a while.
    ///
    /// What was read less than [`VaultOptions::cache`] ago is used again.
    /// Dropping the future ends nothing: a refresh that has begun goes on, since
    /// it may have replaced the refresh token. [`Vault::forget`] ends it.
    ///
    /// # Errors
    /// [`VaultError::Changed`] when another version is stored, or the credential
    /// is another account's; [`VaultError::Refused`] when it does not fit the
    /// account; [`VaultError::OAuth`]; [`VaultError::Forgotten`]; those of the
    /// store.
    pub async fn present(
        &self,
        account: &Account,
        of: &CredentialVersion,
    ) -> Result<Presented, VaultError> {
        if account.credential == CredentialKind::None {
            return Ok(Presented::nothing());
        }
        match self.ready(account, of).await? {
            Ready::Presented(presented) => Ok(presented),
            Ready::Signs(_) => Err(VaultError::Internal(
                "an access key is not shown to a host".into(),
            )),
        }
    }

    /// Signs a request with the access key of its account: the key itself stays.
    ///
    /// # Errors
    /// Those of [`Vault::present`].
    pub async fn sign(
        &self,
        account: &Account,
        of: &CredentialVersion,
        exact: &ExactRequest,
        scope: &AwsScope,
    ) -> Result<Presented, VaultError> {
        match self.ready(account, of).await? {
            Ready::Signs(key) => key.sign(exact, scope),
            Ready::Presented(_) => Err(VaultError::Internal(
                "the credential of the account signs nothing".into(),
            )),
        }
    }

    async fn ready(&self, account: &Account, of: &CredentialVersion) -> Result<Ready, VaultError> {
        if of.id != CredentialId::from(account.id.clone()) {
            return Err(VaultError::Changed);
        }
        if let Some(ready) = self.0.cache.get(account, of) {
            return Ok(ready);
        }
        let mut forgotten = self.0.forgotten.subscribe();
        let epoch = *forgotten.borrow_and_update();
        let (inner, account, of) = (Arc::clone(&self.0), account.clone(), of.clone());
        let reading = tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = forgotten.changed() => Err(VaultError::Forgotten),
                ready = inner.read(account, of) => ready,
            }
        });
        let ready = reading.await.unwrap_or_else(|_| {
            Err(VaultError::Internal(
                "reading the credential broke off".into(),
            ))
        });
        if *self.0.forgotten.borrow() == epoch {
            ready
        } else {
            Err(VaultError::Forgotten)
        }
    }

    /// Drops every secret that is held between two calls: credentials that were
    /// read, access tokens. Ends what is under way. Called at the stop and at a
    /// lock; never waits. (The key of a vault file stays: without it nothing
    /// could be opened again without the passphrase.)
    pub fn forget(&self) {
        self.0.cache.forget();
        self.0.slots().clear();
        self.0.forgotten.send_modify(|n| *n += 1);
    }
}

impl Inner {
    async fn read(&self, account: Account, of: CredentialVersion) -> Result<Ready, VaultError> {
        let slot = Arc::clone(self.slots().entry(of.id.clone()).or_default());
        let mut slot = slot.lock().await;
        // Whoever waited for the lock finds what the one before it read.
        if let Some(ready) = self.cache.get(&account, &of) {
            return Ok(ready);
        }
        if let Some((at, version, error)) = &slot.failed
            && *version == of
            && at.age() < SHARED_FAILURE
        {
            return Err(error.clone());
        }
        let generation = self.cache.generation();
        let read = Moment::now();
        let wanted = of.clone();
        let secret = self
            .store
            .call(move |items| items.read(&wanted))
            .await
            .inspect_err(|error| {
                slot.failed = Some((Moment::now(), of.clone(), error.clone()));
            })?;
        let ready = match &account.credential {
            CredentialKind::Oauth2 => Ready::Presented(
                slot.tokens
                    .present(&self.store, &account, &of, &secret)
                    .await?,
            ),
            CredentialKind::Aws(settings) => {
                let key = AccessKey::parse(&secret)?;
                Ready::Signs(slot.session.key(&account, settings, &of, key).await?)
            }
            kind => Ready::Presented(shape(kind, &secret)?),
        };
        self.cache
            .put(generation, account, &of, ready.clone(), read);
        Ok(ready)
    }

    /// What is known of a credential is no longer true.
    fn changed(&self, id: &CredentialId) {
        self.slots().remove(id);
        self.cache.drop_one(id);
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<CredentialId, Arc<TaskMutex<Slot>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

#[cfg(test)]
#[path = "vault_tests.rs"]
mod tests;
