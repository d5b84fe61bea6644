//! How programs are called that play and measure.

use std::process::ExitCode;

/// The arguments of this program, of which none is an option: these programs have
/// none.
///
/// # Errors
/// How to end where it was asked for help, or given an option all the same; its usage
/// was printed.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "for people")]
pub fn arguments(usage: &str) -> Result<Vec<String>, ExitCode> {
    let all: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    match all.iter().find(|argument| argument.starts_with('-')) {
        None => Ok(all),
        Some(help) if help == "--help" || help == "-h" => {
            println!("{usage}");
            Err(ExitCode::SUCCESS)
        }
        Some(other) => {
            eprintln!("{other} is no option\n{usage}");
            Err(ExitCode::from(2))
        }
    }
}
