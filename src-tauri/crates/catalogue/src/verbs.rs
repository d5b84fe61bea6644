//! What methods and names suggest of an operation that no table holds. They
//! label; they never make anything routine.

use crate::judgement::fx;
use countersign_model::Effect::{
    self, Admin, Bulk, Delete, Exec, Permission, Publish, Read, Secret, Spend, Write,
};
use countersign_model::Effects;

/// What a method does by RFC 9110. A method that is not known there may do
/// anything.
pub(crate) fn of_method(method: &str) -> Effects {
    match method {
        "GET" | "HEAD" | "OPTIONS" => fx(&[Read]),
        "POST" | "PUT" | "PATCH" => fx(&[Write]),
        "DELETE" => fx(&[Delete]),
        _ => fx(&[Exec]),
    }
}

/// Words that stand for effects, in the names of operations.
const LEXICON: &[(&[&str], &[Effect])] = &[
    (
        &[
            "delete", "remove", "destroy", "purge", "trash", "erase", "clear", "wipe", "drop",
            "kick", "archive", "discard", "empty",
        ],
        &[Delete],
    ),
    (
        &[
            "send",
            "publish",
            "post",
            "share",
            "forward",
            "notify",
            "announce",
            "reply",
            "broadcast",
            "public",
        ],
        &[Publish],
    ),
    (
        &[
            "permission",
            "permissions",
            "acl",
            "role",
            "roles",
            "member",
            "members",
            "collaborator",
            "collaborators",
            "delegate",
            "delegates",
            "invite",
            "invitation",
            "invitations",
            "grant",
            "revoke",
            "transfer",
            "owner",
            "owners",
            "share",
        ],
        &[Permission],
    ),
    (
        &[
            "token",
            "tokens",
            "secret",
            "secrets",
            "credential",
            "credentials",
            "password",
            "passwords",
            "key",
            "keys",
            "certificate",
        ],
        &[Secret],
    ),
    (
        &[
            "run",
            "exec",
            "execute",
            "dispatch",
            "dispatches",
            "invoke",
            "trigger",
            "rerun",
            "deploy",
        ],
        &[Exec],
    ),
    (
        &[
            "pay",
            "purchase",
            "refund",
            "billing",
            "charge",
            "payout",
            "subscribe",
            "order",
        ],
        &[Spend],
    ),
    (
        &[
            "admin",
            "setting",
            "settings",
            "config",
            "policy",
            "policies",
            "enterprise",
        ],
        &[Admin],
    ),
    (&["batch", "bulk", "purge", "all", "wipe", "empty"], &[Bulk]),
];

/// What an operation's name suggests. Verbs count only where something changes:
/// reading `members` is a read, but what a read may reveal still counts.
pub(crate) fn of_name(name: &str, reads: bool) -> Effects {
    let words = words_of(name);
    let mut set = Effects::NONE;
    for (known, effects) in LEXICON {
        if known.iter().any(|k| words.iter().any(|w| w == k)) {
            let kept = effects.iter().filter(|e| !reads || matches!(e, Secret));
            set = set.union(kept.copied().collect());
        }
    }
    set
}

/// `batchDelete` → batch, delete; `files.shared_publicURL` → files, shared, public, url.
pub(crate) fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut previous_lower = false;
    for c in name.chars() {
        let breaks = !c.is_ascii_alphanumeric() || (c.is_ascii_uppercase() && previous_lower);
        if breaks {
            words.push(String::new());
        }
        if let (true, Some(last)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            last.push(c.to_ascii_lowercase());
        }
        previous_lower = c.is_ascii_lowercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_where_people_split_them() {
        assert_eq!(words_of("batchDelete"), ["batch", "delete"]);
        assert_eq!(
            words_of("files.shared_publicURL"),
            ["files", "shared", "public", "url"]
        );
    }

    #[test]
    fn names_label_what_changes_and_what_is_secret() {
        assert_eq!(of_name("messages:batchDelete", false), fx(&[Delete, Bulk]));
        assert_eq!(of_name("members", true), Effects::NONE);
        assert_eq!(of_name("access-token", true), fx(&[Secret]));
    }

    #[test]
    fn a_method_that_nobody_knows_may_run_anything() {
        assert_eq!(of_method("PROPFIND"), fx(&[Exec]));
        assert_eq!(of_method("get"), fx(&[Exec]), "methods are case-sensitive");
    }
}
