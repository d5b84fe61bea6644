//! `cargo xtask demo`: the incidents, played against the built programs on a
//! desktop without a screen.

#![allow(clippy::print_stdout, clippy::print_stderr)] // it tells a story

mod stage;
mod story;

use countersign_testkit::usage::arguments;
use stage::Stage;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: countersign-demo FOLDER";

fn main() -> ExitCode {
    let arguments = match arguments(USAGE) {
        Ok(arguments) => arguments,
        Err(end) => return end,
    };
    let [folder] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let folder = Path::new(folder);
    let played = Stage::open(folder).and_then(story::play);
    match played {
        Ok(()) => {
            println!(
                "\nScreenshots, timeline, ledger and narration: {}",
                folder.display()
            );
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("countersign-demo: {why}");
            ExitCode::FAILURE
        }
    }
}
