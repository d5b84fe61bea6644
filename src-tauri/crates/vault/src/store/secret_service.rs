//! Is the keyring there, and is it open? Asked before every call, over a
//! connection of our own, because the store crate answers a locked keyring by
//! showing a prompt and waiting for it.
//!
//! Source: the Secret Service API draft 0.2, "Service", "Collection", "Locking".

use crate::VaultError;
use countersign_model::Foreign;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::time::Duration;
use zbus::blocking::{Connection, connection::Builder};
use zbus::zvariant::{OwnedObjectPath, OwnedValue};

const NAME: &str = "org.freedesktop.secrets";
const PATH: &str = "/org/freedesktop/secrets";
const SERVICE: &str = "org.freedesktop.Secret.Service";
const COLLECTION: &str = "org.freedesktop.Secret.Collection";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Asks the Secret Service what it answers without a prompt.
pub(super) struct Probe {
    bus: Connection,
}

impl Probe {
    /// Connects to the session bus, and has the keyring answer once.
    pub(super) fn connect(limit: Duration) -> Result<Self, VaultError> {
        let bus = Builder::session()
            .and_then(|bus| bus.method_timeout(limit).build())
            .map_err(|e| match e {
                zbus::Error::InputOutput(e) if e.kind() == ErrorKind::TimedOut => {
                    VaultError::TimedOut
                }
                _ => VaultError::NoKeyring {
                    why: "there is no session bus".into(),
                },
            })?;
        let probe = Self { bus };
        probe.default_collection()?;
        Ok(probe)
    }

    /// Whether an item of these attributes can be read and written without a
    /// prompt, be it there or not.
    ///
    /// Some keyrings do not search a locked collection. "Not found" counts only
    /// while the collection that it would be in is open; otherwise a locked
    /// keyring would look like an empty one, and keys would be made anew.
    pub(super) fn open_for(&self, service: &str, user: &str) -> Result<(), VaultError> {
        let attributes = HashMap::from([("service", service), ("username", user)]);
        let (unlocked, locked): (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) =
            self.ask(PATH, SERVICE, "SearchItems", &attributes)?;
        if !locked.is_empty() {
            return Err(VaultError::Locked);
        }
        if !unlocked.is_empty() {
            return Ok(());
        }
        let Some(collection) = self.default_collection()? else {
            return Err(VaultError::NoKeyring {
                why: "the keyring has no default collection".into(),
            });
        };
        let value: OwnedValue =
            self.ask(&collection, PROPERTIES, "Get", &(COLLECTION, "Locked"))?;
        match bool::try_from(value) {
            Ok(false) => Ok(()),
            // What cannot be understood is not open.
            Ok(true) | Err(_) => Err(VaultError::Locked),
        }
    }

    fn default_collection(&self) -> Result<Option<OwnedObjectPath>, VaultError> {
        let path: OwnedObjectPath = self.ask(PATH, SERVICE, "ReadAlias", &"default")?;
        Ok((path.as_str() != "/").then_some(path))
    }

    fn ask<B, R>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<R, VaultError>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
        R: serde::de::DeserializeOwned + zbus::zvariant::Type,
    {
        let reply = self
            .bus
            .call_method(Some(NAME), path, Some(interface), method, body)
            .map_err(|e| explain(&e))?;
        reply.body().deserialize().map_err(|e| explain(&e))
    }
}

/// What a failed call to the keyring means.
fn explain(error: &zbus::Error) -> VaultError {
    match error {
        zbus::Error::MethodError(name, _, _) => match name.as_str() {
            "org.freedesktop.DBus.Error.ServiceUnknown"
            | "org.freedesktop.DBus.Error.NameHasNoOwner" => VaultError::NoKeyring {
                why: "none is running on the session bus".into(),
            },
            name if name.starts_with("org.freedesktop.DBus.Error.Spawn.") => {
                VaultError::NoKeyring {
                    why: "the session bus could not start it".into(),
                }
            }
            // It went away while it was asked.
            "org.freedesktop.DBus.Error.NoReply" | "org.freedesktop.DBus.Error.Disconnected" => {
                VaultError::NoKeyring {
                    why: "it broke off".into(),
                }
            }
            "org.freedesktop.DBus.Error.Timeout" | "org.freedesktop.DBus.Error.TimedOut" => {
                VaultError::TimedOut
            }
            "org.freedesktop.Secret.Error.IsLocked" => VaultError::Locked,
            name => VaultError::Internal(format!("the keyring answered {}", Foreign::new(name))),
        },
        zbus::Error::InputOutput(e) if e.kind() == ErrorKind::TimedOut => VaultError::TimedOut,
        zbus::Error::InputOutput(_) => VaultError::NoKeyring {
            why: "the session bus is gone".into(),
        },
        other => VaultError::Internal(format!(
            "the session bus answered {}",
            Foreign::new(other.to_string())
        )),
    }
}
