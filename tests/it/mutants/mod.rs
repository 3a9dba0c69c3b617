//! Ways in which loggers really go wrong, applied to the logs of all bundled traces: each is caught
//! by the rule that should catch it.

mod bare;
mod blocks;
pub(crate) mod bounds;
mod causes;
mod cells;
mod files;
mod four_files;
pub(crate) mod leads;
mod left;
mod lost_rows;
pub(crate) mod mixed;
mod moments;
mod outputs;
mod phases;
mod queues;
pub(crate) mod short_parts;
mod states;
mod times;
mod tokens;
mod units;
pub(crate) mod whole;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use schedlog::check::{CheckReport, Verdict};
use schedlog::diagnose::Diagnosis;
use schedlog::engine::run::LogOptions;
use schedlog::log::values::LogLevel;

pub(crate) use units::{REQUEST_TIMES, STEP_TIMES};

use crate::dialect_writer::VARIATIONS;
use crate::golden::{bundled, replay_bundled};
use crate::messages::Messages;
use crate::sheets::Sheets;

/// One way to go wrong. It leaves a log alone in which the mistake would not show.
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// What the logger's author did.
    pub(crate) story: &'static str,
    /// Any of these must find it.
    pub(crate) rules: &'static [&'static str],
    pub(crate) apply: fn(&mut Sheets),
}

pub(crate) const fn mutant(
    name: &'static str,
    story: &'static str,
    rules: &'static [&'static str],
    apply: fn(&mut Sheets),
) -> Mutant {
    Mutant { name, story, rules, apply }
}

/// A mistake that shows in the bytes of the files only.
struct RawMutant {
    name: &'static str,
    story: &'static str,
    rules: &'static [&'static str],
    apply: fn(&mut crate::fixtures::Log),
}

pub(crate) fn catalogue() -> Vec<&'static Mutant> {
    [
        lost_rows::MUTANTS,
        units::MUTANTS,
        times::MUTANTS,
        moments::MUTANTS,
        states::MUTANTS,
        queues::MUTANTS,
        tokens::MUTANTS,
        blocks::MUTANTS,
        words::MUTANTS,
        cells::MUTANTS,
        bare::MUTANTS,
        bounds::MUTANTS,
        outputs::MUTANTS,
        phases::MUTANTS,
        four_files::MUTANTS,
        left::MUTANTS,
        leads::MUTANTS,
        mixed::MUTANTS,
        causes::MUTANTS,
        whole::MUTANTS,
        short_parts::MUTANTS,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn raw_catalogue() -> impl Iterator<Item = &'static RawMutant> {
    files::MUTANTS.iter().chain(cells::RAW_MUTANTS)
}

/// The logs of all bundled traces, with all there is.
pub(crate) fn full_logs() -> Vec<(String, Sheets)> {
    logs_at(LogLevel::Full)
}

/// The logs of all bundled traces at a log level.
pub(crate) fn logs_at(log_level: LogLevel) -> Vec<(String, Sheets)> {
    let options = LogOptions { log_level, ..LogOptions::default() };
    bundled()
        .into_iter()
        .map(|(name, trace)| {
            let directory = tempfile::tempdir().unwrap();
            replay_bundled(&trace, directory.path(), &options);
            (name, Sheets::read(directory.path()))
        })
        .collect()
}

/// Rules with findings that make the log wrong or damaged; warnings count only where expected.
fn caught_by(report: &CheckReport, expected: &[&str]) -> BTreeSet<&'static str> {
    report
        .rules
        .iter()
        .filter(|rule| {
            rule.errors + rule.damages > 0 || rule.warnings > 0 && expected.contains(&rule.rule.id)
        })
        .map(|rule| rule.rule.id)
        .collect()
}

/// A mistake in a log in these habits, if it still shows there.
fn written_in(s: &mut Sheets, habits: &[&str], mistake: impl Fn(&mut Sheets)) {
    written(s, habits, |s| s.run = serde_json::Value::Null, mistake);
}

/// As [`written_in`], in a log without what `leave_out` takes away.
fn written(
    s: &mut Sheets,
    habits: &[&str],
    leave_out: impl Fn(&mut Sheets),
    mistake: impl Fn(&mut Sheets),
) {
    let write = |log: &Sheets| {
        let mut log = log.clone();
        let chosen = VARIATIONS.iter().filter(|variation| habits.contains(&variation.habit));
        chosen.for_each(|variation| (variation.write)(&mut log));
        leave_out(&mut log);
        log
    };
    let mut wrong = s.clone();
    mistake(&mut wrong);
    let (correct, wrong) = (write(s), write(&wrong));
    if correct != wrong {
        *s = wrong;
    }
}

/// The rates of a request's row by its times.
pub(crate) fn rates(s: &mut Sheets, row: usize) {
    let (Some(latency), tokens) = (s.p.num(row, "e2e_latency"), s.p.n(row, "output_tokens")) else {
        return;
    };
    if let Some(ttft) = s.p.num(row, "ttft").filter(|_| tokens > 1) {
        s.p.set(row, "tpot", (latency - ttft) / (tokens - 1));
    }
    if latency > 0 {
        let latency = i128::from(latency);
        let rate = (i128::from(tokens) * 1_000_000_000_000_000 + latency / 2) / latency;
        s.p.set(row, "throughput", format!("{}.{:06}", rate / 1_000_000, rate % 1_000_000));
    }
}

