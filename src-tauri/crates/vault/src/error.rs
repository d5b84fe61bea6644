//! Why the vault gives nothing, in words, with what to do about it.

use countersign_model::ReasonCode;

/// Why the vault gives nothing. No variant ever holds a secret or text that a
/// token endpoint wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The keyring is there and locked. Nothing was asked of it, so no prompt
    /// is on the screen because of us.
    #[error("The keyring is locked.")]
    Locked,
    /// There is no keyring to ask.
    #[error("No keyring answers: {why}.")]
    NoKeyring {
        /// What is missing, in our words.
        why: String,
    },
    /// The keyring did not answer in time: it hangs, or waits for a dialog of
    /// its own. A change that was asked for may still happen.
    #[error("The keyring did not answer in time.")]
    TimedOut,
    /// The account has no credential.
    #[error("No credential is set.")]
    NoCredential,
    /// The credential is not the one that was judged.
    #[error("The credential was changed in the meantime.")]
    Changed,
    /// The vault file does not open with this passphrase.
    #[error("The passphrase does not open the vault file.")]
    WrongPassphrase,
    /// What is stored is not what was stored.
    #[error("The vault is damaged: {0}.")]
    Damaged(String),
    /// The credential is longer than the store can hold.
    #[error("The credential is too long for the keyring.")]
    TooLong,
    /// The credential cannot be used the way its account says.
    #[error("The credential cannot be used: {0}.")]
    Refused(String),
    /// No access token could be had for the refresh token, or no credentials of a
    /// role for the access key.
    #[error("No access token: {0}.")]
    OAuth(String),
    /// [`Vault::forget`](crate::Vault::forget) was called while this was under way.
    #[error("The vault was told to forget while this was under way.")]
    Forgotten,
    /// Something of ours, or of the OS, failed.
    #[error("The vault failed: {0}.")]
    Internal(String),
}

impl VaultError {
    /// The reason code for the refusal that follows.
    #[must_use]
    pub const fn reason(&self) -> ReasonCode {
        match self {
            // Forgetting happens at a lock and at the stop; the broker looks
            // for the stop first.
            Self::Locked | Self::WrongPassphrase | Self::Forgotten => ReasonCode::Locked,
            Self::NoKeyring { .. } => ReasonCode::NoKeyring,
            Self::NoCredential => ReasonCode::NoCredential,
            Self::Changed => ReasonCode::Changed,
            Self::OAuth(_) => ReasonCode::Upstream,
            // Not `TimedOut`: that code says that no human answered.
            Self::TimedOut
            | Self::Damaged(_)
            | Self::TooLong
            | Self::Refused(_)
            | Self::Internal(_) => ReasonCode::Internal,
        }
    }

    /// What the user can do about it, in one or two sentences.
    #[must_use]
    pub const fn fix(&self) -> &'static str {
        match self {
            Self::Locked => {
                "Unlock the keyring (log in to the desktop, or open it in the password program)."
            }
            Self::NoKeyring { .. } => {
                "Start one (gnome-keyring, KWallet, KeePassXC) or set vault = \"file\" in countersign.toml."
            }
            Self::TimedOut => {
                "See whether the keyring shows a dialog and answer it; if not, restart the keyring."
            }
            Self::NoCredential => "Set one: countersign credential set ACCOUNT.",
            Self::Changed => "Send the request again: it will be judged with the new credential.",
            Self::WrongPassphrase => {
                "Give the passphrase that the vault file was made with. There is no other way in."
            }
            Self::Damaged(_) => {
                "Restore the keyring or the vault file from a backup, or set the credentials anew."
            }
            Self::TooLong => {
                "Use a shorter credential, or set vault = \"file\" in countersign.toml."
            }
            Self::Refused(_) => "Set the credential again: countersign credential set ACCOUNT.",
            Self::OAuth(_) => {
                "See whether the provider still honours the refresh token; if not, set a new credential."
            }
            Self::Forgotten => "Unlock the session or resume, and send the request again.",
            Self::Internal(_) => "Run countersign doctor; if it finds nothing, report this.",
        }
    }
}
