//! Puts the members of JSON objects in the order of their names.
//!
//! The text is `serde_json`'s own, without white space. What else it may be is
//! not judged here: whoever calls this reads the result again.

use std::ops::Range;

/// The same JSON with all members in the order of their names' bytes. `None` for
/// what is cut off in the middle.
pub(crate) fn sorted(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut sorter = Sorter {
        text: text.as_bytes(),
        at: 0,
    };
    sorter.value(&mut out)?;
    // Pieces of UTF-8 that were cut at ASCII bytes.
    String::from_utf8(out).ok()
}

struct Sorter<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Sorter<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Appends the value that begins here.
    fn value(&mut self, out: &mut Vec<u8>) -> Option<()> {
        match self.peek()? {
            b'{' => self.object(out),
            b'[' => self.array(out),
            b'"' => {
                out.extend_from_slice(self.string()?);
                Some(())
            }
            _ => {
                let rest = self.text.get(self.at..)?;
                let ends = |b: &u8| matches!(b, b',' | b']' | b'}');
                let word = rest.get(..rest.iter().position(ends).unwrap_or(rest.len()))?;
                out.extend_from_slice(word);
                self.at += word.len();
                Some(())
            }
        }
    }

    fn object(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let mut members: Vec<(&'t [u8], Range<usize>)> = Vec::with_capacity(20);
        let mut values = Vec::new();
        self.at += 1;
        while self.peek()? != b'}' {
            let name = self.string()?;
            // The colon.
            self.at += 1;
            let from = values.len();
            self.value(&mut values)?;
            members.push((name, from..values.len()));
            self.skip_comma()?;
        }
        self.at += 1;
        // Between quotes: a name that begins another comes first all the same,
        // because a quote is less than any letter, digit or underscore.
        members.sort_by_key(|(name, _)| *name);
        out.push(b'{');
        for (n, (name, value)) in members.into_iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            out.push(b':');
            out.extend_from_slice(values.get(value)?);
        }
        out.push(b'}');
        Some(())
    }

    fn array(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let mut first = true;
        self.at += 1;
        out.push(b'[');
        while self.peek()? != b']' {
            if !first {
                out.push(b',');
            }
            first = false;
            self.value(out)?;
            self.skip_comma()?;
        }
        self.at += 1;
        out.push(b']');
        Some(())
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
