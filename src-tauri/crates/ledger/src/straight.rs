//! The records of common requests, written with their members in order at once:
//! two of them for each request. All others are put in order by [`crate::sorted`].
//!
//! Structs are taken apart whole, so that a member that is new to them is not
//! forgotten here.

use crate::Kind;
use countersign_model::{Action, AuditRecord, Event, Objects, Outcome, Requested, Settled};
use serde::Serialize;

/// Room for the record of a common request, in bytes.
const COMMON: usize = 1536;

/// The JSON of a record, if it is of a common kind.
pub(crate) fn straight(record: &AuditRecord) -> Option<serde_json::Result<Vec<u8>>> {
    match &record.event {
        Event::Requested(event) if event.approval.is_none() => Some(requested(record, event)),
        Event::Settled(event) => match event.outcome {
            Outcome::Answered { status } if event.tokens.is_none() => {
                Some(answered(record, event, status))
            }
            _ => None,
        },
        _ => None,
    }
}

fn requested(record: &AuditRecord, event: &Requested) -> serde_json::Result<Vec<u8>> {
    let Requested {
        request,
        run,
        agent,
        contained,
        action,
        account,
        target,
        verdict,
        rules,
        approval,
        decision,
        reason,
        detail,
        exact,
        streamed,
        credential,
        config,
    } = event;
    let mut out = Vec::with_capacity(COMMON);
    let mut object = Object::begin(&mut out);
    object.member("account", account)?;
    match action {
        Some(action) => write_action(object.value("action"), action)?,
        None => object.member("action", &())?,
    }
    object.member("agent", agent)?;
    object.member("approval", approval)?;
    object.member("at", &record.at)?;
    object.member("config", config)?;
    object.member("contained", contained)?;
    object.member("credential", credential)?;
    object.member("decision", decision)?;
    object.member("detail", detail)?;
    object.member("exact", exact)?;
    object.member("kind", Kind::Requested.word())?;
    object.member("reason", reason)?;
    object.member("request", request)?;
    object.member("rules", rules)?;
    object.member("run", run)?;
    object.member("streamed", streamed)?;
    object.member("target", target)?;
    object.member("verdict", verdict)?;
    object.member("version", &record.version)?;
    object.end();
    Ok(out)
}

fn write_action(out: &mut Vec<u8>, action: &Action) -> serde_json::Result<()> {
    let Action {
        provider,
        operation,
        effects,
        objects,
        words,
        routine,
        decided_by,
        account,
        environment,
        reason,
        data_digest,
    } = action;
    let mut object = Object::begin(out);
    object.member("account", account)?;
    object.member("data_digest", data_digest)?;
    object.member("decided_by", decided_by)?;
    object.member("effects", effects)?;
    object.member("environment", environment)?;
    let Objects { listed, count } = objects;
    let mut inner = Object::begin(object.value("objects"));
    inner.member("count", count)?;
    inner.member("listed", listed)?;
    inner.end();
    object.member("operation", operation)?;
    object.member("provider", provider)?;
    object.member("reason", reason)?;
    object.member("routine", routine)?;
    object.member("words", words)?;
    object.end();
    Ok(())
}

fn answered(record: &AuditRecord, event: &Settled, status: u16) -> serde_json::Result<Vec<u8>> {
    let Settled {
        request,
        outcome: _,
        bytes_sent,
        bytes_received,
        duration_ms,
        body_digest,
        // Left out where there are none.
        tokens: _,
    } = event;
    let mut out = Vec::with_capacity(COMMON / 4);
    let mut object = Object::begin(&mut out);
    object.member("at", &record.at)?;
    object.member("body_digest", body_digest)?;
    object.member("bytes_received", bytes_received)?;
    object.member("bytes_sent", bytes_sent)?;
    object.member("duration_ms", duration_ms)?;
    object.member("kind", Kind::Settled.word())?;
    object.member("outcome", "answered")?;
    object.member("request", request)?;
    object.member("status", &status)?;
    object.member("version", &record.version)?;
    object.end();
    Ok(out)
}

/// A JSON object that is being written.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    before: u8,
}

impl<'o> Object<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        Self { out, before: b'{' }
    }
    /// Writes a name; the value is to follow.
    fn value(&mut self, name: &str) -> &mut Vec<u8> {
        self.out.extend_from_slice(&[self.before, b'"']);
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.before = b',';
        self.out
    }
    fn member(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
        serde_json::to_writer(self.value(name), value)
    }
    fn end(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::any_record::any_record;
    use crate::sorted::sorted;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_straight_is_what_is_put_in_order(record in any_record()) {
            if let Some(text) = straight(&record) {
                let general = sorted(&serde_json::to_string(&record).unwrap()).unwrap();
                prop_assert_eq!(String::from_utf8(text.unwrap()).unwrap(), general);
            }
        }
    }
}
