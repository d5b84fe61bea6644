//! Canonical JSON (RFC 8785), narrowed to what records hold.
//!
//! Writing is left to `serde_json`, which escapes and prints whole numbers as RFC
//! 8785 wants it; [`crate::straight`] writes the members of common records in
//! order, [`crate::sorted`] puts those of all others in order. A general library
//! for this takes a multiple of the time, of every request. Reading is done here,
//! because the verifier has to know that bytes *are* canonical, of every record
//! of a ledger, and parsing and writing them again costs ten times as much. What
//! is written is read as well, so that nothing else than canonical JSON is ever
//! recorded.
//!
//! Records hold whole numbers only, and member names of printable ASCII without
//! escapes; for these, RFC 8785 says: no white space, members sorted by name,
//! no name twice, the shortest escapes, numbers as ECMAScript prints them.

use crate::LedgerError;
use crate::sorted::sorted;
use crate::straight::straight;
use countersign_model::{AuditRecord, Digest};

/// RFC 8785 numbers are IEEE 754 doubles. Below this, whole ones are exact; from
/// here on two of them can be written alike (RFC 7493 section 2.2).
const INEXACT_FROM: u64 = 1 << 53;
/// Records are a few levels deep. The limit bounds the recursion.
const DEEPEST: u32 = 32;

/// The canonical JSON of a record.
///
/// # Errors
/// [`LedgerError::Unfit`] when the JSON would not say exactly what the record
/// says: a number beyond 2^53 would be rounded.
pub(crate) fn canonical(record: &AuditRecord) -> Result<String, LedgerError> {
    let unfit = |e: serde_json::Error| LedgerError::Unfit(e.to_string());
    let text = match straight(record) {
        Some(text) => String::from_utf8(text.map_err(unfit)?).ok(),
        None => sorted(&serde_json::to_string(record).map_err(unfit)?),
    };
    let text = text.ok_or_else(|| LedgerError::Unfit("it is no JSON".to_owned()))?;
    check(text.as_bytes()).map_err(|what| LedgerError::Unfit(what.to_owned()))?;
    Ok(text)
}

/// The hash of a leaf: SHA-256(0x00 ‖ bytes), RFC 6962 section 2.1.
pub(crate) fn leaf(canonical: &[u8]) -> Digest {
    Digest::from_bytes(tlog_tiles::record_hash(canonical).0)
}

/// A member of an object: its name, and the text of its value.
pub(crate) type Member<'a> = (&'a [u8], &'a [u8]);

/// The members of the object that `text` is, if it is canonical to its depths.
pub(crate) fn members(text: &[u8]) -> Result<Vec<Member<'_>>, &'static str> {
    let mut members = Vec::with_capacity(20);
    read(text, &mut |member| members.push(member))?;
    Ok(members)
}

/// Whether `text` is an object that is canonical to its depths.
pub(crate) fn check(text: &[u8]) -> Result<(), &'static str> {
    read(text, &mut |_| ())
}

