//! What the page's script draws, as compact JSON: columns instead of rows, times as differences.

use crate::log::values::{State, WaitingReason};
use crate::units::Nanos;
use crate::view::Picture;
use crate::view::chart::{Axis, Body, Chart, Style, TimeSeries, Unit, charts};
use crate::view::collect::RequestFigures;
use crate::view::page::findings::Shown;

/// Runs below this length are written in nanoseconds, others in tickseconds.
const FINE: Nanos = Nanos::SECOND;

/// Writes JSON without a value tree.
struct Json {
    text: String,
    /// Nanoseconds per unit in which times are written.
    tick: u64,
}

impl Json {
    fn string(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => {
                    self.text.push('\\');
                    self.text.push(c);
                }
                // Nothing in the data may end the element that it stands in.
                c if c.is_control() || matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    /// A number with at most four significant digits behind the point.
    fn number(&mut self, value: f64) {
        if !value.is_finite() {
            self.text.push_str("null");
        } else if value == value.trunc() && value.abs() < 1e15 {
            self.text.push_str(itoa::Buffer::new().format(value as i64));
        } else if value.abs() >= 100.0 {
            self.text.push_str(&format!("{value:.1}"));
        } else {
            let text = format!("{value:.4}");
            self.text.push_str(text.trim_end_matches('0').trim_end_matches('.'));
        }
    }

    fn key(&mut self, name: &str) {
        if !self.text.ends_with(['{', '[']) {
            self.text.push(',');
        }
        self.string(name);
        self.text.push(':');
    }

    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.text.push('[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            write(self, item);
        }
        self.text.push(']');
    }

    fn numbers(&mut self, values: impl IntoIterator<Item = f64>) {
        self.list(values, Self::number);
    }

    fn pair(&mut self, name: &str, value: &str) {
        self.key(name);
        self.string(value);
    }

    /// A moment in whole ticks: finer than any pixel, shorter than nanoseconds.
    fn time(&mut self, at: Nanos) {
        self.text.push_str(itoa::Buffer::new().format(at.0 / self.tick));
    }
}

/// Everything that the script needs.
pub(super) fn json(picture: &Picture, findings: &Shown) -> String {
    let tick = if picture.end < FINE { 1 } else { 1_000 };
    let mut json = Json { text: String::from("{"), tick };
    json.key("tick");
    json.number(tick as f64);
    json.key("end");
    json.number(picture.end.0 as f64);
    json.key("charts");
    json.list(charts(picture, usize::MAX), |json, chart| write_chart(json, &chart));
    json.key("states");
    json.list(State::ALL, |json, state| json.string(state.as_str()));
    json.key("reasons");
    json.list(WaitingReason::ALL, |json, reason| json.string(reason.as_str()));
    json.key("requests");
    json.text.push('{');
    write_requests(&mut json, &picture.chosen.requests);
    json.text.push('}');
    json.key("findings");
    json.list(&findings.findings, |json, finding| {
        json.text.push('[');
        json.string(finding.rule);
        json.text.push(',');
        match finding.request {
            Some(request) => json.number(request as f64),
            None => json.text.push_str("null"),
        }
        json.text.push(',');
        match finding.at {
            Some(at) => json.time(at),
            None => json.text.push_str("null"),
        }
        json.text.push(',');
        json.string(finding.severity.as_str());
        json.text.push(']');
    });
    json.text.push('}');
    json.text
}

fn write_axis(json: &mut Json, name: &str, axis: &Axis) {
    json.key(name);
    json.text.push('{');
    json.pair("label", &axis.label);
    json.pair(
        "unit",
        match axis.unit {
            Unit::Nanos => "ns",
            Unit::Count => "count",
            Unit::Percent => "percent",
        },
    );
    json.key("log");
    json.text.push_str(if axis.log { "true" } else { "false" });
    json.key("from");
    json.number(axis.from);
    json.key("to");
    json.number(axis.to);
    json.text.push('}');
}

