//! A typed view of one TOML table that notes problems instead of stopping.

use crate::problem::Problems;
use countersign_model::Foreign;
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A string of the file and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'t> {
    pub(crate) value: &'t str,
    pub(crate) at: usize,
}

impl Text<'_> {
    /// The value as it may be shown: quoted, shortened, neutralised.
    pub(crate) fn shown(&self) -> String {
        shown(self.value)
    }
}

/// Text of the file as it may be shown.
pub(crate) fn shown(text: &str) -> String {
    Foreign::new(text).quoted(60)
}

/// One table, and which of its keys were asked for.
pub(crate) struct Section<'t> {
    name: String,
    table: &'t DeTable<'t>,
    at: usize,
    known: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(crate) fn new(name: impl Into<String>, table: &'t DeTable<'t>, at: usize) -> Self {
        Self {
            name: name.into(),
            table,
            at,
            known: Vec::new(),
        }
    }

    /// Where the table begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    fn take(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.known.push(key);
        self.table
            .iter()
            .find(|(k, _)| k.get_ref() == key)
            .map(|(_, value)| value)
    }

    /// Whether the key is there at all.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.iter().any(|(k, _)| k.get_ref() == key)
    }

    /// Where the value of a key begins, or the table when it has no such key.
    pub(crate) fn place(&self, key: &str) -> usize {
        let found = self.table.iter().find(|(k, _)| k.get_ref() == key);
        found.map_or(self.at, |(_, value)| value.span().start)
    }

    /// A string of at most `limit` bytes.
    pub(crate) fn string(
        &mut self,
        key: &'static str,
        limit: usize,
        problems: &mut Problems<'_>,
    ) -> Option<Text<'t>> {
        let value = self.take(key)?;
        text_of(value, limit, problems)
    }

    /// A list of different strings, at most `count` of them; empty when the key
    /// is absent.
    pub(crate) fn strings(
        &mut self,
        key: &'static str,
        count: usize,
        problems: &mut Problems<'_>,
    ) -> Vec<Text<'t>> {
        self.take(key)
            .map(|value| texts_of(value, count, problems))
            .unwrap_or_default()
    }

    /// `true` or `false`; `false` when the key is absent.
    pub(crate) fn boolean(&mut self, key: &'static str, problems: &mut Problems<'_>) -> bool {
        let Some(value) = self.take(key) else {
            return false;
        };
        value.get_ref().as_bool().unwrap_or_else(|| {
            wrong_type(value, "true or false", problems);
            false
        })
    }

    /// A whole number in a range.
    pub(crate) fn number(
        &mut self,
        key: &'static str,
        range: &RangeInclusive<u64>,
        problems: &mut Problems<'_>,
    ) -> Option<u64> {
        let value = self.take(key)?;
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(integer) = value.get_ref() else {
            wrong_type(value, &wanted, problems);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|n| range.contains(n));
        if number.is_none() {
            let found = shown(&integer.to_string());
            problems.at(
                value.span().start,
                format!("expected {wanted}, found {found}"),
            );
        }
        number
    }

    /// A list of different whole numbers in a range, at most `count` of them; empty
    /// when the key is absent.
    pub(crate) fn numbers(
        &mut self,
        key: &'static str,
        count: usize,
        range: &RangeInclusive<u64>,
        problems: &mut Problems<'_>,
    ) -> Vec<u64> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let wanted = format!(
            "a list of at most {count} different whole numbers from {} to {}",
            range.start(),
            range.end()
        );
        let DeValue::Array(array) = value.get_ref() else {
            wrong_type(value, &wanted, problems);
            return Vec::new();
        };
        let mut numbers = Vec::new();
        for item in array.iter() {
            let number = match item.get_ref() {
                DeValue::Integer(integer) => {
                    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
                }
                _ => None,
            };
            match number.filter(|n| range.contains(n) && !numbers.contains(n)) {
                Some(number) if numbers.len() < count => numbers.push(number),
                _ => {
                    wrong_type(item, &wanted, problems);
                    return Vec::new();
                }
            }
        }
        numbers
    }

    /// A table under this key.
    pub(crate) fn section(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<Section<'t>> {
        let value = self.take(key)?;
        section_of(key, value, problems)
    }

    /// Every entry of the table, for tables whose keys are names: the key, and
    /// the value with its place.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Text<'t>, &'t Spanned<DeValue<'t>>)> {
        self.table.iter().map(|(key, value)| {
            (
                Text {
                    value: key.get_ref(),
                    at: key.span().start,
                },
                value,
            )
        })
    }

    /// Notes every key that nobody asked for.
    pub(crate) fn finish(self, problems: &mut Problems<'_>) {
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if self.known.contains(&name) {
                continue;
            }
            let mut known = self.known.clone();
            known.sort_unstable();
            let hint = closest(name, &known)
                .map(|near| format!(" (did you mean {near:?}?)"))
                .unwrap_or_default();
            problems.at(
                key.span().start,
                format!(
                    "expected a key of {} ({}), found {}{hint}",
                    self.name,
                    known.join(", "),
                    shown(name),
                ),
            );
        }
    }
}

