//! The account's own `effects`: what the human accepted that operations do.
//!
//! A rule that matches strictly replaces what the catalogue says; of several,
//! the most precise one does. A rule that would match only if the server read
//! the path laxly (other case, double encoding, `;x`) adds its effects and ends
//! `routine`, so that `GET /Logout` is no way around a rule for `/logout`.

use crate::judgement::Judgement;
use crate::path::{Segments, loosely};
use crate::words;
use countersign_model::{Account, Effects, EffectsRule};

/// A rule that applies.
#[derive(Debug)]
pub(crate) struct Applied {
    /// `POST /posts`, as the human wrote it.
    pub(crate) name: String,
    /// What it says.
    pub(crate) effects: Effects,
}

/// The rule that decides about a request, if one does.
pub(crate) fn strictly(account: &Account, method: &str, path: &str) -> Option<Applied> {
    let segments = Segments::of(path)?;
    let found: Vec<&EffectsRule> = account
        .effects
        .iter()
        .filter(|rule| matches_strictly(rule, method, &segments))
        .collect();
    let weight = |rule: &EffectsRule| (rule.method == method, precision(&rule.path));
    let best = found.iter().map(|rule| weight(rule)).max()?;
    let deciding: Vec<_> = found
        .into_iter()
        .filter(|rule| weight(rule) == best)
        .collect();
    let first = deciding.first()?;
    Some(Applied {
        name: format!("{} {}", first.method, first.path),
        effects: deciding
            .iter()
            .fold(Effects::NONE, |all, rule| all.union(rule.effects)),
    })
}

/// Raises by the rules that match only laxly.
pub(crate) fn raise_laxly(judgement: &mut Judgement, account: &Account, method: &str, path: &str) {
    let segments = Segments::of(path);
    let lax = loosely(path);
    for rule in &account.effects {
        let strict = segments
            .as_ref()
            .is_some_and(|s| matches_strictly(rule, method, s));
        if !strict && !rule.effects.is_read_only() && matches_laxly(rule, method, &lax) {
            let name = format!("{} {}", rule.method, rule.path);
            judgement.raise(rule.effects, &format!("rule {name:?}, read laxly"));
            judgement.doubt(words::disguised(&name), "crooked path");
        }
    }
}

/// Servers run the handler of GET for HEAD.
fn is_for(rule: &EffectsRule, method: &str) -> bool {
    rule.method == method || (method == "HEAD" && rule.method == "GET")
}

fn matches_strictly(rule: &EffectsRule, method: &str, path: &Segments) -> bool {
    let segments: Vec<&str> = path.iter().collect();
    // An encoded slash fits nothing but a rest.
    is_for(rule, method)
        && fits(
            &pattern(&rule.path),
            &segments,
            |p, s| p == s,
            |s| !s.contains('/'),
        )
}

fn matches_laxly(rule: &EffectsRule, method: &str, lax: &[String]) -> bool {
    let segments: Vec<&str> = lax.iter().map(String::as_str).collect();
    let same = |p: &str, s: &str| p.to_lowercase() == s;
    is_for(rule, method) && fits(&pattern(&rule.path), &segments, same, |_| true)
}

fn pattern(path: &str) -> Vec<&str> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .collect()
}

fn fits(
    pattern: &[&str],
    path: &[&str],
    same: impl Fn(&str, &str) -> bool,
    single: impl Fn(&str) -> bool,
) -> bool {
    let (fixed, open) = match pattern {
        [fixed @ .., "**"] => (fixed, true),
        all => (all, false),
    };
    let length_fits = if open {
        path.len() >= fixed.len()
    } else {
        path.len() == fixed.len()
    };
    length_fits
        && fixed
            .iter()
            .zip(path)
            .all(|(p, s)| if *p == "*" { single(s) } else { same(p, s) })
}

/// Literal before `*` before `/**`, from the left; the end before `/**`.
fn precision(path: &str) -> Vec<u8> {
    let weigh = |segment: &&str| match *segment {
        "**" => 0,
        "*" => 1,
        _ => 2,
    };
    pattern(path)
        .iter()
        .map(weigh)
        .chain(std::iter::once(1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judgement::fx;
    use crate::testing::account;
    use countersign_model::Effect::{self, Admin, Delete, Publish, Read};

    fn with(rules: &[(&str, &str, &[Effect])]) -> Account {
        let mut account = account("http", "forum.example");
        account.effects = rules
            .iter()
            .map(|(method, path, effects)| EffectsRule {
                method: (*method).into(),
                path: (*path).into(),
                effects: fx(effects),
            })
            .collect();
        account
    }

    fn decides(account: &Account, method: &str, path: &str) -> Option<Effects> {
        strictly(account, method, path).map(|applied| applied.effects)
    }

    #[test]
    fn the_most_precise_rule_decides() {
        let account = with(&[
            ("POST", "/**", &[Publish]),
            ("POST", "/search", &[Read]),
            ("POST", "/*/purge", &[Delete]),
            ("POST", "/", &[Admin]),
        ]);
        assert_eq!(decides(&account, "POST", "/search"), Some(fx(&[Read])));
        assert_eq!(decides(&account, "POST", "/s%65arch/"), Some(fx(&[Read])));
        assert_eq!(decides(&account, "POST", "/x/purge"), Some(fx(&[Delete])));
        assert_eq!(decides(&account, "POST", "/x/y/z"), Some(fx(&[Publish])));
        assert_eq!(decides(&account, "POST", "/"), Some(fx(&[Admin])));
        assert_eq!(decides(&account, "PUT", "/search"), None);
        assert_eq!(
            decides(&account, "POST", "/a/../search"),
            None,
            "a crooked path is never lowered"
        );
    }

    #[test]
    fn a_rule_for_get_is_a_rule_for_head_unless_head_has_its_own() {
        let account = with(&[
            ("GET", "/a", &[Delete]),
            ("GET", "/b", &[Delete]),
            ("HEAD", "/b", &[Read]),
        ]);
        assert_eq!(decides(&account, "HEAD", "/a"), Some(fx(&[Delete])));
        assert_eq!(decides(&account, "HEAD", "/b"), Some(fx(&[Read])));
    }

    #[test]
    fn a_disguised_path_is_raised_by_the_rule_that_it_dodges() {
        let account = with(&[("GET", "/admin/purge", &[Delete])]);
        for path in [
            "/Admin/purge",
            "/admin//purge",
            "/admin;x/purge",
            "/%2561dmin/purge",
            "/admin%2Fpurge",
        ] {
            let mut judgement =
                Judgement::new(String::new(), fx(&[Read]), words::crooked_path(), "");
            raise_laxly(&mut judgement, &account, "GET", path);
            assert!(
                judgement.effects().has(Delete) && !judgement.is_routine(),
                "{path}"
            );
        }
    }
}