fn write_chart(json: &mut Json, chart: &Chart) {
    json.text.push('{');
    json.pair("name", chart.name);
    json.pair("title", chart.title);
    json.pair("caption", &chart.caption);
    write_axis(json, "x", &chart.x);
    write_axis(json, "y", &chart.y);
    match &chart.body {
        Body::Time { times, series, marks, marks_name } => {
            json.pair("kind", "time");
            json.key("times");
            let (mut before, tick) = (0.0, json.tick as f64);
            json.numbers(times.iter().map(|at| {
                // Rounding each time, not each difference, lets no error grow.
                let at = (at / tick).round();
                at - std::mem::replace(&mut before, at)
            }));
            json.key("series");
            json.list(series, write_series);
            json.pair("marksName", marks_name);
            json.key("marks");
            json.list(marks, |json, (at, count)| json.numbers([(at / tick).round(), *count]));
        }
        Body::Bars { bars, color, lines } => {
            json.pair("kind", "bars");
            json.pair("color", color);
            json.key("bars");
            json.list(bars, |json, (from, to, value)| {
                json.numbers([from.round(), to.round(), *value]);
            });
            json.key("lines");
            json.list(lines, |json, (at, text)| {
                json.text.push('[');
                json.number(at.round());
                json.text.push(',');
                json.string(text);
                json.text.push(']');
            });
        }
        // The page is of one run, whose curves have no bands.
        Body::Curves { curves, .. } => {
            json.pair("kind", "curves");
            json.key("curves");
            json.list(curves, |json, curve| {
                json.text.push('{');
                json.pair("name", &curve.name);
                json.pair("color", curve.color);
                json.key("points");
                json.list(&curve.points, |json, (x, y)| json.numbers([x.round(), *y]));
                json.text.push('}');
            });
        }
        Body::Shares { parts, rows } => {
            json.pair("kind", "shares");
            json.key("parts");
            json.list(parts, |json, (name, color)| {
                json.list([name, color], |json, text| json.string(text));
            });
            json.key("rows");
            json.list(rows, |json, row| {
                json.text.push('{');
                json.pair("name", &row.name);
                json.pair("note", &row.note);
                json.key("parts");
                json.numbers(row.parts.iter().map(|part| part.round()));
                json.text.push('}');
            });
        }
    }
    json.text.push('}');
}

fn write_series(json: &mut Json, series: &TimeSeries) {
    json.text.push('{');
    json.pair("name", &series.name);
    json.pair("color", series.color);
    json.pair(
        "style",
        match series.style {
            Style::Band => "band",
            Style::Stack => "stack",
            Style::Peak => "peak",
        },
    );
    for (name, values) in [("min", &series.min), ("mean", &series.mean), ("max", &series.max)] {
        if !values.is_empty() {
            json.key(name);
            json.numbers(values.iter().copied());
        }
    }
    json.text.push('}');
}

fn write_requests(json: &mut Json, requests: &[RequestFigures]) {
    let tick = json.tick;
    json.key("id");
    json.list(requests, |json, request| json.string(&request.id));
    let mut column = |name: &str, value: &dyn Fn(&RequestFigures) -> Option<f64>| {
        json.key(name);
        json.list(requests, |json, request| match value(request) {
            Some(value) => json.number(value),
            None => json.text.push_str("null"),
        });
    };
    let ticks = |at: Nanos| (at.0 / tick) as f64;
    column("arrival", &|request| Some(ticks(request.arrival)));
    column("completion", &|request| request.completion.map(ticks));
    column("firstToken", &|request| {
        let told = request.ttft.map(|ttft| request.arrival.saturating_add(ttft));
        request.first_token.or(told).map(ticks)
    });
    column("waiting", &|request| Some(ticks(request.waiting)));
    column("ttft", &|request| request.ttft.map(ticks));
    column("tpot", &|request| request.tpot.map(f64::round));
    column("e2e", &|request| request.e2e.map(ticks));
    column("input", &|request| Some(f64::from(request.input_tokens)));
    column("output", &|request| Some(f64::from(request.output_tokens)));
    column("preemptions", &|request| Some(f64::from(request.preemptions)));
    column("cached", &|request| request.cached_tokens.map(f64::from));
    column("recomputed", &|request| request.recomputed_tokens.map(f64::from));
    column("priority", &|request| request.priority.map(|priority| priority as f64));
    column("line", &|request| (request.line > 0).then_some(request.line as f64));
    json.key("finish");
    json.list(requests, |json, request| {
        json.string(request.finish_reason.map_or("", |reason| reason.as_str()));
    });
    // Per request: state, start since the arrival, duration, reason (-1: none), four by four.
    json.key("spans");
    json.list(requests, |json, request| {
        json.numbers(request.spans.iter().flat_map(|span| {
            let end = span.end.unwrap_or(span.start);
            let reason = span.reason.map_or(-1.0, |reason| f64::from(reason as u8));
            let start = ticks(span.start.saturating_sub(request.arrival));
            [f64::from(span.state as u8), start, ticks(end.saturating_sub(span.start)), reason]
        }));
    });
}
