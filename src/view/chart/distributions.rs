//! The charts of distributions, and where the time of requests goes.

use crate::view::Picture;
use crate::view::chart::over_time::{DECODE, PREEMPTED, PREFILL, WAITING};
use crate::view::chart::{Axis, Body, Chart, Curve, Scale, Shares, Unit, color};
use crate::view::collect::{Distribution, PHASES};
use crate::view::draw::{duration, grouped};

/// Bars of a histogram, about.
const BARS: f64 = 60.0;
/// Quantiles that are marked.
const MARKED: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

pub(super) fn charts(picture: &Picture) -> Vec<Chart> {
    vec![
        histogram(
            ("ttft-distribution", "Time to first token", "time to first token"),
            &picture.ttft,
            color::BLUE,
        ),
        histogram(
            ("tpot-distribution", "Time per output token", "time per output token"),
            &picture.tpot,
            color::GREEN,
        ),
        histogram(
            ("e2e-distribution", "End-to-end latency", "end-to-end latency"),
            &picture.e2e,
            color::PURPLE,
        ),
        cumulative(picture),
        breakdown(picture),
    ]
}

fn requests(count: u64) -> String {
    match count {
        1 => "1 finished request".to_owned(),
        count => format!("{} finished requests", grouped(count as f64)),
    }
}

/// The samples' range, in positive numbers a little wider than they are.
pub(super) fn range(distributions: &[&Distribution]) -> (f64, f64) {
    let bins = || distributions.iter().flat_map(|distribution| distribution.bins());
    let low = bins().map(|(from, ..)| from.max(1.0)).fold(f64::INFINITY, f64::min);
    let high = bins().map(|(_, below, _)| below).fold(0.0, f64::max);
    if high <= 0.0 {
        return (1e6, 1e9);
    }
    let (low, high) = (low * 0.9, high * 1.1);
    // A single value still needs an axis.
    if high < low * 2.0 { (low / 1.6, high * 1.6) } else { (low, high) }
}

pub(super) fn time_axis(label: &str, (from, to): (f64, f64)) -> Axis {
    Axis { label: label.to_owned(), unit: Unit::Nanos, log: true, from, to }
}

fn histogram(
    (name, title, label): (&'static str, &'static str, &str),
    distribution: &Distribution,
    color: &'static str,
) -> Chart {
    let (from, to) = range(&[distribution]);
    let step = libm::pow(to / from, 1.0 / BARS);
    let mut bars: Vec<(f64, f64, f64)> = Vec::new();
    let mut edge = from;
    let mut bins = distribution.bins().peekable();
    while edge < to {
        let next = edge * step;
        let mut count = 0;
        while let Some((low, high, samples)) = bins.peek().copied() {
            if (low + high) / 2.0 >= next && next < to {
                break;
            }
            count += samples;
            bins.next();
        }
        if count > 0 {
            bars.push((edge, next.min(to), count as f64));
        }
        edge = next;
    }
    let highest = bars.iter().map(|bar| bar.2).fold(1.0, f64::max);
    let lines: Vec<_> = MARKED
        .iter()
        .filter_map(|(name, q)| {
            let at = distribution.quantile(*q)?;
            Some((at.clamp(from, to), format!("{name} {}", duration(at))))
        })
        .collect();
    let caption = match distribution.mean() {
        Some(mean) => {
            let requests = requests(distribution.count());
            format!("{requests}, mean {}", duration(mean))
        }
        None => "no finished request has one".to_owned(),
    };
    let y = Axis {
        label: "requests".to_owned(),
        unit: Unit::Count,
        log: false,
        from: 0.0,
        to: highest * 1.12,
    };
    let body = Body::Bars { bars, color, lines };
    Chart { name, title, caption, x: time_axis(label, (from, to)), y, body }
}

fn cumulative(picture: &Picture) -> Chart {
    let kinds = [
        ("time per output token", &picture.tpot, color::GREEN),
        ("time to first token", &picture.ttft, color::BLUE),
        ("end-to-end latency", &picture.e2e, color::PURPLE),
    ];
    let curves = kinds
        .iter()
        .filter(|(_, distribution, _)| distribution.count() > 0)
        .map(|(name, distribution, color)| Curve {
            name: (*name).to_owned(),
            color,
            width: 2.2,
            dashed: false,
            points: distribution.cumulative(),
            low: Vec::new(),
            high: Vec::new(),
        })
        .collect();
    Chart {
        name: "latency-cdf",
        title: "Cumulative latencies",
        caption: "share of the finished requests that took at most so long".to_owned(),
        x: time_axis("latency", range(&kinds.map(|kind| kind.1))),
        y: Axis {
            label: "requests".to_owned(),
            unit: Unit::Percent,
            log: false,
            from: 0.0,
            to: 103.0,
        },
        body: Body::Curves { curves, scale: Scale::Shares },
    }
}

fn breakdown(picture: &Picture) -> Chart {
    let rows: Vec<_> = picture
        .bands
        .iter()
        .filter(|band| band.requests > 0)
        .map(|band| {
            let parts: Vec<_> =
                band.phases.iter().map(|phase| phase / band.requests as f64).collect();

            let total = duration(parts.iter().sum());
            let note = match band.requests {
                1 => format!("{total} (1 request)"),
                count => format!("{total} ({} requests)", grouped(count as f64)),
            };
            Shares { name: band.name.to_owned(), note, parts }
        })
        .collect();
    let widest = rows.iter().map(|row| row.parts.iter().sum()).fold(0.0, f64::max);
    let colors = [WAITING, PREFILL, DECODE, PREEMPTED];
    let parts = PHASES.iter().zip(colors).map(|((_, name), color)| (*name, color)).collect();
    Chart {
        name: "state-time",
        title: "Where the time of requests goes",
        caption: "mean time per finished request in each phase, by how long the requests took"
            .to_owned(),
        x: Axis {
            label: "mean time per request".to_owned(),
            unit: Unit::Nanos,
            log: false,
            from: 0.0,
            to: if widest > 0.0 { widest * 1.25 } else { 1e9 },
        },
        y: Axis {
            label: String::new(),
            unit: Unit::Count,
            log: false,
            from: 0.0,
            to: rows.len().max(1) as f64,
        },
        body: Body::Shares { parts, rows },
    }
}
