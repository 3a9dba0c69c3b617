//! `schedlog graph`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::{EXIT_CLEAN, EXIT_USAGE, output};
use crate::report::graph::{GraphForm, Traffic, draw};

/// Draw the legal changes of a request's state, or those that a log shows.
///
/// Exit code: 0, or 2 where the log's changes could not be read in full.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A log, whose changes are counted.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How the graph is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Forms of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid.
    Mermaid,
}

/// Runs the command.
///
/// # Errors
/// If the directory is not a log with state_transitions.csv or stdout cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let traffic = args.dir.as_deref().map(Traffic::of_log).transpose()?;
    let form = match args.format {
        Format::Text => GraphForm::Text,
        Format::Dot => GraphForm::Dot,
        Format::Mermaid => GraphForm::Mermaid,
    };
    output::print(&draw(traffic.as_ref(), form))?;
    match traffic.and_then(|traffic| traffic.damage()) {
        Some(damage) => {
            output::report_error(&anyhow::anyhow!(damage));
            Ok(EXIT_USAGE)
        }
        None => Ok(EXIT_CLEAN),
    }
}
