//! Curated knowledge: what names do not say.
//!
//! `families.txt` adds effects by patterns over names and paths, `operations.txt`
//! to single operations. They raise; the one thing that they may lower is a word
//! of the verb lists, by `read` alone, and not where IAM says otherwise.

use crate::operation::Operation;
use countersign_catalogue::embedded::{Level, MANY, ONE, Traits};
use countersign_model::{Effect, Effects};
use regex::Regex;
use std::collections::BTreeMap;

const FAMILIES: &str = include_str!("../curated/families.txt");
const OPERATIONS: &str = include_str!("../curated/operations.txt");

/// What a line adds.
#[derive(Debug, Clone, Copy)]
struct Adds {
    effects: Effects,
    body: bool,
}

/// The curated lists, read.
#[derive(Debug)]
pub(crate) struct Curated {
    families: Vec<Family>,
    operations: BTreeMap<&'static str, Adds>,
}

#[derive(Debug)]
struct Family {
    provider: &'static str,
    /// Whether it adds to what is otherwise a read, too.
    to_reads: bool,
    adds: Adds,
    pattern: Regex,
}

impl Curated {
    /// Reads the lists.
    ///
    /// # Errors
    /// The line that cannot be read.
    pub(crate) fn read() -> Result<Self, String> {
        let lines = |text: &'static str| {
            text.lines()
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
        };
        let wrong = |line: &str| format!("curated: {line}");
        let mut families = Vec::new();
        for line in lines(FAMILIES) {
            let mut columns = line.splitn(3, ' ');
            let mut column = || columns.next().ok_or_else(|| wrong(line));
            let (provider, effects, pattern) = (column()?, column()?, column()?.trim());
            families.push(Family {
                provider: provider.trim_end_matches('!'),
                to_reads: provider.ends_with('!'),
                adds: adds(effects).ok_or_else(|| wrong(line))?,
                pattern: Regex::new(pattern).map_err(|e| e.to_string())?,
            });
        }
        let mut operations = BTreeMap::new();
        for line in lines(OPERATIONS) {
            let (name, effects) = line.split_once(' ').ok_or_else(|| wrong(line))?;
            operations.insert(name, adds(effects.trim()).ok_or_else(|| wrong(line))?);
        }
        Ok(Self {
            families,
            operations,
        })
    }

    /// The names of single operations, so that none is there in vain.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.operations.keys().copied()
    }

    /// Adds to an operation what is known of it.
    pub(crate) fn apply(&self, operation: &mut Operation) {
        let texts = texts(operation);
        let reads = operation
            .effects
            .iter()
            .all(|e| matches!(e, Effect::Read | Effect::Secret));
        for family in &self.families {
            let fits = family.provider == operation.provider
                && texts.iter().any(|text| family.pattern.is_match(text));
            if !fits {
                continue;
            }
            let only_secret = family.adds.effects == Effects::of(&[Effect::Secret]);
            if !reads || family.to_reads || only_secret {
                family.adds.to(operation);
            }
        }
        let Some(adds) = self.operations.get(operation.full_name().as_str()) else {
            return;
        };
        if adds.effects.is_read_only() {
            let contradicted = !operation.level.reads() && operation.level != Level::Unlabelled;
            if !contradicted {
                operation.effects = adds.effects;
                operation.traits = operation.traits.with(Traits::CURATED);
            }
        } else {
            adds.to(operation);
        }
    }
}

impl Adds {
    fn to(self, operation: &mut Operation) {
        operation.effects = operation.effects.union(self.effects);
        if self.body {
            operation.traits = operation.traits.with(Traits::BODY);
        }
    }
}

fn adds(text: &str) -> Option<Adds> {
    let mut made = Adds {
        effects: Effects::NONE,
        body: false,
    };
    for word in text.split(',') {
        if word == "body" {
            made.body = true;
        } else {
            made.effects = made.effects.with(word.parse().ok()?);
        }
    }
    Some(made)
}

/// The name, and `METHOD /path/{}` for each key.
fn texts(operation: &Operation) -> Vec<String> {
    let mut texts = vec![operation.name.clone()];
    for key in &operation.keys {
        let method = match key.method {
            'G' => "GET",
            'H' => "HEAD",
            'P' => "POST",
            'U' => "PUT",
            'A' => "PATCH",
            'D' => "DELETE",
            _ => "*",
        };
        let path = key.path.replace([char::from(ONE), char::from(MANY)], "{}");
        texts.push(format!("{method} {path}"));
    }
    texts
}
