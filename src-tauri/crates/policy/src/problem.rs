use countersign_model::Foreign;
use miette::Diagnostic;
use std::fmt;

/// One thing that is wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PolicyProblem {
    /// The file, as the caller named it.
    pub file: String,
    /// The line; the first is 1.
    pub line: usize,
    /// The column in characters; the first is 1.
    pub column: usize,
    /// What is wrong, in one sentence; text of the file in it is neutralised.
    pub message: String,
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )
    }
}

impl PolicyProblem {
    /// A problem of the file as a whole.
    pub(crate) fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: Foreign::new(file).neutral(),
            line: 1,
            column: 1,
            message: message.into(),
        }
    }

    /// A problem at a byte offset of the text.
    pub(crate) fn at(file: &str, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let (line, column) = position(text, offset);
        Self {
            line,
            column,
            ..Self::of_file(file, message)
        }
    }

    /// What Cedar says of a text, with the place that it points at and its help.
    pub(crate) fn of_cedar(file: &str, text: &str, diagnostic: &dyn Diagnostic) -> Self {
        let label = diagnostic.labels().and_then(|mut labels| labels.next());
        let mut message = without_number(&diagnostic.to_string()).to_owned();
        if let Some(said) = label.as_ref().and_then(|l| l.label()) {
            message = format!("{message}: {said}");
        }
        if let Some(help) = diagnostic.help() {
            message = format!("{message} ({help})");
        }
        let offset = label.map_or(0, |l| l.offset());
        Self::at(file, text, offset, Foreign::new(message).neutral())
    }
}

/// Cedar's number for a rule says less than the line does.
fn without_number(message: &str) -> &str {
    message
        .strip_prefix("for policy `policy")
        .and_then(|rest| rest.split_once("`, "))
        .map_or(message, |(_, said)| said)
}

/// Line and column, from 1, of a byte offset; columns count characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}
