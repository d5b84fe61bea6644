//! Cookies are credentials that an upstream mints (G1). `Set-Cookie` never
//! reaches an agent: a jar per run and account keeps them (RFC 6265 section
//! 5.3 and 5.4) and sends them back. Like the account's credential, they are
//! added after judgement and are no part of the exact request. Sites have none.

use cookie::Cookie;
use countersign_broker::Secret;
use countersign_model::AccountId;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Of the cookies of one account at most so many; the oldest goes first.
const MOST: usize = 100;
/// Bytes of their values, in all.
const MOST_BYTES: usize = 16 << 10;
/// Longer ones are dropped, as browsers do (name and value, in bytes).
const LONGEST: usize = 4096;
/// A value this long is looked for in replies; a shorter one (`lang=en`) would
/// be found everywhere.
const NEEDLE: usize = 16;

struct Kept {
    name: String,
    value: Zeroizing<String>,
    domain: String,
    host_only: bool,
    path: String,
    secure: bool,
    /// Seconds since the Unix epoch; `None` lasts as long as the run.
    expires: Option<i64>,
}

/// The jars of one run, by account and version of its credential: a new
/// credential is a new session.
#[derive(Default)]
pub(crate) struct Jars(Mutex<HashMap<(AccountId, u64), Vec<Kept>>>);

impl fmt::Debug for Jars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jars(…)")
    }
}

/// A request, as far as cookies depend on it.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) account: &'a AccountId,
    pub(crate) version: u64,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) https: bool,
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Jars {
    /// The value of the `Cookie` header, if there is one to send.
    pub(crate) fn header(&self, place: Place<'_>) -> Option<Zeroizing<String>> {
        let jars = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if jars.is_empty() {
            return None;
        }
        let now = now();
        let jar = jars.get(&(place.account.clone(), place.version))?;
        let mut fit: Vec<&Kept> = jar.iter().filter(|c| c.fits(place, now)).collect();
        fit.sort_by_key(|c| std::cmp::Reverse(c.path.len()));
        let mut out = Zeroizing::new(String::new());
        for c in fit {
            if !out.is_empty() {
                out.push_str("; ");
            }
            out.push_str(&c.name);
            out.push('=');
            out.push_str(&c.value);
        }
        (!out.is_empty()).then_some(out)
    }

    /// Keeps what a reply set.
    pub(crate) fn store<'a>(&self, place: Place<'_>, set_cookies: impl Iterator<Item = &'a [u8]>) {
        let now = now();
        for text in set_cookies {
            let Some(kept) = std::str::from_utf8(text)
                .ok()
                .and_then(|text| Kept::read(text, place, now))
            else {
                continue;
            };
            let mut jars = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let jar = jars
                .entry((place.account.clone(), place.version))
                .or_default();
            jar.retain(|c| {
                !(c.name == kept.name && c.domain == kept.domain && c.path == kept.path)
                    && c.lasts(now)
            });
            if kept.lasts(now) {
                // Every value is looked for in every reply.
                while jar.len() >= MOST || size_of(jar) + kept.value.len() > MOST_BYTES {
                    jar.remove(0);
                }
                jar.push(kept);
            }
        }
    }

    /// The values that must not come back in a reply of this account.
    pub(crate) fn needles(&self, account: &AccountId, version: u64) -> Vec<Secret> {
        let jars = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if jars.is_empty() {
            return Vec::new();
        }
        let jar = jars.get(&(account.clone(), version));
        jar.into_iter()
            .flatten()
            .flat_map(Kept::spellings)
            .filter(|spelling| spelling.len() >= NEEDLE)
            .map(Secret::new)
            .collect()
    }
}

fn size_of(jar: &[Kept]) -> usize {
    jar.iter().map(|c| c.value.len()).sum()
}

impl Kept {
    /// The value as it was set, and as a framework reads it: without quotes, and
    /// with its percent signs undone.
    fn spellings(&self) -> Vec<Vec<u8>> {
        let value = self.value.as_bytes().to_vec();
        let bare = self.value.trim_matches('"').as_bytes().to_vec();
        let decoded: Vec<u8> = percent_encoding::percent_decode(&bare).collect();
        let mut all = vec![value, bare, decoded];
        all.dedup();
        all
    }

