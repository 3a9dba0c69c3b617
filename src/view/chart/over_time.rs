//! The charts over time.

use crate::log::values::WaitingReason;
use crate::view::Picture;
use crate::view::chart::{Axis, Body, Chart, Style, TimeSeries, Unit, color};
use crate::view::collect::{Metric, Point};

/// The colour of a state wherever states are drawn: queueing or waiting.
pub(super) const WAITING: &str = color::YELLOW;
/// Running, before the first token.
pub(super) const PREFILL: &str = color::BLUE;
/// Running, after the first token.
pub(super) const DECODE: &str = color::GREEN;
/// Preempted.
pub(super) const PREEMPTED: &str = color::RED;

const REASON_COLORS: [&str; 8] = [
    color::BLUE,
    color::ORANGE,
    color::RED,
    color::PURPLE,
    color::GREEN,
    color::YELLOW,
    color::SKY,
    color::GREY,
];

/// Windows over which a throughput is a mean, at most.
const WINDOWS: usize = 300;

struct Times {
    points: Vec<Point>,
    edges: Vec<f64>,
    steps_per_point: bool,
}

pub(super) fn charts(picture: &Picture, count: usize) -> Vec<Chart> {
    let times = Times::of(picture, count);
    vec![
        batch(&times),
        tokens(&times),
        throughput(&Times::of(picture, count.min(WINDOWS))),
        kv(&times, picture),
        queues(&times),
        reasons(&times),
        durations(&times),
    ]
}

impl Times {
    fn of(picture: &Picture, count: usize) -> Self {
        let points = if picture.tracks.points().len() > count {
            picture.tracks.reduced(count)
        } else {
            picture.tracks.points().to_vec()
        };
        let mut edges: Vec<f64> = points.iter().map(|point| point.start as f64).collect();
        edges.extend(points.last().map(|point| point.end as f64));
        let steps_per_point = points.iter().any(|point| point.steps > 1);
        Self { points, edges, steps_per_point }
    }

    fn values(&self, value: impl Fn(&Point) -> f64) -> Vec<f64> {
        self.points.iter().map(value).collect()
    }

    fn series(
        &self,
        name: &str,
        color: &'static str,
        style: Style,
        metric: usize,
        factor: f64,
    ) -> TimeSeries {
        let wanted = |wanted: bool, value: &dyn Fn(&Point) -> f64| {
            if wanted { self.values(|point| value(point) * factor) } else { Vec::new() }
        };
        TimeSeries {
            name: name.to_owned(),
            color,
            style,
            min: wanted(style == Style::Band, &|point| point.stat(metric).min),
            mean: wanted(style != Style::Peak, &|point| point.mean(metric)),
            max: wanted(style != Style::Stack, &|point| point.stat(metric).max),
        }
    }

    fn band(&self, name: &str, color: &'static str, metric: Metric) -> TimeSeries {
        self.series(name, color, Style::Band, metric as usize, 1.0)
    }

    fn x(&self) -> Axis {
        let to = self.edges.last().copied().unwrap_or(1.0);
        let from = self.edges.first().copied().unwrap_or(0.0);
        // A run begins a moment after the scheduler did.
        let from = if from < 0.1 * to { 0.0 } else { from };
        let label = "time since the start".to_owned();
        Axis { label, unit: Unit::Nanos, log: false, from, to: to.max(from + 1.0) }
    }

    /// Says how to read a line, where a point holds several steps.
    fn caption(&self, text: &str) -> String {
        if self.steps_per_point {
            format!("{text}; line: mean over time, band: lowest to highest step")
        } else {
            text.to_owned()
        }
    }

    fn chart(
        &self,
        (name, title): (&'static str, &'static str),
        caption: String,
        y: (&str, Unit),
        series: Vec<TimeSeries>,
    ) -> Chart {
        let top = top(&series);
        let y = Axis { label: y.0.to_owned(), unit: y.1, log: false, from: 0.0, to: top };
        let times = self.edges.clone();
        let body = Body::Time { times, series, marks: Vec::new(), marks_name: "" };
        Chart { name, title, caption, x: self.x(), y, body }
    }
}

/// A little above the highest value that is drawn.
fn top(series: &[TimeSeries]) -> f64 {
    let single = series
        .iter()
        .filter(|series| series.style != Style::Stack)
        .flat_map(|series| series.max.iter().copied())
        .fold(0.0, f64::max);
    let stacked: Vec<_> = series.iter().filter(|series| series.style == Style::Stack).collect();
    let count = stacked.first().map_or(0, |series| series.mean.len());
    let sums = (0..count).map(|index| stacked.iter().map(|series| series.mean[index]).sum());
    let highest: f64 = sums.fold(single, f64::max);
    if highest > 0.0 { highest * 1.06 } else { 1.0 }
}

fn batch(times: &Times) -> Chart {
    let caption = times.caption("requests with a token scheduled, per step");
    let series = vec![times.band("batch size", color::BLUE, Metric::Batch)];
    times.chart(("batch-size", "Batch size"), caption, ("requests", Unit::Count), series)
}