pub(crate) fn sort_events(s: &mut Sheets) {
    s.e.rows.sort_by_key(|row| row[0].parse::<i64>().unwrap());
}

/// The first logs of a mutant whose causes are looked for, beside the last two of all.
const DIAGNOSED: usize = 4;

#[derive(Default)]
struct Score {
    /// Per mutant: on how many logs it was applicable.
    applied: BTreeMap<&'static str, usize>,
    expected: usize,
    /// Found, but by other rules only: `mutant on trace: rules`.
    others: Vec<String>,
    survivors: Vec<String>,
    by_rule: BTreeMap<&'static str, usize>,
    messages: Messages,
}

impl Score {
    fn note(
        &mut self,
        mutant: &'static str,
        rules: &[&'static str],
        log: &str,
        report: &CheckReport,
    ) {
        self.messages.note(report);
        let found = caught_by(report, rules);
        *self.applied.entry(mutant).or_default() += 1;
        if let Some(rule) = rules.iter().find(|rule| found.contains(*rule)) {
            self.expected += 1;
            *self.by_rule.entry(rule).or_default() += 1;
        } else if found.is_empty() {
            self.survivors.push(format!("{mutant} on {log}"));
        } else {
            self.others.push(format!("{mutant} on {log}: {found:?} instead of {rules:?}"));
        }
    }

    fn total(&self) -> usize {
        self.expected + self.others.len() + self.survivors.len()
    }
}

fn run(score: &Mutex<Score>, logs: &[(String, Sheets)], mutants: &[&'static Mutant]) {
    for mutant in mutants {
        let mut diagnosed = 0;
        for (place, (name, correct)) in logs.iter().enumerate() {
            let mut wrong = correct.clone();
            (mutant.apply)(&mut wrong);
            if wrong == *correct {
                continue;
            }
            let (_directory, report) = wrong.log().check();
            let is_looked_at = diagnosed < DIAGNOSED || place + 2 >= logs.len();
            let diagnosis = is_looked_at.then(|| Diagnosis::of(&report, false));
            diagnosed += 1;
            let mut score = score.lock().unwrap();
            diagnosis.iter().for_each(|diagnosis| score.messages.note_causes(diagnosis));
            score.note(mutant.name, mutant.rules, name, &report);
        }
    }
}

fn run_raw(score: &Mutex<Score>, logs: &[(String, Sheets)]) {
    for mutant in raw_catalogue() {
        assert!(!mutant.story.is_empty());
        for (name, correct) in logs {
            let correct = correct.log();
            let mut wrong = correct.clone();
            (mutant.apply)(&mut wrong);
            if wrong.files == correct.files {
                continue;
            }
            let (_directory, report) = wrong.check();
            score.lock().unwrap().note(mutant.name, mutant.rules, name, &report);
        }
    }
}

#[test]
fn mutants_are_caught() {
    let (logs, mutants) = (full_logs(), catalogue());
    for (name, log) in &logs {
        let (_directory, report) = log.log().check();
        assert_eq!(report.verdict(), Verdict::Clean, "{name}: {:?}", caught_by(&report, &[]));
    }
    let names: Vec<_> =
        mutants.iter().map(|m| m.name).chain(raw_catalogue().map(|m| m.name)).collect();
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "a name stands twice");
    assert!(mutants.iter().all(|mutant| !mutant.story.is_empty() && !mutant.rules.is_empty()));
    let score = Mutex::new(Score::default());
    std::thread::scope(|scope| {
        let (first, second) = mutants.split_at(mutants.len() / 2);
        scope.spawn(|| run(&score, &logs, first));
        scope.spawn(|| run(&score, &logs, second));
        run_raw(&score, &logs);
    });
    let score = score.into_inner().unwrap();
    let idle: Vec<_> = names.iter().filter(|name| !score.applied.contains_key(*name)).collect();
    println!(
        "{} mutants on {} logs: {} wrong logs, {} caught by the expected rule, {} by another, {} \
         survived",
        names.len(),
        logs.len(),
        score.total(),
        score.expected,
        score.others.len(),
        score.survivors.len()
    );
    println!("caught first by: {:?}", score.by_rule);
    score.others.iter().for_each(|line| println!("other: {line}"));
    score.survivors.iter().for_each(|line| println!("survived: {line}"));
    println!("not applicable anywhere: {idle:?}");
    assert!(names.len() >= 120, "{} mutants", names.len());
    assert!(score.survivors.is_empty(), "{} survivors", score.survivors.len());
    assert!(score.others.is_empty(), "{} caught by an unexpected rule only", score.others.len());
    assert!(idle.is_empty(), "{idle:?} are not applicable to any log");
    score.messages.assert_known(&logs);
}
