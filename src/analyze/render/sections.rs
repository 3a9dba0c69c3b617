//! The sections of the text, one function each.

use std::collections::BTreeMap;

use crate::analyze::distribution::{Gauge, Summary};
use crate::analyze::model::{
    Analysis, Breakdown, Fairness, Iterations, Latency, LongWait, Waiting,
};
use crate::analyze::render::text::{decimals, heading, line, ms, number, percent};
use crate::analyze::render::{Align, Table};
use crate::analyze::slo::SloReport;

pub(super) fn head(analysis: &Analysis, out: &mut String) {
    let log = &analysis.log;
    let of = |text: &Option<String>| text.clone().unwrap_or_else(|| "not told".to_owned());
    line("producer", &format!("{} (engine: {})", of(&log.producer), of(&log.engine)), out);
    let dialect =
        if log.dialect.is_empty() { "reference".to_owned() } else { log.dialect.join(", ") };
    line("dialect", &dialect, out);
    for file in log.files.iter().filter(|file| file.unreadable > 0) {
        let what = format!("{} rows cannot be read and are left out", file.unreadable);
        line(file.table, &what, out);
    }
    let window = &analysis.window;
    let text = format!(
        "{} s ({} s to {} s), a step in progress {} of it",
        decimals(Some(window.duration_ns.as_secs_f64()), 3),
        decimals(Some(window.from_ns.as_secs_f64()), 3),
        decimals(Some(window.to_ns.as_secs_f64()), 3),
        percent(window.stepping_share),
    );
    line("observed", &text, out);
    let requests = &analysis.requests;
    let endings: Vec<_> = requests
        .by_ending
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(ending, count)| format!("{count} {}", ending.replace('_', " ")))
        .collect();
    let text =
        format!("{}, {} finished ({})", requests.total, requests.finished, endings.join(", "));
    line("requests", &text, out);
    let text = format!(
        "{} prompt per request (mean; longest {}), {} output per finished request (longest {})",
        decimals(requests.input_tokens.mean, 1),
        decimals(requests.input_tokens.max, 0),
        decimals(requests.output_tokens.mean, 1),
        decimals(requests.output_tokens.max, 0),
    );
    line("tokens", &text, out);
    if let Some(cached) = requests.cached_tokens_total {
        let text =
            format!("{cached} tokens, {} of all prompt tokens", percent(requests.cached_share));
        line("cache hits", &text, out);
    }
}

fn summary_cells(label: &str, summary: &Summary, form: fn(Option<f64>) -> String) -> Vec<String> {
    let about = |text: String| {
        if summary.exact || summary.count == 0 { text } else { format!("~{text}") }
    };
    vec![
        label.to_owned(),
        form(summary.mean),
        about(form(summary.p50)),
        about(form(summary.p90)),
        about(form(summary.p99)),
        form(summary.max),
        summary.count.to_string(),
        summary.undefined.to_string(),
    ]
}

const SUMMARY: [&str; 8] = ["", "mean", "p50", "p90", "p99", "max", "samples", "undefined"];

fn latency_table(latency: &Latency, out: &mut String) {
    let mut table = Table::new(&SUMMARY);
    let rows = [
        ("ttft", &latency.ttft_ns),
        ("tpot", &latency.tpot_ns),
        ("e2e", &latency.e2e_ns),
        ("queueing", &latency.queueing_ns),
        ("waiting", &latency.waiting_ns),
        ("execution", &latency.execution_ns),
    ];
    for (label, summary) in rows {
        table.row(summary_cells(label, summary, ms));
    }
    table.write(out);
}

pub(super) fn latency(analysis: &Analysis, out: &mut String) {
    heading("latency of finished requests (ms)", out);
    latency_table(&analysis.latency, out);
    if analysis.latency != analysis.latency_of_all_rows {
        heading("latency of all rows with a value, as df.quantile() sees them (ms)", out);
        latency_table(&analysis.latency_of_all_rows, out);
    }
}

pub(super) fn throughput(analysis: &Analysis, out: &mut String) {
    let throughput = &analysis.throughput;
    heading("throughput over the observed time (per second)", out);
    let mut table = Table::new(&["", ""]);
    let rows = [
        ("finished requests", throughput.finished_requests_per_s),
        ("arrived requests", throughput.arrived_requests_per_s),
        ("output tokens", throughput.output_tokens_per_s),
        ("scheduled tokens", throughput.scheduled_tokens_per_s),
        ("prompt and output tokens of finished requests", throughput.finished_tokens_per_s),
    ];
    for (label, value) in rows {
        table.row([label.to_owned(), decimals(value, 3)]);
    }
    table.write(out);
}

