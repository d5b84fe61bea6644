//! `cargo xtask demo`: the incidents, played against the built programs on a
//! desktop without a screen.

#![allow(clippy::print_stdout, clippy::print_stderr)] // it tells a story

mod stage;

use stage::Stage;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: countersign-demo FOLDER");
        return ExitCode::from(2);
    };
    match play(&folder) {
        Ok(stage) => {
            println!(
                "\nScreenshots, timeline, ledger and narration: {}",
                stage.folder().display()
            );
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("countersign-demo: {why}");
            ExitCode::FAILURE
        }
    }
}

fn play(folder: &Path) -> io::Result<Stage> {
    let mut stage = Stage::open(folder)?;
    stage.say("A desktop, nobody at it yet.")?;
    stage.picture("desktop")?;
    Ok(stage)
}
