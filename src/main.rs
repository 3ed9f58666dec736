//! Parses the command line and calls one file of `commands` for each subcommand.

use clap::Parser;
use heliotrope::commands::Command;
use std::io::Write;
use std::process::ExitCode;

/// Keeps a site's LLM workloads under its power caps, and moves flexible work to when the supply is green.
#[derive(Parser)]
#[command(name = "heliotrope", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        // 2 as clap has it: what was asked for could not be done as it was asked
        Err(error) => {
            // where nobody listens, the status still says it
            let _ = writeln!(std::io::stderr(), "heliotrope: {error}");
            ExitCode::from(2)
        }
    }
}
