//! `schedlog fuzz`: event sequences against a logger.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

use crate::cli::{EXIT_CLEAN, EXIT_VIOLATED, output};
use crate::fuzz::case::Mode;
use crate::fuzz::coverage::EDGES;
use crate::fuzz::external::{ExternalLogger, ExternalScheduler, Program, split};
use crate::fuzz::judge::{ReferenceLogger, Subject};
use crate::fuzz::run::{Found, RunOptions, RunState, run as run_cases};
use crate::fuzz::sequence::EventSequence;
use crate::fuzz::shrink::{Shrunk, shrink};
use crate::fuzz::watch::Duration;
use crate::log::values::WaitingReason;
use crate::trace::parse_duration;
use crate::units::Nanos;

/// Fuzz a logger: drive it with event sequences, check the logs, shrink what fails.
///
/// The logger is the one of this program unless --logger names another. The same seed and options
/// give the same cases in the same order, however many jobs there are. A failing case is saved as a
/// file that --replay runs again. Ctrl-C ends a run as if it were over: what was found is shrunk as
/// far as it is, and saved; a second one ends it at once.
///
/// Exit code: 0 no failure, 1 a failure, 2 bad usage, 130 stopped before a failure was found.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Everything is drawn from it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How many cases; 1000 if --time is not given either.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    cases: Option<u64>,
    /// How long, such as 0.5, 90s or 10min (seconds without a unit); cases under way are finished.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    time: Option<Nanos>,
    /// Threads (or processes of the logger) at a time.
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=256))]
    jobs: u32,
    /// Legal sequences (what a scheduler does), hostile ones (what none does), or both in turn.
    #[arg(long, value_enum, value_name = "MODE")]
    mode: Option<Mode>,
    /// Fuzz the logger that this command starts (no shell; quotes group words) instead: see
    /// docs/protocol.md. Legal sequences unless --mode says otherwise.
    #[arg(long, value_name = "CMD")]
    logger: Option<String>,
    /// Fuzz the scheduler that this command starts: its decisions are compared with the reference.
    #[arg(long, value_name = "CMD", conflicts_with_all = ["logger", "mode"])]
    scheduler: Option<String>,
    /// How long a command may take to answer (seconds without a unit).
    #[arg(long, value_name = "DURATION", default_value = "10", value_parser = duration)]
    timeout: Nanos,
    /// The most requests of a case.
    #[arg(long, value_name = "N", default_value_t = 12,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_requests: u32,
    /// Go on after a failure: the first case of each kind is shrunk and saved.
    #[arg(long)]
    keep_going: bool,
    /// Run one saved case instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cases", "time", "mode", "jobs"])]
    replay: Option<PathBuf>,
    /// Where a failing case is saved.
    #[arg(long, value_name = "FILE", default_value = "fuzz-failure.json")]
    save: PathBuf,
    /// The most cases tried to make a failing one smaller.
    #[arg(long, value_name = "N", default_value_t = 3000)]
    shrink_tries: usize,
    /// Where logs are written while they are tried; they are removed afterwards, and so is the
    /// directory if it was not there before. By default in memory (/dev/shm), or else where temporary
    /// files go.
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
}

/// The exit code of a run that was stopped, as a shell has it for Ctrl-C.
const EXIT_STOPPED: u8 = 130;
/// Between two lines of progress where there is no terminal.
const BETWEEN_NOTES: Duration = Duration::from_secs(30);

fn duration(text: &str) -> Result<Nanos, String> {
    match parse_duration(text) {
        Ok(Nanos::ZERO) => Err("a run of no time is no run".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error}; write 0.5, 90s or 10min")),
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let work = WorkDir::new(args.work_dir.as_deref())?;
    if let Some(file) = &args.replay {
        return replay(args, file, &work.path);
    }
    check_place(&args.save)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one finds the flag set, and ends the program.
        register_conditional_shutdown(signal, i32::from(EXIT_STOPPED), Arc::clone(&stop))?;
        register(signal, Arc::clone(&stop))?;
    }
    // Panics of the logger under test are findings; they are told once, after shrinking.
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = fuzz(args, &work.path, &stop);
    let _ = std::panic::take_hook();
    outcome
}

/// Fails early where a failing case could not be saved.
fn check_place(save: &Path) -> anyhow::Result<()> {
    let problem = if save.is_dir() {
        "it is a directory".to_owned()
    } else {
        let parent = save.parent().filter(|parent| !parent.as_os_str().is_empty());
        match tempfile::NamedTempFile::new_in(parent.unwrap_or(Path::new("."))) {
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        }
    };
    anyhow::bail!(
        "{}: a failing case could not be saved here: {problem}; name another file with --save",
        save.display()
    )
}

