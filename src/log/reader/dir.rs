//! The directory of a log: which files are there, plain or compressed.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::log::reader::growing::{Growing, Horizon};
use crate::log::reader::gzip::Gzip;
use crate::log::reader::instead;
use crate::log::reader::table::TableReader;
use crate::log::run_info::{RUN_INFO_FILE, RunInfo, RunProblem, read_run_info};
use crate::log::schema::{Row, Table};

/// Why a directory is not a log.
#[derive(Debug, thiserror::Error)]
pub enum LogDirError {
    /// Nothing there, or not a directory.
    #[error("{path} is not a directory; give the directory that holds {example} and its sisters")]
    NotADirectory {
        /// What was given.
        path: PathBuf,
        /// A file that a log has.
        example: &'static str,
    },
    /// None of the five files is there.
    #[error("{path} holds none of the files of a scheduler log (per_request.csv, …); {remedy}")]
    NoFiles {
        /// What was given.
        path: PathBuf,
        /// What to do, by what is there.
        remedy: String,
    },
    /// A file is there but cannot be opened.
    #[error("{path} cannot be opened: {source}; check that it is there and may be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// One file of the log.
#[derive(Clone, Debug)]
pub struct TableFile {
    /// Which table it holds.
    pub table: Table,
    /// Its path.
    pub path: PathBuf,
    /// Whether it is gzip.
    pub compressed: bool,
    /// What is read instead of the file, uncompressed.
    pub(crate) instead: Option<Arc<[u8]>>,
}

/// The bytes of a file, decompressed where needed.
#[derive(Debug)]
pub enum Input {
    /// As they are, up to an end that moves.
    Growing(Growing),
    /// As they are.
    Plain(File),
    /// From gzip members.
    Gzip(Box<Gzip>),
    /// What is read instead of a file.
    Given(Cursor<Arc<[u8]>>),
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Growing(growing) => growing.read(out),
            Self::Plain(file) => file.read(out),
            Self::Gzip(gzip) => gzip.read(out),
            Self::Given(bytes) => bytes.read(out),
        }
    }
}

impl TableFile {
    /// The name without the directory.
    #[must_use]
    pub fn name(&self) -> String {
        let suffix = if self.compressed { ".gz" } else { "" };
        format!("{}{suffix}", self.table.file_name())
    }

    /// Opens the file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(&self) -> Result<Input, LogDirError> {
        if let Some(bytes) = &self.instead {
            return Ok(Input::Given(Cursor::new(Arc::clone(bytes))));
        }
        let unreadable = |source| LogDirError::Unreadable { path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(unreadable)?;
        Ok(if self.compressed {
            Input::Gzip(Box::new(Gzip::new(file)))
        } else {
            Input::Plain(file)
        })
    }

    fn what_spoils(&self) -> Option<String> {
        if !self.compressed || self.instead.is_some() {
            return None;
        }
        Gzip::new(File::open(&self.path).ok()?).what_spoils()
    }

    /// The size in bytes as stored.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        if let Some(bytes) = &self.instead {
            return bytes.len() as u64;
        }
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }
}

/// A log directory.
#[derive(Clone, Debug)]
pub struct LogDir {
    /// The directory.
    pub path: PathBuf,
    files: [Option<TableFile>; 5],
    /// Tables whose file is there twice, plain and as gzip.
    twice: Vec<Table>,
    /// Files that are not read because bytes in them are wrong, and what the decoder says.
    spoiled: Vec<(TableFile, String)>,
    horizon: Option<Horizon>,
    /// The content of `run.json`, if it is there and readable.
    pub run_info: Option<RunInfo>,
    /// Why `run.json`, although there, was not read.
    pub run_info_error: Option<String>,
    /// All that is wrong with `run.json`.
    pub run_problems: Vec<RunProblem>,
    /// The text of `run.json`.
    pub(crate) run_text: Vec<u8>,
}

