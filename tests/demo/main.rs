//! `cargo xtask demo`: the incidents, played against the built programs on a
//! desktop without a screen.

#![allow(clippy::print_stdout, clippy::print_stderr)] // it tells a story

mod stage;
mod story;

use stage::Stage;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: countersign-demo FOLDER");
        return ExitCode::from(2);
    };
    let played = Stage::open(&folder).and_then(story::play);
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
