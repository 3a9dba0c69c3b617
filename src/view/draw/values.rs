//! What stands between the axes.

use crate::view::chart::{Body, Chart, Curve, Scale, Shares, Style, TimeSeries, color};
use crate::view::draw::frame::{Frame, INK, Key, SOFT};
use crate::view::draw::shapes::{Anchor, Drawing, text_width};
use crate::view::draw::{HEIGHT, WIDTH};

/// Steps of a line of means, about.
const MEANS: usize = 320;

pub(super) fn draw(chart: &Chart) -> Drawing {
    let mut out = Drawing { width: WIDTH, height: HEIGHT, shapes: Vec::new() };
    let keys = keys(&chart.body);
    let mut frame = Frame::of(chart, &keys);
    if let Body::Shares { rows, .. } = &chart.body {
        // The names of the bars stand on their left.
        let widest = rows.iter().map(|row| text_width(&row.name, 15.0)).fold(0.0, f64::max);
        frame.left = (widest + 40.0).clamp(170.0, 480.0);
    } else {
        frame.y_axis(&mut out);
    }
    frame.x_axis(&mut out);
    frame.head(chart, &keys, &mut out);
    match &chart.body {
        Body::Time { times, series, marks, .. } => {
            over_time(&frame, times, series, &mut out);
            let most = marks.iter().map(|mark| mark.1).fold(0.0, f64::max);
            for (at, count) in marks {
                let corner = (frame.px(*at) - 0.8, frame.bottom - 14.0);
                out.rect(corner, (1.6, 14.0), color::RED, 0.1 + 0.9 * (count / most).sqrt());
            }
            if series.is_empty() || times.len() < 2 {
                frame.nothing("nothing to show", &mut out);
            }
        }
        Body::Bars { bars, color, lines } => bars_and_lines(&frame, bars, color, lines, &mut out),
        Body::Curves { curves, scale } => draw_curves(&frame, curves, *scale, &mut out),
        Body::Shares { parts, rows } => shares(&frame, parts, rows, &mut out),
    }
    frame.border(&mut out);
    out
}

fn keys(body: &Body) -> Vec<Key> {
    let key = |name: &str, color, thin| Key { name: name.to_owned(), color, thin, dashed: false };
    match body {
        Body::Time { series, marks, marks_name, .. } => {
            let mut keys: Vec<_> = series
                .iter()
                .map(|series| key(&series.name, series.color, series.style == Style::Peak))
                .collect();
            if !marks.is_empty() {
                keys.push(key(marks_name, color::RED, true));
            }
            keys
        }
        Body::Bars { .. } => Vec::new(),
        Body::Curves { curves, .. } => {
            let key = |curve: &Curve| Key {
                dashed: curve.dashed,
                ..key(&curve.name, curve.color, false)
            };
            curves.iter().map(key).collect()
        }
        Body::Shares { parts, .. } => {
            parts.iter().map(|(name, color)| key(name, color, false)).collect()
        }
    }
}

/// The corners of a line that keeps each value until the next point.
fn stairs(frame: &Frame, times: &[f64], values: &[f64]) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(values.len() * 2);
    for (edges, value) in times.windows(2).zip(values) {
        let y = frame.py(*value);
        let x = frame.px(edges[0]);
        match points.as_slice() {
            // A value that goes on only moves the end of its line.
            [.., before, last] if before.1 == y && last.1 == y => {
                points.pop();
            }
            _ => points.push((x, y)),
        }
        points.push((frame.px(edges[1]), y));
    }
    points
}

fn between(upper: Vec<(f64, f64)>, lower: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    upper.into_iter().chain(lower.into_iter().rev()).collect()
}

fn over_time(frame: &Frame, times: &[f64], series: &[TimeSeries], out: &mut Drawing) {
    let mut below = vec![0.0; times.len().saturating_sub(1)];
    for one in series.iter().filter(|one| one.style == Style::Peak) {
        let floor = stairs(frame, times, &below);
        let highest = stairs(frame, times, &one.max);
        out.area(between(highest.clone(), floor), one.color, 0.3);
        // A peak narrower than a pixel is seen too.
        out.line(highest, one.color, 0.7);
    }
    for one in series {
        match one.style {
            Style::Stack => {
                let above: Vec<f64> = below.iter().zip(&one.mean).map(|(a, b)| a + b).collect();
                let area = between(stairs(frame, times, &above), stairs(frame, times, &below));
                out.area(area, one.color, 0.85);
                below = above;
            }
            Style::Band => {
                if one.min != one.max {
                    let upper = stairs(frame, times, &one.max);
                    out.area(between(upper, stairs(frame, times, &one.min)), one.color, 0.25);
                }
                let (edges, means) = smoothed(times, &one.mean);
                out.line(stairs(frame, &edges, &means), one.color, 1.8);
            }
            Style::Peak => {}
        }
    }
}

