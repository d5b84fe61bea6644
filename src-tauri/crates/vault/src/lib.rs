//! Credentials and keys; the only crate that names the keyring.
//!
//! A secret comes in by [`Vault::set`], lies in the keyring of the OS (or, only
//! where the user said so, in one encrypted file), and goes out by
//! [`Vault::present`], shaped for one request, or as a signature of one by
//! [`Vault::sign`]. There is no "get".
//!
//! Reading order: `secret`, `error`, `vault` (what others call), `thread` (where
//! the keyring is called), `items` (what is kept), `store` (where it is kept),
//! `present`, `oauth`, `aws` and `assume_role` (how it is shown to a host), `cache`.
//!
//! Invariants:
//! - secrets are zeroised when dropped and do not print (guarantee G9). What
//!   lies beyond that: the copies that D-Bus, TLS and HTTP libraries make while
//!   they carry one;
//! - a version of a credential names one secret for ever: it counts up, also
//!   over a removal;
//! - every failure is a [`VaultError`] with a truthful reason, within the
//!   time-out, also while the keyring hangs.

mod assume_role;
mod aws;
mod cache;
mod clock;
mod encoding;
mod error;
mod harden;
mod items;
mod oauth;
mod present;
mod secret;
mod store;
#[cfg(test)]
mod test_endpoint;
mod thread;
mod token_endpoint;
mod vault;

pub use error::VaultError;
pub use harden::harden_process;
pub use items::Purpose;
pub use secret::{Place, Presented, Secret};
pub use vault::{Backend, Vault, VaultOptions};
