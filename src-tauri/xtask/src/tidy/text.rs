//! Rules on what files say.

use super::code::{Split, has_word, lines_with, split};
use super::crates::{PURE, WHY_PURE};
use super::{File, Finding};

/// How long a file may be, its tests not counted.
const LONGEST: usize = 600;

const WHY_LENGTH: &str =
    "A file holds one idea and is read in one sitting: at most 600 lines without its tests.";
const WHY_DONE: &str =
    "What is committed is done: no stubs and no notes to oneself; an idea for later is an issue.";
const WHY_SKIPPED: &str = "A test that is skipped proves nothing and looks as if it did.";
const WHY_SAFETY: &str = "Each `unsafe` says in a SAFETY comment why it is sound, for whoever reads the code before trusting it.";
const WHY_PLACE: &str =
    "A path of one machine helps nobody else: write it from the root of the checkout, or with `~`.";
const WHY_LINK: &str = "A link to what is not there misleads whoever follows it.";

/// Marks of what is not done.
const UNDONE: [&str; 3] = ["FIXME", "XXX", "TODO"];
const UNDONE_CODE: [&str; 2] = ["todo!", "unimplemented!"];
/// How Rust and TypeScript skip tests.
const SKIPPED: [&str; 8] = [
    "#[ignore",
    "it.skip",
    "test.skip",
    "describe.skip",
    "it.todo",
    "test.todo",
    "it.only",
    "describe.only",
];
/// What a pure crate does not name.
const IMPURE: [&str; 15] = [
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::process",
    "std::env",
    "std::thread",
    "std::os",
    "std::io::stdin",
    "std::io::stdout",
    "SystemTime",
    "std::time::Instant",
    "Instant::now",
    "getrandom",
    "tokio",
];
/// Where machines keep what is theirs.
const PLACES: [&str; 3] = ["/home/", "/root/", "/work/"];

/// Checks all rules on one file.
pub(super) fn check(file: &File) -> Vec<Finding> {
    if is_generated(file) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut at = |line: usize, what: String, why| {
        found.push(Finding::new(format!("{}:{line}", file.path), what, why));
    };
    let rust = file.ends(&[".rs"]).then(|| split(&file.text));
    // What people wrote as text: in Rust the comments, elsewhere everything.
    let prose = rust
        .as_ref()
        .map_or(file.text.as_str(), |split| &split.comments);
    let code = rust
        .as_ref()
        .map_or(file.text.as_str(), |split| &split.code);

    for word in UNDONE {
        lines_with(prose, word).for_each(|line| at(line, format!("says {word}"), WHY_DONE));
    }
    if file.ends(&[".rs", ".md", ".svelte", ".ts", ".html", ".py", ".sh"]) {
        for place in PLACES {
            // `src/home/` is no machine's path: only one that begins there is.
            let begins = |line: &str| {
                line.match_indices(place).any(|(i, _)| {
                    !line[..i].ends_with(|c: char| c.is_alphanumeric() || "./_-~}*".contains(c))
                })
            };
            let lines = prose.lines().enumerate().filter(|(_, line)| begins(line));
            lines.for_each(|(n, _)| at(n + 1, format!("names a path under {place}"), WHY_PLACE));
        }
    }
    if file.ends(&[".rs", ".ts", ".svelte"]) {
        for mark in SKIPPED {
            lines_with(code, mark).for_each(|line| at(line, format!("has {mark}"), WHY_SKIPPED));
        }
    }
    if file.ends(&[".rs", ".ts", ".svelte", ".css", ".py", ".js"]) && !is_test(file) {
        let lines = without_tests(&file.text).lines().count();
        if lines > LONGEST {
            at(lines, format!("is {lines} lines long"), WHY_LENGTH);
        }
    }
    if let Some(split) = &rust {
        for mark in UNDONE_CODE {
            lines_with(code, mark).for_each(|line| at(line, format!("has {mark}"), WHY_DONE));
        }
        unsound(split)
            .into_iter()
            .for_each(|line| at(line, "unsafe without a SAFETY comment".into(), WHY_SAFETY));
        if is_pure(file) {
            let own = without_tests(code);
            for name in IMPURE {
                lines_with(own, name).for_each(|line| at(line, format!("names {name}"), WHY_PURE));
            }
        }
    }
    found
}

/// Lines with an `unsafe` that no SAFETY comment precedes within five lines.
fn unsound(split: &Split) -> Vec<usize> {
    let comments: Vec<&str> = split.comments.lines().collect();
    let explained = |line: &usize| {
        comments[line.saturating_sub(6)..*line]
            .iter()
            .any(|c| c.contains("SAFETY:"))
    };
    lines_with(&split.code, "unsafe")
        .filter(|line| !explained(line))
        .collect()
}

