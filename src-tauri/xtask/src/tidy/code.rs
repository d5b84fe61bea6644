//! Rust source with its comments and literals told apart from its code, so that
//! a rule on code is not broken by a word in a sentence.

/// One source text, seen twice: each has the length and the lines of the
/// original, with blanks where the other things were.
pub(super) struct Split {
    /// Neither comments nor the insides of literals.
    pub(super) code: String,
    /// Only comments.
    pub(super) comments: String,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Code,
    Line,
    Block(u32),
    Text,
    Raw(usize),
}

pub(super) fn split(source: &str) -> Split {
    let chars: Vec<char> = source.chars().collect();
    let (mut code, mut comments) = (String::new(), String::new());
    let (mut state, mut at) = (State::Code, 0);
    while at < chars.len() {
        let (next, length) = step(state, &chars, at);
        for &c in &chars[at..at + length] {
            let blank = if c == '\n' { '\n' } else { ' ' };
            let is_comment = matches!(state, State::Line | State::Block(_))
                || matches!(next, State::Line | State::Block(_));
            let is_code = state == State::Code && next == State::Code && length == 1;
            code.push(if is_code { c } else { blank });
            comments.push(if is_comment { c } else { blank });
        }
        state = next;
        at += length;
    }
    Split { code, comments }
}

/// The state after the next piece of text, and how long that piece is.
fn step(state: State, chars: &[char], at: usize) -> (State, usize) {
    let rest = &chars[at..];
    let begins = |text: &str| {
        text.chars()
            .enumerate()
            .all(|(i, c)| rest.get(i) == Some(&c))
    };
    match state {
        State::Line if rest[0] == '\n' => (State::Code, 1),
        State::Line => (State::Line, 1),
        State::Block(depth) if begins("/*") => (State::Block(depth + 1), 2),
        State::Block(1) if begins("*/") => (State::Code, 2),
        State::Block(depth) if begins("*/") => (State::Block(depth - 1), 2),
        State::Block(depth) => (State::Block(depth), 1),
        State::Text if rest[0] == '\\' => (State::Text, 2.min(rest.len())),
        State::Text if rest[0] == '"' => (State::Code, 1),
        State::Text => (State::Text, 1),
        State::Raw(hashes) if rest[0] == '"' && hashes_at(&rest[1..]) >= hashes => {
            (State::Code, 1 + hashes)
        }
        State::Raw(hashes) => (State::Raw(hashes), 1),
        State::Code if begins("//") => (State::Line, 2),
        State::Code if begins("/*") => (State::Block(1), 2),
        State::Code if rest[0] == '"' => (State::Text, 1),
        State::Code
            if rest[0] == 'r' && !(at > 0 && is_word(chars[at - 1]) && chars[at - 1] != 'b') =>
        {
            let hashes = hashes_at(&rest[1..]);
            if rest.get(1 + hashes) == Some(&'"') {
                (State::Raw(hashes), 2 + hashes)
            } else {
                (State::Code, 1)
            }
        }
        State::Code if rest[0] == '\'' => (State::Code, character(rest)),
        State::Code => (State::Code, 1),
    }
}

fn hashes_at(rest: &[char]) -> usize {
    rest.iter().take_while(|c| **c == '#').count()
}

/// The length of a character literal; 1 for a lifetime.
fn character(rest: &[char]) -> usize {
    match (rest.get(1), rest.get(2)) {
        (Some('\\'), _) => rest
            .iter()
            .skip(3)
            .position(|c| *c == '\'')
            .map_or(1, |end| end + 4),
        (Some(_), Some('\'')) => 3,
        _ => 1,
    }
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The lines (from 1) where a word or path stands by itself.
pub(super) fn lines_with<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.lines()
        .enumerate()
        .filter(move |(_, line)| has_word(line, word))
        .map(|(n, _)| n + 1)
}

pub(super) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open = |c: Option<char>, edge: Option<char>| {
            !(c.is_some_and(is_word) && edge.is_some_and(is_word))
        };
        open(before, word.chars().next()) && open(after, word.chars().next_back())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_comments_and_literals_are_not_code() {
        let source = r####"let a = "x // no \" unsafe"; // unsafe here
/* unsafe /* nested unsafe */ unsafe */ let b = r#"unsafe " unsafe"#;
let c = '"'; let d = b'\''; let e: &'static str = "unsafe"; let f = br"unsafe"; unsafe {}"####;
        let split = split(source);
        assert_eq!(lines_with(&split.code, "unsafe").collect::<Vec<_>>(), [3]);
        assert!(split.code.contains("let b") && split.code.contains("let e: &'static str"));
        assert_eq!(
            lines_with(&split.comments, "unsafe").collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(split.code.chars().count(), source.chars().count());
    }

    #[test]
    fn a_word_stands_by_itself() {
        assert!(has_word("std::fs::read", "std::fs") && has_word("x(unsafe)", "unsafe"));
        assert!(!has_word("unsafe_code", "unsafe") && !has_word("my_std::fsx", "std::fs"));
    }
}
