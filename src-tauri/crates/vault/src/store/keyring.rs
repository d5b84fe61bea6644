//! The keyring of the OS.

use super::ItemStore;
use crate::{Secret, VaultError};
use countersign_model::InstallId;
use keyring_core::{CredentialStore, Entry, Error};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroize as _;

/// Items in the keyring of the OS, under the service `countersign/<install>`:
/// two homes never see each other's. Connects again after a failure.
pub(crate) struct Keyring {
    service: String,
    limit: Duration,
    link: Option<Link>,
}

/// A connection that has worked so far.
struct Link {
    store: Arc<CredentialStore>,
    #[cfg(all(unix, not(target_os = "macos")))]
    probe: super::secret_service::Probe,
}

impl Keyring {
    /// Connects; does not ask for anything that could prompt.
    pub(crate) fn open(install: &InstallId, limit: Duration) -> Result<Self, VaultError> {
        Ok(Self {
            service: format!("countersign/{install}"),
            limit,
            link: Some(Link::connect(limit)?),
        })
    }

    /// Makes a call, and makes it once more over a new connection if the old
    /// one turns out to be dead (the keyring was started anew).
    fn with_entry<T>(
        &mut self,
        name: &str,
        call: impl Fn(&Entry) -> Result<T, Error>,
    ) -> Result<Option<T>, VaultError> {
        let mut again = self.link.is_some();
        loop {
            let link = match self.link.take() {
                Some(link) => link,
                None => Link::connect(self.limit)?,
            };
            match link.open_for(&self.service, name) {
                Ok(()) => {}
                // The connection is fine; only the keyring is not open.
                Err(VaultError::Locked) => {
                    self.link = Some(link);
                    return Err(VaultError::Locked);
                }
                Err(VaultError::NoKeyring { .. }) if again => {
                    again = false;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let result = link
                .entry(&self.service, name)
                .and_then(|entry| call(&entry));
            match result {
                Ok(value) => {
                    self.link = Some(link);
                    return Ok(Some(value));
                }
                Err(Error::NoEntry) => {
                    self.link = Some(link);
                    return Ok(None);
                }
                Err(Error::PlatformFailure(_)) if again => again = false,
                Err(error) => return Err(explain(error)),
            }
        }
    }
}

impl ItemStore for Keyring {
    fn get(&mut self, name: &str) -> Result<Option<Secret>, VaultError> {
        self.with_entry(name, |entry| entry.get_secret().map(Secret::new))
    }
    fn put(&mut self, name: &str, value: &Secret) -> Result<(), VaultError> {
        match self.with_entry(name, |entry| entry.set_secret(value.expose()))? {
            Some(()) => Ok(()),
            None => Err(VaultError::Internal(
                "the keyring did not make the item".into(),
            )),
        }
    }
    fn delete(&mut self, name: &str) -> Result<(), VaultError> {
        self.with_entry(name, Entry::delete_credential).map(|_| ())
    }
    fn reset(&mut self) {
        self.link = None;
    }
}

#[cfg(all(unix, not(target_os = "macos")))]
impl Link {
    fn connect(limit: Duration) -> Result<Self, VaultError> {
        // First the probe: it has a time limit, and says what is missing.
        let probe = super::secret_service::Probe::connect(limit)?;
        let store = zbus_secret_service_keyring_store::Store::new().map_err(explain)?;
        Ok(Self { store, probe })
    }
    fn open_for(&self, service: &str, name: &str) -> Result<(), VaultError> {
        self.probe.open_for(service, name)
    }
    fn entry(&self, service: &str, name: &str) -> Result<Entry, Error> {
        // What the user reads in the password program.
        let label = format!("Countersign: {name}");
        self.store
            .build(service, name, Some(&[("label", label.as_str())].into()))
    }
}

/// macOS and Windows: not yet run there. The keychain prompts by itself when it
/// is locked; the time-out of the thread bounds that.
#[cfg(not(all(unix, not(target_os = "macos"))))]
impl Link {
    fn connect(_limit: Duration) -> Result<Self, VaultError> {
        #[cfg(target_os = "macos")]
        let store = apple_native_keyring_store::keychain::Store::new();
        #[cfg(windows)]
        let store = windows_native_keyring_store::Store::new();
        Ok(Self {
            store: store.map_err(explain)?,
        })
    }
    fn open_for(&self, _service: &str, _name: &str) -> Result<(), VaultError> {
        Ok(())
    }
    fn entry(&self, service: &str, name: &str) -> Result<Entry, Error> {
        self.store.build(service, name, None)
    }
}

/// What an error of the store means. Its own text is left out, and the item's
/// bytes, which some variants carry, are zeroised.
fn explain(error: Error) -> VaultError {
    match error {
        Error::NoStorageAccess(_) => VaultError::Locked,
        Error::NoDefaultStore => VaultError::NoKeyring {
            why: "the system offers none".into(),
        },
        Error::TooLong(_, _) => VaultError::TooLong,
        Error::Ambiguous(_) => VaultError::Damaged("the keyring has one item twice".into()),
        Error::BadEncoding(mut bytes) | Error::BadDataFormat(mut bytes, _) => {
            bytes.zeroize();
            VaultError::Damaged("an item of the keyring cannot be read".into())
        }
        Error::BadStoreFormat(_) => VaultError::Damaged("the keyring cannot be read".into()),
        _ => VaultError::Internal("the keyring failed a call".into()),
    }
}