fn read<'t>(text: &'t [u8], each: &mut impl FnMut(Member<'t>)) -> Result<(), &'static str> {
    if std::str::from_utf8(text).is_err() {
        return Err("it is not UTF-8");
    }
    let mut reader = Reader { text, at: 0 };
    reader.object(0, each)?;
    if reader.at != text.len() {
        return Err("something follows the JSON object");
    }
    Ok(())
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        // Indexing, here and in `string`, because most of a verification is spent
        // in these two, also in builds that do not inline `get`.
        if self.at < self.text.len() {
            Some(self.text[self.at])
        } else {
            None
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn value(&mut self, depth: u32) -> Result<(), &'static str> {
        if depth > DEEPEST {
            return Err("it is nested too deeply");
        }
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(depth, &mut |_| ()),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    /// Reads an object, and tells of each of its own members.
    fn object(
        &mut self,
        depth: u32,
        each: &mut impl FnMut(Member<'a>),
    ) -> Result<(), &'static str> {
        if !self.take(b'{') {
            return Err("it is not a JSON object");
        }
        if self.take(b'}') {
            return Ok(());
        }
        let mut last: Option<&[u8]> = None;
        loop {
            let name = self.name()?;
            // Printable ASCII: the order of bytes is the order of UTF-16 units.
            if last.is_some_and(|last| last >= name) {
                return Err("its members are not in order, or one stands twice");
            }
            last = Some(name);
            if !self.take(b':') {
                return Err("a member has no value");
            }
            let start = self.at;
            self.value(depth + 1)?;
            each((name, &self.text[start..self.at]));
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err("an object is not well-formed");
            }
        }
    }

    fn name(&mut self) -> Result<&'a [u8], &'static str> {
        let start = self.at + 1;
        if self.string()? {
            Ok(&self.text[start..self.at - 1])
        } else {
            Err("the name of a member is not plain ASCII")
        }
    }

    fn array(&mut self, depth: u32) -> Result<(), &'static str> {
        self.at += 1;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err("an array is not well-formed");
            }
        }
    }

    /// Whether it is plain: printable ASCII without escapes.
    fn string(&mut self) -> Result<bool, &'static str> {
        if !self.take(b'"') {
            return Err("it holds something that is no canonical JSON");
        }
        let mut plain = true;
        while self.at < self.text.len() {
            match self.text[self.at] {
                b'"' => {
                    self.at += 1;
                    return Ok(plain);
                }
                b'\\' => {
                    plain = false;
                    self.escape()?;
                }
                byte if byte < b' ' => return Err("a string holds a control character"),
                byte => {
                    plain &= byte <= b'~';
                    self.at += 1;
                }
            }
        }
        Err("a string does not end")
    }

    /// The escapes that RFC 8785 section 3.2.2.2 leaves: what must be escaped,
    /// in its shortest form.
    fn escape(&mut self) -> Result<(), &'static str> {
        let rest = &self.text[self.at + 1..];
        self.at += match rest {
            [b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [
                b'u',
                b'0',
                b'0',
                high @ (b'0' | b'1'),
                low @ (b'0'..=b'9' | b'a'..=b'f'),
                ..,
            ] if !(*high == b'0' && matches!(low, b'8' | b'9' | b'a' | b'c' | b'd')) => 6,
            _ => return Err("a string is escaped in another way than the canonical one"),
        };
        Ok(())
    }

    /// A whole number without sign of zero, leading zeros, fraction or exponent.
    fn number(&mut self) -> Result<(), &'static str> {
        let negative = self.take(b'-');
        let start = self.at;
        let mut value: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        let digits = &self.text[start..self.at];
        let canonical = match digits {
            [] => false,
            [b'0'] => !negative,
            [b'0', ..] => false,
            _ => true,
        };
        if !canonical {
            return Err("a number is not written in the canonical way");
        }
        if value >= INEXACT_FROM {
            return Err("a number is beyond 2^53");
        }
        Ok(())
    }

    fn word(&mut self) -> Result<(), &'static str> {
        let rest = &self.text[self.at..];
        for word in [b"null".as_slice(), b"true", b"false"] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(());
            }
        }
        Err("it holds something that is no canonical JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::any_record::any_record;
    use proptest::prelude::*;

    /// What the published implementation makes of the same text.
    fn is_canonical_to_the_reference(text: &str) -> bool {
        serde_json_canonicalizer::pipe(text).is_ok_and(|canonical| canonical == text)
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        for bad in [
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a": 1}"#,
            r#"{"a":1} "#,
            r#"{"a":01}"#,
            r#"{"a":-0}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e3}"#,
            r#"{"a":9007199254740993}"#,
            r#"{"a":"\u0041"}"#,
            r#"{"a":"\u000a"}"#,
            r#"{"a":"\u001F"}"#,
            r#"{"a":"\/"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":"x}"#,
            r#"{"a":}"#,
            r#"{"a"}"#,
            "[1]",
            "",
            r#"{"a":tru}"#,
            r#"{"a":1,}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":1}{}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":-}"#,
        ] {
            assert!(members(bad.as_bytes()).is_err(), "{bad}");
            assert!(!is_canonical_to_the_reference(bad) || bad == "[1]", "{bad}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
        assert!(members(deep.as_bytes()).is_err());
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            ((1 - (1_i64 << 53))..(1_i64 << 53)).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map("[ -~&&[^\"\\\\]]{0,6}", inner, 0..6)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn a_number_that_canonical_json_would_round_is_refused() {
        let record = |counter| AuditRecord {
            version: 1,
            at: countersign_model::Timestamp::default(),
            event: countersign_model::Event::ConfigAccepted {
                counter,
                digest: Digest::of(b"x"),
                by: "first start".to_owned(),
            },
        };
        assert!(canonical(&record((1 << 53) - 1)).is_ok());
        for lost in [1 << 53, (1 << 53) + 1, u64::MAX] {
            assert!(
                matches!(canonical(&record(lost)), Err(LedgerError::Unfit(_))),
                "{lost}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_record_survives_canonical_json(record in any_record()) {
            let text = canonical(&record).unwrap();
            prop_assert_eq!(&serde_json_canonicalizer::pipe(&text).unwrap(), &text);
            prop_assert_eq!(&serde_json::from_str::<AuditRecord>(&text).unwrap(), &record);
        }

        #[test]
        fn what_the_reference_writes_is_canonical(value in json()) {
            let text = serde_json_canonicalizer::to_string(&serde_json::json!({ "v": value })).unwrap();
            prop_assert_eq!(members(text.as_bytes()).map(|m| m.len()), Ok(1));
        }

        #[test]
        fn a_changed_byte_is_canonical_only_where_the_reference_agrees(value in json(), at in any::<prop::sample::Index>(), byte in 0x09_u8..0x7f) {
            let mut text = serde_json_canonicalizer::to_vec(&serde_json::json!({ "v": value })).unwrap();
            let at = at.index(text.len());
            text[at] = byte;
            if let Ok(text) = String::from_utf8(text) && members(text.as_bytes()).is_ok() {
                prop_assert!(is_canonical_to_the_reference(&text), "{}", text);
            }
        }
    }
}
