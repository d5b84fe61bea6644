//! Derives `data/shared-parents.txt` from the public suffix list: every name
//! that has a public suffix beneath it and is not one itself.
//!
//! `cargo run -p countersign-config --example shared_parents < public_suffix_list.dat`

#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::io::{BufRead, Error};

fn main() -> Result<(), Error> {
    let mut parents = BTreeSet::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let rule = line.trim();
        // Comments, and exceptions: `!www.ck` is no suffix.
        if rule.is_empty() || rule.starts_with("//") || rule.starts_with('!') {
            continue;
        }
        // `*.ck` makes every name under `ck` a suffix, so `ck` is a parent.
        let mut name = match rule.strip_prefix("*.") {
            Some(base) => format!("x.{base}"),
            None => rule.to_owned(),
        };
        name = idna::domain_to_ascii(&name).map_err(Error::other)?;
        let mut rest = name.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            if psl::suffix_str(parent) != Some(parent) {
                parents.insert(parent.to_owned());
            }
            rest = parent;
        }
    }
    for parent in parents {
        println!("{parent}");
    }
    Ok(())
}
