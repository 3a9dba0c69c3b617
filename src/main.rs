//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compares the scheduler model with records of the real scheduler.
    Conform(schedlog::cli::conform::ConformArgs),
}

fn main() -> ExitCode {
    let Command::Conform(args) = Cli::parse().command;
    match schedlog::cli::conform::run(&args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(3)
        }
    }
}
