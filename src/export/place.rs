//! Where an export goes: under a temporary name beside its own until it is whole.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile, TempDir};

use crate::log::reader::LogDirError;

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The directory is not a log, or cannot be read.
    #[error(transparent)]
    Log(#[from] LogDirError),
    /// The export cannot be written.
    #[error("{path}: cannot write the export: {source}")]
    Io {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory is in the way.
    #[error("{path}: the directory is not empty; name a new one")]
    NotEmpty {
        /// Its path.
        path: PathBuf,
    },
    /// A value or a table does not fit the form.
    #[error("{table}: {message}")]
    Form {
        /// The table.
        table: &'static str,
        /// Why.
        message: String,
    },
}

impl ExportError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// What is usual for a new file or directory; the umask takes from it.
#[cfg(unix)]
fn usual<'a>(
    builder: &'a mut Builder<'static, 'static>,
    mode: u32,
) -> &'a mut Builder<'static, 'static> {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn usual<'a>(
    builder: &'a mut Builder<'static, 'static>,
    _: u32,
) -> &'a mut Builder<'static, 'static> {
    builder
}

/// The directory that will hold `path`.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file that appears, or replaces an older one, once it is whole.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    out: BufWriter<NamedTempFile>,
}

impl NewFile {
    /// Begins a file.
    ///
    /// # Errors
    /// If its directory cannot be written to.
    pub fn create(path: &Path) -> Result<Self, ExportError> {
        let mut builder = Builder::new();
        let file =
            usual(&mut builder, 0o666).tempfile_in(parent(path)).map_err(ExportError::io(path))?;
        Ok(Self { path: path.to_owned(), out: BufWriter::with_capacity(1 << 16, file) })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// If the rest cannot be written, or the name is taken by a directory.
    pub fn finish(self) -> Result<(), ExportError> {
        let Self { path, out } = self;
        let file = out.into_inner().map_err(|error| ExportError::io(&path)(error.into_error()))?;
        file.persist(&path).map_err(|error| ExportError::io(&path)(error.error))?;
        Ok(())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A directory that appears once all its files are whole.
#[derive(Debug)]
pub struct NewDirectory {
    path: PathBuf,
    temporary: TempDir,
}

impl NewDirectory {
    /// Begins a directory.
    ///
    /// # Errors
    /// If it is there already and not empty, or its parent cannot be written to.
    pub fn create(path: &Path) -> Result<Self, ExportError> {
        match fs::read_dir(path) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(ExportError::NotEmpty { path: path.to_owned() });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ExportError::io(path)(error)),
        }
        let mut builder = Builder::new();
        let temporary =
            usual(&mut builder, 0o777).tempdir_in(parent(path)).map_err(ExportError::io(path))?;
        Ok(Self { path: path.to_owned(), temporary })
    }

    /// Where its files are written meanwhile.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives the directory its name.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn finish(self) -> Result<(), ExportError> {
        let Self { path, temporary } = self;
        fs::rename(temporary.path(), &path).map_err(ExportError::io(&path))?;
        // There is nothing left to delete under the temporary name.
        let _ = temporary.keep();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_there_before_it_is_whole() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("out.json");
        let mut file = NewFile::create(&path).unwrap();
        file.write_all(b"{}").unwrap();
        assert!(!path.exists());
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}");
        drop(NewFile::create(&path).unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_is_never_mixed_with_another() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("tables");
        let directory = NewDirectory::create(&path).unwrap();
        fs::write(directory.temporary().join("a"), "a").unwrap();
        assert!(!path.exists());
        directory.finish().unwrap();
        assert!(path.join("a").is_file());
        assert!(matches!(NewDirectory::create(&path), Err(ExportError::NotEmpty { .. })));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
