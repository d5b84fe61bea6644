//! Looking for marked secrets in whatever was written, in every spelling.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// One spelling of one secret.
struct Form {
    secret: String,
    spelling: String,
    bytes: Vec<u8>,
}

/// The secrets that must be nowhere.
pub(crate) struct Hunt {
    /// By the first four bytes of their spelling: all are searched for at once.
    forms: HashMap<[u8; 4], Vec<Form>>,
    /// Whether any begins with these two bytes.
    begins: Vec<bool>,
}

impl Hunt {
    /// For these secrets, each with a name that a failure may print.
    pub(crate) fn for_secrets(secrets: &[(&str, &str)]) -> Self {
        let mut forms: HashMap<_, Vec<Form>> = HashMap::new();
        let mut begins = vec![false; 1 << 16];
        for (name, secret) in secrets {
            for (spelling, bytes) in spellings(secret) {
                let [a, b, c, d, ..] = bytes[..] else {
                    panic!("{spelling} is too short to be looked for");
                };
                begins[pair(a, b)] = true;
                forms.entry([a, b, c, d]).or_default().push(Form {
                    secret: (*name).to_owned(),
                    spelling,
                    bytes,
                });
            }
        }
        Self { forms, begins }
    }

    /// What is found there: which secret, how it is spelled. Never the secret.
    pub(crate) fn found(&self, bytes: &[u8]) -> Vec<String> {
        let mut found = BTreeSet::new();
        for at in 0..bytes.len().saturating_sub(3) {
            let [a, b, c, d, ..] = bytes[at..] else { break };
            if !self.begins[pair(a, b)] {
                continue;
            }
            for form in self.forms.get(&[a, b, c, d]).into_iter().flatten() {
                if bytes[at..].starts_with(&form.bytes) {
                    found.insert(format!("the secret of {}, {}", form.secret, form.spelling));
                }
            }
        }
        found.into_iter().collect()
    }

    /// None of the secrets is in these bytes.
    pub(crate) fn clean(&self, place: &str, bytes: &[u8]) {
        let found = self.found(bytes);
        assert!(found.is_empty(), "{place}: {found:?}");
    }

    /// None of the secrets is in a file of this folder, or in a file's name.
    /// How many bytes were searched.
    pub(crate) fn clean_files(&self, folder: &Path) -> u64 {
        let mut searched = 0;
        for file in files(folder) {
            let place = file.display().to_string();
            self.clean("a file's name", place.as_bytes());
            // Temporary files may go while they are being looked for.
            if let Ok(bytes) = fs::read(&file) {
                searched += bytes.len() as u64;
                self.clean(&place, &bytes);
            }
        }
        searched
    }
}

/// All regular files below a folder; links are not followed.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries.filter_map(Result::ok) {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// What this user has in the folders that everybody may write to.
pub(crate) fn in_common_folders(uid: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["/tmp", "/var/tmp", "/dev/shm", "/run/lock"] {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        let theirs = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|m| m.uid() == uid);
        let entries = entries.filter_map(Result::ok).map(|e| e.path());
        found.extend(entries.filter(theirs));
    }
    found
}

/// How a secret of letters and digits may be written down.
fn spellings(secret: &str) -> Vec<(String, Vec<u8>)> {
    let between = |separator: &str, write: &dyn Fn(u8) -> String| -> Vec<u8> {
        let each: Vec<String> = secret.bytes().map(write).collect();
        each.join(separator).into_bytes()
    };
    let each = |write: &dyn Fn(u8) -> String| between("", write);
    let half = secret.len() / 2;
    let mut all = vec![
        ("as it is".to_owned(), secret.as_bytes().to_vec()),
        // A part of it is a leak too.
        ("its first half".to_owned(), secret[..half].into()),
        ("its second half".to_owned(), secret[half..].into()),
        ("reversed".to_owned(), secret.bytes().rev().collect()),
        ("in hex".to_owned(), each(&|b| format!("{b:02x}"))),
        ("in capital hex".to_owned(), each(&|b| format!("{b:02X}"))),
        (
            "in spaced hex".to_owned(),
            between(" ", &|b| format!("{b:02x}")),
        ),
        ("in percent".to_owned(), each(&|b| format!("%{b:02x}"))),
        (
            "in capital percent".to_owned(),
            each(&|b| format!("%{b:02X}")),
        ),
        (
            "in JSON escapes".to_owned(),
            each(&|b| format!("\\u{b:04x}")),
        ),
        // As `{:?}` shows bytes.
        ("as a list".to_owned(), between(", ", &|b| b.to_string())),
        (
            "in UTF-16".to_owned(),
            secret.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
    ];
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(secret.as_bytes());
        // What also holds bits of a neighbour is left out.
        let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for text in [
            STANDARD_NO_PAD.encode(&bytes),
            URL_SAFE_NO_PAD.encode(&bytes),
        ] {
            all.push((
                format!("in base64 at {before}"),
                text.as_bytes()[first..last].to_vec(),
            ));
        }
    }
    all
}

fn pair(a: u8, b: u8) -> usize {
    usize::from(a) << 8 | usize::from(b)
}

#[test]
fn the_hunt_finds_every_spelling_it_knows_and_nothing_else() {
    let secret = countersign_testkit::random::mark::<40>();
    let other = countersign_testkit::random::mark::<40>();
    let hunt = Hunt::for_secrets(&[("a", &secret)]);
    for (spelling, bytes) in spellings(&secret) {
        let text = [b"before ".as_slice(), &bytes, b" after"].concat();
        let found = hunt.found(&text);
        assert!(
            found.iter().any(|f| f.ends_with(&spelling)),
            "{spelling}: {found:?}"
        );
        assert!(!format!("{found:?}").contains(&secret));
    }
    let innocent: Vec<u8> = spellings(&other).into_iter().flat_map(|(_, b)| b).collect();
    hunt.clean("another secret", &innocent);
    for before in ["", "x", "xy"] {
        let coded = STANDARD_NO_PAD.encode(format!("{before}{secret}, and more"));
        assert!(!hunt.found(coded.as_bytes()).is_empty());
    }
}