pub(super) fn slo(slo: &SloReport, out: &mut String) {
    heading("service level objectives (finished requests that kept them)", out);
    let mut table = Table::new(&["", "bound (ms)", "met", "share"]);
    for objective in &slo.objectives {
        table.row([
            objective.latency.to_owned(),
            ms(Some(objective.bound_ns.0 as f64)),
            objective.met.to_string(),
            percent(objective.share_of_finished),
        ]);
    }
    let share = percent(slo.share_of_finished);
    table.row(["all".to_owned(), String::new(), slo.met_all.to_string(), share]);
    table.write(out);
    let text = format!(
        "{} requests/s, {} output tokens/s; {} of the {} requests that were owed an answer (all \
         but the aborted) kept all objectives",
        decimals(slo.goodput_requests_per_s, 3),
        decimals(slo.goodput_output_tokens_per_s, 3),
        percent(slo.share_of_owed),
        slo.owed,
    );
    line("  goodput", &text, out);
}

pub(super) fn breakdown(breakdown: &Breakdown, out: &mut String) {
    heading("where the time of finished requests went", out);
    let mut table = Table::new(&["", "share", "mean (ms)", "max (ms)"]);
    for part in &breakdown.parts {
        let told = breakdown.tells_recomputation || part.activity != "recomputation";
        let shown = |text: String| if told { text } else { "not told".to_owned() };
        table.row([
            part.activity.to_owned(),
            shown(percent(part.share)),
            shown(ms(part.mean_ns)),
            shown(ms(Some(part.max_ns as f64))),
        ]);
    }
    table.write(out);
}

pub(super) fn preemption(analysis: &Analysis, out: &mut String) {
    let preemption = &analysis.preemption;
    heading("preemption", out);
    let text = format!(
        "{}, in {} of {} requests ({}), {} per request, {} per 1000 steps, at most {} of one",
        preemption.preemptions,
        preemption.preempted_requests,
        analysis.requests.total,
        percent(preemption.preempted_share),
        decimals(preemption.per_request, 3),
        decimals(preemption.per_thousand_iterations, 3),
        preemption.most_of_one_request,
    );
    line("  preemptions", &text, out);
    let text = format!(
        "{} tokens ({} of all scheduled), {} evictions; requests were preempted for {} ms and \
         recomputed for {} ms in all",
        number(preemption.recomputed_tokens),
        percent(preemption.recomputed_share),
        preemption.evictions,
        ms(Some(preemption.preempted_ns as f64)),
        ms(preemption.recomputation_ns.map(|nanos| nanos as f64)),
    );
    line("  recomputed", &text, out);
}

pub(super) fn iterations(iterations: &Iterations, out: &mut String) {
    heading(&format!("{} steps: durations (ms) and shares of the time", iterations.count), out);
    let mut headings = SUMMARY.to_vec();
    headings.push("share");
    let mut table = Table::new(&headings);
    let rows = [
        ("duration", &iterations.duration_ns, None),
        ("scheduling", &iterations.scheduling_ns, iterations.scheduling_share),
        ("forward pass", &iterations.forward_ns, iterations.forward_share),
        ("output", &iterations.output_processing_ns, iterations.output_processing_share),
    ];
    for (label, summary, share) in rows {
        let mut cells = summary_cells(label, summary, ms);
        cells.push(share.map_or_else(String::new, |share| percent(Some(share))));
        table.row(cells);
    }
    table.write(out);
    let text = percent(iterations.scheduling_share_row_mean);
    line("  scheduling", &format!("{text} of a step's duration, averaged over rows"), out);
    line("  actions", &counts(&iterations.by_action), out);
    let text = format!(
        "{} scheduled: {} prefill, {} decode",
        iterations.tokens, iterations.prefill_tokens, iterations.decode_tokens
    );
    line("  tokens", &text, out);
}

fn gauge_cells(label: &str, gauge: &Gauge, form: fn(Option<f64>) -> String) -> Vec<String> {
    let summary = &gauge.row_weighted;
    let mut cells = vec![label.to_owned(), form(gauge.time_weighted_mean)];
    for value in [summary.mean, summary.p50, summary.p90, summary.p99, summary.max] {
        cells.push(form(value));
    }
    cells
}

pub(super) fn gauges(iterations: &Iterations, out: &mut String) {
    heading("per step: mean by time, then mean and quantiles by row", out);
    let mut table =
        Table::new(&["", "time mean", "row mean", "row p50", "row p90", "row p99", "max"]);
    let plain: fn(Option<f64>) -> String = |value| decimals(value, 3);
    let rows = [
        ("batch size (requests)", &iterations.batch_size, plain),
        ("tokens", &iterations.tokens_per_step, plain),
        ("prefill tokens", &iterations.prefill_tokens_per_step, plain),
        ("decode tokens", &iterations.decode_tokens_per_step, plain),
        ("KV utilisation", &iterations.kv_utilisation, percent),
        ("running (requests)", &iterations.running, plain),
        ("waiting (requests)", &iterations.waiting, plain),
    ];
    for (label, gauge, form) in rows {
        table.row(gauge_cells(label, gauge, form));
    }
    table.write(out);
    let full = percent(iterations.kv_above_90_percent_time_share);
    line("  KV full", &format!("{full} of the time with 90 % of the blocks or more in use"), out);
}

