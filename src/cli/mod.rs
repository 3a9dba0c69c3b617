//! One file per subcommand.

pub(crate) mod check;
pub(crate) mod docs;
pub(crate) mod explain;
pub(crate) mod graph;
pub(crate) mod rules;

use std::io::{self, Write};

/// Writes to stdout; a reader that has gone away ends the output quietly.
///
/// # Errors
/// What writing gives, a closed pipe excepted.
pub(crate) fn to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
