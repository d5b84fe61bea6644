//! Where items are kept.

mod file;
mod keyring;
#[cfg(test)]
pub(crate) mod memory;
#[cfg(all(unix, not(target_os = "macos")))]
mod secret_service;

pub(crate) use file::EncryptedFile;
pub(crate) use keyring::Keyring;

use crate::{Secret, VaultError};

/// A place for small named items. It is used by one thread, which may block.
pub(crate) trait ItemStore {
    /// The item; `None` where it is certain that there is none.
    fn get(&mut self, name: &str) -> Result<Option<Secret>, VaultError>;
    /// Makes or replaces the item. Durable when it returns.
    fn put(&mut self, name: &str, value: &Secret) -> Result<(), VaultError>;
    /// Removes the item; that there is none is no error.
    fn delete(&mut self, name: &str) -> Result<(), VaultError>;
    /// After a panic in here: forgets every connection.
    fn reset(&mut self) {}
}
