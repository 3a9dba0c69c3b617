//! Runs side by side: figures, ratios and how sure they are, and which settings differ.

pub mod bootstrap;
mod figures;
mod settings;
mod text;

pub use figures::Better;
pub use settings::{Difference, differences};
pub use text::to_text;

use std::path::PathBuf;

use serde::Serialize;

use crate::analyze::{Analysis, AnalyzeOptions, LatencySamples, Measure, Slo, read_log};
use crate::compare::bootstrap::{Interval, Resampled, Statistic};
use crate::compare::figures::{LATENCIES, RUN};
use crate::log::reader::{LogDir, LogDirError};

/// The version of the form.
pub const COMPARE_SCHEMA: &str = "schedlog.compare/1";

/// How runs are compared.
#[derive(Clone, Copy, Debug)]
pub struct CompareOptions {
    /// Objectives to measure against.
    pub slo: Option<Slo>,
    /// The seed of the resampling.
    pub seed: u64,
    /// How many resamples are drawn; 0 gives no intervals.
    pub resamples: usize,
}

/// Runs side by side: `schedlog.compare/1`. The first run is the base of the ratios.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The version of this form.
    pub schema: &'static str,
    /// The seed of the resampling.
    pub seed: u64,
    /// How many resamples were drawn.
    pub resamples: usize,
    /// The runs.
    pub runs: Vec<Run>,
    /// Settings in run.json that are not the same in all runs.
    pub settings: Vec<Difference>,
    /// The figures.
    pub figures: Vec<Figure>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// A, B, C, …
    pub name: String,
    /// Its directory, as it was given.
    pub directory: String,
    /// Whether there is a readable run.json.
    pub tells_settings: bool,
    /// Requests in the log.
    pub requests: u64,
    /// What its log does not allow to say.
    pub cannot_say: Vec<String>,
}

/// One figure of all runs.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Its name.
    pub figure: String,
    /// Its unit; empty for numbers of things.
    pub unit: &'static str,
    /// Whether it is a number of things, which is whole.
    #[serde(skip)]
    pub is_count: bool,
    /// Which way it is better.
    pub better: Better,
    /// Per run.
    pub values: Vec<Value>,
    /// Per run after the first: its value / the first run's.
    pub ratios: Vec<Ratio>,
}

/// A figure of one run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Value {
    /// The figure; null if undefined.
    pub value: Option<f64>,
    /// Its 95 % interval; null for a figure of the whole run, or where samples are too few.
    pub interval: Option<Interval>,
}

/// A figure of a run in proportion to the first run's.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ratio {
    /// The ratio; null if undefined.
    pub ratio: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<Interval>,
    /// What the interval says.
    pub verdict: Verdict,
}

/// What a ratio's interval says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// There is no interval.
    Untold,
    /// The interval has 1: the runs may be the same.
    Same,
    /// The interval does not have 1, and the run is better.
    Better,
    /// The interval does not have 1, and the run is worse.
    Worse,
}

/// A run with what was measured.
struct Measured {
    analysis: Analysis,
    samples: LatencySamples,
}

/// Compares the runs in these directories.
///
/// # Errors
/// If a directory is not a log or a file in it cannot be opened.
pub fn compare_dirs(
    directories: &[PathBuf],
    options: &CompareOptions,
) -> Result<Comparison, LogDirError> {
    let mut measured = Vec::with_capacity(directories.len());
    let mut infos = Vec::with_capacity(directories.len());
    for directory in directories {
        infos.push(LogDir::open(directory)?.run_info);
        let mut measure = Measure::new(&AnalyzeOptions { slo: options.slo, series_buckets: 0 });
        let log = read_log(directory, &mut [&mut measure])?;
        let samples = measure.finished().clone();
        measured.push(Measured { analysis: measure.analysis(log), samples });
    }
    let run = |(index, directory): (usize, &PathBuf)| Run {
        name: name(index),
        directory: directory.display().to_string(),
        tells_settings: infos[index].is_some(),
        requests: measured[index].analysis.requests.total,
        cannot_say: measured[index].analysis.log.cannot_say.clone(),
    };
    let mut figures = latencies(&measured, options);
    figures.extend(whole_runs(&measured));
    Ok(Comparison {
        schema: COMPARE_SCHEMA,
        seed: options.seed,
        resamples: options.resamples,
        runs: directories.iter().enumerate().map(run).collect(),
        settings: differences(&infos),
        figures,
    })
}

/// A, B, … Z, then the number.
fn name(index: usize) -> String {
    match u8::try_from(index) {
        Ok(letter) if letter < 26 => char::from(b'A' + letter).to_string(),
        _ => format!("#{}", index + 1),
    }
}

fn latencies(runs: &[Measured], options: &CompareOptions) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (latency, figure) in LATENCIES.iter().enumerate() {
        let samples: Vec<_> = runs.iter().map(|run| (figure.samples)(&run.samples)).collect();
        // Each latency of each run has its own stream, so that no run's depends on the others.
        let stream = |run: usize| (run * LATENCIES.len() + latency) as u64;
        let resampled: Vec<_> = samples
            .iter()
            .enumerate()
            .map(|(run, samples)| {
                Resampled::of(samples, options.resamples, options.seed, stream(run))
            })
            .collect();
        for (index, statistic) in Statistic::ALL.into_iter().enumerate() {
            let value = |run: usize| Value {
                value: statistic.of(samples[run]).map(|nanos| nanos / 1e6),
                interval: resampled[run].interval(index).map(milliseconds),
            };
            let values: Vec<_> = (0..runs.len()).map(value).collect();
            let ratio = |run: usize| {
                let interval = resampled[run].ratio(&resampled[0], index);
                proportion(&values, run, interval, Better::Lower)
            };
            figures.push(Figure {
                figure: format!("{} {}", figure.name, statistic.name()),
                unit: "ms",
                is_count: false,
                better: Better::Lower,
                ratios: (1..runs.len()).map(ratio).collect(),
                values,
            });
        }
    }
    figures
}

fn milliseconds(interval: Interval) -> Interval {
    Interval { low: interval.low / 1e6, high: interval.high / 1e6 }
}

fn whole_runs(runs: &[Measured]) -> Vec<Figure> {
    let figure = |figure: &figures::RunFigure| {
        let value = |run: &Measured| Value { value: (figure.value)(&run.analysis), interval: None };
        let values: Vec<_> = runs.iter().map(value).collect();
        let ratio = |run| proportion(&values, run, None, figure.better);
        let told = values.iter().any(|value| value.value.is_some());
        told.then(|| Figure {
            figure: figure.name.to_owned(),
            unit: figure.unit,
            is_count: figure.is_count,
            better: figure.better,
            ratios: (1..runs.len()).map(ratio).collect(),
            values: values.clone(),
        })
    };
    RUN.iter().filter_map(figure).collect()
}

fn proportion(values: &[Value], run: usize, interval: Option<Interval>, better: Better) -> Ratio {
    let base = values[0].value.filter(|base| *base > 0.0);
    let ratio = values[run].value.zip(base).map(|(value, base)| value / base);
    let verdict = match interval {
        None => Verdict::Untold,
        Some(Interval { low, high }) if low <= 1.0 && high >= 1.0 => Verdict::Same,
        Some(Interval { low, .. }) if (low > 1.0) == (better == Better::Higher) => Verdict::Better,
        Some(_) => Verdict::Worse,
    };
    Ratio { ratio, interval, verdict }
}
