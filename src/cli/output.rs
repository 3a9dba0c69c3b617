//! What a command says on stdout and stderr.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::Context;

use crate::cli::closed;

/// Who read standard output reads no more: no verdict, and no mistake of the input either.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "standard output: its reader has gone before everything was written; read to the end, or redirect \
     to a file"
)]
pub(crate) struct ReaderGone;

/// A failed write to stdout, as an error that says what to do.
pub(crate) fn stdout_error(error: io::Error) -> anyhow::Error {
    let gone = error.kind() == io::ErrorKind::BrokenPipe;
    let error = anyhow::Error::new(error);
    if gone { error.context(ReaderGone) } else { error.context("standard output: cannot write") }
}

/// Fails where stdout was closed when the process began.
pub(crate) fn check_stdout() -> anyhow::Result<()> {
    if closed::output() {
        anyhow::bail!("standard output is closed: nothing can be shown; redirect it to a file");
    }
    Ok(())
}

/// Writes a whole text to stdout.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes())
}

/// Writes whole bytes to stdout.
pub(crate) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    check_stdout()?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(stdout_error)
}

/// Writes a file that appears under its name only once it is whole.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let what =
        || format!("{}: cannot be written; check the directory and its space", path.display());
    // Through a link to what it names; a device or a pipe cannot be replaced by a file.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let path = target.as_path();
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return std::fs::write(path, bytes).with_context(what);
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(parent.unwrap_or(Path::new(".")))
        // Its own text names the temporary file, of which nobody has heard.
        .map_err(|error| bare(&error))
        .with_context(what)?;
    file.write_all(bytes).with_context(what)?;
    // A temporary file is for its owner only; a report is as any other file.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let readable = std::fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(readable).with_context(what)?;
    }
    file.persist(path).map_err(|error| error.error).with_context(what)?;
    Ok(())
}

/// Removes the file that [`write_file`] would have replaced, if there is one.
pub(crate) fn remove_file(path: &Path) {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if target.is_file() {
        // Where it cannot be removed, the error that is being told is the one that counts.
        let _ = std::fs::remove_file(target);
    }
}

/// Fails where [`write_file`] would, before there is anything to write.
pub(crate) fn check_file(path: &Path) -> anyhow::Result<()> {
    let what =
        || format!("{}: cannot be written; check the directory and its space", path.display());
    if path.is_dir() {
        return Err(anyhow::anyhow!("it is a directory").context(what()));
    }
    // A device or a pipe is there already.
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    check_room(parent.unwrap_or(Path::new("."))).with_context(what)
}

/// Fails where no file could be written to a directory, which is made if it is not there.
pub(crate) fn check_directory(path: &Path) -> anyhow::Result<()> {
    let there = path.ancestors().find(|directory| directory.exists());
    // The last ancestor of a relative path is the empty one: the working directory.
    let there = there.filter(|directory| !directory.as_os_str().is_empty());
    check_room(there.unwrap_or(Path::new("."))).with_context(|| {
        let path = path.display();
        format!("{path}: cannot be written; name a directory that can be created or written to")
    })
}

fn check_room(directory: &Path) -> io::Result<()> {
    tempfile::NamedTempFile::new_in(directory).map(drop).map_err(|error| bare(&error))
}

/// Notes that images were written, and what is missing among them.
pub(crate) fn wrote_images(count: usize, directory: &Path) {
    note(&format!("{count} images in {}", directory.display()));
    if !cfg!(feature = "plots") {
        note("no PNG: this program was built without the feature `plots`");
    }
}

/// The error of the system, without the path that was added to its text.
pub(crate) fn bare(error: &io::Error) -> io::Error {
    let text = error.to_string();
    let text = text.split_once(" at path ").map_or(text.as_str(), |(text, _)| text);
    io::Error::new(error.kind(), text.to_owned())
}

/// Shows an error and what led to it, on stderr.
pub(crate) fn report_error(error: &anyhow::Error) {
    let (start, end) =
        if io::stderr().is_terminal() { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    // Nobody is left to tell if stderr is closed too.
    let _ = writeln!(io::stderr(), "{start}error{end}: {}", describe(error));
}

/// The error and its causes, without those that its text tells already.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Shows a text beside the results, on stderr.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
}

/// Shows a note on stderr.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "note: {text}");
}
