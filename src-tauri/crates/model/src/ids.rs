use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A name that is not one: which rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {shown:?} is not valid: {rule}")]
pub struct BadId {
    what: &'static str,
    shown: String,
    rule: &'static str,
}

/// Names that people choose in `countersign.toml`: 1 to 64 of `a-z 0-9 - _ .`,
/// beginning with a letter or digit. They appear in file names, policies and
/// notifications, so nothing in them can be read as anything else.
fn name_is_valid(s: &str) -> bool {
    let first_ok = s
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    first_ok
        && s.len() <= 64
        && !s.contains("..")
        && s.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.')
        })
}

const NAME_RULE: &str =
    "1 to 64 of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit, without '..'";

/// Ids that we draw: a prefix and Crockford base32, so that a person can read
/// one aloud and type it back.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn drawn<const N: usize>(prefix: &str, random: [u8; N]) -> String {
    let mut out = String::with_capacity(prefix.len() + N);
    out.push_str(prefix);
    for byte in random {
        out.push(char::from(ALPHABET[usize::from(byte & 31)]));
    }
    out
}

/// So many of a request id's characters count up within its run.
const COUNTED: u32 = 5;

fn drawn_is_valid(s: &str, prefix: &str, len: usize) -> bool {
    s.strip_prefix(prefix)
        .is_some_and(|rest| rest.len() == len && rest.bytes().all(|b| ALPHABET.contains(&b)))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:expr, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl $name {
            /// The id as people see it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(s: &str) -> Result<Self, BadId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(s) {
                    Ok(Self(s.into()))
                } else {
                    Err(BadId { what: $what, shown: s.chars().take(80).collect(), rule: $rule })
                }
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(s: String) -> Result<Self, BadId> {
                s.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }
    };
}

text_id!(
    /// The name of an agent in `countersign.toml`.
    AgentId, "agent name", NAME_RULE, name_is_valid
);
text_id!(
    /// The name of an account in `countersign.toml`.
    AccountId, "account name", NAME_RULE, name_is_valid
);
text_id!(
    /// The name of a credential; a credential belongs to the account of that name.
    CredentialId, "credential name", NAME_RULE, name_is_valid
);
text_id!(
    /// One launch of an agent: `run-` and 8 base32 characters (40 bits).
    RunId, "run id", "'run-' and 8 base32 characters", |s| drawn_is_valid(s, "run-", 8)
);
text_id!(
    /// One request, from first byte to outcome: 10 base32 characters (50 bits).
    /// The ledger refuses a second request of the same id.
    RequestId, "request id", "10 base32 characters", |s| drawn_is_valid(s, "", 10)
);
text_id!(
    /// One question put to a human: `q-` and 10 base32 characters.
    QuestionId, "question id", "'q-' and 10 base32 characters", |s| drawn_is_valid(s, "q-", 10)
);
text_id!(
    /// One installation; keyring items carry it.
    InstallId, "install id", "'in-' and 16 base32 characters", |s| drawn_is_valid(s, "in-", 16)
);

impl AgentId {
    /// The agent of the runs in which `countersign doctor` proves the boundaries.
    /// No configuration may name it, so that no account is ever assigned to it.
    #[must_use]
    pub fn doctor() -> Self {
        Self("countersign-doctor".into())
    }
}

impl RunId {
    /// From random bytes; the top three bits of each are ignored.
    #[must_use]
    pub fn from_random(random: [u8; 8]) -> Self {
        Self(drawn("run-", random).into())
    }
}
impl RequestId {
    /// From random bytes; the top three bits of each are ignored.
    #[must_use]
    pub fn from_random(random: [u8; 10]) -> Self {
        Self(drawn("", random).into())
    }

    /// The next one of a run, whose requests count up from a random number (of
    /// 25 bits, then from 0 again), with random bytes of its own behind it. It is
    /// as unlikely to be drawn twice as one that is random in full, and ids of
    /// one time stand beside each other in an index.
    #[must_use]
    pub fn next(count: u32, random: [u8; 5]) -> Self {
        let mut all = [0; 10];
        let (counted, rest) = all.split_at_mut(COUNTED as usize);
        for (place, byte) in (0..COUNTED).rev().zip(counted) {
            *byte = (count >> (5 * place) & 31) as u8;
        }
        rest.copy_from_slice(&random);
        Self::from_random(all)
    }
}
impl QuestionId {
    /// From random bytes; the top three bits of each are ignored.
    #[must_use]
    pub fn from_random(random: [u8; 10]) -> Self {
        Self(drawn("q-", random).into())
    }
}
impl InstallId {
    /// From random bytes; the top three bits of each are ignored.
    #[must_use]
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(drawn("in-", random).into())
    }
}
impl From<AccountId> for CredentialId {
    fn from(account: AccountId) -> Self {
        Self(account.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_be_a_path_or_an_option_is_refused() {
        for bad in [
            "",
            "-x",
            "..",
            "a..b",
            "a/b",
            "A",
            "ä",
            "a b",
            &"a".repeat(65),
        ] {
            assert!(bad.parse::<AgentId>().is_err(), "{bad:?}");
        }
        assert!("inbox-bot".parse::<AgentId>().is_ok());
    }

    #[test]
    fn the_next_request_of_a_run_stands_behind_the_last() {
        let ids: Vec<_> = [7, 8, 39, 40, 1 << 20]
            .map(|count| RequestId::next(count, [31; 5]))
            .into();
        assert!(ids.is_sorted(), "{ids:?}");
        assert_eq!(ids[0].as_str(), "00007zzzzz");
        let again = RequestId::next((1 << 25) + 7, [31; 5]);
        assert_eq!(again, ids[0], "it counts from 0 again");
        assert_eq!(again.as_str().parse::<RequestId>().as_ref(), Ok(&again));
    }

    #[test]
    fn a_drawn_id_survives_serialisation_and_a_foreign_one_does_not_parse() {
        let id = RequestId::from_random([7; 10]);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<RequestId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<RequestId>("\"../../etc\"").is_err());
    }
}
