//! Names and versions of the credentials, as the vault last said. Never a secret.

use crate::broker::Broker;
use countersign_model::{CredentialId, CredentialVersion, Event};
use countersign_vault::{Secret, VaultError};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

impl Broker {
    /// Learns the names and versions of the credentials from the vault.
    ///
    /// # Errors
    /// Whatever the vault says; what was known stays known.
    pub async fn learn_credentials(&self) -> Result<(), VaultError> {
        let list = self.inner.vault.list().await?;
        let new = list.into_iter().map(|v| (v.id.clone(), v)).collect();
        let changed = {
            let mut known = self.to_change();
            let changed = *known != new;
            *known = new;
            changed
        };
        if changed {
            self.inner.changes.send_replace(());
        }
        Ok(())
    }

    /// The current version of a credential.
    #[must_use]
    pub fn credential(&self, id: &CredentialId) -> Option<CredentialVersion> {
        self.known().get(id).cloned()
    }

    /// All of them, names and versions.
    #[must_use]
    pub fn credentials(&self) -> Vec<CredentialVersion> {
        let mut all: Vec<_> = self.known().values().cloned().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// Stores a credential that the human has confirmed.
    ///
    /// # Errors
    /// What the vault says.
    pub async fn set_credential(
        &self,
        id: &CredentialId,
        secret: Secret,
    ) -> Result<CredentialVersion, VaultError> {
        let version = self.inner.vault.set(id, secret).await?;
        self.to_change().insert(id.clone(), version.clone());
        self.inner.changes.send_replace(());
        self.cut_what_used(id);
        self.record_later(Event::CredentialSet {
            credential: version.clone(),
        });
        Ok(version)
    }

    /// Removes a credential; permits that name it end.
    ///
    /// # Errors
    /// What the vault says.
    pub async fn remove_credential(&self, id: &CredentialId) -> Result<(), VaultError> {
        let known = self.credential(id).ok_or(VaultError::NoCredential)?;
        self.to_change().remove(id);
        self.inner.changes.send_replace(());
        self.cut_what_used(id);
        self.inner.vault.remove(id).await?;
        self.record_later(Event::CredentialRemoved { credential: known });
        Ok(())
    }

    fn known(&self) -> RwLockReadGuard<'_, HashMap<CredentialId, CredentialVersion>> {
        self.inner
            .credentials
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn to_change(&self) -> RwLockWriteGuard<'_, HashMap<CredentialId, CredentialVersion>> {
        self.inner
            .credentials
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
