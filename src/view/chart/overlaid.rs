//! The charts of several runs, one over the other: a colour per run.

use std::collections::BTreeMap;

use crate::view::Picture;
use crate::view::chart::distributions::{range, time_axis};
use crate::view::chart::over_time::{DECODE, PREEMPTED, PREFILL, WAITING};
use crate::view::chart::{Axis, Body, Chart, Curve, Scale, Shares, Unit, color};
use crate::view::collect::{Distribution, Metric, PHASES, Point};
use crate::view::draw::{duration, grouped};

/// The colours of the runs; past them come dashed lines.
const RUN_COLORS: [&str; 8] = [
    color::BLUE,
    color::ORANGE,
    color::GREEN,
    color::RED,
    color::PURPLE,
    color::SKY,
    color::YELLOW,
    color::GREY,
];
/// How many runs can be told apart in one chart.
pub const MOST_RUNS: usize = 2 * RUN_COLORS.len();
/// Bars of a histogram, about: fewer than of one run, so that outlines stay apart.
const BARS: f64 = 40.0;
/// Points of a line over time, about.
const POINTS: usize = 320;
/// Windows over which a throughput is a mean, at most.
const WINDOWS: usize = 150;

/// A run with the name that it has in the legend.
#[derive(Debug)]
pub struct NamedPicture {
    /// What the legend calls it.
    pub name: String,
    /// What is shown of it.
    pub picture: Picture,
}

/// Every chart of several runs, at most [`MOST_RUNS`] of which can be told apart. The runs begin at
/// the same place: where their first step does.
#[must_use]
pub fn overlaid(runs: &[NamedPicture]) -> Vec<Chart> {
    let mut charts: Vec<_> = TRACKS.iter().map(|track| over_time(track, runs)).collect();
    for latency in &LATENCIES {
        charts.push(histogram(latency, runs));
        charts.push(cumulative(latency, runs));
    }
    charts.push(breakdown(runs));
    charts
}

/// A quantity over time.
struct Track {
    name: &'static str,
    title: &'static str,
    caption: &'static str,
    label: &'static str,
    unit: Unit,
    of: Of,
}

/// How a quantity comes from the points of a run.
enum Of {
    /// Lowest, mean and highest value of a step.
    Steps(Metric),
    /// The same, in proportion to the blocks of the cache.
    CacheShare(Metric),
    /// The sum per second.
    Rate(Metric),
    /// The sum so far.
    SoFar(Metric),
}

const TRACKS: [Track; 8] = [
    Track {
        name: "batch-size",
        title: "Batch size",
        caption: "requests with a token scheduled, per step",
        label: "requests",
        unit: Unit::Count,
        of: Of::Steps(Metric::Batch),
    },
    Track {
        name: "tokens-per-iteration",
        title: "Tokens per iteration",
        caption: "tokens scheduled per iteration, prefill and decode",
        label: "tokens",
        unit: Unit::Count,
        of: Of::Steps(Metric::Tokens),
    },
    Track {
        name: "token-throughput",
        title: "Token throughput",
        caption: "tokens scheduled per second, prefill and decode",
        label: "tokens per second",
        unit: Unit::Count,
        of: Of::Rate(Metric::Tokens),
    },
    Track {
        name: "kv-utilisation",
        title: "KV cache utilisation",
        caption: "blocks referenced by a request, of those of the run",
        label: "blocks in use",
        unit: Unit::Percent,
        of: Of::CacheShare(Metric::KvUsed),
    },
    Track {
        name: "running-queue",
        title: "Running queue",
        caption: "length of the running queue when the step was decided",
        label: "requests",
        unit: Unit::Count,
        of: Of::Steps(Metric::Running),
    },
    Track {
        name: "waiting-queue",
        title: "Waiting queue",
        caption: "waiting and preempted requests when the step was decided",
        label: "requests",
        unit: Unit::Count,
        of: Of::Steps(Metric::Waiting),
    },
    Track {
        name: "preemptions",
        title: "Preemptions",
        caption: "preemptions since the start of the run",
        label: "preemptions",
        unit: Unit::Count,
        of: Of::SoFar(Metric::Preempted),
    },
    Track {
        name: "iteration-duration",
        title: "Iteration duration",
        caption: "from the start of a step to its end",
        label: "duration",
        unit: Unit::Nanos,
        of: Of::Steps(Metric::Duration),
    },
];

/// A latency of the requests.
struct Latency {
    distribution: &'static str,
    cdf: &'static str,
    title: &'static str,
    cdf_title: &'static str,
    label: &'static str,
    of: fn(&Picture) -> &Distribution,
}

