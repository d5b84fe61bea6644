use crate::{Kind, canonical};
use countersign_model::{AuditRecord, Decision, Effect, Effects, Event};
use std::borrow::Cow;

/// What a row repeats of its record, so that it can be found by it. Each column
/// is the member of the same name at the top of the record's JSON; `effects`
/// and `operation` are members of its `action`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Columns<'a> {
    pub(crate) at_ms: i64,
    pub(crate) kind: Cow<'a, str>,
    pub(crate) request: Option<Cow<'a, str>>,
    pub(crate) run: Option<Cow<'a, str>>,
    pub(crate) agent: Option<Cow<'a, str>>,
    pub(crate) account: Option<Cow<'a, str>>,
    pub(crate) decision: Option<Cow<'a, str>>,
    pub(crate) effects: Option<i64>,
    pub(crate) operation: Option<Cow<'a, str>>,
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
    /// As they are written.
    pub(crate) fn of_record(record: &'a AuditRecord) -> Self {
        let columns = Self {
            at_ms: record.at.unix_ms(),
            kind: Kind::of(&record.event).word().into(),
            ..Self::default()
        };
        match &record.event {
            Event::RunStarted(facts) => Self {
                run: Some(facts.run.as_str().into()),
                agent: Some(facts.agent.as_str().into()),
                ..columns
            },
            Event::RunEnded { run, .. } => Self {
                run: Some(run.as_str().into()),
                ..columns
            },
            Event::Settled(settled) => Self {
                request: Some(settled.request.as_str().into()),
                ..columns
            },
            Event::Requested(requested) => Self {
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
                operation: requested
                    .action
                    .as_ref()
                    .map(|action| action.operation.as_str().into()),
                ..columns
            },
            _ => columns,
        }
    }

    /// As they are checked: from the canonical JSON, without knowing the kind.
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
                match name {
                    b"effects" => columns.effects = Some(effects(value)?),
                    b"operation" => columns.operation = string(value)?,
                    _ => {}
                }
            }
        }
        Ok(columns)
    }

    /// The first column in which a row differs from its record.
    pub(crate) fn first_difference(&self, row: &Self) -> Option<&'static str> {
        if self == row {
            return None;
        }
        let pairs = [
            ("at_ms", self.at_ms == row.at_ms),
            ("kind", self.kind == row.kind),
            ("request", self.request == row.request),
            ("run", self.run == row.run),
            ("agent", self.agent == row.agent),
            ("account", self.account == row.account),
            ("decision", self.decision == row.decision),
            ("effects", self.effects == row.effects),
            ("operation", self.operation == row.operation),
        ];
        pairs
            .into_iter()
            .find(|(_, same)| !same)
            .map(|(name, _)| name)
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
    use crate::any_record::any_record;
    use crate::canonical::canonical;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_record_survives_canonical_json_and_its_columns_repeat_it(record in any_record()) {
            let text = canonical(&record).unwrap();
            prop_assert_eq!(&serde_json_canonicalizer::pipe(&text).unwrap(), &text);
            prop_assert_eq!(&serde_json::from_str::<AuditRecord>(&text).unwrap(), &record);
            prop_assert_eq!(Columns::of_canonical(text.as_bytes()), Ok(Columns::of_record(&record)));
        }
    }

    #[test]
    fn a_number_that_canonical_json_would_round_is_refused() {
        let record = |counter| AuditRecord {
            version: 1,
            at: countersign_model::Timestamp::default(),
            event: Event::ConfigAccepted {
                counter,
                digest: countersign_model::Digest::of(b"x"),
                by: "first start".to_owned(),
            },
        };
        assert!(canonical(&record((1 << 53) - 1)).is_ok());
        for lost in [1 << 53, (1 << 53) + 1, u64::MAX] {
            assert!(
                matches!(canonical(&record(lost)), Err(crate::LedgerError::Unfit(_))),
                "{lost}"
            );
        }
    }
}
