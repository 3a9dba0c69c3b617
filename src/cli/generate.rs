//! `schedlog generate`: made-up traces.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::cli::output::{self, bare};
use crate::trace::generate::{GenerateOptions, Generator};
use crate::trace::{TraceWriter, WriteError};

/// Make up an arrival trace from a seed.
#[derive(Clone, Debug, Args)]
pub(super) struct GenerateArgs {
    /// What the trace is to be like.
    #[command(flatten)]
    pub(super) options: GenerateOptions,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

/// Writes the trace.
///
/// # Errors
/// Where options do not make sense, or the output cannot be written; a file is either whole or not
/// there.
pub(super) fn run(args: &GenerateArgs) -> anyhow::Result<u8> {
    let generator = Generator::new(&args.options)?;
    if args.out.as_deref().is_none_or(|path| path.as_os_str() == "-") {
        output::check_stdout()?;
    }
    // Best effort: a closed standard error is no reason not to write the trace.
    let _ = writeln!(io::stderr(), "schedlog generate {}", args.options);
    match args.out.as_deref().filter(|path| path.as_os_str() != "-") {
        Some(path) => write_file(path, generator, args)?,
        None => match write(io::stdout().lock(), generator, args) {
            Err(WriteError::Io(error)) => return Err(output::stdout_error(error)),
            result => result?,
        },
    }
    Ok(0)
}

fn write(out: impl Write, generator: Generator, args: &GenerateArgs) -> Result<(), WriteError> {
    const BUFFER: usize = 256 << 10;
    let out = BufWriter::with_capacity(BUFFER, out);
    let mut writer = TraceWriter::new(out, args.options.hash_block_size);
    for request in generator {
        writer.write(&request)?;
    }
    writer.finish()?;
    Ok(())
}

fn write_file(path: &Path, generator: Generator, args: &GenerateArgs) -> anyhow::Result<()> {
    let cannot =
        || format!("cannot write {}; check the directory and its free space", path.display());
    // A device or a pipe cannot be replaced by a file.
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let file = std::fs::File::create(path).with_context(cannot)?;
        return write(file, generator, args).with_context(cannot);
    }
    // Through a link to what it names.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let path = target.as_path();
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".schedlog-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As for any new file: what the umask leaves.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder
        .tempfile_in(directory)
        // Its own text names the temporary file, of which nobody has heard.
        .map_err(|error| bare(&error))
        .with_context(cannot)?;
    write(&mut file, generator, args).with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    Ok(())
}
