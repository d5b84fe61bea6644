//! `cargo xtask …`: what people and CI type.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command is meant to print

mod agents;
mod bench;
mod catalogue;
mod clients;
mod deny;
mod packages;
mod play;
mod shell;
mod test;
mod tidy;
mod ui;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup         installs what building and testing need (system packages, npm packages)
  run           builds everything and starts Countersign on your desktop
  demo          builds everything and plays the incidents on a desktop without a screen
  test [--long] checks, builds and tests everything; --long draws more random cases, kills and fuzzes longer
  ci            the same as test: what CI runs
  bench         measures speed and memory of the release build beside squid and mitmproxy
  bench hotkey  measures how long the release build takes from the stop key to the latch
  bench stop    measures how long after a press of the stop anything still happens
                (--stops N, 100 of each means; --by freeze-v2|freeze-v1|kill, all three)
  bench catalogue  measures how large the catalogue is and how long it takes to know a request
  catalogue     writes the generated catalogue anew from the pinned packages (network; a maintainer's)
  agents        puts real coding agents (from npm) to work in runs, with a scripted model
  tidy          only the rules of the code base
  deny          only the licences, bans and sources of dependencies
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["setup"] => setup(),
        ["run"] => play::run(),
        ["demo"] => play::demo(),
        ["test" | "ci"] => test::all(test::Length::Usual),
        ["test" | "ci", "--long"] => test::all(test::Length::Long),
        ["bench"] => bench::run(),
        ["bench", "hotkey"] => bench::hotkey(),
        ["bench", "stop", options @ ..] => bench::stop(options),
        ["bench", "catalogue"] => catalogue::bench(),
        ["catalogue"] => catalogue::write(),
        ["agents"] => agents::run(),
        ["tidy"] => tidy::run(),
        ["deny"] => deny::check(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        other => {
            eprintln!("xtask: unknown command: {}\n\n{USAGE}", other.join(" "));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("\nxtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What building and testing need.
fn setup() -> shell::Result {
    packages::install(packages::ALL)?;
    ui::install()?;
    clients::install()
}