pub(super) fn waiting(waiting: &Waiting, out: &mut String) {
    heading("what kept requests waiting", out);
    let mut table = Table::new(&["", "rows", "time (ms)", "share of time"]);
    for reason in &waiting.reasons {
        table.row([
            reason.reason.to_owned(),
            reason.rows.to_string(),
            ms(Some(reason.time_ns as f64)),
            percent(reason.time_share),
        ]);
    }
    let share =
        crate::analyze::distribution::ratio(waiting.unexplained_ns as f64, waiting.time_ns as f64);
    table.row([
        "before a step looked".to_owned(),
        String::new(),
        ms(Some(waiting.unexplained_ns as f64)),
        percent(share),
    ]);
    table.write(out);
}

pub(super) fn states(analysis: &Analysis, out: &mut String) {
    if let Some(stays) = &analysis.stays_ns {
        heading("stays per state (ms)", out);
        let mut table = Table::new(&SUMMARY[..7]);
        for (state, summary) in stays {
            let mut cells = summary_cells(state, summary, ms);
            cells.truncate(7);
            table.row(cells);
        }
        table.write(out);
    }
    if let Some(rows) = &analysis.rows_by_state {
        heading("rows of steps by state", out);
        line("  rows", &counts(rows), out);
    }
}

pub(super) fn events(events: &BTreeMap<&'static str, u64>, out: &mut String) {
    heading("events", out);
    let mut table = Table::new(&["", ""]);
    for (event, count) in events.iter().filter(|(_, count)| **count > 0) {
        table.row([(*event).to_owned(), count.to_string()]);
    }
    table.write(out);
}

pub(super) fn fairness(fairness: &Fairness, out: &mut String) {
    heading("fairness (Jain's index: 1 is equal, 1/n is one for all)", out);
    let text = format!(
        "output rate {}, time per token {}, waiting time {}",
        decimals(fairness.jain_of_output_rate, 4),
        decimals(fairness.jain_of_time_per_token, 4),
        decimals(fairness.jain_of_waiting, 4),
    );
    line("  Jain", &text, out);
    if fairness.by_priority.len() > 1 {
        priorities(fairness, out);
    }
    if !fairness.longest_waits.is_empty() {
        longest(&fairness.longest_waits, out);
    }
}

fn priorities(fairness: &Fairness, out: &mut String) {
    heading("by priority, most urgent first (ms)", out);
    let mut table = Table::new(&[
        "priority",
        "requests",
        "finished",
        "preemptions",
        "waiting mean",
        "waiting p99",
        "ttft p50",
        "ttft p99",
        "e2e p50",
        "e2e p99",
    ]);
    for class in &fairness.by_priority {
        table.row([
            class.priority.to_string(),
            class.requests.to_string(),
            class.finished.to_string(),
            class.preemptions.to_string(),
            ms(class.waiting_ns.mean),
            ms(class.waiting_ns.p99),
            ms(class.ttft_ns.p50),
            ms(class.ttft_ns.p99),
            ms(class.e2e_ns.p50),
            ms(class.e2e_ns.p99),
        ]);
    }
    table.write(out);
    if fairness.more_priorities {
        line("  more", "there are more priorities than are told apart", out);
    }
}

fn longest(waits: &[LongWait], out: &mut String) {
    heading("longest waits (ms)", out);
    let mut table = Table::new(&[
        "request",
        "ending",
        "waited",
        "preempted",
        "preemptions",
        "longest reason",
        "queue position over time (s: position)",
    ])
    .align(1, Align::Left)
    .align(5, Align::Left)
    .align(6, Align::Left);
    for wait in waits {
        table.row([
            wait.request_id.clone(),
            wait.ending.to_owned(),
            ms(Some(wait.waiting_ns.0 as f64)),
            ms(Some(wait.preempted_ns.0 as f64)),
            wait.preemptions.to_string(),
            wait.main_reason.unwrap_or("-").to_owned(),
            positions(wait),
        ]);
    }
    table.write(out);
}

/// The first, some middle and the last position, so that a line stays a line.
fn positions(wait: &LongWait) -> String {
    const SHOWN: usize = 5;
    let points = &wait.queue;
    let step = points.len().saturating_sub(1).div_ceil(SHOWN - 1).max(1);
    let mut shown: Vec<_> = points.iter().step_by(step).collect();
    if let (Some(last), Some(shown_last)) = (points.last(), shown.last())
        && *shown_last != last
    {
        shown.push(last);
    }
    let texts: Vec<_> = shown
        .iter()
        .map(|point| format!("{:.3}: {}", point.at_ns.as_secs_f64(), point.position))
        .collect();
    texts.join(", ")
}

fn counts(counts: &BTreeMap<&'static str, u64>) -> String {
    let texts: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}
