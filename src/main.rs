//! The command line.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use schedlog::cli::{generate, trace_args};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make up an arrival trace from a seed
    Generate(generate::GenerateArgs),
    /// Check an arrival trace and say what is in it
    Trace(trace_args::TraceArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Generate(args) => generate::run(&args),
        Command::Trace(args) => show(&args),
    };
    result.map(ExitCode::from).unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::from(2)
    })
}

fn show(args: &trace_args::TraceArgs) -> anyhow::Result<u8> {
    let trace = args.open()?;
    for request in trace.requests()? {
        request?;
    }
    write!(std::io::stdout(), "{}", trace.summary())?;
    Ok(0)
}
