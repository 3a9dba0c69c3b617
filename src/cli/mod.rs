//! The command line: one file per subcommand.

pub mod generate;
pub mod trace_args;
