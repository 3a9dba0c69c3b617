//! The settings file: TOML with the settings' own names.

use std::path::Path;

use crate::settings::{Settings, UNSUPPORTED};

/// A settings file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path}: cannot read the settings: {source}; check the name given to --config")]
    Io {
        /// The file.
        path: String,
        /// The reason.
        source: std::io::Error,
    },
    /// It is not TOML, or a key or value is not one of ours.
    #[error("{path}: {problem}`schedlog config --explain` lists the settings")]
    Syntax {
        /// The file.
        path: String,
        /// Where and what, with the line.
        problem: String,
    },
    /// It asks for something that is not modelled.
    #[error("{path}: {name} asks for {what}, which the model does not have; leave it out")]
    Unsupported {
        /// The file.
        path: String,
        /// The setting.
        name: &'static str,
        /// What it is about.
        what: &'static str,
    },
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// Names the file, the line and the column of what cannot be used.
    pub fn from_file(path: &Path) -> Result<Self, FileError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| FileError::Io { path: shown.clone(), source })?;
        Self::from_toml(&text, &shown)
    }

    fn from_toml(text: &str, path: &str) -> Result<Self, FileError> {
        if let Ok(table) = text.parse::<toml::Table>()
            && let Some((name, what)) =
                UNSUPPORTED.iter().find(|(name, _)| table.contains_key(*name))
        {
            return Err(FileError::Unsupported { path: path.to_owned(), name, what });
        }
        toml::from_str(text).map_err(|error| FileError::Syntax {
            path: path.to_owned(),
            problem: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_uses_the_settings_names() {
        let settings =
            Settings::from_toml("policy = \"priority\"\nmax_num_seqs = 8\n", "s.toml").unwrap();
        assert_eq!(settings.max_num_seqs, Some(8));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_line() {
        let error = Settings::from_toml("max_num_seqs = 8\nmax_seqs = 1\n", "s.toml").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("line 2") && text.contains("max_seqs"), "{text}");
        let error = Settings::from_toml("enable_lora = true\n", "s.toml").unwrap_err();
        assert!(error.to_string().contains("LoRA"), "{error}");
    }
}