fn tokens(times: &Times) -> Chart {
    let names = ("tokens-per-iteration", "Tokens per iteration");
    let prefill = "prefill (recomputation included)";
    let about = "tokens scheduled per iteration, by phase";
    if times.steps_per_point {
        // A step with a prompt has a hundred times the tokens of one without.
        let series = vec![
            times.band(prefill, PREFILL, Metric::Prefill),
            times.band("decode", DECODE, Metric::Decode),
        ];
        let caption = format!("{}; logarithmic scale", times.caption(about));
        let mut chart = times.chart(names, caption, ("tokens", Unit::Count), series);
        (chart.y.log, chart.y.from, chart.y.to) = (true, 0.7, chart.y.to.max(10.0) * 1.2);
        return chart;
    }
    let stack = |name, color, metric| times.series(name, color, Style::Stack, metric as usize, 1.0);
    let series =
        vec![stack("decode", DECODE, Metric::Decode), stack(prefill, PREFILL, Metric::Prefill)];
    times.chart(names, about.to_owned(), ("tokens", Unit::Count), series)
}

fn throughput(times: &Times) -> Chart {
    let rate = |name: &str, color, metric: Metric| {
        let per_second = |point: &Point| {
            let seconds = point.end.saturating_sub(point.start) as f64 / 1e9;
            if seconds > 0.0 { point.stat(metric as usize).sum / seconds } else { 0.0 }
        };
        let mean = times.values(per_second);
        let (min, max) = (Vec::new(), Vec::new());
        TimeSeries { name: name.to_owned(), color, style: Style::Stack, min, mean, max }
    };
    let series = vec![
        rate("decode", DECODE, Metric::Decode),
        rate("prefill (recomputation included)", PREFILL, Metric::Prefill),
    ];
    let caption = "tokens scheduled per second, by phase".to_owned();
    let names = ("token-throughput", "Token throughput");
    times.chart(names, caption, ("tokens per second", Unit::Count), series)
}

fn kv(times: &Times, picture: &Picture) -> Chart {
    let factor = 100.0 / (picture.kv_total.max(1) as f64);
    let metric = Metric::KvUsed as usize;
    let series = vec![times.series("blocks in use", color::PURPLE, Style::Band, metric, factor)];
    let about = format!(
        "blocks referenced by a request, of {}",
        crate::view::draw::grouped(picture.kv_total as f64)
    );
    let names = ("kv-utilisation", "KV cache utilisation");
    let caption = times.caption(&about);
    let mut chart = times.chart(names, caption, ("blocks in use", Unit::Percent), series);
    chart.y.to = 104.0_f64.max(chart.y.to);
    if let Body::Time { marks, marks_name, .. } = &mut chart.body {
        *marks_name = "preemptions";
        let preempted = |point: &Point| point.stat(Metric::Preempted as usize).sum;
        let preempting = times.points.iter().filter(|point| preempted(point) > 0.0);
        marks.extend(preempting.map(|point| (point.start as f64, preempted(point))));
    }
    chart
}

fn queues(times: &Times) -> Chart {
    let series = vec![
        times.band("running", DECODE, Metric::Running),
        times.band("waiting (preempted included)", WAITING, Metric::Waiting),
    ];
    let caption = times.caption("lengths of the queues when the step was decided");
    times.chart(("queue-lengths", "Queue lengths"), caption, ("requests", Unit::Count), series)
}

fn reasons(times: &Times) -> Chart {
    let seen = |reason: &&WaitingReason| {
        let metric = Metric::reason(**reason);
        times.points.iter().any(|point| point.stat(metric).max > 0.0)
    };
    let mut series: Vec<_> = WaitingReason::ALL
        .iter()
        .filter(seen)
        .zip(REASON_COLORS.iter().cycle())
        .map(|(reason, color)| {
            let metric = Metric::reason(*reason);
            times.series(reason.as_str(), color, Style::Stack, metric, 1.0)
        })
        .collect();
    let mut caption = "requests kept out of a step, by the constraint that did it".to_owned();
    if series.is_empty() {
        caption = "the log names no reason for which a request waited".to_owned();
    } else if times.steps_per_point {
        caption.push_str("; areas: mean over time, grey: the longest queue");
        let peak = Metric::Waiting as usize;
        series.push(times.series("longest queue", color::GREY, Style::Peak, peak, 1.0));
    }
    let names = ("waiting-reasons", "Why requests wait");
    times.chart(names, caption, ("requests", Unit::Count), series)
}

fn durations(times: &Times) -> Chart {
    let series = vec![times.band("duration of a step", color::ORANGE, Metric::Duration)];
    let caption = times.caption("from the start of a step to its end");
    let names = ("iteration-duration", "Iteration duration");
    times.chart(names, caption, ("duration", Unit::Nanos), series)
}
