//! Credentials go in, and never out.

use super::ask::{home, once, said, unexpected};
use crate::cli::Credential;
use crate::client::{Client, Failure};
use crate::say;
use countersign_protocol::control::{Ask, Reply};
use countersign_protocol::frame::SECRET_LIMIT;
use countersign_vault::Secret;
use std::io::{IsTerminal as _, Read as _};
use zeroize::Zeroizing;

pub(crate) fn credential(what: Credential, json: bool) -> Result<(), Failure> {
    match what {
        Credential::Set { account } => {
            // Not even for a moment may another process of the user read this
            // one's memory.
            countersign_vault::harden_process()
                .map_err(|e| Failure::new(format!("This process could not be hardened: {e}")))?;
            let mut client = Client::connect(&home()?)?;
            let secret = read(&account.to_string())?;
            client.send(&Ask::CredentialSet {
                account,
                length: secret.expose().len(),
            })?;
            client.send_secret(secret.expose())?;
            said(&client.answer()?, json)
        }
        Credential::Remove { account } => said(&once(&Ask::CredentialRemove { account })?, json),
        Credential::List => {
            let Reply::Credentials { credentials } = once(&Ask::CredentialList {})? else {
                return Err(unexpected());
            };
            if json {
                say::json(&credentials);
            } else if credentials.is_empty() {
                say::line("No credential is stored.");
            } else {
                for credential in credentials {
                    say::line(&format!(
                        "{}  version {}",
                        credential.id, credential.version
                    ));
                }
            }
            Ok(())
        }
    }
}

/// From standard input: hidden on a terminal, whole from a pipe. One newline at
/// the end is not part of it.
fn read(account: &str) -> Result<Secret, Failure> {
    if std::io::stdin().is_terminal() {
        return say::ask_hidden(&format!("Credential of {account}: "))
            .map_err(|e| Failure::new(e.to_string()));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_LIMIT + 1));
    std::io::stdin()
        .take(SECRET_LIMIT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::new(e.to_string()))?;
    if bytes.len() > SECRET_LIMIT {
        return Err(Failure::usage("A credential has at most 64 KiB."));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(Failure::usage("Standard input held no credential."));
    }
    Ok(Secret::from_zeroizing(bytes))
}