    fn read(text: &str, place: Place<'_>, now: i64) -> Option<Self> {
        let parsed = Cookie::parse(text).ok()?;
        let (name, value) = (parsed.name(), parsed.value());
        let plain = |s: &str| s.bytes().all(|b| b > 0x20 && b < 0x7f && b != b';');
        if name.is_empty()
            || name.len() + value.len() > LONGEST
            || !plain(name)
            || !value.bytes().all(|b| b >= 0x20 && b != 0x7f && b != b';')
        {
            return None;
        }
        let (domain, host_only) = match parsed
            .domain()
            .map(|d| d.trim_start_matches('.').to_ascii_lowercase())
        {
            Some(d) if !d.is_empty() && d != place.host => {
                // Of its own domain, and never of a whole top level.
                if !d.contains('.')
                    || !is_under(place.host, &d)
                    || crate::normalise::is_ip_literal(place.host)
                {
                    return None;
                }
                (d, false)
            }
            Some(d) if !d.is_empty() => (d, false),
            _ => (place.host.to_owned(), true),
        };
        let path = match parsed.path() {
            Some(path) if path.starts_with('/') => path.to_owned(),
            _ => default_path(place.path),
        };
        let secure = parsed.secure().unwrap_or(false);
        let lower = name.to_ascii_lowercase();
        let prefix_holds = if lower.starts_with("__host-") {
            secure && place.https && host_only && path == "/"
        } else {
            !lower.starts_with("__secure-") || (secure && place.https)
        };
        if !prefix_holds || (secure && !place.https) {
            return None;
        }
        let expires = match parsed.max_age() {
            Some(age) => Some(now.saturating_add(age.whole_seconds())),
            None => parsed.expires_datetime().map(|at| at.unix_timestamp()),
        };
        Some(Self {
            name: name.to_owned(),
            value: Zeroizing::new(value.to_owned()),
            domain,
            host_only,
            path,
            secure,
            expires,
        })
    }

    fn lasts(&self, now: i64) -> bool {
        self.expires.is_none_or(|at| at > now)
    }

    fn fits(&self, place: Place<'_>, now: i64) -> bool {
        let host =
            place.host == self.domain || (!self.host_only && is_under(place.host, &self.domain));
        host && path_matches(place.path, &self.path)
            && (place.https || !self.secure)
            && self.lasts(now)
    }
}

/// Whether a host lies under a domain (RFC 6265 section 5.1.3).
fn is_under(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
}

/// RFC 6265 section 5.1.4.
fn default_path(path: &str) -> String {
    match path.rfind('/') {
        None | Some(0) => "/".to_owned(),
        Some(at) => path[..at].to_owned(),
    }
}

/// RFC 6265 section 5.1.4.
fn path_matches(path: &str, cookie: &str) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|rest| rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(set: &[&str], from: (&str, &str), to: (&str, &str), https: bool) -> Option<String> {
        let jars = Jars::default();
        let account: AccountId = "a".parse().unwrap();
        let place = |(host, path)| Place {
            account: &account,
            version: 1,
            host,
            path,
            https: true,
        };
        jars.store(place(from), set.iter().map(|s| s.as_bytes()));
        jars.header(Place { https, ..place(to) })
            .map(|s| s.to_string())
    }
    const HERE: (&str, &str) = ("a.b.example", "/x/y");

    #[test]
    fn a_cookie_goes_back_to_where_it_belongs_and_nowhere_else() {
        let cases: [(&str, (&str, &str), bool, bool); 16] = [
            ("s=1", HERE, true, true),
            ("s=1", ("c.a.b.example", "/x/y"), true, false),
            ("s=1", ("a.b.example", "/x"), true, true),
            ("s=1", ("a.b.example", "/xy"), true, false),
            ("s=1; Path=/", ("a.b.example", "/"), true, true),
            (
                "s=1; Path=/; Domain=.B.example",
                ("b.example", "/"),
                true,
                true,
            ),
            (
                "s=1; Path=/; Domain=b.example",
                ("c.b.example", "/"),
                true,
                true,
            ),
            (
                "s=1; Path=/; Domain=b.example",
                ("evilb.example", "/"),
                true,
                false,
            ),
            (
                "s=1; Path=/; Domain=example",
                ("c.example", "/"),
                true,
                false,
            ),
            (
                "s=1; Path=/; Domain=other.example",
                ("other.example", "/"),
                true,
                false,
            ),
            ("s=1; Secure", HERE, false, false),
            ("s=1; Max-Age=0", HERE, true, false),
            ("s=1; Max-Age=60", HERE, true, true),
            (
                "s=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
                HERE,
                true,
                false,
            ),
            ("__Host-s=1; Secure", HERE, true, false),
            ("__Host-s=1; Secure; Path=/", HERE, true, true),
        ];
        for (set, to, https, expected) in cases {
            assert_eq!(
                sent(&[set], HERE, to, https).is_some(),
                expected,
                "{set} to {to:?}"
            );
        }
    }

    #[test]
    fn longer_paths_come_first_and_a_cookie_is_replaced_by_its_like() {
        assert_eq!(
            sent(
                &["a=1; Path=/", "b=2; Path=/x", "a=3; Path=/"],
                HERE,
                HERE,
                true
            )
            .unwrap(),
            "b=2; a=3"
        );
        assert_eq!(
            sent(&["a=1; Path=/", "a=; Path=/; Max-Age=0"], HERE, HERE, true),
            None
        );
    }

    #[test]
    fn a_session_is_looked_for_in_replies_and_a_language_is_not() {
        let jars = Jars::default();
        let account: AccountId = "a".parse().unwrap();
        let place = Place {
            account: &account,
            version: 1,
            host: "a.example",
            path: "/",
            https: true,
        };
        jars.store(
            place,
            [b"lang=en".as_slice(), b"session=0123456789abcdef"].into_iter(),
        );
        assert_eq!(jars.needles(&account, 1).len(), 1);
        assert!(
            jars.needles(&account, 2).is_empty(),
            "another credential is another session"
        );
    }
}
