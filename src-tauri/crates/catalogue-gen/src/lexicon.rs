//! What names say: the first layer. It errs towards asking: the list of verbs
//! that read is short on purpose, since a verb that is on it and changes
//! something is what must not happen.

use countersign_model::Effect::{
    Admin, Bulk, Delete, Exec, Permission, Publish, Read, Secret, Spend, Write,
};
use countersign_model::Effects;
use regex::Regex;
use std::sync::LazyLock;

/// Verbs that read. Whether the lists below stay as short as they are is
/// measured: the report counts the false reads of each verb.
const READ: &[&str] = &[
    "get",
    "list",
    "describe",
    "head",
    "search",
    "scan",
    "query",
    "lookup",
    "count",
    "aggregated",
];
const DELETE: &[&str] = &[
    "delete",
    "remove",
    "terminate",
    "deregister",
    "purge",
    "destroy",
    "dispose",
    "discard",
    "redact",
    "forget",
    "flush",
    "release",
    "wipe",
    "erase",
    "drop",
    "expunge",
    "trash",
    "empty",
    "expire",
    "retire",
    "unregister",
    "clear",
    "deprovision",
    "uninstall",
    "truncate",
    "evict",
    "teardown",
    "deletion",
    "obliterate",
    "abandon",
];
const PUBLISH: &[&str] = &[
    "send",
    "publish",
    "notify",
    "invite",
    "broadcast",
    "post",
    "forward",
    "reply",
    "tweet",
    "announce",
    "email",
    "dial",
    "sms",
    "reinvite",
    "resend",
    "share",
];
const SPEND: &[&str] = &[
    "purchase",
    "buy",
    "pay",
    "payout",
    "charge",
    "refund",
    "capture",
    "checkout",
    "redeem",
    "order",
    "topup",
    "donate",
    "subscribe",
    "reserve",
    "renew",
];
const EXEC: &[&str] = &[
    "invoke", "execute", "exec", "run", "dispatch", "eval", "evaluate", "converse", "predict",
    "generate", "rerun", "deploy", "trigger", "call",
];
const PERMISSION: &[&str] = &[
    "grant",
    "revoke",
    "authorize",
    "deauthorize",
    "assume",
    "unshare",
    "share",
    "impersonate",
    "delegate",
    "elevate",
];
const BULK: &[&str] = &[
    "batch", "bulk", "mass", "multi", "all", "many", "multiple", "purge",
];
/// What turns a later word that deletes into its opposite.
const NOT: &[&str] = &[
    "cancel", "undo", "prevent", "restore", "get", "list", "describe",
];
const ADMIN: &[&str] = &[
    "organization",
    "organizations",
    "enterprise",
    "audit",
    "trail",
    "dnssec",
    "retention",
];
const SECRET: &[&str] = &[
    "secret",
    "secrets",
    "password",
    "passwords",
    "credential",
    "credentials",
    "token",
    "tokens",
    "accesskey",
    "accesskeys",
    "privatekey",
    "kubeconfig",
    "presigned",
    "presign",
    "authtoken",
    "apikey",
    "apikeys",
    "decrypt",
];

/// Nouns of who may do what.
static RIGHTS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"\b((resource|bucket|key|access|user|role|group|repository|registry|vault|queue|topic|boundary|managed|inline|object|iam|authorization|password|approval) polic(y|ies)|permissions?|roles?|grants?|acls?|iam|collaborators?|memberships?|members?|invitations?|invites?|owners?|admins?|principals?|credentials?|passwords?|(access|api|ssh|gpg|deploy|signing|service account) keys?|tokens?|secrets?|mfa|login profile|saml|oidc|identity provider|sso|rulesets?|(branch|tag|environment|deployment) protection|protection rules?|visibility|service ?accounts?|role ?bindings?|public access|delegat\w+|sharing|webhooks?|hooks?|oauth|entitlements?|consents?|authenticat\w+)\b",
    )
    .ok()
});

/// What a name and a method say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) effects: Effects,
    /// Whether the verb alone says that it reads.
    pub(crate) verb_reads: bool,
}

