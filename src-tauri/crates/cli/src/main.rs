//! `countersign`: the command, and the authority (`countersign serve`).

mod cli;
mod client;
mod command;
mod exit;
mod handover;
mod home;
mod say;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Inside a run this program is its process 1, and nothing else.
    #[cfg(target_os = "linux")]
    {
        let mut arguments = std::env::args_os();
        if arguments
            .nth(1)
            .is_some_and(|a| a == countersign_containment::init::SUBCOMMAND)
        {
            return countersign_containment::init::main();
        }
    }
    cli::main()
}
