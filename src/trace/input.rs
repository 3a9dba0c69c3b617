//! Where a trace's bytes come from: a file that can be read twice, or bytes held in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::error::{Place, Problem, TraceError};

/// The most that is taken from an input that cannot be read twice.
const STREAM_LIMIT: u64 = 4 << 30;

/// The size of read buffers.
const BUFFER: usize = 256 << 10;

/// A trace's bytes, which can be read again and again.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// The name under which places in it are shown.
    pub(super) name: String,
    bytes: Bytes,
}

#[derive(Clone, Debug)]
enum Bytes {
    File(PathBuf),
    Memory(Arc<[u8]>),
}

impl Input {
    /// The input at `path`; `-` is standard input.
    pub(super) fn open(path: &Path) -> Result<Self, TraceError> {
        if path.as_os_str() == "-" {
            return Self::slurp("<stdin>".to_owned(), io::stdin().lock());
        }
        let name = path.display().to_string();
        let unreadable = |error| fail(&name, Problem::Unreadable(error));
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(unreadable(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        if !metadata.is_file() {
            // A pipe or a device gives its bytes once.
            return Self::slurp(name, file);
        }
        Ok(Self { name, bytes: Bytes::File(path.to_owned()) })
    }

    /// An input that is in memory already.
    pub(super) fn memory(name: String, bytes: Arc<[u8]>) -> Self {
        Self { name, bytes: Bytes::Memory(bytes) }
    }

    fn slurp(name: String, reader: impl Read) -> Result<Self, TraceError> {
        let mut bytes = Vec::new();
        let read = reader.take(STREAM_LIMIT + 1).read_to_end(&mut bytes);
        match read {
            Err(error) => Err(fail(&name, Problem::Unreadable(error))),
            Ok(_) if bytes.len() as u64 > STREAM_LIMIT => {
                Err(fail(&name, Problem::StdinTooLarge { limit: STREAM_LIMIT }))
            }
            Ok(_) => Ok(Self::memory(name, bytes.into())),
        }
    }

    /// Whether the bytes are held in memory.
    pub(super) const fn in_memory(&self) -> bool {
        matches!(self.bytes, Bytes::Memory(_))
    }

    /// The content from its start, decompressed where it is gzip.
    pub(super) fn reader(&self) -> Result<Box<dyn BufRead + Send>, TraceError> {
        let unreadable = |error| fail(&self.name, Problem::Unreadable(error));
        match &self.bytes {
            Bytes::File(path) => {
                let file = File::open(path).map_err(unreadable)?;
                inflated(BufReader::with_capacity(BUFFER, file)).map_err(unreadable)
            }
            Bytes::Memory(bytes) => inflated(Cursor::new(Arc::clone(bytes))).map_err(unreadable),
        }
    }
}

fn inflated(mut reader: impl BufRead + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    if reader.fill_buf()?.starts_with(GZIP) {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(reader))));
    }
    Ok(Box::new(reader))
}

/// An error of the input as a whole.
pub(super) fn fail(name: &str, problem: Problem) -> TraceError {
    TraceError { place: Place { file: name.to_owned(), line: None, column: None }, problem }
}
