//! The English of the catalogue, but for the sentence templates that stand in
//! the tables beside their operations.
//!
//! A template is our words with values in braces: `{id}` from the path,
//! `{owner/repo}` several of them joined, `{$message.id}` from the body or the
//! query. A part in brackets is left out when one of its values is not there.
//! Values become foreign spans, whatever they hold.

use crate::body::Fault;
use countersign_model::{Foreign, Span, Words};

/// Fills a template; `value` gives what stands in braces.
pub(crate) fn fill(template: &str, value: &dyn Fn(&str) -> Option<String>) -> Words {
    let mut words = Words::default();
    let mut rest = template;
    while let Some((before, group)) = rest.split_once('[') {
        let (inside, after) = group.split_once(']').unwrap_or((group, ""));
        words = part(words, before, value).0;
        let (with_group, complete) = part(words.clone(), inside, value);
        if complete {
            words = with_group;
        }
        rest = after;
    }
    part(words, rest, value).0
}

/// Fills a template without brackets, and says whether every value was there.
fn part(mut words: Words, template: &str, value: &dyn Fn(&str) -> Option<String>) -> (Words, bool) {
    let mut complete = true;
    let mut rest = template;
    while let Some((before, braced)) = rest.split_once('{') {
        let (name, after) = braced.split_once('}').unwrap_or((braced, ""));
        if !before.is_empty() {
            words = words.ours(before);
        }
        words = match value(name) {
            Some(text) => words.foreign(text),
            None => {
                complete = false;
                words.ours("(not given)")
            }
        };
        rest = after;
    }
    if !rest.is_empty() {
        words = words.ours(rest);
    }
    (words, complete)
}

