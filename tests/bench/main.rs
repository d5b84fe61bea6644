//! `cargo xtask bench`: speed and memory of the built programs, on a desktop
//! without a screen, beside squid, mitmproxy and no proxy at all.
//!
//! Nothing here leaves the machine: the far side is a server on loopback.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command is meant to print

mod bulk;
mod hotkey;
mod load;
mod loader;
mod machine;
mod memory;
mod origin;
mod others;
mod ours;
mod rest;
mod speed;
mod stop;
mod table;
mod wire;

use countersign_testkit::random;
use countersign_testkit::usage::arguments;
use origin::Origin;
use ours::Ours;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::Table;

/// The length of a small reply.
pub(crate) const SMALL: usize = 1024;

const USAGE: &str = "\
usage: countersign-bench FOLDER MITMDUMP
       countersign-bench hotkey FOLDER
       countersign-bench stop FOLDER STOPS freeze-v2|freeze-v1|kill…";

fn main() -> ExitCode {
    let args = match arguments(USAGE) {
        Ok(args) => args,
        Err(end) => return end,
    };
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [
            "read" | "down" | "up" | "crowd" | "crowd-member" | "probe",
            ..,
        ] => match loader::run(&args) {
            Ok(answer) => {
                println!("{answer}");
                ExitCode::SUCCESS
            }
            Err(why) => failed(&why.to_string()),
        },
        ["stop", folder, stops, means @ ..] => {
            let means: Option<Vec<_>> = means.iter().map(|m| stop::Means::named(m)).collect();
            let (Ok(stops @ 1..), Some(means)) = (stops.parse(), means) else {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            };
            verdict(write(Path::new(folder), |table| {
                stop::measure(stops, &means, table)
            }))
        }
        ["hotkey", folder] => verdict(write(Path::new(folder), hotkey::measure)),
        [folder, mitmdump] => verdict(bench(Path::new(folder), Path::new(mitmdump))),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// What measuring came to.
fn verdict(missed: io::Result<bool>) -> ExitCode {
    match missed {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => failed("a goal is missed"),
        Err(why) => failed(&why.to_string()),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("countersign-bench: {why}");
    ExitCode::FAILURE
}

/// Says what goes on.
pub(crate) fn say(words: &str) {
    println!("  {words} …");
}

/// Measures everything; whether a goal is missed.
fn bench(folder: &Path, mitmdump: &Path) -> io::Result<bool> {
    write(folder, |table| measure(folder, mitmdump, table))
}

/// Measures, writes the figures down; whether a goal is missed.
fn write(folder: &Path, measure: impl FnOnce(&mut Table) -> io::Result<()>) -> io::Result<bool> {
    fs::create_dir_all(folder)?;
    let mut table = Table::default();
    let before = machine::load();
    measure(&mut table)?;
    table.note(format!(
        "{} processors; load average before: {before}; after, our own load included: {}.",
        machine::processors(),
        machine::load()
    ));
    let text = table.text();
    let file: PathBuf = folder.join("figures.txt");
    fs::write(&file, &text)?;
    println!("\n{text}\nWritten to {}", file.display());
    Ok(table.misses())
}

fn measure(folder: &Path, mitmdump: &Path, table: &mut Table) -> io::Result<()> {
    say("the tray app without a window");
    let together = rest::with_desktop()?;

    let credential = random::credential();
    let origin = Origin::start(&credential)?;
    say("an authority with an account");
    let mut ours = Ours::start(&origin, &credential)?;
    rest::idle(&ours, together, table)?;
    rest::streams(&mut ours, table)?;

    say("squid and mitmproxy");
    let origin_ca = folder.join("origin.pem");
    fs::write(&origin_ca, &origin.ca_pem)?;
    let squid = others::squid(&mut ours.scene.desktop, &origin)?;
    let mitmproxy = others::mitmproxy(mitmdump, &folder.join("mitmproxy"), &origin)?;
    let field = speed::Field {
        origin: &origin,
        origin_ca: &origin_ca,
        squid: &squid,
        mitmproxy: &mitmproxy,
        ours: &ours,
    };
    speed::measure(&field, table)?;
    rest::status(&ours, table)?;
    table.note(format!(
        "HTTPS on both sides, connections kept, replies of {SMALL} bytes from an origin on loopback (one thread, hyper and rustls). \
         Ours: routine reads with the account's credential, judged and recorded, by a contained run: the system call filter counts. \
         Beside: {}; {}.",
        squid.version, mitmproxy.version
    ));
    ours.scene.shut_down()
}