fn subject(args: &Args) -> anyhow::Result<Box<dyn Subject>> {
    let Some(command) = args.logger.as_ref().or(args.scheduler.as_ref()) else {
        return Ok(Box::new(ReferenceLogger));
    };
    let words = split(command).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    let program = Program { words, timeout: Duration::from_nanos(args.timeout.0) };
    let failed = |failure| anyhow::anyhow!("{command}: {failure}");
    Ok(if args.scheduler.is_some() {
        Box::new(ExternalScheduler::start(program).map_err(failed)?)
    } else {
        Box::new(ExternalLogger::start(program).map_err(failed)?)
    })
}

fn fuzz(args: &Args, work: &Path, stop: &Arc<AtomicBool>) -> anyhow::Result<u8> {
    let mut subjects: Vec<Box<dyn Subject>> =
        (0..args.jobs).map(|_| subject(args)).collect::<Result<_, _>>()?;
    let limits = subjects.first().map(|subject| subject.limits()).unwrap_or_default();
    let is_external = args.logger.is_some() || args.scheduler.is_some();
    let options = RunOptions {
        seed: args.seed,
        cases: args.cases.or(if args.time.is_some() { None } else { Some(1000) }),
        time: args.time.map(|time| Duration::from_nanos(time.0)),
        mode: args.mode.unwrap_or(if is_external { Mode::Legal } else { Mode::Both }),
        limits: crate::fuzz::generate::Limits { max_requests: args.max_requests, ..limits },
        keep_going: args.keep_going,
        stop: Arc::clone(stop),
    };
    output::print(&headline(args, &options))?;
    let bar = progress_bar();
    let mut told = Duration::ZERO;
    let (state, found) = run_cases(&options, &mut subjects, work, |state| {
        bar.set_position(state.cases);
        bar.set_message(progress_line(state));
        // Without a terminal there is no bar; a line now and then shows that it lives.
        if bar.is_hidden() && state.elapsed >= told + BETWEEN_NOTES {
            told = state.elapsed;
            output::note(&format!("{} cases: {}", state.cases, progress_line(state)));
        }
    });
    bar.finish_and_clear();
    output::print(&summary(&state))?;
    if stop.load(Ordering::Relaxed) {
        output::print("stopped before its end\n")?;
    }
    if found.is_empty() {
        output::print("no failure\n")?;
        return Ok(if stop.load(Ordering::Relaxed) { EXIT_STOPPED } else { EXIT_CLEAN });
    }
    for found in &found {
        report_found(args, found, &mut *subjects[0], work, stop)?;
    }
    Ok(EXIT_VIOLATED)
}

fn headline(args: &Args, options: &RunOptions) -> String {
    let mode = match options.mode {
        Mode::Legal => "legal",
        Mode::Hostile => "hostile",
        Mode::Both => "both",
    };
    let subject = match (&args.logger, &args.scheduler) {
        (Some(command), _) => format!("logger {command}"),
        (_, Some(command)) => format!("scheduler {command}"),
        _ => "logger built in".to_owned(),
    };
    let mut text = format!("seed {} | mode {mode} | {subject}", options.seed);
    if let Some(cases) = options.cases {
        let _ = write!(text, " | cases {cases}");
    }
    if let Some(time) = options.time {
        let _ = write!(text, " | time {} s", time.as_secs_f64());
    }
    let _ = writeln!(text, " | max requests {} | jobs {}", args.max_requests, args.jobs);
    text
}

fn progress_line(state: &RunState) -> String {
    let coverage = &state.coverage;
    format!(
        "{:.0} cases/s, {}/{} edges, {}/{} reasons, {} rules, {} points",
        state.cases as f64 / state.elapsed.as_secs_f64().max(1e-9),
        coverage.edges(),
        EDGES.len(),
        coverage.reasons(),
        WaitingReason::ALL.len(),
        coverage.rules().count(),
        coverage.points(),
    )
}

fn summary(state: &RunState) -> String {
    format!(
        "{} cases in {:.1} s: {}\n{} calls, {} of them refused; {} logs found fault with\n",
        state.cases,
        state.elapsed.as_secs_f64(),
        progress_line(state),
        state.calls,
        state.rejected,
        state.flagged,
    )
}

fn progress_bar() -> ProgressBar {
    use std::io::IsTerminal;
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} cases, {msg}, {elapsed}") {
        bar.set_style(style);
    }
    bar
}

