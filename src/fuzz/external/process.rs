//! A program that answers JSON lines with JSON lines, watched: it may crash, hang or babble.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};

use crate::fuzz::failure::Failure;
use crate::fuzz::watch::Duration;
#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process_group};

/// The longest line that is taken for an answer.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Lines of its standard error that a report of a crash shows.
const LAST_WORDS: usize = 12;
/// Characters of a line of noise that a report shows.
const NOISE_CHARS: usize = 200;

/// How to start a program.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// How long it may take to answer.
    pub timeout: Duration,
}

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    input: Option<Sender<Vec<u8>>>,
    output: Receiver<String>,
    last_words: Arc<Mutex<VecDeque<String>>>,
    timeout: Duration,
}

impl Process {
    /// Starts a program.
    ///
    /// # Errors
    /// If the system cannot start it.
    pub fn start(program: &Program) -> Result<Self, String> {
        let (name, arguments) = program.words.split_first().ok_or("the command is empty")?;
        let mut command = Command::new(name);
        // Ctrl-C is for this program, which ends the other one when it is through with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name}: cannot be started: {error}"))?;
        let (input, to_write) = channel();
        let (lines, output) = sync_channel(64);
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(stdin) = child.stdin.take() {
            std::thread::spawn(move || write_all(stdin, &to_write));
        }
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || read_lines(stdout, &lines));
        }
        if let Some(stderr) = child.stderr.take() {
            let keep = Arc::clone(&last_words);
            std::thread::spawn(move || keep_last(stderr, &keep));
        }
        Ok(Self { child, input: Some(input), output, last_words, timeout: program.timeout })
    }

    /// Sends lines that need no answer.
    pub fn tell(&self, lines: Vec<u8>) {
        // A program that has gone is noticed where it should answer.
        if let Some(input) = &self.input {
            let _ = input.send(lines);
        }
    }

    /// Sends lines, the last of which needs an answer: an object with `"ok": true`.
    ///
    /// # Errors
    /// If it crashes, hangs, babbles, or answers with `"error"`.
    pub fn ask(&mut self, lines: Vec<u8>, what: &str) -> Result<Map<String, Value>, Failure> {
        // What was said unasked would be taken for the answer, and so would every answer after it.
        if let Ok(line) = self.output.try_recv() {
            return Err(noise(&line));
        }
        self.tell(lines);
        let line = match self.output.recv_timeout(self.timeout) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                return Err(Failure::Hang { waiting_for: what.to_owned() });
            }
            Err(RecvTimeoutError::Disconnected) => return Err(self.crashed(what)),
        };
        let Ok(Value::Object(answer)) = serde_json::from_str::<Value>(&line) else {
            return Err(noise(&line));
        };
        if let Some(error) = answer.get("error") {
            let message = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
            return Err(Failure::Refused { message });
        }
        if answer.get("ok") != Some(&Value::Bool(true)) {
            return Err(noise(&line));
        }
        Ok(answer)
    }

    fn crashed(&mut self, what: &str) -> Failure {
        // Its output is closed; its end is not far, or is brought about.
        self.input = None;
        let mut status = None;
        for _ in 0..100 {
            status = self.child.try_wait().ok().flatten();
            if status.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let how = status.map_or_else(
            || "it closed its standard output".to_owned(),
            |status| status.to_string(),
        );
        let words = self.last_words.lock().unwrap_or_else(|poison| poison.into_inner());
        let words: Vec<_> = words.iter().map(|line| format!("\n    {line}")).collect();
        Failure::Crash {
            message: format!("{how}, while it was to answer {what}{}", words.concat()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input = None;
        // It has no more to say; what it holds of a log is lost on purpose.
        // What it started goes with it: a wrapper leaves the logger behind, else.
        #[cfg(unix)]
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line that was not due, or its beginning.
fn noise(line: &str) -> Failure {
    let mut shown: String = line.chars().take(NOISE_CHARS).collect();
    if shown.len() < line.len() {
        shown.push_str(&format!("… ({} bytes)", line.len()));
    }
    Failure::Noise { line: shown }
}

fn write_all(mut stdin: ChildStdin, lines: &Receiver<Vec<u8>>) {
    for bytes in lines {
        if stdin.write_all(&bytes).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn read_lines(stdout: ChildStdout, lines: &SyncSender<String>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if lines.send(text).is_err() {
                    return;
                }
            }
        }
    }
}

fn keep_last(stderr: ChildStderr, last: &Mutex<VecDeque<String>>) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    while let Ok(1..) = (&mut reader).take(1 << 12).read_until(b'\n', &mut line) {
        let mut last = last.lock().unwrap_or_else(|poison| poison.into_inner());
        if last.len() == LAST_WORDS {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
}
