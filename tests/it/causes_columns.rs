//! Logs of which a column is wrong as a whole: of another unit, of another column, of another step.

use std::collections::BTreeMap;

use crate::edits::{Edited, Fields};
use crate::mutants::{REQUEST_TIMES, STEP_TIMES};

const P: &str = "per_request.csv";
const I: &str = "per_iteration.csv";
const R: &str = "per_iteration_requests.csv";
const E: &str = "events.csv";
const T: &str = "state_transitions.csv";

/// A wrong logger: the recogniser that should speak, what is wrong, the log.
type Wrong = (&'static str, &'static str, Edited);

const US: i64 = 1_000;
const MS: i64 = 1_000_000;

fn preempting() -> Edited {
    Edited::of("tiny-cache-preemption")
}

fn number(row: &Fields, column: &str) -> i64 {
    row[column].parse().unwrap()
}

/// The numbers of a column by those of another one.
fn by(log: &Edited, file: &str, key: &str, column: &str) -> BTreeMap<String, i64> {
    log.rows(file)
        .iter()
        .filter_map(|row| Some((row[key].clone(), row[column].parse().ok()?)))
        .collect()
}

/// The blocks of the requests that each step preempts.
fn preempted_blocks() -> BTreeMap<String, i64> {
    let (mut held, mut taken) = (BTreeMap::new(), BTreeMap::new());
    for row in &preempting().rows(R) {
        if row["state"] == "running" {
            held.insert(row["request_id"].clone(), number(row, "kv_cache_blocks"));
        } else if let Some(blocks) = held.remove(&row["request_id"])
            && row["state"] == "preempted"
        {
            *taken.entry(row["iteration_id"].clone()).or_default() += blocks;
        }
    }
    taken
}

/// The decision of each step.
fn decisions() -> BTreeMap<String, i64> {
    let decided = |row: &Fields| number(row, "start_time") + number(row, "scheduling_overhead");
    preempting().rows(I).iter().map(|row| (row["iteration_id"].clone(), decided(row))).collect()
}

fn all_times(log: Edited, unit: i64) -> Edited {
    const COLUMNS: [(&str, &[&str]); 5] = [
        (P, &REQUEST_TIMES),
        (I, &STEP_TIMES),
        (R, &["time_in_state"]),
        (E, &["timestamp"]),
        (T, &["timestamp", "duration_in_prev_state"]),
    ];
    COLUMNS.iter().fold(log, |log, (file, columns)| {
        columns.iter().fold(log, |log, column| log.number(file, column, |_, it, _| it / unit))
    })
}

/// The column has the value of the row before.
fn late(column: &'static str, first: &str) -> Edited {
    let mut before = first.to_owned();
    preempting().edit(I, |_, row| {
        let now = row[column].clone();
        row.insert(column.to_owned(), std::mem::replace(&mut before, now));
    })
}

/// The column is a counter of the run.
fn total(column: &str) -> Edited {
    let mut total = 0;
    preempting().number(I, column, |_, count, _| {
        total += count;
        total
    })
}

pub(crate) fn wrong_units() -> Vec<Wrong> {
    let divided = |file, column, by| preempting().number(file, column, |_, it, _| it / by);
    let rate = |log: Edited, rate: fn(&Fields) -> f64| {
        log.edit(P, |_, row| {
            row.insert("throughput".to_owned(), format!("{:.6}", rate(row)));
        })
    };
    vec![
        ("wrong-unit", "start_time in microseconds", divided(I, "start_time", US)),
        ("wrong-unit", "scheduling_overhead in microseconds", {
            divided(I, "scheduling_overhead", US)
        }),
        ("wrong-unit", "forward_pass_duration in milliseconds", {
            divided(I, "forward_pass_duration", MS)
        }),
        ("wrong-unit", "time_in_state in microseconds", divided(R, "time_in_state", US)),
        ("wrong-unit", "arrival_time in milliseconds", divided(P, "arrival_time", MS)),
        ("wrong-unit", "completion_time in microseconds", divided(P, "completion_time", US)),
        ("wrong-unit", "duration_in_prev_state in milliseconds", {
            divided(T, "duration_in_prev_state", MS)
        }),
        ("wrong-unit", "events.csv in microseconds", divided(E, "timestamp", US)),
        ("wrong-unit", "the whole log in milliseconds", all_times(preempting(), MS)),
        ("wrong-unit", "kv_cache_memory_bytes in MiB", {
            divided(P, "kv_cache_memory_bytes", 1 << 20)
        }),
        ("wrong-unit", "throughput per millisecond", {
            rate(preempting(), |row| {
                number(row, "output_tokens") as f64 * 1e6 / number(row, "e2e_latency") as f64
            })
        }),
        ("other-quotient", "throughput of the execution time", {
            rate(preempting(), |row| {
                number(row, "output_tokens") as f64 * 1e9 / number(row, "execution_time") as f64
            })
        }),
        ("other-quotient", "throughput of all tokens", {
            rate(preempting(), |row| {
                let tokens = number(row, "input_tokens") + number(row, "output_tokens");
                tokens as f64 * 1e9 / number(row, "e2e_latency") as f64
            })
        }),
        ("other-quotient", "tpot divided by all output tokens", {
            preempting().number(P, "tpot", |_, _, row| {
                (number(row, "e2e_latency") - number(row, "ttft")) / number(row, "output_tokens")
            })
        }),
    ]
}

