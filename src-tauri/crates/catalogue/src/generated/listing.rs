//! All that a form holds, for whoever compares and proves it.

use super::form::{Form, MANY, ONE, Operation};
use fst::Streamer;

/// An operation with one of its keys.
#[derive(Debug, Clone)]
pub struct Listed<'a> {
    /// Which tree it is in.
    pub tree: u16,
    /// Its path with `{}` for a parameter and `{**}` for one that may take
    /// several segments, or `T:` or `A:` and its name.
    pub path: String,
    /// The letter of its method; `*` for all.
    pub method: char,
    /// Itself, with its name in place.
    pub operation: Operation<'a>,
}

impl Form<'_> {
    /// Every operation under each of its keys, in the order of the keys.
    #[must_use]
    pub fn list(&self) -> Vec<Listed<'_>> {
        let mut all = Vec::new();
        let mut keys = self.index.stream();
        while let Some((key, at)) = keys.next() {
            let [high, low, rest @ ..] = key else {
                continue;
            };
            let [path @ .., 0, method] = rest else {
                continue;
            };
            let path = String::from_utf8_lossy(path)
                .replace(char::from(ONE), "{}")
                .replace(char::from(MANY), "{**}");
            for mut operation in self.operations(at.value()) {
                if operation.name.is_empty() {
                    operation.name = path.rsplit(['.', ':']).next().unwrap_or("").to_owned();
                }
                all.push(Listed {
                    tree: u16::from_be_bytes([*high, *low]),
                    path: path.clone(),
                    method: char::from(*method),
                    operation,
                });
            }
        }
        all
    }

    /// Every host pattern, with its provider and its trees.
    #[must_use]
    pub fn host_patterns(&self) -> Vec<(String, String, Vec<u16>)> {
        let mut all = Vec::new();
        let mut keys = self.hosts.stream();
        while let Some((key, _)) = keys.next() {
            let text = String::from_utf8_lossy(key);
            if let Some((provider, pattern)) = text.split_once('\0') {
                let trees = self.trees(provider, pattern);
                all.push((provider.to_owned(), pattern.to_owned(), trees));
            }
        }
        all
    }
}
