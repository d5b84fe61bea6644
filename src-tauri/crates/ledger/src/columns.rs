use crate::canonical;
use countersign_model::{Decision, Effect, Effects};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What a record is found by. Each column is the member of the same name at the
/// top of the record's JSON; `effects` is one of its `action`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(crate) struct Columns<'a> {
    pub(crate) at_ms: i64,
    pub(crate) kind: Cow<'a, str>,
    pub(crate) request: Option<Cow<'a, str>>,
    pub(crate) run: Option<Cow<'a, str>>,
    pub(crate) agent: Option<Cow<'a, str>>,
    pub(crate) account: Option<Cow<'a, str>>,
    pub(crate) decision: Option<Cow<'a, str>>,
    pub(crate) effects: Option<i64>,
}

/// A set of effects as a number: bit n is the nth of [`Effect::ALL`].
pub(crate) fn effect_bits(effects: Effects) -> i64 {
    effects.iter().map(effect_bit).sum()
}

pub(crate) const fn effect_bit(effect: Effect) -> i64 {
    1 << effect as i64
}

pub(crate) const fn decision_word(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow => "allow",
        Decision::Deny => "deny",
    }
}

impl<'a> Columns<'a> {
    /// Of a record's canonical JSON, without knowing its kind.
    pub(crate) fn of_canonical(text: &'a [u8]) -> Result<Self, &'static str> {
        let mut columns = Self::default();
        let mut action: &[u8] = b"null";
        for (name, value) in canonical::members(text)? {
            match name {
                b"at" => columns.at_ms = number(value)?,
                b"kind" => columns.kind = string(value)?.ok_or("its kind is null")?,
                b"request" => columns.request = string(value)?,
                b"run" => columns.run = string(value)?,
                b"agent" => columns.agent = string(value)?,
                b"account" => columns.account = string(value)?,
                b"decision" => columns.decision = string(value)?,
                b"action" => action = value,
                _ => {}
            }
        }
        if action != b"null" {
            for (name, value) in canonical::members(action)? {
                if name == b"effects" {
                    columns.effects = Some(effects(value)?);
                }
            }
        }
        Ok(columns)
    }

    pub(crate) fn into_owned(self) -> Columns<'static> {
        let owned = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        Columns {
            at_ms: self.at_ms,
            kind: owned(self.kind),
            request: self.request.map(owned),
            run: self.run.map(owned),
            agent: self.agent.map(owned),
            account: self.account.map(owned),
            decision: self.decision.map(owned),
            effects: self.effects,
        }
    }
}

fn number(value: &[u8]) -> Result<i64, &'static str> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or("its time is not a number")
}

/// The string that a canonical JSON value is; `null` is none.
fn string(value: &[u8]) -> Result<Option<Cow<'_, str>>, &'static str> {
    const WHAT: &str = "a member that ought to be a string is not";
    match value {
        b"null" => Ok(None),
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => std::str::from_utf8(inner)
            .map(|s| Some(s.into()))
            .map_err(|_| WHAT),
        _ => serde_json::from_slice::<String>(value)
            .map(|s| Some(s.into()))
            .map_err(|_| WHAT),
    }
}

fn effects(value: &[u8]) -> Result<i64, &'static str> {
    serde_json::from_slice::<Vec<Effect>>(value)
        .map(|list| effect_bits(Effects::of(&list)))
        .map_err(|_| "its effects are not known words")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::any_record::any_record;
    use crate::canonical::canonical;
    use countersign_model::{AuditRecord, Event, Passed};
    use proptest::prelude::*;

    /// What they are to say of a record.
    fn of_record(record: &AuditRecord) -> Columns<'_> {
        let columns = Columns {
            at_ms: record.at.unix_ms(),
            kind: Kind::of(&record.event).word().into(),
            ..Columns::default()
        };
        match &record.event {
            Event::RunStarted(facts) => Columns {
                run: Some(facts.run.as_str().into()),
                agent: Some(facts.agent.as_str().into()),
                ..columns
            },
            Event::RunEnded { run, .. } => Columns {
                run: Some(run.as_str().into()),
                ..columns
            },
            Event::MoreRefused {
                run,
                agent,
                account,
                decision,
                ..
            } => Columns {
                run: Some(run.as_str().into()),
                agent: Some(agent.as_str().into()),
                account: account.as_ref().map(|account| account.as_str().into()),
                decision: Some(decision_word(*decision).into()),
                ..columns
            },
            Event::PassageOpened { run, agent, .. }
            | Event::PassageClosed(Passed { run, agent, .. }) => Columns {
                run: Some(run.as_str().into()),
                agent: Some(agent.as_str().into()),
                ..columns
            },
            Event::AgentStopped { agent, .. } | Event::AgentResumed { agent, .. } => Columns {
                agent: Some(agent.as_str().into()),
                ..columns
            },
            Event::Settled(settled) => Columns {
                request: Some(settled.request.as_str().into()),
                ..columns
            },
            Event::Requested(requested) => Columns {
                request: Some(requested.request.as_str().into()),
                run: requested.run.as_ref().map(|run| run.as_str().into()),
                agent: Some(requested.agent.as_str().into()),
                account: requested
                    .account
                    .as_ref()
                    .map(|account| account.as_str().into()),
                decision: Some(decision_word(requested.decision).into()),
                effects: requested
                    .action
                    .as_ref()
                    .map(|action| effect_bits(action.effects)),
                ..columns
            },
            _ => columns,
        }
    }

    proptest! {
        #[test]
        fn the_columns_of_any_record_are_what_it_says(record in any_record()) {
            let text = canonical(&record).unwrap();
            prop_assert_eq!(Columns::of_canonical(text.as_bytes()), Ok(of_record(&record)));
        }
    }
}
