use countersign_model::Foreign;

/// One line of a [`diff`], as a person reads it. The text is foreign: anybody
/// who can edit the file wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiffLine {
    /// In both texts; at most three around each change.
    Same(Foreign),
    /// Only in the old text.
    Removed(Foreign),
    /// Only in the new text.
    Added(Foreign),
    /// So many lines that are in both texts are left out here.
    Skipped(usize),
}

/// Unchanged lines that are shown around each change.
const CONTEXT: usize = 3;

/// Beyond this many pairs of lines a shortest difference is not worth its time:
/// all old lines are then shown as removed and all new ones as added.
const PAIRS: usize = 4_000_000;

/// What changes from `old` to `new`, by lines. Every added and removed line is
/// in it; equal texts have an empty difference.
///
/// A line includes its ending, so a change of line endings, or of the last
/// line's, shows.
#[must_use]
pub fn diff(old: &str, new: &str) -> Vec<DiffLine> {
    if old == new {
        return Vec::new();
    }
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();

    let mut lines: Vec<Line<'_>> = old[..head].iter().map(|l| Line::Same(l)).collect();
    middle(
        &old_rest[..old_rest.len() - tail],
        &new_rest[..new_rest.len() - tail],
        &mut lines,
    );
    lines.extend(old[old.len() - tail..].iter().map(|l| Line::Same(l)));
    with_context(&lines)
}

#[derive(Clone, Copy)]
enum Line<'t> {
    Same(&'t str),
    Removed(&'t str),
    Added(&'t str),
}

/// The longest common subsequence of two lists of lines, by table.
fn middle<'t>(old: &[&'t str], new: &[&'t str], lines: &mut Vec<Line<'t>>) {
    let removed = |l: &&'t str| Line::Removed(l);
    let added = |l: &&'t str| Line::Added(l);
    if old.len().saturating_mul(new.len()) > PAIRS {
        lines.extend(old.iter().map(removed));
        lines.extend(new.iter().map(added));
        return;
    }
    // length[i][j]: of the common subsequence of old[i..] and new[j..].
    let width = new.len() + 1;
    let mut length = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            length[i * width + j] = if old[i] == new[j] {
                length[(i + 1) * width + j + 1] + 1
            } else {
                length[(i + 1) * width + j].max(length[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            lines.push(Line::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if length[(i + 1) * width + j] >= length[i * width + j + 1] {
            lines.push(Line::Removed(old[i]));
            i += 1;
        } else {
            lines.push(Line::Added(new[j]));
            j += 1;
        }
    }
    lines.extend(old[i..].iter().map(removed));
    lines.extend(new[j..].iter().map(added));
}

fn with_context(lines: &[Line<'_>]) -> Vec<DiffLine> {
    let changed: Vec<usize> = (0..lines.len())
        .filter(|&i| !matches!(lines[i], Line::Same(_)))
        .collect();
    let mut shown = Vec::new();
    let mut skipped = 0;
    let mut next = 0;
    for (i, line) in lines.iter().enumerate() {
        // `changed[next]` is the first change at or after this line.
        while changed.get(next).is_some_and(|&c| c < i) {
            next += 1;
        }
        let after = changed.get(next).is_some_and(|&c| c - i <= CONTEXT);
        let before = next
            .checked_sub(1)
            .is_some_and(|n| i - changed[n] <= CONTEXT);
        if !after && !before {
            skipped += 1;
            continue;
        }
        if skipped > 0 {
            shown.push(DiffLine::Skipped(skipped));
            skipped = 0;
        }
        shown.push(match *line {
            Line::Same(text) => DiffLine::Same(foreign(text)),
            Line::Removed(text) => DiffLine::Removed(foreign(text)),
            Line::Added(text) => DiffLine::Added(foreign(text)),
        });
    }
    if skipped > 0 {
        shown.push(DiffLine::Skipped(skipped));
    }
    shown
}

/// The line without its newline; a carriage return stays, and shows.
fn foreign(line: &str) -> Foreign {
    Foreign::new(line.strip_suffix('\n').unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str) -> Vec<String> {
        diff(old, new)
            .iter()
            .map(|line| match line {
                DiffLine::Same(text) => format!(" {}", text.neutral()),
                DiffLine::Removed(text) => format!("-{}", text.neutral()),
                DiffLine::Added(text) => format!("+{}", text.neutral()),
                DiffLine::Skipped(count) => format!("@{count}"),
            })
            .collect()
    }

    #[test]
    fn a_change_is_shown_with_three_lines_around_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        assert_eq!(
            shown(old, &old.replace("5\n", "five\n5b\n")),
            [
                "@1", " 2", " 3", " 4", "-5", "+five", "+5b", " 6", " 7", " 8", "@1"
            ]
        );
        assert!(shown(old, old).is_empty());
    }

    #[test]
    fn what_draws_nothing_shows() {
        assert_eq!(shown("a\n", "a\r\n"), ["-a", "+a<U+000D>"]);
        assert_eq!(shown("a\n", "a\u{200b}\n"), ["-a", "+a<U+200B>"]);
        assert_eq!(shown("", "a"), ["+a"]);
    }

    #[test]
    fn two_long_strangers_are_shown_whole_without_a_table() {
        let long = |word: &str| {
            (0..3000)
                .map(|i| format!("{word}{i}\n"))
                .collect::<String>()
        };
        let lines = diff(&long("a"), &long("b"));
        assert_eq!(lines.len(), 6000);
        assert!(
            matches!(lines[2999], DiffLine::Removed(_))
                && matches!(lines[3000], DiffLine::Added(_))
        );
    }
}