fn report_found(
    args: &Args,
    found: &Found,
    subject: &mut dyn Subject,
    work: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let case = &found.case;
    let before = (case.sequence.requests(), case.sequence.steps());
    let others =
        if found.count > 1 { format!(" ({} like it)", found.count - 1) } else { String::new() };
    output::print(&format!("case {}{others} fails: {}\n", case.number, found.failure))?;
    let directory = work.join("shrink");
    let shrunk =
        shrink(&case.sequence, found.failure.clone(), args.shrink_tries, &mut |sequence| {
            let goes_on = !stop.load(Ordering::Relaxed);
            goes_on.then(|| subject.judge(sequence, &directory).failure).flatten()
        });
    let file = if args.keep_going {
        args.save.with_extension(format!("{}.json", found.failure.group()))
    } else {
        args.save.clone()
    };
    report_shrunk(args, &file, before, &shrunk)
}

/// The flag that names the subject again.
fn subject_flag(args: &Args) -> String {
    match (&args.logger, &args.scheduler) {
        (Some(command), _) => format!(" --logger '{command}'"),
        (_, Some(command)) => format!(" --scheduler '{command}'"),
        _ => String::new(),
    }
}

fn report_shrunk(
    args: &Args,
    file: &Path,
    before: (usize, usize),
    shrunk: &Shrunk,
) -> anyhow::Result<()> {
    let sequence = &shrunk.sequence;
    sequence.write(file)?;
    output::print(&format!(
        "shrunk from {} requests and {} steps to {} and {} ({} tries): {}\nsaved as {file}; run it \
         again with: schedlog fuzz{subject} --replay {file}\n",
        before.0,
        before.1,
        sequence.requests(),
        sequence.steps(),
        shrunk.tried,
        shrunk.failure,
        file = file.display(),
        subject = subject_flag(args),
    ))
}

fn replay(args: &Args, file: &Path, work: &Path) -> anyhow::Result<u8> {
    let sequence = EventSequence::read(file)?;
    let mut subject = subject(args)?;
    let directory = work.join("replay");
    let judgement = subject.judge(&sequence, &directory);
    let (requests, steps) = (sequence.requests(), sequence.steps());
    output::print(&format!(
        "{}: {requests} requests, {steps} steps, {} calls, {} of them refused\n",
        file.display(),
        sequence.calls.len(),
        judgement.rejected,
    ))?;
    let Some(failure) = judgement.failure else {
        output::print("no failure\n")?;
        return Ok(EXIT_CLEAN);
    };
    output::print(&format!("fails: {failure}\n"))?;
    if args.shrink_tries > 0
        && args.save.as_path() != file
        && args.save != Path::new("fuzz-failure.json")
    {
        let shrunk = shrink(&sequence, failure, args.shrink_tries, &mut |sequence| {
            subject.judge(sequence, &directory).failure
        });
        report_shrunk(args, &args.save, (requests, steps), &shrunk)?;
    }
    Ok(EXIT_VIOLATED)
}

/// Files that live for milliseconds belong in memory: making and removing them on a disk takes
/// more time than all the rest of a case.
fn default_parent() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let is_usable = memory.metadata().is_ok_and(|metadata| !metadata.permissions().readonly());
    if cfg!(target_os = "linux") && is_usable { memory.to_owned() } else { std::env::temp_dir() }
}

/// A directory of this process, removed at the end, and those above it that were not there before.
struct WorkDir {
    path: PathBuf,
    made: Vec<PathBuf>,
}

impl WorkDir {
    fn new(given: Option<&Path>) -> anyhow::Result<Self> {
        let parent = given.map_or_else(default_parent, Path::to_owned);
        let path = parent.join(format!("schedlog-fuzz-{}", std::process::id()));
        let is_missing =
            |directory: &&Path| !directory.as_os_str().is_empty() && !directory.exists();
        let made = parent.ancestors().take_while(is_missing).map(Path::to_owned).collect();
        // Removed as far as it was made, whatever comes of it.
        let work = Self { path, made };
        std::fs::create_dir_all(&work.path).map_err(|error| {
            let path = work.path.display();
            anyhow::anyhow!("{path}: {error}; name another directory with --work-dir")
        })?;
        Ok(work)
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // What cannot be removed is a temporary directory that the system cleans up, or one in which
        // somebody else has put something.
        let _ = std::fs::remove_dir_all(&self.path);
        for directory in &self.made {
            let _ = std::fs::remove_dir(directory);
        }
    }
}
