//! Tables of operations: the form that hand-made and generated knowledge share.
//!
//! A table is text, one operation a line, so that it can be read and compared:
//!
//! ```text
//! host api.github.com
//! # methods   template         operation    effects        object          inspector words
//! DELETE      /gists/{gist_id} gists/delete delete         {gist_id}       -         Delete the gist {gist_id}
//! ```
//!
//! `object` and `words` are templates of the module `words`. `inspector` is `-`,
//! `opaque` (nothing depends on the body, it may stream) or the name of one in
//! `inspect`. A line that cannot be read is left out, which makes its
//! operation an unknown one, and a test fails.

use crate::inspect::{Inspector, inspector};
use crate::judgement::{Facts, Judgement};
use crate::path::{Params, Segments, Template};
use crate::{github, gmail, models, slack};
use countersign_model::{Effect, Effects};
use std::cmp::Ordering;
use std::sync::OnceLock;

/// One operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// The hosts that answer it, joined by spaces.
    pub(crate) hosts: &'static str,
    /// Its methods, joined by `|`. GET answers HEAD too.
    pub(crate) methods: &'static str,
    /// Its path template.
    pub(crate) template: Template,
    /// Its name.
    pub(crate) operation: &'static str,
    /// What it does whatever its body says. Never empty.
    pub(crate) effects: Effects,
    /// Template of what it acts on; empty for what no single object names.
    pub(crate) object: &'static str,
    /// What its body adds.
    pub(crate) body: BodyRole,
    /// Template of its sentence.
    pub(crate) words: &'static str,
}

/// What the body of an operation means for its judgement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BodyRole {
    /// Nothing beyond what people are shown.
    Shown,
    /// Nothing at all: content of any size, which may stream.
    Opaque,
    /// It can add effects.
    Inspected(&'static Inspector),
}

impl Entry {
    fn answers(&self, host: &str, method: &str) -> bool {
        // Servers run the handler of GET for HEAD.
        let method = if method == "HEAD" { "GET" } else { method };
        // Nearly always it is the only one.
        let among = |all: &str, one: &str, between: char| {
            all == one || all.len() > one.len() && all.split(between).any(|each| each == one)
        };
        among(self.methods, method, '|') && among(self.hosts, host, ' ')
    }
}

/// How a provider's servers treat requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// They read JSON whatever the media type says.
    pub(crate) json_anyway: bool,
    /// They change things on GET as well: the method says nothing.
    pub(crate) get_may_change: bool,
}

/// The operations of one provider.
#[derive(Debug)]
pub(crate) struct Table {
    /// The provider.
    pub(crate) provider: &'static str,
    /// The text.
    pub(crate) text: &'static str,
    /// What its servers do.
    pub(crate) habits: Habits,
    /// What is looked for in every request, whichever its operation.
    pub(crate) screen: fn(&Facts<'_>, &mut Judgement),
    read: OnceLock<Read>,
}

/// The text of a table, read.
#[derive(Debug)]
struct Read {
    entries: Vec<Entry>,
    /// By how many segments a path has, the entries that may fit it; the last is
    /// for all longer ones.
    by_length: Vec<Vec<usize>>,
}

impl Read {
    fn of(text: &'static str) -> Self {
        let entries: Vec<Entry> = lines(text).filter_map(Result::ok).collect();
        let longest = entries.iter().map(|e| e.template.fixed()).max();
        let fitting = |length| {
            let numbered = entries.iter().enumerate();
            let fit = numbered.filter(|(_, e)| e.template.takes(length));
            fit.map(|(at, _)| at).collect()
        };
        Self {
            by_length: (0..=longest.unwrap_or(0) + 1).map(fitting).collect(),
            entries,
        }
    }

