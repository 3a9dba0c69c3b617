//! Writes a log directory: whole rows only, buffered in memory until a flush.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::log::flush::{FlushFailure, Flusher, Form, Piece};
use crate::log::packed::pack_text;
use crate::log::run_info::{RUN_INFO_FILE, RunInfo};
use crate::log::schema::Table;
use crate::log::values::LogLevel;

/// What went wrong with a log directory, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The directory holds an older log or something else.
    #[error(
        "{path}: the directory is not empty ({found}); a log is never mixed with an older run: \
         name another directory, or pass --force to replace the old log"
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// An entry in it.
        found: String,
    },
    /// The process that wrote a flush was killed.
    #[error(
        "{path}: the writing of rows was killed from outside; the last rows of a file may be cut: \
         run again"
    )]
    FlushKilled {
        /// The directory of the log.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{path}: cannot {action}: {source}{}", remedy(source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// The reason.
        source: io::Error,
    },
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded => {
            "; free some space and run again (what is there ends with a whole row)"
        }
        io::ErrorKind::PermissionDenied => "; check the permissions, or name another directory",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "; name a directory that is not a file"
        }
        _ => "; check the path",
    }
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError::Io { path, action, source }
}

/// One file of the log and the rows that are not in it yet.
#[derive(Debug)]
struct TableFile {
    path: PathBuf,
    file: File,
    form: Form,
    /// Whole rows, waiting for the next flush.
    buffer: Vec<u8>,
}

impl TableFile {
    fn create(directory: &Path, table: Table) -> Result<Self, WriteError> {
        let path = directory.join(table.file_name());
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(io_error(&path, "create the file"))?;
        let mut header = table.schema().header().into_bytes();
        header.push(b'\n');
        Ok(if table == Table::PerIterationRequests {
            let mut buffer = Vec::new();
            pack_text(&header, &mut buffer);
            Self { path, file, form: Form::Packed, buffer }
        } else {
            Self { path, file, form: Form::Text, buffer: header }
        })
    }
}

/// The five files of a log that is being written.
#[derive(Debug)]
pub struct LogWriter {
    directory: PathBuf,
    /// In the order of [`Table::ALL`]; `None` where the log level has no such file.
    files: [Option<TableFile>; 5],
    flusher: Flusher,
    /// How often the buffers were emptied.
    flushes: u64,
}

impl LogWriter {
    /// Prepares `directory` and creates the files of this log level in it, `run.json` first.
    /// `kill_safe` has a flush outlive a kill of this process, at the price of a fork.
    ///
    /// # Errors
    /// Where the directory is not empty (unless `force`, which removes an older log from it) or
    /// cannot be written.
    pub fn create(
        directory: &Path,
        run: &RunInfo,
        force: bool,
        kill_safe: bool,
    ) -> Result<Self, WriteError> {
        prepare_directory(directory, force)?;
        write_run_info(directory, run)?;
        let mut files = [None, None, None, None, None];
        for (table, file) in Table::ALL.into_iter().zip(&mut files) {
            if run.log_level != LogLevel::Summary || table != Table::PerIterationRequests {
                *file = Some(TableFile::create(directory, table)?);
            }
        }
        let mut writer = Self {
            directory: directory.to_owned(),
            files,
            flusher: Flusher::new(kill_safe),
            flushes: 0,
        };
        writer.flush()?;
        writer.finish()?;
        Ok(writer)
    }

    /// The rows of `table` that wait for the next flush, as text, but those of per_iteration_requests
    /// [packed](crate::log::packed); `None` where this log has no such table.
    pub fn buffer(&mut self, table: Table) -> Option<&mut Vec<u8>> {
        self.files[table as usize].as_mut().map(|file| &mut file.buffer)
    }

    /// How often the buffers were emptied: from 1 on, as the headers are flushed at once.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// How many bytes wait for the next flush.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.files.iter().flatten().map(|file| file.buffer.len()).sum()
    }

    /// Hands every waiting row to the system. What goes wrong is told by this call, the next one
    /// or [`LogWriter::finish`].
    ///
    /// # Errors
    /// Where the system refuses; the files then still end with whole rows.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.finish()?;
        let pieces: Vec<_> = self
            .files
            .iter()
            .flatten()
            .filter(|file| !file.buffer.is_empty())
            .map(|file| Piece { file: &file.file, form: file.form, rows: &file.buffer })
            .collect();
        let outcome = self.flusher.start(&pieces);
        let failed = outcome.map_err(|failure| self.failure(failure));
        for file in self.files.iter_mut().flatten() {
            file.buffer.clear();
        }
        self.flushes += 1;
        failed
    }

    /// Whether the last flush is still being written.
    ///
    /// # Errors
    /// Where it failed; the files then still end with whole rows.
    pub fn is_busy(&mut self) -> Result<bool, WriteError> {
        self.flusher.is_busy().map_err(|failure| self.failure(failure))
    }

    /// Waits until everything flushed so far is in the files.
    ///
    /// # Errors
    /// Where the last flush failed; the files then still end with whole rows.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        self.flusher.wait().map_err(|failure| self.failure(failure))
    }

    fn failure(&self, failure: FlushFailure) -> WriteError {
        let file = self.files.iter().flatten().find(|file| file.file.as_raw_fd() == failure.fd);
        let Some(file) = file else {
            return WriteError::FlushKilled { path: self.directory.clone() };
        };
        let path = file.path.clone();
        WriteError::Io { path, action: "write rows", source: failure.source }
    }
}

/// Makes sure that `directory` exists and holds nothing of an older run.
///
/// # Errors
/// Where it is not empty (unless `force`) or cannot be made.
pub fn prepare_directory(directory: &Path, force: bool) -> Result<(), WriteError> {
    fs::create_dir_all(directory).map_err(io_error(directory, "create the directory"))?;
    let entries = fs::read_dir(directory).map_err(io_error(directory, "read the directory"))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error(directory, "read the directory"))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if !force {
        return match names.into_iter().next() {
            Some(found) => Err(WriteError::NotEmpty { path: directory.to_owned(), found }),
            None => Ok(()),
        };
    }
    for name in names.iter().filter(|name| is_log_file(name)) {
        let path = directory.join(name);
        fs::remove_file(&path).map_err(io_error(&path, "remove the older file"))?;
    }
    Ok(())
}

/// Whether a file of this name belongs to a log.
fn is_log_file(name: &str) -> bool {
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    name == RUN_INFO_FILE || Table::ALL.iter().any(|table| table.file_name() == plain)
}

fn write_run_info(directory: &Path, run: &RunInfo) -> Result<(), WriteError> {
    let path = directory.join(RUN_INFO_FILE);
    let mut text = serde_json::to_vec_pretty(run)
        .map_err(io::Error::other)
        .map_err(io_error(&path, "encode the settings"))?;
    text.push(b'\n');
    // Under another name first: a reader never sees half of it.
    let partial = directory.join(".run.json.partial");
    fs::write(&partial, text).map_err(io_error(&partial, "write the settings"))?;
    fs::rename(&partial, &path).map_err(io_error(&path, "write the settings"))
}
