//! What the containment tests start. Outside, it launches runs; as process 1 of
//! a run it is our init; inside, it is a hostile agent that says what it got.
//!
//! One finding a line, on standard output: `NAME: ok` or `NAME: ERRNO`.
#![allow(
    clippy::print_stdout,
    reason = "printing findings is all that this program does"
)]
#![allow(clippy::print_stderr, reason = "and complaints about the launch")]

#[cfg(target_os = "linux")]
mod attacks;
#[cfg(target_os = "linux")]
mod launch;

use std::process::ExitCode;

/// Exit code when the probe itself was used wrongly or a launch was refused.
const REFUSED: u8 = 99;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match arguments.next().as_deref() {
        Some(countersign_containment::init::SUBCOMMAND) => {
            return countersign_containment::init::main();
        }
        Some(countersign_containment::network::SUBCOMMAND) => {
            return countersign_containment::network::main(arguments.map(Into::into));
        }
        Some("launch") => launch::launch(arguments),
        Some("settle") => launch::settle_kept(&arguments.collect::<Vec<_>>()),
        Some(attack) => attacks::run(attack, &arguments.collect::<Vec<_>>()),
        None => Err("no subcommand".into()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(REFUSED)
    })
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    ExitCode::from(REFUSED)
}
