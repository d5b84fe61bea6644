//! The embedded form of the generated catalogue.
//!
//! It is read where it lies: nothing is built at start, and what is not asked
//! for is not touched. After [`MAGIC`] stand the lengths of its sections, each
//! in four bytes, and then the sections. Numbers are little-endian; a *varint*
//! is LEB128.
//!
//! | Section | What |
//! |---|---|
//! | classes | six bytes each: effects (a bit for each of [`Effect::ALL`]), [`Traits`], IAM level, and one that is 0 |
//! | words | the offset of every 16th word, four bytes each, of which the first is their number; then the words, each behind its length |
//! | services | their number and offsets; each is provider, name and title as varints of words |
//! | hosts | an FST: provider, a zero byte and a host pattern → where its list of trees begins |
//! | lists | varints: how many trees, and which |
//! | entries | varint: how many; then each operation of a key, see [`Operation`] |
//! | index | an FST: two bytes of tree, the path, a zero byte and a method → where its entries begin |
//!
//! In the paths of the index [`ONE`] stands for a parameter within a segment and
//! [`MANY`] for one that takes whole segments too. An operation that is named
//! rather than reached by a path has the key `T:` (its `X-Amz-Target`) or `A:`
//! (its `Action`).

use countersign_model::{Effect, Effects};
use fst::raw::Fst;

/// How the form begins; the number is its version.
pub const MAGIC: &[u8; 24] = b"countersign catalogue 1\n";
/// A parameter within a segment.
pub const ONE: u8 = 1;
/// A parameter that may take several segments.
pub const MANY: u8 = 2;
/// How many words share an offset.
pub const WORDS_AN_OFFSET: usize = 16;

/// What else is known of an operation, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits(pub u8);

impl Traits {
    /// A read on which the verb and a second source agree: IAM's level, the
    /// method, or curation.
    pub const AGREED: Self = Self(1);
    /// Its verb alone says that it reads.
    pub const VERB_READS: Self = Self(2);
    /// The object is a list: acting on two is `bulk`, on one it is not.
    pub const COUNTED: Self = Self(4);
    /// What it does depends on its body in ways that nobody looks into here.
    pub const BODY: Self = Self(8);
    /// Its body is content of any size, on which nothing depends.
    pub const OPAQUE: Self = Self(16);
    /// Somebody has said by hand that it reads.
    pub const CURATED: Self = Self(32);

    /// Whether it has this one.
    #[must_use]
    pub const fn has(self, one: Self) -> bool {
        self.0 & one.0 != 0
    }
    /// With this one.
    #[must_use]
    pub const fn with(self, one: Self) -> Self {
        Self(self.0 | one.0)
    }
}

/// IAM's access level of an AWS operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Nobody labelled it.
    #[default]
    Unlabelled,
    /// `List`
    List,
    /// `Read`
    Read,
    /// `Write`
    Write,
    /// `Tagging`
    Tagging,
    /// `Permissions management`
    Permissions,
}

impl Level {
    /// Every level, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Unlabelled,
        Self::List,
        Self::Read,
        Self::Write,
        Self::Tagging,
        Self::Permissions,
    ];
    /// IAM's own word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unlabelled => "none",
            Self::List => "List",
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Tagging => "Tagging",
            Self::Permissions => "Permissions management",
        }
    }
    /// Whether it is one that only looks.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(self, Self::List | Self::Read)
    }
}

/// What is known of an operation; many share a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// What it does. Never empty.
    pub effects: Effects,
    /// What else is known.
    pub traits: Traits,
    /// IAM's level.
    pub level: Level,
}

/// Something that a request must have to be this operation, besides its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want<'a> {
    /// Whether it is a header; else a parameter of the query.
    pub header: bool,
    /// Its name: lower case for a header.
    pub name: &'a str,
    /// Its value, where it matters.
    pub value: Option<&'a str>,
}

/// One operation, in its entry: class, service, how many words its name has and
/// which, its object's word plus one, and how many [`Want`]s and which.
#[derive(Debug, Clone)]
pub struct Operation<'a> {
    /// What is known of it.
    pub class: Class,
    /// Whose it is.
    pub service: Service<'a>,
    /// Its name in the provider's own words; empty where the key holds it.
    pub name: String,
    /// The field of its body or query that names what it acts on.
    pub object: Option<&'a str>,
    /// What tells it from others with its key.
    pub wants: Vec<Want<'a>>,
}

/// A service of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service<'a> {
    /// The provider: `aws`.
    pub provider: &'a str,
    /// Its name in the provider's own words: `cloudformation`.
    pub name: &'a str,
    /// What people call it: `CloudFormation`.
    pub title: &'a str,
}