/// Judges by words. `name` are the operation's own, verb first; `nouns` those
/// around it; `method` is the HTTP method where it means something.
pub(crate) fn judge(name: &[String], nouns: &[String], method: Option<&str>) -> Said {
    let is = |list: &[&str], word: &str| list.contains(&word);
    let mut words: Vec<&str> = name.iter().map(String::as_str).collect();
    let mut effects = Effects::NONE;
    let bulk = words
        .iter()
        .chain(nouns.iter().map(String::as_str).collect::<Vec<_>>().iter())
        .any(|w| is(BULK, w));
    if words.len() > 1
        && is(
            &["batch", "bulk", "mass", "multi", "admin", "transact"],
            words[0],
        )
    {
        words.remove(0);
    }
    let verb = words.first().copied().unwrap_or("");
    let later = words.get(1..).unwrap_or_default();
    let verb_reads = is(READ, verb);
    let secret = || {
        later.iter().any(|w| is(SECRET, w))
            || nouns.iter().any(|w| is(SECRET, w))
            || is(SECRET, verb)
    };
    let plain_get = matches!(method, Some("GET" | "HEAD"));
    let changes = [DELETE, PUBLISH, SPEND, EXEC, PERMISSION]
        .iter()
        .any(|list| is(list, verb));
    if verb_reads || plain_get && !changes {
        effects = effects.with(Read);
        if secret() {
            effects = effects.with(Secret);
        }
        return Said {
            effects,
            verb_reads,
        };
    }
    if plain_get {
        effects = effects.with(Read);
    }
    let deletes = is(DELETE, verb)
        || method == Some("DELETE")
        || !is(NOT, verb) && later.iter().any(|w| is(DELETE, w));
    effects = effects.with(if deletes { Delete } else { Write });
    for (list, effect) in [
        (PUBLISH, Publish),
        (SPEND, Spend),
        (EXEC, Exec),
        (PERMISSION, Permission),
    ] {
        if is(list, verb) {
            effects = effects.with(effect);
        }
    }
    let all = later
        .iter()
        .copied()
        .chain(nouns.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ");
    if RIGHTS.as_ref().is_some_and(|rights| rights.is_match(&all)) {
        effects = effects.with(Permission);
    }
    if later.iter().any(|w| is(ADMIN, w)) {
        effects = effects.with(Admin);
    }
    if bulk {
        effects = effects.with(Bulk);
    }
    if is(&["decrypt", "assume"], verb) {
        effects = effects.with(Secret);
    }
    Said {
        effects,
        verb_reads,
    }
}

/// Whether a word is a verb that changes something, or one that reads.
pub(crate) fn is_verb(word: &str) -> bool {
    const PLAIN: &[&str] = &[
        "add",
        "set",
        "create",
        "update",
        "assign",
        "move",
        "copy",
        "restore",
        "reset",
        "cancel",
        "accept",
        "decline",
        "check",
        "validate",
        "sync",
        "translate",
        "start",
        "stop",
        "disable",
        "enable",
        "export",
        "import",
        "merge",
        "snooze",
        "dismiss",
        "archive",
        "unarchive",
    ];
    [READ, DELETE, PUBLISH, SPEND, EXEC, PERMISSION, PLAIN]
        .iter()
        .any(|list| list.contains(&word))
}

/// `DescribeDBInstances` → describe, db, instances.
pub(crate) fn words(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, &c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|b| chars[b]);
        let after = chars.get(at + 1);
        let upper = c.is_ascii_uppercase();
        let begins = before.is_some_and(|b| {
            upper && (!b.is_ascii_uppercase() || after.is_some_and(char::is_ascii_lowercase))
                || c.is_ascii_digit() != b.is_ascii_digit()
        });
        if begins || !c.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(c.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str) -> String {
        judge(&words(name), &[], None).effects.to_string()
    }

    #[test]
    fn verbs_and_nouns_say_what_an_operation_does() {
        assert_eq!(said("DescribeInstances"), "read");
        assert_eq!(said("BatchGetSecretValue"), "read, secret");
        assert_eq!(said("TerminateInstances"), "delete");
        assert_eq!(said("ScheduleKeyDeletion"), "delete");
        assert_eq!(said("CancelKeyDeletion"), "write");
        assert_eq!(said("PutBucketPolicy"), "write, permission");
        assert_eq!(said("AssumeRole"), "write, permission, secret");
        assert_eq!(said("Frobnicate"), "write");
        assert_eq!(said("PurgeQueue"), "delete, bulk");
    }

    #[test]
    fn a_get_whose_name_changes_something_is_no_read() {
        let moved = judge(&words("cancel"), &[], Some("GET"))
            .effects
            .to_string();
        assert_eq!(moved, "read", "no verb of the lists: only not agreed upon");
        let sent = judge(&words("sendAlert"), &[], Some("GET"))
            .effects
            .to_string();
        assert_eq!(sent, "read, write, publish");
    }
}
