//! What a user may set: names, defaults, meanings, and how they resolve.

mod declare;
mod file;
mod hardware;
mod resolve;

use std::path::PathBuf;

pub use declare::{LatencyKind, Origin, SETTINGS, SettingInfo, Settings, UNSUPPORTED};
pub use file::FileError;
pub use resolve::{MOST_BLOCKS, Resolved, SettingError};

/// Where settings come from on the command line: flags first, then a file, then the defaults.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SettingsArgs {
    /// Settings file (TOML, the same names with underscores); flags win over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Settings given by flag.
    #[command(flatten)]
    pub settings: Settings,
}

/// Settings that cannot be read or used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

impl SettingsArgs {
    /// The settings that the engine runs with.
    ///
    /// # Errors
    /// Where the file cannot be read, or a setting cannot be used.
    pub fn resolve(&self) -> Result<Resolved, SettingsError> {
        let settings = match &self.config {
            None => self.settings.clone(),
            Some(path) => self.settings.clone().or(Settings::from_file(path)?),
        };
        Ok(settings.resolve()?)
    }
}
