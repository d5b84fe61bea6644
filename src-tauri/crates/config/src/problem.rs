use std::fmt;

/// One thing that is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// The file, as the caller named it.
    pub file: String,
    /// The line; the first is 1.
    pub line: usize,
    /// The column in characters; the first is 1.
    pub column: usize,
    /// What was expected there and what was found, in one sentence. Text of
    /// the file stands in it quoted, shortened and neutralised.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.expected
        )
    }
}

/// Collects problems by byte offset while a text is read.
pub(crate) struct Problems<'t> {
    text: &'t str,
    found: Vec<(usize, String)>,
}

impl<'t> Problems<'t> {
    /// More than this is no help to anybody.
    const REPORTED: usize = 100;

    pub(crate) fn of(text: &'t str) -> Self {
        Self {
            text,
            found: Vec::new(),
        }
    }

    /// Notes a problem at a byte offset of the text.
    pub(crate) fn at(&mut self, offset: usize, expected: impl Into<String>) {
        self.found.push((offset, expected.into()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many there are so far.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// The problems in the order of the text, at most 100.
    pub(crate) fn into_list(mut self, file: &str) -> Vec<Problem> {
        self.found.sort_by_key(|(offset, _)| *offset);
        self.found.truncate(Self::REPORTED);
        self.found
            .into_iter()
            .map(|(offset, expected)| {
                let (line, column) = position(self.text, offset);
                Problem {
                    file: file.to_owned(),
                    line,
                    column,
                    expected,
                }
            })
            .collect()
    }
}

/// Line and column, from 1, of a byte offset; columns count characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let offset = text.floor_char_boundary(offset.min(text.len()));
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters_from_one() {
        assert_eq!(position("", 0), (1, 1));
        assert_eq!(position("a\nöb", 4), (2, 2));
        assert_eq!(
            position("a\nöb", 3),
            (2, 1),
            "inside a character is before it"
        );
        assert_eq!(position("a", 99), (1, 2));
    }
}
