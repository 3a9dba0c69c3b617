//! `schedlog check`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::check::{CheckOptions, CheckReport, LogSettings, check_dir};
use crate::cli::output;
use crate::config::Policy;
use crate::report::{TextOptions, write_json, write_text};

/// Check a log against every rule.
///
/// Exit code: 0 clean, 1 violated, 2 damaged or no log at all, 3 internal error.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory of the log.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show every finding instead of the first three of each rule.
    #[arg(long)]
    all: bool,
    /// Show what became of every rule.
    #[arg(long)]
    rules: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Forms of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: schedlog.check/1.
    Json,
}

/// Queue orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PolicyFlag {
    /// First come, first served.
    Fcfs,
    /// By urgency.
    Priority,
}

/// Settings of the scheduler that the log does not tell.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Scheduler settings (default: those in run.json)")]
pub(super) struct SettingFlags {
    /// Queue order.
    #[arg(long, value_enum)]
    policy: Option<PolicyFlag>,
    /// Tokens per KV cache block.
    #[arg(long)]
    block_size: Option<u32>,
    /// KV cache blocks, the null block included.
    #[arg(long)]
    num_gpu_blocks: Option<u32>,
    /// The most requests in the running queue.
    #[arg(long)]
    max_num_seqs: Option<u32>,
    /// The token budget of a step.
    #[arg(long)]
    max_num_batched_tokens: Option<u32>,
    /// The longest sequence.
    #[arg(long)]
    max_model_len: Option<u32>,
    /// Whether prompts are split over steps.
    #[arg(long, value_name = "BOOL")]
    enable_chunked_prefill: Option<bool>,
    /// Whether full blocks are shared between equal prefixes.
    #[arg(long, value_name = "BOOL")]
    enable_prefix_caching: Option<bool>,
    /// The share of the blocks that an admission leaves free.
    #[arg(long)]
    watermark: Option<f64>,
    /// Draft tokens per request and step.
    #[arg(long)]
    num_speculative_tokens: Option<u32>,
    /// Bytes of one KV cache block.
    #[arg(long)]
    kv_bytes_per_block: Option<u64>,
}

impl SettingFlags {
    fn settings(&self) -> LogSettings {
        LogSettings {
            policy: self.policy.map(|policy| match policy {
                PolicyFlag::Fcfs => Policy::Fcfs,
                PolicyFlag::Priority => Policy::Priority,
            }),
            block_size: self.block_size,
            num_gpu_blocks: self.num_gpu_blocks,
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
            max_model_len: self.max_model_len,
            enable_chunked_prefill: self.enable_chunked_prefill,
            enable_prefix_caching: self.enable_prefix_caching,
            watermark: self.watermark,
            num_speculative_tokens: self.num_speculative_tokens,
            kv_bytes_per_block: self.kv_bytes_per_block,
            ..LogSettings::default()
        }
    }
}

/// Runs the command.
///
/// # Errors
/// If the directory is not a log or the report cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let options = CheckOptions { settings: args.settings.settings(), ..CheckOptions::default() };
    let report = check_dir(&args.dir, &options)?;
    match args.format {
        Format::Text => print_text(&report, args.all, args.rules)?,
        Format::Json => {
            let mut out = Vec::new();
            write_json(&report, &mut out)?;
            output::print_bytes(&out)?;
        }
    }
    Ok(report.verdict().exit_code())
}

/// Checks a log that was just written, and says what was found.
///
/// # Errors
/// As [`run`].
pub(super) fn check_and_print(dir: &Path) -> anyhow::Result<u8> {
    let report = check_dir(dir, &CheckOptions::default())?;
    print_text(&report, false, false)?;
    Ok(report.verdict().exit_code())
}

fn print_text(report: &CheckReport, all: bool, rules: bool) -> anyhow::Result<()> {
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let options = TextOptions { color, all, rules, ..TextOptions::default() };
    let mut out = Vec::new();
    write_text(report, &options, &mut out)?;
    output::print_bytes(&out)
}
