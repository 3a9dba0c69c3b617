//! The command line: one file per subcommand.

mod analyze;
mod arguments;
mod check;
mod closed;
mod compare;
mod config;
mod conform;
#[cfg(feature = "tui")]
mod dashboard;
mod diff;
mod docs;
mod explain;
mod export;
mod fuzz;
mod generate;
mod graph;
mod log_settings;
mod output;
mod replay;
mod rules;
mod stopwatch;
mod trace;
mod trace_args;
mod watch;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Nothing is wrong.
pub const EXIT_CLEAN: u8 = 0;
/// The log violates an invariant, or two things that should agree differ.
pub const EXIT_VIOLATED: u8 = 1;
/// The arguments or the input cannot be used.
pub const EXIT_USAGE: u8 = 2;
/// A mistake of this program.
pub const EXIT_INTERNAL: u8 = 3;
/// The reader of stdout has gone: what a shell says of a program that SIGPIPE ended.
pub const EXIT_READER_GONE: u8 = 141;

/// Replay, check, fuzz and guard vLLM v1 scheduler logs.
///
/// Exit codes: 0 clean, 1 violated or different, 2 bad usage or input, 3 internal error, 141 the
/// reader of the output has gone.
#[derive(Debug, Parser)]
#[command(name = "schedlog", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Replay(replay::Args),
    Generate(generate::GenerateArgs),
    Trace(trace_args::TraceArgs),
    Conform(conform::ConformArgs),
    Config(config::Args),
    Analyze(analyze::Args),
    Compare(compare::Args),
    Export(export::Args),
    Check(check::Args),
    Rules(rules::Args),
    Diff(diff::Args),
    Explain(explain::Args),
    Fuzz(fuzz::Args),
    Graph(graph::Args),
    Watch(watch::Args),
    #[command(hide = true)]
    Docs(docs::Args),
}

/// Runs the command line and says how the process should end.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let outcome = catch_unwind(AssertUnwindSafe(|| dispatch(arguments)));
    ExitCode::from(match outcome {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            output::report_error(&error);
            if error.is::<output::ReaderGone>() { EXIT_READER_GONE } else { EXIT_USAGE }
        }
        // The panic's message is on stderr already.
        Err(_) => EXIT_INTERNAL,
    })
}

/// The command line, with `--flag -1` taken for a value: so the flag itself can say what it allows.
fn command() -> clap::Command {
    let takes_value = |arg: &clap::Arg| !arg.is_positional() && arg.get_action().takes_values();
    Cli::command().mut_subcommands(|command| {
        command.mut_args(
            |arg| {
                if takes_value(&arg) { arg.allow_negative_numbers(true) } else { arg }
            },
        )
    })
}

fn dispatch(arguments: impl Iterator<Item = OsString>) -> anyhow::Result<u8> {
    let arguments = arguments::normalise(arguments)?;
    let parsed = command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not mistakes.
            let code = if error.use_stderr() { EXIT_USAGE } else { EXIT_CLEAN };
            if !error.use_stderr() {
                output::check_stdout()?;
            }
            error.print().map_err(output::stdout_error)?;
            return Ok(code);
        }
    };
    match cli.command {
        Command::Replay(args) => replay::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Conform(args) => conform::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Analyze(args) => analyze::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Graph(args) => graph::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Docs(args) => docs::run(&args),
    }
}