pub(crate) fn wrong_columns() -> Vec<Wrong> {
    let mut preempted: BTreeMap<String, i64> = BTreeMap::new();
    let mut freed: BTreeMap<String, i64> = BTreeMap::new();
    for row in preempting().rows(R) {
        let step = row["iteration_id"].clone();
        match row["state"].as_str() {
            "preempted" => *preempted.entry(step).or_default() += 1,
            "completed" => *freed.entry(step).or_default() += number(&row, "kv_cache_blocks"),
            _ => {}
        }
    }
    let of_step = |of: &BTreeMap<String, i64>, row: &Fields| {
        of.get(&row["iteration_id"]).copied().unwrap_or_default()
    };
    vec![
        ("other-column", "running_count read behind the ends of the step", {
            preempting()
                .number(I, "running_count", |_, count, row| count - number(row, "completed_count"))
        }),
        ("other-column", "resumed requests are counted as admitted ones", {
            preempting()
                .number(I, "admitted_count", |_, count, row| count + number(row, "resumed_count"))
        }),
        (
            "other-value",
            "preempted_count counts those that are preempted, not those that it preempts",
            { preempting().number(I, "preempted_count", |_, _, row| of_step(&preempted, row)) },
        ),
        ("other-value", "waiting_count without the preempted requests, which have no rows", {
            preempting()
                .number(I, "waiting_count", |_, count, row| count - of_step(&preempted, row))
                .reorder(R, |rows| rows.retain(|row| row["state"] != "preempted"))
        }),
        ("other-value", "waiting_count without the preempted requests", {
            preempting()
                .number(I, "waiting_count", |_, count, row| count - of_step(&preempted, row))
        }),
        ("other-column", "kv_cache_used read when the step's ends gave theirs back", {
            preempting().number(I, "kv_cache_used", |_, used, row| used - of_step(&freed, row))
        }),
        ("other-column", "kv_cache_used counts the free blocks", {
            preempting()
                .number(I, "kv_cache_used", |_, used, row| number(row, "kv_cache_total") - used)
        }),
        ("other-column", "waiting_count read before schedule()", {
            preempting().number(I, "waiting_count", |_, count, row| {
                count + number(row, "admitted_count") + number(row, "resumed_count")
                    - number(row, "preempted_count")
            })
        }),
        ("other-column", "running_count read before schedule()", {
            preempting().number(I, "running_count", |_, count, row| {
                count - number(row, "admitted_count") - number(row, "resumed_count")
                    + number(row, "preempted_count")
            })
        }),
        ("one-step-late", "kv_cache_used of the step before", late("kv_cache_used", "0")),
        ("one-step-late", "evicted_blocks of the step before", late("evicted_blocks", "0")),
        ("one-step-late", "scheduler_action of the step before", late("scheduler_action", "idle")),
        ("running-total", "evicted_blocks of the run", total("evicted_blocks")),
        ("running-total", "preempted_count of the run", total("preempted_count")),
        ("stuck", "evicted_blocks is never set", {
            preempting().number(I, "evicted_blocks", |_, _, _| 0)
        }),
        ("stuck", "output_processing_duration is never set", {
            preempting().number(I, "output_processing_duration", |_, _, _| 0)
        }),
    ]
}

