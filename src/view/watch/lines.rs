//! An engine as lines of text.

use std::fmt::Write;

use crate::check::NewFinding;
use crate::view::draw::{duration, grouped};
use crate::view::watch::follow::Engine;

/// What the columns of a [`status_line`] are.
#[must_use]
pub fn header_line() -> String {
    "engine            time      step  batch  tokens    kv  running  waiting  preempted      ttft      tpot  findings"
        .to_owned()
}

/// How an engine does, in one line.
#[must_use]
pub fn status_line(engine: &Engine) -> String {
    let name: String = engine.name.chars().take(12).collect();
    let Some(step) = &engine.pulse.step else {
        let trouble = engine.trouble.as_deref().unwrap_or("no steps yet");
        return format!("{name:<12}  {trouble}");
    };
    let kv = 100.0 * f64::from(step.kv_cache_used.0) / f64::from(step.kv_cache_total.0.max(1));
    let latency = |nanos: Option<crate::units::Nanos>| {
        nanos.map_or_else(|| "-".to_owned(), |nanos| duration(nanos.0 as f64))
    };
    let (errors, damages, warnings) = engine.counts;
    let findings = errors + damages + warnings;
    let mut line = format!(
        "{name:<12} {:>7.1} s {:>9} {:>6} {:>7} {kv:>4.0}% {:>8} {:>8} {:>10} {:>9} {:>9}  {}",
        step.end_time.as_secs_f64(),
        step.iteration_id,
        step.batch_size,
        grouped(f64::from(step.total_tokens.0)),
        step.running_count,
        step.waiting_count,
        engine.pulse.preemptions,
        latency(engine.pulse.ttft()),
        latency(engine.pulse.tpot()),
        if findings == 0 { "none".to_owned() } else { grouped(findings as f64) },
    );
    for (index, (reason, count)) in engine.pulse.reasons.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(line, "{}{reason} {count}", if index == 0 { "  waiting: " } else { ", " });
    }
    if let Some(trouble) = &engine.trouble {
        let _ = write!(line, "  ({trouble})");
    }
    line
}

/// A finding in one line.
#[must_use]
pub fn finding_line(engine: &str, new: &NewFinding) -> String {
    let mut line = format!("{engine}: {}[{}]: {}", new.severity, new.rule.id, new.finding.message);
    if let Some(mark) = &new.finding.primary {
        let _ = write!(line, " ({}:{})", mark.at.table.file_name(), mark.at.line);
    }
    if let Some(request) = &new.finding.request {
        let _ = write!(line, " request {request}");
    }
    if let Some(iteration) = new.finding.iteration {
        let _ = write!(line, " iteration {iteration}");
    }
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
