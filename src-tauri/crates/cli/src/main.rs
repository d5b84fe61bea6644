//! `countersign`: the command, and the authority (`countersign serve`).

#[cfg(target_os = "linux")]
mod apart;
mod caches;
mod cli;
mod client;
mod command;
mod exit;
mod handover;
mod home;
mod recipe;
mod rights;
mod say;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    // An authority that started it awaits signals on one thread, and blocks them on
    // all others: what it starts begins so too.
    #[cfg(unix)]
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
    // Inside a run this program is its process 1, and before that it lays out the
    // run's network.
    #[cfg(target_os = "linux")]
    {
        let mut arguments = std::env::args_os().skip(1);
        let first = arguments.next().unwrap_or_default();
        if first == countersign_containment::init::SUBCOMMAND {
            return countersign_containment::init::main();
        }
        if first == apart::SUBCOMMAND {
            return apart::main();
        }
        if first == countersign_containment::network::SUBCOMMAND {
            return countersign_containment::network::main(arguments);
        }
    }
    cli::main()
}
