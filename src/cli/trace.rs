//! `schedlog trace`: what is in a trace.

use crate::cli::trace_args::TraceArgs;
use crate::cli::{EXIT_CLEAN, output};

pub(super) fn run(args: &TraceArgs) -> anyhow::Result<u8> {
    let trace = args.open()?;
    output::print(&trace.summary().to_string())?;
    Ok(EXIT_CLEAN)
}
