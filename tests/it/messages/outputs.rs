//! What the checking tool says on the command line: the built program on small logs, right and wrong. Each
//! subject has a snapshot, of outputs as a whole or of the lines that the subject is about.

mod check;
mod command;
mod conform;
mod policy;
mod records;

use std::fs;
use std::path::{Path, PathBuf};

use schedlog::engine::run::LogOptions;

use crate::cli::schedlog;
use crate::fixtures::Log;
use crate::golden::replay_bundled;
use crate::sheets::Sheets;
use crate::support::{in_snapshots, root, without_sizes};

/// A working directory, and what was said in it.
struct Place {
    directory: tempfile::TempDir,
    text: String,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), text: String::new() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.at(path), content).unwrap();
    }

    fn log(&self, name: &str, log: &Log) {
        fs::create_dir_all(self.at(name)).unwrap();
        for (file, bytes) in &log.files {
            self.file(&format!("{name}/{file}"), bytes);
        }
    }

    /// Runs the program with arguments that are separated by spaces, and notes all that it says.
    fn says(&mut self, arguments: &str) -> i32 {
        self.note(arguments, |_| true)
    }

    /// As [`says`](Self::says), but notes only the lines that hold one of the texts.
    fn tells(&mut self, arguments: &str, texts: &[&str]) -> i32 {
        let before = self.text.lines().count();
        let code = self.note(arguments, |line| texts.iter().any(|text| line.contains(text)));
        assert!(self.text.lines().count() > before + 3, "nothing of it is told: {arguments}");
        code
    }

    fn note(&mut self, arguments: &str, is_shown: impl FnMut(&str) -> bool) -> i32 {
        let output = schedlog(&arguments.split(' ').collect::<Vec<_>>(), self.directory.path());
        self.add(arguments, &output, is_shown)
    }

    fn add(
        &mut self,
        what: &str,
        output: &std::process::Output,
        mut is_shown: impl FnMut(&str) -> bool,
    ) -> i32 {
        let code = output.status.code().unwrap();
        self.text += &format!("\n$ schedlog {what}\nexit {code}\n");
        for (stream, mark) in [(&output.stdout, ""), (&output.stderr, "! ")] {
            let text = String::from_utf8_lossy(stream);
            for line in text.lines().filter(|line| is_shown(line)) {
                let line = match line.strip_suffix(" decisions per second") {
                    Some(_) => "note: [real] s, [real] decisions per second".to_owned(),
                    None => without_sizes(line),
                };
                self.text += &format!("{mark}{line}\n");
            }
        }
        code
    }

    /// Compares with the snapshot of the subject.
    fn assert_known(self, subject: &str) {
        in_snapshots("messages", || {
            insta::assert_snapshot!(format!("outputs-{subject}"), self.text)
        });
    }
}

/// The log of a bundled trace.
fn bundled(name: &str) -> Sheets {
    let directory = tempfile::tempdir().unwrap();
    replay_bundled(&trace(name), directory.path(), &LogOptions::default());
    Sheets::read(directory.path())
}

fn trace(name: &str) -> PathBuf {
    root().join("traces").join(name).with_extension("jsonl")
}

/// The bytes of a file, compressed.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    crate::defects::compressed(bytes.to_vec())
}

/// Puts the compressed content of a file of a log, changed, in the place of the file.
fn packed(log: &Log, file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Log {
    let mut log = log.clone();
    let bytes = log.files.remove(file).unwrap();
    log.files.insert(format!("{file}.gz"), change(gzip(&bytes)));
    log
}

/// The files of a log in a directory.
fn read(directory: &Path) -> Log {
    let files = crate::golden::files(directory).into_iter();
    Log { files: files.map(|(name, text)| (name, text.into_bytes())).collect() }
}
