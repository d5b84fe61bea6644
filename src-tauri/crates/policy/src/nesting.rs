//! Cedar's parser takes a step on the stack for each bracket and each `if`
//! within another, and a stack that overflows ends the process. So a text that
//! nests deeper than any rule needs is refused before it is parsed: whoever can
//! write to the policy folder could otherwise end the authority.

/// Brackets within brackets: an eighth of what overflowed 2 MiB of stack when
/// it was tried.
const BRACKETS: usize = 32;
/// `if`s in one rule: a tenth of what did.
const IFS: usize = 100;

/// The place, in bytes, where a text nests too deeply.
///
/// Reads strings and comments as Cedar's lexer does: `"(\\.|[^"\\])*"` and
/// `//[^\n\r]*`.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut ifs = 0_usize;
    let mut rest = text.char_indices().peekable();
    let mut word_before = false;
    while let Some((at, c)) = rest.next() {
        let in_word = c.is_ascii_alphanumeric() || c == '_';
        match c {
            '"' => {
                while let Some((_, inside)) = rest.next() {
                    match inside {
                        '"' => break,
                        '\\' => drop(rest.next()),
                        _ => {}
                    }
                }
            }
            '/' if rest.peek().is_some_and(|(_, next)| *next == '/') => {
                while rest
                    .next_if(|(_, inside)| !matches!(inside, '\n' | '\r'))
                    .is_some()
                {}
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ';' => ifs = 0,
            'i' if !word_before && is_if(&text[at..]) => ifs += 1,
            _ => {}
        }
        word_before = in_word;
        if depth > BRACKETS || ifs > IFS {
            return Some(at);
        }
    }
    None
}

fn is_if(text: &str) -> bool {
    let after = text.strip_prefix("if");
    after.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_where_the_parser_sees_them() {
        let open = "([{".repeat(10);
        assert_eq!(too_deep(&format!("{open}((")), None);
        assert_eq!(too_deep(&format!("{open}(((")), Some(32));
        assert_eq!(too_deep(&"()".repeat(1000)), None);
        assert_eq!(
            too_deep(&format!("\"{}\" // {}\n", "(".repeat(100), "(".repeat(100))),
            None
        );
    }

    #[test]
    fn a_string_or_a_comment_hides_no_bracket() {
        for hide in [
            "\"a\\\"b\" ( ",
            "// )\n(",
            "// )\r(",
            "\")\" (",
            "\"\\\\\" (",
            "/ ( ",
        ] {
            assert!(too_deep(&hide.repeat(33)).is_some(), "{hide:?}");
        }
    }

    #[test]
    fn ifs_count_as_words_and_by_rule() {
        assert!(too_deep(&"if true then true else ".repeat(101)).is_some());
        assert_eq!(too_deep(&"if true then true else true;".repeat(1000)), None);
        assert_eq!(too_deep(&"gif iffy _if if_ ".repeat(1000)), None);
    }
}