impl LogDir {
    /// Looks at what is there.
    ///
    /// # Errors
    /// If it is not the directory of a log at all.
    pub fn open(path: &Path) -> Result<Self, LogDirError> {
        if !path.is_dir() {
            let example = Table::PerRequest.file_name();
            return Err(LogDirError::NotADirectory { path: path.to_owned(), example });
        }
        let files = Table::ALL.map(|table| find(path, table));
        if files.iter().all(Option::is_none) {
            // What cannot be looked at is not known to be absent.
            for file in Table::ALL.map(|table| path.join(table.file_name())) {
                match std::fs::metadata(&file) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        return Err(LogDirError::Unreadable { path: file, source });
                    }
                    _ => {}
                }
            }
            let remedy = instead::of_all(path)
                .unwrap_or_else(|| "give the directory into which the log was written".to_owned());
            return Err(LogDirError::NoFiles { path: path.to_owned(), remedy });
        }
        let gzip = |table: &Table| path.join(format!("{}.gz", table.file_name())).is_file();
        let plain =
            |table: &Table| files[*table as usize].as_ref().is_some_and(|file| !file.compressed);
        let twice = Table::ALL.into_iter().filter(plain).filter(gzip).collect();
        let mut dir = Self {
            path: path.to_owned(),
            files,
            twice,
            spoiled: Vec::new(),
            horizon: None,
            run_info: None,
            run_info_error: None,
            run_problems: Vec::new(),
            run_text: Vec::new(),
        };
        match std::fs::read(path.join(RUN_INFO_FILE)) {
            Ok(text) => {
                (dir.run_info, dir.run_problems) = read_run_info(&text);
                dir.run_text = text;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => dir.run_problems.push(RunProblem {
                line: 1,
                column: 1,
                message: error.to_string(),
                newer: false,
            }),
        }
        if dir.run_info.is_none() {
            dir.run_info_error = dir.run_problems.last().map(ToString::to_string);
        }
        Ok(dir)
    }

    /// Looks at a log that is still being written: what lies behind the horizon is not there yet.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_growing(path: &Path, horizon: &Horizon) -> Result<Self, LogDirError> {
        let mut dir = Self::open(path)?;
        for file in &mut dir.files {
            // A compressed file is a finished one.
            *file = file.take().filter(|file| !file.compressed);
        }
        dir.horizon = Some(horizon.clone());
        Ok(dir)
    }

    /// Whether the log is still being written.
    #[must_use]
    pub const fn is_growing(&self) -> bool {
        self.horizon.is_some()
    }

    /// The file of a table, if it is there.
    #[must_use]
    pub const fn file(&self, table: Table) -> Option<&TableFile> {
        self.files[table as usize].as_ref()
    }

    /// The log without the compressed files in which bytes are wrong; none if there is no such file. Each is
    /// read to its end.
    #[must_use]
    pub fn without_spoiled(&self) -> Option<Self> {
        let mut rest = self.clone();
        for file in &mut rest.files {
            if let Some(what) = file.as_ref().and_then(TableFile::what_spoils) {
                rest.spoiled.extend(file.take().map(|file| (file, what)));
            }
        }
        (rest.spoiled.len() > self.spoiled.len()).then_some(rest)
    }

    /// A file that is not read because bytes in it are wrong, and what the decoder says of it.
    #[must_use]
    pub fn spoiled(&self, table: Table) -> Option<(&TableFile, &str)> {
        let (file, what) = self.spoiled.iter().find(|(file, _)| file.table == table)?;
        Some((file, what))
    }

    /// What stands where the file of a table should, and what to do about it.
    #[must_use]
    pub fn instead_of(&self, table: Table) -> Option<String> {
        instead::of_table(&self.path, table)
    }

    /// Whether something that is no file has the name of a table's file.
    #[must_use]
    pub fn is_no_file(&self, table: Table) -> bool {
        let there = std::fs::symlink_metadata(self.path.join(table.file_name()));
        self.file(table).is_none() && there.is_ok()
    }

    /// Whether run.json says that this crate's logger wrote the log.
    #[must_use]
    pub fn is_of_reference_logger(&self) -> bool {
        let own = |info: &RunInfo| info.producer.name == env!("CARGO_PKG_NAME");
        self.run_info.as_ref().is_some_and(own)
    }

    /// Tables whose file is there twice, plain and as gzip; the plain one is read.
    #[must_use]
    pub fn twice(&self) -> &[Table] {
        &self.twice
    }

    /// The log with other bytes for a file that is there.
    #[must_use]
    pub(crate) fn with(&self, table: Table, bytes: Vec<u8>) -> Self {
        let mut other = self.clone();
        if let Some(file) = &mut other.files[table as usize] {
            file.instead = Some(bytes.into());
        }
        other
    }

    /// Opens the file of a table for reading, if it is there.
    ///
    /// # Errors
    /// If it is there but cannot be opened.
    pub fn reader<R: Row>(&self) -> Result<Option<TableReader<R, Input>>, LogDirError> {
        match self.file(R::SCHEMA.table) {
            Some(file) => {
                let input = match (file.open()?, &self.horizon) {
                    (Input::Plain(file), Some(horizon)) => {
                        Input::Growing(horizon.limit(file, R::SCHEMA.table))
                    }
                    (input, _) => input,
                };
                Ok(Some(TableReader::new(input)))
            }
            None => Ok(None),
        }
    }
}

fn find(directory: &Path, table: Table) -> Option<TableFile> {
    let plain = directory.join(table.file_name());
    if plain.is_file() {
        return Some(TableFile { table, path: plain, compressed: false, instead: None });
    }
    let gzip = directory.join(format!("{}.gz", table.file_name()));
    gzip.is_file().then_some(TableFile { table, path: gzip, compressed: true, instead: None })
}