pub(crate) fn wrong_requests() -> Vec<Wrong> {
    let decided = decisions();
    let arrived = by(&preempting(), P, "request_id", "arrival_time");
    let processing = by(&preempting(), I, "end_time", "output_processing_duration");
    let parts = by(&preempting(), I, "iteration_id", "duration");
    let overheads = by(&preempting(), I, "iteration_id", "scheduling_overhead");
    let ratio = |row: &Fields| {
        let time = number(row, "e2e_latency") - number(row, "ttft");
        (time as f64, (number(row, "output_tokens") - 1) as f64)
    };
    vec![
        ("constant-factor", "a timer runs at another pace", {
            preempting().number(T, "duration_in_prev_state", |_, time, _| time * 3 / 2)
        }),
        ("counted-elsewhere", "resumed requests are counted as admitted", {
            preempting().edit(I, |_, row| {
                let all = number(row, "admitted_count") + number(row, "resumed_count");
                row.insert("admitted_count".to_owned(), all.to_string());
                row.insert("resumed_count".to_owned(), "0".to_owned());
            })
        }),
        ("other-quotient", "throughput is a whole number", {
            preempting().edit(P, |_, row| {
                if let Ok(rate) = row["throughput"].parse::<f64>() {
                    row.insert("throughput".to_owned(), format!("{}", rate as u64));
                }
            })
        }),
        ("swapped-columns", "ttft and tpot are exchanged", {
            preempting().edit(P, |_, row| {
                if !row["tpot"].is_empty() {
                    let (first, next) = (row["ttft"].clone(), row["tpot"].clone());
                    row.insert("ttft".to_owned(), next);
                    row.insert("tpot".to_owned(), first);
                }
            })
        }),
        ("other-quotient", "tpot is rounded to the nearest", {
            preempting().edit(P, |_, row| {
                if row["tpot"].parse::<i64>().is_ok() {
                    let (time, tokens) = ratio(row);
                    row.insert("tpot".to_owned(), format!("{:.0}", time / tokens));
                }
            })
        }),
        ("other-quotient", "throughput is cut", {
            preempting().edit(P, |_, row| {
                if let Ok(latency) = row["e2e_latency"].parse::<i64>() {
                    let tokens = number(row, "output_tokens");
                    let rate = i128::from(tokens) * 1_000_000_000_000_000 / i128::from(latency);
                    let text = format!("{}.{:06}", rate / 1_000_000, rate % 1_000_000);
                    row.insert("throughput".to_owned(), text);
                }
            })
        }),
        ("rounded", "every time is cut to microseconds by itself", {
            // Between moments that are cut there may be one microsecond more than in what is cut behind.
            preempting().number(
                P,
                "e2e_latency",
                |index, time, _| {
                    if index % 2 == 0 { time - US } else { time }
                },
            )
        }),
        ("other-value", "evicted_blocks counts what preempted requests had", {
            let taken = preempted_blocks();
            preempting().number(I, "evicted_blocks", |_, _, row| {
                taken.get(&row["iteration_id"]).copied().unwrap_or(0)
            })
        }),
        ("stuck", "eviction_count is never counted, nor its events written", {
            preempting()
                .number(P, "eviction_count", |_, _, _| 0)
                .reorder(E, |rows| rows.retain(|row| row["event_type"] != "request_evicted"))
        }),
        ("left-empty", "first_scheduled_time is never written", {
            preempting().edit(P, |_, row| {
                row.insert("first_scheduled_time".to_owned(), String::new());
            })
        }),
        ("swapped-columns", "prefill and decode tokens are exchanged", {
            preempting().edit(I, |_, row| {
                let prefill = row.remove("prefill_tokens").unwrap();
                let decode = row.insert("decode_tokens".to_owned(), prefill).unwrap();
                row.insert("prefill_tokens".to_owned(), decode);
            })
        }),
        ("other-moment", "request_scheduled at the end of the step", {
            let ends: BTreeMap<i64, i64> = preempting()
                .rows(I)
                .iter()
                .map(|row| (decided[&row["iteration_id"]], number(row, "end_time")))
                .collect();
            preempting()
                .number(E, "timestamp", |_, time, row| match row["event_type"].as_str() {
                    "request_scheduled" => ends[&time],
                    _ => time,
                })
                .reorder(E, |rows| rows.sort_by_key(|row| number(row, "timestamp")))
        }),
        ("event-again", "each completion is told twice", {
            preempting().reorder(E, |rows| {
                let again =
                    |row: &Fields| 1 + usize::from(row["event_type"] == "request_completed");
                *rows = std::mem::take(rows)
                    .into_iter()
                    .flat_map(|row| std::iter::repeat_n(row.clone(), again(&row)))
                    .collect();
            })
        }),
        ("other-value", "ttft is that of the last token", {
            preempting().number(P, "ttft", |_, _, row| number(row, "e2e_latency"))
        }),
        ("other-moment", "ttft up to the model's output", {
            preempting().number(P, "ttft", |_, time, row| {
                let end = time + number(row, "arrival_time");
                time - processing[&end.to_string()]
            })
        }),
        ("other-moment", "time_in_state up to the end of the step", {
            preempting().number(R, "time_in_state", |_, time, row| {
                let step = &row["iteration_id"];
                let over = row["state"] == "completed";
                if over { time } else { time + parts[step] - overheads[step] }
            })
        }),
        ("other-moment", "time_in_state up to the beginning of the step", {
            preempting().number(R, "time_in_state", |_, time, row| {
                let over = row["state"] == "completed";
                if over { time } else { (time - overheads[&row["iteration_id"]]).max(0) }
            })
        }),
        ("other-beginning", "ttft since the first scheduling", {
            preempting().number(P, "ttft", |_, time, row| {
                time + number(row, "arrival_time") - number(row, "first_scheduled_time")
            })
        }),
        ("stuck", "events in whole seconds of a run of less than one", {
            preempting().number(E, "timestamp", |_, time, _| time / 1_000_000_000)
        }),
        ("minus-one", "-1 where a request has no first token", {
            Edited::of("aborts").edit(P, |_, row| {
                for column in ["ttft", "tpot", "first_scheduled_time", "throughput"] {
                    if row[column].is_empty() {
                        row.insert(column.to_owned(), "-1".to_owned());
                    }
                }
            })
        }),
        ("other-beginning", "time_in_state since the arrival", {
            preempting().number(R, "time_in_state", |_, time, row| {
                let over = row["state"] == "completed";
                let since = decided[&row["iteration_id"]] - arrived[&row["request_id"]];
                if over { time } else { since }
            })
        }),
    ]
}
