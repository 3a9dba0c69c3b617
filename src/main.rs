//! The command line.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "schedlog", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(cli::check::Args),
    Rules(cli::rules::Args),
    Explain(cli::explain::Args),
    Graph(cli::graph::Args),
    #[command(hide = true)]
    Docs(cli::docs::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Check(args) => cli::check::run(&args),
        Command::Rules(args) => cli::rules::run(&args),
        Command::Explain(args) => cli::explain::run(&args),
        Command::Graph(args) => cli::graph::run(&args),
        Command::Docs(args) => cli::docs::run(&args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
