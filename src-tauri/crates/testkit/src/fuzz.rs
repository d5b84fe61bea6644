//! Fuzzing on stable Rust: a corpus of files, and what becomes of them.
//!
//! A target takes bytes, checks what must hold whatever they are, and says in a
//! few words what came of them. Bytes of which something new came are kept and
//! changed further, so that the search goes deeper than the corpus. The seed is
//! fixed: the same program tries the same bytes in the same order, for as long
//! as it has time.

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a target is searched, and how many times longer under `--long`.
const USUAL: Duration = Duration::from_secs(6);
const LONG: u32 = 20;
/// Bytes that take longer than this are a finding too.
const SLOW: Duration = Duration::from_secs(2);
/// No input grows longer.
const LONGEST: usize = 8 << 10;
/// So many inputs are kept beside the corpus.
const KEPT: usize = 2000;

/// A search for bytes that break a target.
#[derive(Debug)]
pub struct Fuzz<'a> {
    /// The folder of its corpus: a few files, each an input.
    pub corpus: &'a Path,
    /// Pieces that mean something to it.
    pub dictionary: &'a [&'a [u8]],
}

impl Fuzz<'_> {
    /// Replays the corpus, then searches for as long as there is time.
    ///
    /// # Panics
    /// With the input, when the target panics or takes too long.
    pub fn run(&self, target: impl Fn(&[u8]) -> String) {
        let mut pool = self.files();
        let mut known = HashSet::new();
        for input in &pool {
            known.insert(tried(&target, input));
        }
        let of_corpus = pool.len();
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let began = Instant::now();
        let time = match std::env::var_os("COUNTERSIGN_LONG") {
            Some(_) => USUAL * LONG,
            None => USUAL,
        };
        let mut tries = 0_u64;
        while began.elapsed() < time {
            for _ in 0..64 {
                let input = self.changed(&pool, &mut random);
                tries += 1;
                if known.insert(tried(&target, &input)) && pool.len() < of_corpus + KEPT {
                    pool.push(input);
                }
            }
        }
        #[allow(clippy::print_stdout)] // what a test prints is kept from whoever does not ask
        {
            println!("{tries} inputs, {} outcomes", known.len());
        }
    }

    #[allow(clippy::panic)] // a corpus that cannot be read is a failed test
    fn files(&self) -> Vec<Vec<u8>> {
        let broken = |e| -> ! { panic!("{}: {e}", self.corpus.display()) };
        let mut paths: Vec<_> = fs::read_dir(self.corpus)
            .unwrap_or_else(|e| broken(e))
            .map(|entry| entry.unwrap_or_else(|e| broken(e)).path())
            .collect();
        paths.sort();
        assert!(!paths.is_empty(), "{} is empty", self.corpus.display());
        let read = |path| fs::read(path).unwrap_or_else(|e| broken(e));
        paths.iter().map(read).collect()
    }

    /// An input of the pool with a few changes.
    fn changed(&self, pool: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
        let mut bytes = random.of(pool).cloned().unwrap_or_default();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() + 1);
            match random.below(9) {
                0 => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << random.below(8);
                    }
                }
                1 => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = random.byte();
                    }
                }
                2 => bytes.insert(at, random.byte()),
                3 | 4 => {
                    let piece = random.of(self.dictionary).copied().unwrap_or_default();
                    bytes.splice(at..at, piece.iter().copied());
                }
                5 => {
                    // A piece of the dictionary in the place of what stands there.
                    let piece = random.of(self.dictionary).copied().unwrap_or_default();
                    let end = bytes.len().min(at + piece.len());
                    bytes.splice(at..end, piece.iter().copied());
                }
                6 => {
                    let end = bytes.len().min(at + 1 + random.below(16));
                    bytes.drain(at..end);
                }
                7 => {
                    let end = bytes.len().min(at + 1 + random.below(64));
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                // The beginning of this and the end of another.
                _ => {
                    let other = random.of(pool).map_or(&[][..], Vec::as_slice);
                    let from = random.below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
            }
        }
        bytes.truncate(LONGEST);
        bytes
    }
}

/// What comes of an input.
#[allow(clippy::panic)] // that is how a test fails
fn tried(target: &impl Fn(&[u8]) -> String, input: &[u8]) -> String {
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    let took = began.elapsed();
    match outcome {
        Ok(_) if took > SLOW => panic!("it takes {took:?}: {}", literal(input)),
        Ok(outcome) => outcome,
        Err(panicked) => {
            let words = panicked
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panicked.downcast_ref::<&str>().copied());
            match words {
                Some(words) => panic!("{words}: {}", literal(input)),
                None => resume_unwind(panicked),
            }
        }
    }
}

/// The input as a Rust byte string.
fn literal(input: &[u8]) -> String {
    format!("b\"{}\"", input.escape_ascii())
}

/// Numbers that look random and are the same each time (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Less than `end`; 0 when there is nothing less.
    fn below(&mut self, end: usize) -> usize {
        let end = end.max(1) as u64;
        usize::try_from(self.next() % end).unwrap_or_default()
    }
    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
    fn of<'t, T>(&mut self, all: &'t [T]) -> Option<&'t T> {
        let at = self.below(all.len());
        all.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target with a fault that lies three steps deep.
    fn faulty(bytes: &[u8]) -> String {
        let deep = [b"GET ".as_slice(), b"/x", b"\r\n"];
        let mut rest = bytes;
        for (step, piece) in deep.iter().enumerate() {
            match rest.strip_prefix(*piece) {
                Some(more) => rest = more,
                None => return format!("step {step}"),
            }
        }
        assert!(!rest.contains(&b'!'), "the fault");
        "through".to_owned()
    }

    #[test]
    fn a_fault_that_lies_deep_is_found_and_its_input_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("one"), "hello").unwrap();
        let fuzz = Fuzz {
            corpus: folder.path(),
            dictionary: &[b"GET ", b"/x", b"\r\n", b"!"],
        };
        let found = catch_unwind(AssertUnwindSafe(|| fuzz.run(faulty))).unwrap_err();
        let words = found.downcast_ref::<String>().unwrap();
        assert!(
            words.starts_with("the fault: b\"GET /x\\r\\n") && words.contains('!'),
            "{words}"
        );
    }
}