const LATENCIES: [Latency; 3] = [
    Latency {
        distribution: "ttft-distribution",
        cdf: "ttft-cdf",
        title: "Time to first token",
        cdf_title: "Time to first token, cumulative",
        label: "time to first token",
        of: |picture| &picture.ttft,
    },
    Latency {
        distribution: "tpot-distribution",
        cdf: "tpot-cdf",
        title: "Time per output token",
        cdf_title: "Time per output token, cumulative",
        label: "time per output token",
        of: |picture| &picture.tpot,
    },
    Latency {
        distribution: "e2e-distribution",
        cdf: "e2e-cdf",
        title: "End-to-end latency",
        cdf_title: "End-to-end latency, cumulative",
        label: "end-to-end latency",
        of: |picture| &picture.e2e,
    },
];

/// A curve of a run in its colour.
fn curve(index: usize, runs: &[NamedPicture], name: String) -> Curve {
    // Where runs agree, the wider line is seen beneath the one above it.
    let above = runs.len() - 1 - index;

    Curve {
        name,
        color: RUN_COLORS[index % RUN_COLORS.len()],
        width: 1.8 + 1.6 * above.min(3) as f64,
        dashed: index >= RUN_COLORS.len(),
        points: Vec::new(),
        low: Vec::new(),
        high: Vec::new(),
    }
}

fn over_time(track: &Track, runs: &[NamedPicture]) -> Chart {
    let mut curves = Vec::new();
    let (mut end, mut top, mut merged) = (0.0_f64, 0.0_f64, false);
    for (index, run) in runs.iter().enumerate() {
        let points = reduced(run, if matches!(track.of, Of::Rate(_)) { WINDOWS } else { POINTS });
        let (Some(first), Some(last)) = (points.first(), points.last()) else { continue };
        let (start, finish) = (first.start, last.end);
        let mut line = curve(index, runs, run.name.clone());
        let kv = 100.0 / run.picture.kv_total.max(1) as f64;
        let mut so_far = 0.0;
        for point in &points {
            let seconds = (point.end.saturating_sub(point.start)) as f64 / 1e9;
            let at = point.start.saturating_sub(start) as f64;
            let mut steps = |metric: &Metric, factor: f64| {
                let stat = point.stat(*metric as usize);
                line.low.push((at, stat.min * factor));
                line.high.push((at, stat.max * factor));
                point.mean(*metric as usize) * factor
            };
            let value = match &track.of {
                Of::Steps(metric) => steps(metric, 1.0),
                Of::CacheShare(metric) => steps(metric, kv),
                Of::Rate(_) if seconds <= 0.0 => 0.0,
                Of::Rate(metric) => point.stat(*metric as usize).sum / seconds,
                Of::SoFar(metric) => {
                    so_far += point.stat(*metric as usize).sum;
                    so_far
                }
            };
            line.points.push((at, value));
            merged |= point.steps > 1;
        }
        let over = finish.saturating_sub(start) as f64;
        for edges in [&mut line.points, &mut line.low, &mut line.high] {
            edges.extend(edges.last().copied().map(|(_, value)| (over, value)));
        }
        if line.low.iter().zip(&line.high).all(|(low, high)| low == high) {
            line.low.clear();
            line.high.clear();
        }
        end = end.max(over);
        top = line.points.iter().chain(&line.high).map(|point| point.1).fold(top, f64::max);
        curves.push(line);
    }
    let mut caption = track.caption.to_owned();
    if merged && matches!(track.of, Of::Steps(_) | Of::CacheShare(_)) {
        caption.push_str("; line: mean over time, band: lowest to highest step");
    }
    let mut top = if top > 0.0 { top * 1.06 } else { 1.0 };
    if matches!(track.of, Of::CacheShare(_)) {
        top = top.max(104.0);
    }
    let x = Axis {
        label: "time since the first step".to_owned(),
        unit: Unit::Nanos,
        log: false,
        from: 0.0,
        to: end.max(1.0),
    };
    let y =
        Axis { label: track.label.to_owned(), unit: track.unit, log: false, from: 0.0, to: top };
    let body = Body::Curves { curves, scale: Scale::Values };
    Chart { name: track.name, title: track.title, caption, x, y, body }
}

fn reduced(run: &NamedPicture, count: usize) -> Vec<Point> {
    let tracks = &run.picture.tracks;
    if tracks.points().len() > count { tracks.reduced(count) } else { tracks.points().to_vec() }
}