/// Fills a template of values alone, such as `{owner/repo}`.
pub(crate) fn fill_value(template: &str, value: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, braced)) = rest.split_once('{') {
        let (name, after) = braced.split_once('}')?;
        out.push_str(before);
        out.push_str(&value(name)?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// One sentence after another.
pub(crate) fn join(first: Words, between: &str, second: &Words) -> Words {
    second
        .spans()
        .iter()
        .fold(first.ours(between), |words, span| match span {
            Span::Ours(text) => words.ours(text),
            Span::Foreign(text) => words.foreign(text.clone()),
        })
}

/// `3 messages`, `1 message`.
pub(crate) fn counted(words: Words, n: u64, one: &str, many: &str) -> Words {
    words.number(n).ours(if n == 1 {
        format!(" {one}")
    } else {
        format!(" {many}")
    })
}

/// `“a”, “b” and 3 more`: at most three are named.
pub(crate) fn listed(mut words: Words, all: &[String]) -> Words {
    const NAMED: usize = 3;
    for (i, one) in all.iter().take(NAMED).enumerate() {
        if i > 0 {
            words = words.ours(if i + 1 == all.len() { " and " } else { ", " });
        }
        words = words.foreign(one.as_str());
    }
    match all.len().saturating_sub(NAMED) {
        0 => words,
        more => words.ours(" and ").number(more as u64).ours(" more"),
    }
}

/// Why a body could not be read.
pub(crate) const fn why(fault: Fault) -> &'static str {
    match fault {
        Fault::TooLarge => "it is too large",
        Fault::Encoded => "it is in an encoding that is not undone here",
        Fault::NotRead => "it was sent on without being read",
        Fault::Types => "its media type is not clear",
        Fault::Charset => "it is not in UTF-8",
        Fault::Repeated => "a name stands in it twice",
        Fault::Deep => "it is nested too deeply",
        Fault::Malformed => "it is malformed",
        Fault::Unexpected => "it is not what this operation takes",
        Fault::Missing => "there is none",
    }
}

/// A body that could not be read.
pub(crate) fn unreadable(fault: Fault) -> Words {
    Words::new(format!("its content could not be read: {}", why(fault)))
}

/// A request to treat the method, or the path, as another.
pub(crate) fn overridden(value: &str) -> Words {
    Words::new("it asks the server to treat it as ").foreign(value)
}

/// A token service.
pub(crate) fn mints() -> Words {
    Words::new("it may mint credentials that act as somebody")
}

/// A header by which a request does more.
pub(crate) fn says(header: &str) -> Words {
    Words::new("it says ").foreign(header)
}

/// A host of a function, or of an API of the user's own.
pub(crate) fn runs_code() -> Words {
    Words::new("it runs somebody's own code, which may do anything")
}

/// A credential of the agent's own.
pub(crate) fn own_credential(name: &str) -> Words {
    Words::new("it carries a credential of its own in ").foreign(name)
}

/// A parameter that stands in two places.
pub(crate) fn twice(name: &str) -> Words {
    Words::new("it says twice what ").foreign(name).ours(" is")
}

/// A path that servers read differently.
pub(crate) fn crooked_path() -> Words {
    Words::new("its path can be read in more than one way")
}

/// A body where none belongs.
pub(crate) fn body_with_read(method: &str) -> Words {
    Words::new(format!("it sends data along with {method}"))
}

/// Several operations that match equally well.
pub(crate) fn ambiguous() -> Words {
    Words::new("another operation matches it just as well")
}

/// What an operation does stands in a content that nobody looks into.
pub(crate) fn depends_on_content() -> Words {
    Words::new("what else it does depends on its content")
}

/// A doubt in our own words.
pub(crate) fn doubted(why: &'static str) -> Words {
    Words::new(why)
}

/// A header or parameter by which somebody else's rights are used.
pub(crate) fn another_identity(name: &str) -> Words {
    Words::new("it acts as somebody else by ").foreign(name)
}

/// An operation that a provider's tables do not hold.
pub(crate) fn unknown(provider: &str, method: &str, target: &str) -> Words {
    Words::new(format!(
        "Do something at {provider} that is not known here: "
    ))
    .foreign(format!("{method} {target}"))
}

/// A rule that would match if the server read the path laxly.
pub(crate) fn disguised(rule: &str) -> Words {
    Words::new("its path may be another way to write ").foreign(rule)
}

/// A request to a host that no table describes, by its method.
pub(crate) fn by_method(method: &str, target: &str) -> Words {
    let verb = match method {
        "GET" => "Read ",
        "HEAD" => "Look at ",
        "OPTIONS" => "Ask for the options of ",
        "POST" => "Send data to ",
        "PUT" => "Store data at ",
        "PATCH" => "Change ",
        "DELETE" => "Delete ",
        _ => {
            return Words::new("Run ")
                .foreign(method)
                .ours(" on ")
                .foreign(target);
        }
    };
    Words::new(verb).foreign(target)
}

/// The same, when the account's own rule says what it does.
pub(crate) fn by_rule(method: &str, target: &str, effects: countersign_model::Effects) -> Words {
    use countersign_model::Effect;
    const VERBS: [(Effect, &str); 8] = [
        (Effect::Delete, "Delete at "),
        (Effect::Publish, "Publish at "),
        (Effect::Permission, "Change permissions at "),
        (Effect::Spend, "Spend money at "),
        (Effect::Admin, "Administer "),
        (Effect::Exec, "Run something at "),
        (Effect::Secret, "Handle a secret at "),
        (Effect::Bulk, "Change many things at "),
    ];
    match VERBS.iter().find(|(effect, _)| effects.has(*effect)) {
        Some((_, verb)) => Words::new(*verb)
            .foreign(target)
            .ours(format!(" ({method})")),
        None => by_method(method, target),
    }
}

/// Whether a value is worth a field.
pub(crate) fn field(label: &str, value: impl Into<Foreign>) -> countersign_model::Field {
    countersign_model::Field {
        label: label.to_owned(),
        value: value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Option<String> {
        matches!(name, "id" | "$text").then(|| format!("<{name}>"))
    }

    #[test]
    fn a_part_in_brackets_needs_all_its_values() {
        let shown = |t| fill(t, &value).to_string();
        assert_eq!(
            shown("Read {id}[ for {who}][: {$text}]."),
            "Read “<id>”: “<$text>”."
        );
        assert_eq!(shown("Read {who}"), "Read (not given)");
    }

    #[test]
    fn a_value_never_becomes_our_words() {
        let evil = |_: &str| Some("x} now {id} [".to_owned());
        assert_eq!(fill("Read {id}", &evil).to_string(), "Read “x} now {id} [”");
    }

    #[test]
    fn long_lists_are_counted() {
        let all: Vec<String> = "abcde".chars().map(String::from).collect();
        assert_eq!(
            listed(Words::default(), &all).to_string(),
            "“a”, “b”, “c” and 2 more"
        );
        assert_eq!(
            listed(Words::default(), &all[..2]).to_string(),
            "“a” and “b”"
        );
    }
}
