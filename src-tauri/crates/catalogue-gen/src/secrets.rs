//! Whether a reply holds a token, a key or a link that is a key by itself.

use regex::Regex;
use std::sync::LazyLock;

static HOLDS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)(secret|password|passphrase|credential|private_?key|access_?token|auth_?token|session_?token|authorization_?token|refresh_?token|id_?token|bearer|api_?key|api_?token|signed_?ur[il]|plaintext|secret_?key|connection_?string|kube_?config|jwt|download_?ur[il]|upload_?ur[il]|login_?ur[il]|signing_?key|shared_?key|auth_?code|recovery_?code|key_?material|user_?data$|environment_?variable|^token$|_token$|[a-z]Token$)",
    )
    .ok()
});
/// What only points at one, speaks of it, or is shown as asterisks (AWS's
/// `MasterUserPassword`, while a change of it is pending).
static SPEAKS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)(arn|ids?|names?|status|state|types?|date|time|at|count|enabled|expiration|expires?|policy|mode|version|location|format|algorithm|length|size|required|allowed|supported|reset|usage|used|action|method|label|description|limits?|reason|rotation|settings?|config|provider|store|uri|endpoint|hint|prefix|last_?four|fingerprint|digest|hash)$|^MasterUserPassword$|Sec$|(?i)^(next|prev|attribution|widget|restore|precommit|routing|client|continuation|page|pagination|idempotency|request|sync|change|starting|marker|previous|start|max|resume|update|lock|concurrency|query|scroll|creation|resource|poll|delta|checkpoint|cursor|caller|consistency|stream)",
    )
    .ok()
});

/// Whether a field of this name holds one.
pub(crate) fn is_secret(field: &str) -> bool {
    let fits = |pattern: &Option<Regex>| pattern.as_ref().is_none_or(|p| p.is_match(field));
    fits(&HOLDS) && !fits(&SPEAKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_told_from_what_speaks_of_it() {
        for field in [
            "SecretString",
            "SessionToken",
            "authorizationToken",
            "access_token",
            "token",
            "PrivateKey",
            "Plaintext",
        ] {
            assert!(is_secret(field), "{field}");
        }
        for field in [
            "NextToken",
            "nextPageToken",
            "SecretArn",
            "AccessKeyId",
            "MasterUserPasswordEnabled",
            "Name",
            "ClientToken",
        ] {
            assert!(!is_secret(field), "{field}");
        }
    }
}
