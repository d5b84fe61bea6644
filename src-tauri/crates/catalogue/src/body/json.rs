//! JSON that can be read in one way only.
//!
//! Parsers disagree on repeated names: some keep the first, some the last. So
//! a repeated name, like anything else outside RFC 8259 and I-JSON (RFC 7493),
//! makes a body unreadable.

use super::Fault;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;

/// How deeply arrays and objects may be nested.
pub(crate) const DEPTH: usize = 64;

/// Reads exactly one JSON text.
///
/// # Errors
/// [`Fault::Repeated`], [`Fault::Deep`], or [`Fault::Malformed`]: a byte-order
/// mark, bytes that are not UTF-8, lone surrogates, anything after the text.
pub(crate) fn strict(bytes: &[u8]) -> Result<Value, Fault> {
    let fault = Cell::new(Fault::Malformed);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict {
        depth: DEPTH,
        fault: &fault,
    }
    .deserialize(&mut reader)
    .map_err(|_| fault.get())?;
    reader.end().map_err(|_| Fault::Malformed)?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Strict<'f> {
    /// How many levels are left.
    depth: usize,
    /// Why it stopped, when that is not a mistake of syntax.
    fault: &'f Cell<Fault>,
}

impl Strict<'_> {
    fn stop<E: Error>(&self, fault: Fault) -> E {
        self.fault.set(fault);
        E::custom("stopped")
    }
    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(self.stop(Fault::Deep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| self.stop(Fault::Malformed))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut all = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if all.insert(name, value).is_some() {
                return Err(self.stop(Fault::Repeated));
            }
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parsers_read_differently_is_not_read_at_all() {
        for (text, fault) in [
            (r#"{"a":1,"a":2}"#, Fault::Repeated),
            (r#"{"a":1,"\u0061":2}"#, Fault::Repeated),
            (r#"[{"x":{"y":1,"y":1}}]"#, Fault::Repeated),
            ("\u{feff}{}", Fault::Malformed),
            ("{} {}", Fault::Malformed),
            ("{}//", Fault::Malformed),
            ("{'a':1}", Fault::Malformed),
            ("{a:1}", Fault::Malformed),
            ("[1,]", Fault::Malformed),
            ("NaN", Fault::Malformed),
            ("1e999", Fault::Malformed),
            (r#""\ud800""#, Fault::Malformed),
            ("", Fault::Malformed),
        ] {
            assert_eq!(strict(text.as_bytes()), Err(fault), "{text}");
        }
        assert_eq!(strict(b"\"\xff\""), Err(Fault::Malformed));
    }

    #[test]
    fn depth_has_a_limit() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(strict(nested(DEPTH).as_bytes()).is_ok());
        assert_eq!(strict(nested(DEPTH + 1).as_bytes()), Err(Fault::Deep));
        assert_eq!(strict("[".repeat(1_000_000).as_bytes()), Err(Fault::Deep));
    }

    #[test]
    fn ordinary_json_is_read() {
        let value = strict(br#" {"a":[1,-2,3.5,true,null,"x"],"b":{"a":1}} "#).unwrap();
        assert_eq!(value["a"][2], 3.5);
        assert_eq!(value["b"]["a"], 1);
    }
}