/// The means of groups of points, weighted by time: as many as a line has room for. A long point,
/// such as a pause, stays by itself.
fn smoothed(times: &[f64], values: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let group = values.len().div_ceil(MEANS).max(1);
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        return Default::default();
    };
    if group == 1 {
        return (times.to_vec(), values.to_vec());
    }
    let wide = (last - first) / MEANS as f64;
    let (mut edges, mut means) = (Vec::new(), Vec::new());
    let (mut count, mut area, mut width) = (0, 0.0, 0.0);
    for (edge, value) in times.windows(2).zip(values) {
        let here = edge[1] - edge[0];
        if count > 0 && (count == group || width >= wide || here >= wide) {
            means.push(area / f64::max(width, 1.0));
            (count, area, width) = (0, 0.0, 0.0);
        }
        if count == 0 {
            edges.push(edge[0]);
        }
        count += 1;
        area += value * here;
        width += here;
    }
    means.push(area / f64::max(width, 1.0));
    edges.push(*last);
    (edges, means)
}

fn bars_and_lines(
    frame: &Frame,
    bars: &[(f64, f64, f64)],
    color: &'static str,
    lines: &[(f64, String)],
    out: &mut Drawing,
) {
    for (from, to, value) in bars {
        let (left, right, top) = (frame.px(*from), frame.px(*to), frame.py(*value));
        let width = (right - left - 1.0).max(1.0);
        out.rect((left + 0.5, top), (width, frame.bottom - top), color, 0.85);
    }
    if bars.is_empty() {
        frame.nothing("nothing to show", out);
    }
    // Labels that would touch one another go to lines of their own.
    let mut taken: Vec<f64> = Vec::new();
    for (at, text) in lines {
        let x = frame.px(*at);
        let width = text_width(text, 15.0);
        let (anchor, from, to) = if x + width + 12.0 > frame.right {
            (Anchor::End, x - width - 8.0, x)
        } else {
            (Anchor::Start, x, x + width + 8.0)
        };
        let row = taken.iter().position(|end| *end + 8.0 < from).unwrap_or(taken.len());
        if row == taken.len() {
            taken.push(to);
        } else {
            taken[row] = to;
        }
        let y = frame.top + 16.0 + 22.0 * row as f64;
        out.dashed(vec![(x, y - 14.0), (x, frame.bottom)], INK, 1.2);
        let shift = if anchor == Anchor::End { -7.0 } else { 7.0 };
        let left = if anchor == Anchor::End { x - width - 11.0 } else { x + 3.0 };
        out.rect((left, y - 15.0), (width + 8.0, 20.0), "#ffffff", 0.8);
        out.text((x + shift, y), text.clone(), 15.0, anchor, INK);
    }
}

/// The corners of a curve that keeps each value until the next point.
fn corners(frame: &Frame, curve: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(curve.len() * 2);
    for (x, y) in curve {
        let x = frame.px(*x);
        if let Some((_, before)) = points.last().copied() {
            points.push((x, before));
        }
        points.push((x, frame.py(*y)));
    }
    points
}

fn draw_curves(frame: &Frame, curves: &[Curve], scale: Scale, out: &mut Drawing) {
    let marked: &[f64] = if scale == Scale::Shares { &[50.0, 90.0, 99.0] } else { &[] };
    for percent in marked {
        let y = frame.py(*percent);
        out.dashed(vec![(frame.left, y), (frame.right, y)], "#b9c2cc", 1.0);
        let at = (frame.right + 4.0, y + 5.0);
        out.text(at, format!("p{percent:.0}"), 13.0, Anchor::Start, SOFT);
    }
    for curve in curves.iter().filter(|curve| !curve.high.is_empty()) {
        let (low, high) = (corners(frame, &curve.low), corners(frame, &curve.high));
        out.area(between(high, low), curve.color, 0.16);
    }
    for curve in curves {
        let width = curve.width;
        let points = corners(frame, &curve.points);
        if curve.dashed {
            out.dashed(points, curve.color, width);
        } else {
            out.line(points, curve.color, width);
        }
    }
    if curves.is_empty() {
        frame.nothing("nothing to show", out);
    }
}

fn shares(
    frame: &Frame,
    parts: &[(&'static str, &'static str)],
    rows: &[Shares],
    out: &mut Drawing,
) {
    if rows.is_empty() {
        frame.nothing("no request is finished", out);
    }
    let height = (frame.bottom - frame.top) / rows.len().max(1) as f64;
    let thick = (height * 0.56).min(52.0);
    for (index, row) in rows.iter().enumerate() {
        let middle = frame.top + height * (index as f64 + 0.5);
        let mut sum = 0.0;
        for (value, (_, color)) in row.parts.iter().zip(parts) {
            let (left, right) = (frame.px(sum), frame.px(sum + value));
            out.rect((left, middle - thick / 2.0), (right - left, thick), color, 0.92);
            sum += value;
        }
        let baseline = middle + 5.0;
        out.text((frame.left - 12.0, baseline), row.name.clone(), 15.0, Anchor::End, INK);
        out.text((frame.px(sum) + 10.0, baseline), row.note.clone(), 15.0, Anchor::Start, SOFT);
    }
}