fn latencies(latency: &Latency, runs: &[NamedPicture]) -> (f64, f64) {
    range(&runs.iter().map(|run| (latency.of)(&run.picture)).collect::<Vec<_>>())
}

/// What a run is called where its requests are counted.
fn counted(run: &NamedPicture, distribution: &Distribution) -> String {
    format!("{} ({})", run.name, grouped(distribution.count() as f64))
}

/// Outlines over the same bars; in shares, as runs may have different numbers of requests.
fn histogram(latency: &Latency, runs: &[NamedPicture]) -> Chart {
    let (from, to) = latencies(latency, runs);
    let step = libm::pow(to / from, 1.0 / BARS);
    let edge =
        |bar: i32| if bar >= BARS as i32 { to } else { from * libm::pow(step, f64::from(bar)) };
    let (mut curves, mut top) = (Vec::new(), 0.0_f64);
    for (index, run) in runs.iter().enumerate() {
        let distribution = (latency.of)(&run.picture);
        if distribution.count() == 0 {
            continue;
        }
        let mut bars: BTreeMap<i32, u64> = BTreeMap::new();
        for (low, high, samples) in distribution.bins() {
            let middle = ((low + high) / 2.0).clamp(from, to);
            let bar = (libm::log(middle / from) / libm::log(step)).floor() as i32;
            *bars.entry(bar.clamp(0, BARS as i32 - 1)).or_default() += samples;
        }
        let mut line = curve(index, runs, counted(run, distribution));
        for bar in 0..BARS as i32 {
            let samples = bars.get(&bar).copied().unwrap_or(0) as f64;
            line.points.push((edge(bar), samples / distribution.count() as f64 * 100.0));
        }
        line.points.extend(line.points.last().map(|(_, share)| (to, *share)));
        line.low = line.points.iter().map(|(at, _)| (*at, 0.0)).collect();
        line.high.clone_from(&line.points);
        top = line.points.iter().map(|point| point.1).fold(top, f64::max);
        curves.push(line);
    }
    Chart {
        name: latency.distribution,
        title: latency.title,
        caption: "share of the finished requests, in bars of equal ratio".to_owned(),
        x: time_axis(latency.label, (from, to)),
        y: percent(if top > 0.0 { top * 1.12 } else { 1.0 }),
        body: Body::Curves { curves, scale: Scale::Values },
    }
}

fn percent(to: f64) -> Axis {
    Axis { label: "requests".to_owned(), unit: Unit::Percent, log: false, from: 0.0, to }
}

fn cumulative(latency: &Latency, runs: &[NamedPicture]) -> Chart {
    let mut curves = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        let distribution = (latency.of)(&run.picture);
        if distribution.count() > 0 {
            let mut line = curve(index, runs, counted(run, distribution));
            line.points = distribution.cumulative();
            curves.push(line);
        }
    }
    Chart {
        name: latency.cdf,
        title: latency.cdf_title,
        caption: "share of the finished requests that took at most so long".to_owned(),
        x: time_axis(latency.label, latencies(latency, runs)),
        y: percent(103.0),
        body: Body::Curves { curves, scale: Scale::Shares },
    }
}

/// A bar per run, of all its finished requests.
fn breakdown(runs: &[NamedPicture]) -> Chart {
    let bands = runs.iter().filter_map(|run| Some((run, run.picture.bands.first()?)));
    let rows: Vec<_> = bands
        .filter(|(_, band)| band.requests > 0)
        .map(|(run, band)| {
            let parts: Vec<_> =
                band.phases.iter().map(|phase| phase / band.requests as f64).collect();
            let note =
                format!("{} ({})", duration(parts.iter().sum()), grouped(band.requests as f64));
            Shares { name: run.name.clone(), note, parts }
        })
        .collect();
    let widest = rows.iter().map(|row| row.parts.iter().sum()).fold(0.0, f64::max);
    let colors = [WAITING, PREFILL, DECODE, PREEMPTED];
    let axis =
        |label: &str, unit, to| Axis { label: label.to_owned(), unit, log: false, from: 0.0, to };
    Chart {
        name: "state-time",
        title: "Where the time of requests goes",
        caption: "mean time per finished request in each phase".to_owned(),
        x: axis(
            "mean time per request",
            Unit::Nanos,
            if widest > 0.0 { widest * 1.25 } else { 1e9 },
        ),
        y: axis("", Unit::Count, rows.len().max(1) as f64),
        body: Body::Shares {
            parts: PHASES.iter().zip(colors).map(|((_, name), color)| (*name, color)).collect(),
            rows,
        },
    }
}
