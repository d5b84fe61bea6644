//! What is taken over from the user's own configuration of an agent, once: by
//! allow-list, plain files only, through no link, never more than a little.

use super::Seed;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path};

/// Longer files are left where they are, in bytes.
const LONGEST: u64 = 256 << 10;
/// More files of one folder are not looked at.
const MOST: usize = 500;
/// Deeper folders neither.
const DEEPEST: usize = 4;

/// Takes one thing over; names below `to` of what was written.
pub(super) fn take_over(seed: &Seed, from: &Path, to: &Path) -> io::Result<Vec<String>> {
    let mut taken = Vec::new();
    match seed {
        Seed::Words(name) => copy(name, from, to, &mut taken)?,
        Seed::WordsIn(name, endings) => {
            for file in files_in(from, name, endings) {
                copy(&file, from, to, &mut taken)?;
            }
        }
        Seed::Json(name, members) => {
            if let Some(text) = read(&from.join(name))
                && let Some(kept) = json(&text, members)
            {
                write(&to.join(name), kept.as_bytes())?;
                taken.push((*name).to_owned());
            }
        }
        Seed::Toml(name, members) => {
            if let Some(text) = read(&from.join(name))
                && let Some(kept) = toml(&text, members)
            {
                write(&to.join(name), kept.as_bytes())?;
                taken.push((*name).to_owned());
            }
        }
    }
    Ok(taken)
}

/// Writes a new file, for its owner alone, with the folders it needs.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)
}

fn copy(name: &str, from: &Path, to: &Path, taken: &mut Vec<String>) -> io::Result<()> {
    let is_plain = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if is_plain && let Some(text) = read(&from.join(name)) {
        write(&to.join(name), text.as_bytes())?;
        taken.push(name.to_owned());
    }
    Ok(())
}

/// A plain file of text that is short enough; a link counts as none.
fn read(path: &Path) -> Option<String> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(nofollow | nonblock)
        .open(path)
        .ok()?;
    let found = file.metadata().ok()?;
    if !found.is_file() || found.len() > LONGEST {
        return None;
    }
    let mut text = String::new();
    File::take(file, LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Names below `from` of the files of a folder that end so.
fn files_in(from: &Path, name: &str, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![(name.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = fs::read_dir(from.join(&folder)).into_iter().flatten();
        for entry in entries.flatten().take(MOST) {
            let (Ok(kind), Some(name)) = (
                entry.file_type(),
                entry.file_name().to_str().map(str::to_owned),
            ) else {
                continue;
            };
            let path = format!("{folder}/{name}");
            if kind.is_dir() && depth < DEEPEST {
                folders.push((path, depth + 1));
            } else if kind.is_file()
                && endings.iter().any(|end| path.ends_with(&format!(".{end}")))
                && found.len() < MOST
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The named members of a JSON object, where they are plain values.
fn json(text: &str, members: &[&str]) -> Option<String> {
    let serde_json::Value::Object(all) = serde_json::from_str(text).ok()? else {
        return None;
    };
    let kept: serde_json::Map<_, _> = all
        .into_iter()
        .filter(|(name, value)| {
            members.contains(&name.as_str()) && !value.is_object() && !value.is_array()
        })
        .collect();
    (!kept.is_empty()).then(|| serde_json::Value::Object(kept).to_string())
}

/// The same of a TOML document.
fn toml(text: &str, members: &[&str]) -> Option<String> {
    let all: toml_edit::DocumentMut = text.parse().ok()?;
    let mut kept = toml_edit::DocumentMut::new();
    for (name, item) in all.iter() {
        let plain = item
            .as_value()
            .filter(|v| !v.is_array() && !v.is_inline_table());
        if members.contains(&name)
            && let Some(value) = plain
        {
            let mut value = value.clone();
            value.decor_mut().clear();
            kept.insert(name, toml_edit::Item::Value(value));
        }
    }
    (!kept.is_empty()).then(|| kept.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_named_values_of_settings_are_taken_over() {
        let settings = r#"{"model":"m","theme":"dark","env":{"TOKEN":"t"},"apiKeyHelper":"cat key",
            "permissions":{"allow":["Bash(curl -H 'Authorization: x')"]},"hooks":{}}"#;
        let kept = json(settings, &["model", "theme", "permissions", "absent"]).unwrap();
        assert_eq!(kept, r#"{"model":"m","theme":"dark"}"#);
        assert_eq!(json(settings, &["absent"]), None);
        assert_eq!(json("no json", &["model"]), None);
        let config = "model = \"m\" # mine\napi_key = \"x\"\nlist = [1]\n[mcp_servers.a]\nenv = { T = \"t\" }\n";
        assert_eq!(
            toml(config, &["model", "list", "mcp_servers"]).unwrap(),
            "model = \"m\"\n"
        );
    }

    #[test]
    fn words_are_taken_over_and_neither_links_nor_other_files() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let put = |name: &str, text: &str| write(&from.path().join(name), text.as_bytes()).unwrap();
        put("commands/a.md", "a");
        put("commands/deep/b.md", "b");
        put("commands/.env", "TOKEN=t");
        put("commands/run.sh", "x");
        put("secret", "s");
        std::os::unix::fs::symlink(
            from.path().join("secret"),
            from.path().join("commands/c.md"),
        )
        .unwrap();
        std::os::unix::fs::symlink(from.path().join("secret"), from.path().join("WORDS.md"))
            .unwrap();
        let seed = Seed::WordsIn("commands", &["md"]);
        let taken = take_over(&seed, from.path(), to.path()).unwrap();
        assert_eq!(taken, ["commands/a.md", "commands/deep/b.md"]);
        let words = take_over(&Seed::Words("WORDS.md"), from.path(), to.path()).unwrap();
        assert!(words.is_empty());
        assert!(!to.path().join("commands/.env").exists());
        put("LONG.md", &"x".repeat(300 << 10));
        assert!(
            take_over(&Seed::Words("LONG.md"), from.path(), to.path())
                .unwrap()
                .is_empty()
        );
    }
}