/// The form, taken apart at its sections.
#[derive(Clone)]
pub struct Form<'a> {
    classes: &'a [u8],
    words: &'a [u8],
    services: &'a [u8],
    pub(super) hosts: Fst<&'a [u8]>,
    lists: &'a [u8],
    entries: &'a [u8],
    pub(super) index: Fst<&'a [u8]>,
}

impl std::fmt::Debug for Form<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Form")
            .field("keys", &self.index.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Form<'a> {
    /// Takes a form apart. `None` for what is none.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (lengths, mut rest) = rest.split_at_checked(7 * 4)?;
        let mut section = |at: usize| {
            let (section, after) = rest.split_at_checked(number(lengths, at)?)?;
            rest = after;
            Some(section)
        };
        Some(Self {
            classes: section(0)?,
            words: section(1)?,
            services: section(2)?,
            hosts: Fst::new(section(3)?).ok()?,
            lists: section(4)?,
            entries: section(5)?,
            index: Fst::new(section(6)?).ok()?,
        })
    }

    fn word(&self, at: usize) -> Option<&'a str> {
        let blocks = number(self.words, 0)?;
        let block = at / WORDS_AN_OFFSET;
        let begin = number(self.words, 1 + block).filter(|_| block < blocks)?;
        let mut rest = self.words.get(4 * (1 + blocks) + begin..)?;
        for _ in 0..at % WORDS_AN_OFFSET {
            rest = rest.get(1 + usize::from(*rest.first()?)..)?;
        }
        let text = rest.get(1..1 + usize::from(*rest.first()?))?;
        std::str::from_utf8(text).ok()
    }

    fn class(&self, at: usize) -> Option<Class> {
        let bytes = self.classes.get(6 * at..6 * (at + 1))?;
        let bits = u16::from_le_bytes([bytes[0], bytes[1]]);
        Some(Class {
            effects: effects_of(bits),
            traits: Traits(bytes[2]),
            level: *Level::ALL.get(usize::from(bytes[3]))?,
        })
    }

    fn service(&self, at: usize) -> Option<Service<'a>> {
        let count = number(self.services, 0).filter(|count| at < *count)?;
        let begin = 4 * (1 + count) + number(self.services, 1 + at)?;
        let mut cursor = Cursor(self.services.get(begin..)?);
        let mut word = || self.word(cursor.varint()?);
        Some(Service {
            provider: word()?,
            name: word()?,
            title: word()?,
        })
    }

    /// The trees of a host pattern, empty where there are none.
    #[must_use]
    pub fn trees(&self, provider: &str, pattern: &str) -> Vec<u16> {
        let key = [provider.as_bytes(), &[0], pattern.as_bytes()].concat();
        let list = self.hosts.get(&key).and_then(|at| {
            let mut cursor = Cursor(self.lists.get(usize::try_from(at.value()).ok()?..)?);
            let count = cursor.varint()?;
            (0..count)
                .map(|_| cursor.varint()?.try_into().ok())
                .collect()
        });
        list.unwrap_or_default()
    }

    /// The operations that share a key, by what the index holds for it.
    #[must_use]
    pub fn operations(&self, at: u64) -> Vec<Operation<'a>> {
        let read = || {
            let mut cursor = Cursor(self.entries.get(usize::try_from(at).ok()?..)?);
            let count = cursor.varint()?;
            (0..count)
                .map(|_| self.operation(&mut cursor))
                .collect::<Option<Vec<_>>>()
        };
        read().unwrap_or_default()
    }

    fn operation(&self, cursor: &mut Cursor<'a>) -> Option<Operation<'a>> {
        let class = self.class(cursor.varint()?)?;
        let service = self.service(cursor.varint()?)?;
        let words = cursor.varint()?;
        let mut name = String::new();
        for _ in 0..words {
            name.push_str(self.word(cursor.varint()?)?);
        }
        let object = match cursor.varint()? {
            0 => None,
            word => Some(self.word(word - 1)?),
        };
        let wants = cursor.varint()?;
        let wants = (0..wants).map(|_| {
            Some(Want {
                header: cursor.varint()? == 1,
                name: self.word(cursor.varint()?)?,
                value: match cursor.varint()? {
                    0 => None,
                    word => Some(self.word(word - 1)?),
                },
            })
        });
        Some(Operation {
            class,
            service,
            name,
            object,
            wants: wants.collect::<Option<_>>()?,
        })
    }
}

/// The effects of a class, by a bit for each of [`Effect::ALL`].
#[must_use]
pub fn effects_of(bits: u16) -> Effects {
    let all = Effect::ALL.into_iter().enumerate();
    all.filter(|(at, _)| bits & 1 << at != 0)
        .map(|(_, effect)| effect)
        .collect()
}

/// The `at`th number of four bytes.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes: [u8; 4] = bytes.get(4 * at..4 * at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(bytes)).ok()
}

#[derive(Debug)]
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..28).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= usize::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}
