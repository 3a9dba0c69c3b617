//! `schedlog config`: the settings, explained or as they resolve.

use std::fmt::Write as _;

use crate::cli::{EXIT_CLEAN, output};
use crate::settings::{Origin, Resolved, SETTINGS, SettingInfo, SettingsArgs};

/// Show every setting: its meaning, default and effect, or its value as resolved.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Explain each setting instead of showing its resolved value.
    #[arg(long)]
    explain: bool,
    /// Explain these settings only (vLLM's names, dashes or underscores).
    #[arg(value_name = "SETTING")]
    names: Vec<String>,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let text = if args.explain || !args.names.is_empty() {
        explain(&args.names)?
    } else {
        let resolved = args.settings.resolve()?;
        show(&resolved)
    };
    output::print(&text)?;
    Ok(EXIT_CLEAN)
}

fn explain(names: &[String]) -> anyhow::Result<String> {
    let mut text = String::new();
    if names.is_empty() {
        for info in SETTINGS {
            explain_one(info, &mut text);
        }
        return Ok(text);
    }
    for name in names {
        let wanted = name.trim_start_matches('-').replace('-', "_");
        match SETTINGS.iter().find(|info| info.name == wanted) {
            Some(info) => explain_one(info, &mut text),
            None => {
                anyhow::bail!("there is no setting {wanted}; `schedlog config --explain` lists all")
            }
        }
    }
    Ok(text)
}

fn explain_one(info: &SettingInfo, text: &mut String) {
    let origin = match info.origin {
        Origin::Vllm => "vLLM",
        Origin::Ours => "schedlog only",
    };
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{} ({origin}, {})\n  meaning: {}\n  default: {}\n  effect:  {}\n\n",
        info.name,
        info.flag(),
        info.meaning,
        info.default,
        info.effect
    );
}

fn show(resolved: &Resolved) -> String {
    let mut text = String::new();
    for (name, value) in resolved.as_config() {
        let _ = writeln!(text, "{name} = {value}");
    }
    text
}
