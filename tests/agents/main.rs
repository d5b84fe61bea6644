//! `cargo xtask agents`: real coding agents, contained, at work with a scripted
//! model that accepts only the real key. Outside CI: the agents come from npm.

#![allow(clippy::print_stdout, clippy::print_stderr)] // it prints a table

mod model;
mod play;
mod registry;
mod stage;

use countersign_testkit::usage::arguments;
use play::{Agent, Shown};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: countersign-agents NODE_MODULES [AGENT…]";

fn main() -> ExitCode {
    let arguments = match arguments(USAGE) {
        Ok(arguments) => arguments,
        Err(end) => return end,
    };
    let is_known = |name: &String| Agent::ALL.iter().any(|agent| agent.program() == name);
    let (packages, wanted) = match arguments.split_first() {
        Some((packages, wanted)) if wanted.iter().all(is_known) => (Path::new(packages), wanted),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut rows: Vec<Shown> = Vec::new();
    for agent in Agent::ALL {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == agent.program()) {
            continue;
        }
        println!("{agent}: at work …");
        match play::all(agent, packages) {
            Ok(shown) => rows.extend(shown),
            Err(why) => rows.push(Shown {
                agent,
                what: "could not be played",
                failed: Some(why.to_string()),
            }),
        }
    }
    println!();
    for row in &rows {
        let mark = if row.failed.is_none() { "yes" } else { "NO" };
        println!("{:<8} {:<62} {mark}", row.agent.to_string(), row.what);
    }
    for row in &rows {
        if let Some(why) = &row.failed {
            println!("\n{}, {}:\n{why}", row.agent, row.what);
        }
    }
    if rows.iter().all(|row| row.failed.is_none()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