    fn fitting(&self, path: &Segments) -> impl Iterator<Item = &Entry> {
        let length = path.len().min(self.by_length.len() - 1);
        self.by_length[length].iter().map(|&at| &self.entries[at])
    }
}

impl Table {
    pub(crate) const fn new(
        provider: &'static str,
        text: &'static str,
        habits: Habits,
        screen: fn(&Facts<'_>, &mut Judgement),
    ) -> Self {
        Self {
            provider,
            text,
            habits,
            screen,
            read: OnceLock::new(),
        }
    }
    /// The hosts that it describes.
    #[cfg(test)]
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &'static str> {
        let hosts =
            |line: &'static str| line.strip_prefix("host ").unwrap_or("").split_whitespace();
        self.text.lines().flat_map(hosts)
    }
    /// Its operations, in the order of the text.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.read().entries
    }
    fn read(&self) -> &Read {
        self.read.get_or_init(|| Read::of(self.text))
    }
    /// The operation that says most about a request.
    pub(crate) fn find(&self, host: &str, method: &str, path: &Segments) -> Option<Found> {
        let mut best: Option<Found> = None;
        let fitting = self.read().fitting(path);
        let candidates = fitting.filter(|e| e.template.may_match(path) && e.answers(host, method));
        for entry in candidates {
            let Some(params) = entry.template.matches(path) else {
                continue;
            };
            let order = best.as_ref().map_or(Ordering::Greater, |found| {
                entry.template.by_precision(&found.entry.template)
            });
            match order {
                Ordering::Less => {}
                Ordering::Greater => {
                    best = Some(Found {
                        entry: *entry,
                        params,
                        ambiguous: false,
                    });
                }
                // Two readings: both sets of effects, and no certainty.
                Ordering::Equal => {
                    if let Some(found) = &mut best {
                        found.entry.effects = found.entry.effects.union(entry.effects);
                        found.ambiguous = true;
                    }
                }
            }
        }
        best
    }
}

/// An operation that matched.
#[derive(Debug)]
pub(crate) struct Found {
    /// Which.
    pub(crate) entry: Entry,
    /// What its parameters stand for.
    pub(crate) params: Params,
    /// Whether another operation matches just as well.
    pub(crate) ambiguous: bool,
}

/// Every table.
pub(crate) fn tables() -> &'static [&'static Table] {
    static ALL: [&Table; 8] = [
        &gmail::TABLE,
        &github::TABLE,
        &github::GIT,
        &slack::TABLE,
        &models::ANTHROPIC,
        &models::OPENAI,
        &models::GOOGLE_AI,
        &models::OPENROUTER,
    ];
    &ALL
}

/// The table of a provider.
pub(crate) fn table(provider: &str) -> Option<&'static Table> {
    tables()
        .iter()
        .copied()
        .find(|table| table.provider == provider)
}

/// The operations of a text; the error is the line that cannot be read.
pub(crate) fn lines(text: &'static str) -> impl Iterator<Item = Result<Entry, &'static str>> {
    let mut hosts = "";
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .filter_map(move |line| match line.strip_prefix("host ") {
            Some(names) => {
                hosts = names.trim();
                None
            }
            None => Some(entry(hosts, line).ok_or(line)),
        })
}

fn entry(hosts: &'static str, line: &'static str) -> Option<Entry> {
    let mut rest = line;
    let mut column = || {
        let (column, after) = rest.trim_start().split_once(char::is_whitespace)?;
        rest = after;
        Some(column)
    };
    let (methods, template, operation) = (column()?, column()?, column()?);
    let effects = column()?
        .split(',')
        .map(|word| word.parse().ok())
        .collect::<Option<Vec<Effect>>>()
        .map(Effects::from)?;
    let object = column().map(|object| if object == "-" { "" } else { object })?;
    let body = match column()? {
        "-" => BodyRole::Shown,
        "opaque" => BodyRole::Opaque,
        name => BodyRole::Inspected(inspector(name)?),
    };
    let words = rest.trim();
    let sound = !hosts.is_empty() && !words.is_empty() && template.starts_with('/');
    sound.then_some(Entry {
        hosts,
        methods,
        template: Template::of(template),
        operation,
        effects,
        object,
        body,
        words,
    })
}