/// Relative links in Markdown that lead nowhere.
pub(super) fn dead_links(files: &[File], exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in files.iter().filter(|f| f.ends(&[".md"])) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (n, line) in file.text.lines().enumerate() {
            for (start, _) in line.match_indices("](") {
                let target = line[start + 2..]
                    .split([')', '#', ' '])
                    .next()
                    .unwrap_or_default();
                if target.is_empty() || target.contains(':') {
                    continue;
                }
                let path = if folder.is_empty() {
                    target.to_owned()
                } else {
                    format!("{folder}/{target}")
                };
                if !exists(&path) {
                    let place = format!("{}:{}", file.path, n + 1);
                    found.push(Finding::new(place, format!("links to {target}"), WHY_LINK));
                }
            }
        }
    }
    found
}

fn is_generated(file: &File) -> bool {
    file.text
        .lines()
        .take(5)
        .any(|line| has_word(line, "@generated") || line.contains("This file was generated"))
}

fn is_test(file: &File) -> bool {
    let folders = file.path.split('/').any(|part| part == "tests");
    folders || file.ends(&["tests.rs", ".test.ts"])
}

fn is_pure(file: &File) -> bool {
    PURE.iter().any(|name| {
        file.path
            .starts_with(&format!("src-tauri/crates/{name}/src/"))
    }) && !is_test(file)
}

/// What stands before the test module, which is the last thing in a file.
fn without_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod ")
        .map_or(text, |at| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&File {
            path: path.into(),
            text: text.into(),
        })
        .into_iter()
        .map(|f| f.what)
        .collect()
    }

    #[test]
    fn notes_to_oneself_are_found_in_comments_and_not_in_literals() {
        assert_eq!(found("a.rs", "// FIXME later\nfn f() { todo!() }").len(), 2);
        assert!(found("a.rs", "const S: &str = \"TODO\"; // XXXX").is_empty());
        assert_eq!(found("a.md", "TODO: write").len(), 1);
    }

    #[test]
    fn skipped_tests_are_found() {
        assert_eq!(
            found("a.rs", "#[test]\n#[ignore]\nfn f() {}"),
            ["has #[ignore"]
        );
        assert_eq!(
            found("ui/a.test.ts", "it.skip('x', () => {})"),
            ["has it.skip"]
        );
    }

    #[test]
    fn unsafe_needs_its_reason_nearby() {
        assert!(found("a.rs", "// SAFETY: the pointer is ours\nunsafe { f() }").is_empty());
        assert_eq!(found("a.rs", "// it works\nunsafe { f() }").len(), 1);
        assert!(found("a.rs", "#![deny(unsafe_code)] // unsafe is denied").is_empty());
    }

    #[test]
    fn a_pure_crate_asks_no_clock_outside_its_tests() {
        let text = "use std::time::SystemTime;\n\n#[cfg(test)]\nmod tests { use std::fs; }";
        assert_eq!(
            found("src-tauri/crates/policy/src/lib.rs", text),
            ["names SystemTime"]
        );
        assert!(found("src-tauri/crates/vault/src/lib.rs", text).is_empty());
    }

    #[test]
    fn machine_paths_are_found_in_prose_only() {
        assert_eq!(found("README.md", "see /home/someone/x").len(), 1);
        assert!(found("README.md", "see ui/home/x and ~/work/y").is_empty());
        assert!(found("a.rs", "const HIDDEN: &str = \"/root/.ssh\";").is_empty());
    }

    #[test]
    fn length_is_counted_without_tests() {
        let long = "fn f() {}\n".repeat(LONGEST);
        assert!(
            found(
                "a.rs",
                &format!("{long}\n#[cfg(test)]\nmod tests {{\n{long}}}")
            )
            .is_empty()
        );
        assert_eq!(found("a.rs", &format!("{long}{long}")).len(), 1);
        assert!(found("tests/a.rs", &format!("{long}{long}")).is_empty());
    }

    #[test]
    fn links_lead_somewhere() {
        let text = "[a](there.md) [b](gone.md#x) [c](https://a.example/) [d](#here)".to_owned();
        let files = [File {
            path: "docs/a.md".into(),
            text,
        }];
        let dead = dead_links(&files, &|path| path == "docs/there.md");
        assert_eq!(
            dead.into_iter().map(|f| f.what).collect::<Vec<_>>(),
            ["links to gone.md"]
        );
    }
}
