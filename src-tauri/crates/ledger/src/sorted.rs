//! Puts the members of JSON objects in the order of their names.
//!
//! The text is `serde_json`'s own, without white space. What else it may be is
//! not judged here: whoever calls this reads the result again.

use std::borrow::Cow;

/// The same JSON with all members in the order of their names' bytes. `None` for
/// what is cut off in the middle.
pub(crate) fn sorted(text: &str) -> Option<String> {
    let mut sorter = Sorter {
        text: text.as_bytes(),
        at: 0,
    };
    let sorted = sorter.value()?.into_owned();
    // Pieces of UTF-8 that were cut at ASCII bytes.
    String::from_utf8(sorted).ok()
}

struct Sorter<'t> {
    text: &'t [u8],
    at: usize,
}

/// A value: as it stands, where it is in order; nearly all are.
type Value<'t> = Cow<'t, [u8]>;

impl<'t> Sorter<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The value that begins here.
    fn value(&mut self) -> Option<Value<'t>> {
        match self.peek()? {
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => self.string().map(Cow::Borrowed),
            _ => {
                let rest = self.text.get(self.at..)?;
                let ends = |b: &u8| matches!(b, b',' | b']' | b'}');
                let word = rest.get(..rest.iter().position(ends).unwrap_or(rest.len()))?;
                self.at += word.len();
                Some(Cow::Borrowed(word))
            }
        }
    }

    fn object(&mut self) -> Option<Value<'t>> {
        let from = self.at;
        let mut members: Vec<(&'t [u8], Value<'t>)> = Vec::with_capacity(20);
        self.at += 1;
        while self.peek()? != b'}' {
            let name = self.string()?;
            // The colon.
            self.at += 1;
            members.push((name, self.value()?));
            self.skip_comma()?;
        }
        self.at += 1;
        // Between quotes: a name that begins another comes first all the same,
        // because a quote is less than any letter, digit or underscore.
        let in_order = members.is_sorted_by_key(|(name, _)| *name);
        if in_order && members.iter().all(|(_, value)| is_as_it_stood(value)) {
            return self.text.get(from..self.at).map(Cow::Borrowed);
        }
        members.sort_by_key(|(name, _)| *name);
        let mut out = Vec::with_capacity(self.at - from);
        out.push(b'{');
        for (n, (name, value)) in members.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
        Some(Cow::Owned(out))
    }

    fn array(&mut self) -> Option<Value<'t>> {
        let from = self.at;
        let mut values: Vec<Value<'t>> = Vec::new();
        self.at += 1;
        while self.peek()? != b']' {
            values.push(self.value()?);
            self.skip_comma()?;
        }
        self.at += 1;
        if values.iter().all(is_as_it_stood) {
            return self.text.get(from..self.at).map(Cow::Borrowed);
        }
        let mut out = Vec::with_capacity(self.at - from);
        out.push(b'[');
        out.extend_from_slice(&values.join(&b','));
        out.push(b']');
        Some(Cow::Owned(out))
    }

    fn skip_comma(&mut self) -> Option<()> {
        if self.peek()? == b',' {
            self.at += 1;
        }
        Some(())
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<&'t [u8]> {
        let from = self.at;
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return self.text.get(from..self.at);
                }
                // What is escaped is never the end.
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }
}

fn is_as_it_stood(value: &Value<'_>) -> bool {
    matches!(value, Cow::Borrowed(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_in_order_at_every_depth_and_nothing_else_changes() {
        let text = r#"{"b":[{"z":1,"a":"\"}],\\"},{}],"ab":null,"a":{"y":-3,"x":"é,{"}}"#;
        let wanted = r#"{"a":{"x":"é,{","y":-3},"ab":null,"b":[{"a":"\"}],\\","z":1},{}]}"#;
        assert_eq!(sorted(text).as_deref(), Some(wanted));
        assert_eq!(sorted("[]").as_deref(), Some("[]"));
    }

    #[test]
    fn what_is_cut_off_is_nothing() {
        let text = r#"{"b":[1,{"a":"x"}]}"#;
        for end in 0..text.len() {
            assert_eq!(sorted(&text[..end]), None, "{end}");
        }
    }
}
