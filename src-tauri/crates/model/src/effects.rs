use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One thing that a request does. A request can do several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Looks at data.
    Read,
    /// Changes or creates data.
    Write,
    /// Removes data.
    Delete,
    /// Shows data to people or systems that did not have it.
    Publish,
    /// Changes who may do what.
    Permission,
    /// Costs money, or moves it.
    Spend,
    /// Changes how a system as a whole is set up.
    Admin,
    /// Runs code or commands somewhere.
    Exec,
    /// Its reply or its body holds a credential.
    Secret,
    /// Acts on many objects at once.
    Bulk,
}

impl Effect {
    /// Every effect, in the order in which they are listed to people.
    pub const ALL: [Self; 10] = [
        Self::Read,
        Self::Write,
        Self::Delete,
        Self::Publish,
        Self::Permission,
        Self::Spend,
        Self::Admin,
        Self::Exec,
        Self::Secret,
        Self::Bulk,
    ];

    /// The word of the design, which is also the name of the Cedar action.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Publish => "publish",
            Self::Permission => "permission",
            Self::Spend => "spend",
            Self::Admin => "admin",
            Self::Exec => "exec",
            Self::Secret => "secret",
            Self::Bulk => "bulk",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Effect {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|e| e.word() == s)
            .ok_or_else(|| {
                let all: Vec<_> = Self::ALL.iter().map(|e| e.word()).collect();
                format!("expected one of {}", all.join(", "))
            })
    }
}

/// A set of effects. The empty set is what nobody knows; it is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Effect>", into = "Vec<Effect>")]
pub struct Effects(u16);

impl Effects {
    /// No effect: judged as Deny.
    pub const NONE: Self = Self(0);

    /// The set of these.
    #[must_use]
    pub fn of(effects: &[Effect]) -> Self {
        effects.iter().fold(Self::NONE, |set, &e| set.with(e))
    }
    /// This set and one more.
    #[must_use]
    pub const fn with(self, effect: Effect) -> Self {
        Self(self.0 | effect.bit())
    }
    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// Whether the effect is in the set.
    #[must_use]
    pub const fn has(self, effect: Effect) -> bool {
        self.0 & effect.bit() != 0
    }
    /// Whether nothing is known of what the request does.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// Whether reading is all it does.
    #[must_use]
    pub const fn is_read_only(self) -> bool {
        self.0 == Effect::Read.bit()
    }
    /// The effects, in the order of [`Effect::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Effect> {
        Effect::ALL.into_iter().filter(move |&e| self.has(e))
    }
}

impl From<Vec<Effect>> for Effects {
    fn from(list: Vec<Effect>) -> Self {
        Self::of(&list)
    }
}
impl From<Effects> for Vec<Effect> {
    fn from(set: Effects) -> Self {
        set.iter().collect()
    }
}
impl FromIterator<Effect> for Effects {
    fn from_iter<I: IntoIterator<Item = Effect>>(iter: I) -> Self {
        iter.into_iter().fold(Self::NONE, Self::with)
    }
}
impl fmt::Display for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("unknown");
        }
        for (i, effect) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            f.write_str(effect.word())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_serialises_as_words_in_a_fixed_order() {
        let set = Effects::of(&[Effect::Bulk, Effect::Delete]);
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["delete","bulk"]"#);
        assert_eq!(
            serde_json::from_str::<Effects>(r#"["bulk","delete","bulk"]"#).unwrap(),
            set
        );
    }
}