/// The value as a table.
pub(crate) fn section_of<'t>(
    name: &str,
    value: &'t Spanned<DeValue<'t>>,
    problems: &mut Problems<'_>,
) -> Option<Section<'t>> {
    let DeValue::Table(table) = value.get_ref() else {
        wrong_type(value, &format!("a table [{name}]"), problems);
        return None;
    };
    Some(Section::new(format!("[{name}]"), table, value.span().start))
}

/// The value as a list of different strings.
pub(crate) fn texts_of<'t>(
    value: &'t Spanned<DeValue<'t>>,
    count: usize,
    problems: &mut Problems<'_>,
) -> Vec<Text<'t>> {
    let DeValue::Array(array) = value.get_ref() else {
        wrong_type(value, "a list of strings", problems);
        return Vec::new();
    };
    if array.len() > count {
        let found = array.len();
        problems.at(
            value.span().start,
            format!("expected at most {count} entries, found {found}"),
        );
        return Vec::new();
    }
    let mut texts: Vec<Text<'t>> = Vec::with_capacity(array.len());
    for item in array.iter() {
        let Some(text) = text_of(item, 1024, problems) else {
            continue;
        };
        if texts.iter().any(|t| t.value == text.value) {
            problems.at(
                text.at,
                format!("expected each entry once, found {} again", text.shown()),
            );
        } else {
            texts.push(text);
        }
    }
    texts
}

fn text_of<'t>(
    value: &'t Spanned<DeValue<'t>>,
    limit: usize,
    problems: &mut Problems<'_>,
) -> Option<Text<'t>> {
    let at = value.span().start;
    let Some(text) = value.get_ref().as_str() else {
        wrong_type(value, "a string", problems);
        return None;
    };
    if text.len() > limit {
        let found = text.len();
        problems.at(at, format!("expected at most {limit} bytes, found {found}"));
        return None;
    }
    Some(Text { value: text, at })
}

fn wrong_type(value: &Spanned<DeValue<'_>>, wanted: &str, problems: &mut Problems<'_>) {
    let found = match value.get_ref() {
        DeValue::String(text) => shown(text),
        DeValue::Integer(number) => format!("the number {}", shown(&number.to_string())),
        DeValue::Float(number) => format!("the number {}", shown(number.as_str())),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    };
    problems.at(
        value.span().start,
        format!("expected {wanted}, found {found}"),
    );
}

/// The known word that a person probably meant.
pub(crate) fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // Distances of long strangers cost time and mean nothing.
    if word.len() > 64 {
        return None;
    }
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(word, k), *k))
        .filter(|(distance, k)| *distance <= 1 + k.len() / 4)
        .min()
        .map(|(_, k)| k)
}
