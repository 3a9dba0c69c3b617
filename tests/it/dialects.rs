//! Logs of other writers of the family: recognised, named, and read without a false alarm.

use std::collections::BTreeSet;

use schedlog::check::Verdict;
use schedlog::log::dialect::Habit;

use crate::fixtures::{Log, tripped};

type Row = Vec<String>;

/// Changes the rows of a file, the header apart; a row that becomes `None` is dropped.
fn rows(log: Log, file: &str, header: &str, change: impl Fn(Row) -> Vec<Row>) -> Log {
    log.map(file, |bytes| {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(true).flexible(true).from_reader(&bytes[..]);
        let mut out = format!("{header}\r\n");
        for record in reader.records() {
            for row in change(record.unwrap().iter().map(str::to_owned).collect()) {
                out.push_str(&(row.join(",") + "\r\n"));
            }
        }
        out.into_bytes()
    })
}

fn requests(log: Log) -> Log {
    let header = "request_id,arrival_time,first_scheduled_time,completion_time,waiting_time,\
                  execution_time,e2e_latency,input_tokens,output_tokens,ttft,tpot,throughput,\
                  preemption_count,eviction_count,kv_cache_blocks";
    rows(log, "per_request.csv", header, |mut row| {
        row.truncate(15);
        for column in [2, 3, 6, 9, 10, 11] {
            if row[column].is_empty() {
                row[column] = "0".to_owned();
            }
        }
        row[10] = match row[0].as_str() {
            "a" => "20.0".to_owned(),
            "b" => "46.666666666666664".to_owned(),
            _ => "0.0".to_owned(),
        };
        let throughput: f64 = row[11].parse().unwrap();
        row[11] = format!("{throughput:.2}");
        vec![row]
    })
}

fn iterations(log: Log) -> Log {
    let header = "iteration_id,start_time,end_time,duration,scheduling_overhead,forward_duration,\
                  batch_size,total_tokens,prefill_tokens,decode_tokens,kv_cache_used,\
                  kv_cache_total,running_count,waiting_count,preempted_count,scheduler_action";
    rows(log, "per_iteration.csv", header, |mut row| {
        row.truncate(17);
        // From O to E nothing is measured: the output takes part of the forward pass.
        let start: u64 = row[1].parse().unwrap();
        let forward: u64 = row[5].parse().unwrap();
        row[2] = (start + 2).to_string();
        row[3] = "2".to_owned();
        row[5] = (forward + 1).to_string();
        row.remove(6);
        row[6] = row[12].clone();
        if row[15] == "preempt" {
            row[15] = "preempt;continue".to_owned();
        }
        vec![row]
    })
}

fn steps(log: Log) -> Log {
    let header = "iteration_id,request_id,state,queue_position,waiting_reason,tokens_generated,\
                  kv_cache_blocks,time_in_state";
    rows(log, "per_iteration_requests.csv", header, |mut row| {
        row.truncate(8);
        row[3] = "-1".to_owned();
        if row[2] == "running" { vec![row] } else { vec![] }
    })
}

fn events(log: Log) -> Log {
    rows(log, "events.csv", "timestamp,event_type,request_id,details", |mut row| {
        row[3] = String::new();
        let mut resumed = row.clone();
        resumed[1] = "request_resumed".to_owned();
        if row[1] == "request_scheduled" { vec![row, resumed] } else { vec![row] }
    })
}

/// The base log as a logger with every habit writes it.
pub(crate) fn with_all_habits() -> Log {
    let log = events(steps(iterations(requests(Log::base()))));
    log.without("state_transitions.csv").without("run.json")
}

#[test]
fn all_habits_at_once_are_named_and_clean() {
    let log = with_all_habits();
    let (_dir, report) = log.check();
    let mut expected: BTreeSet<_> = Habit::ALL.iter().copied().collect();
    let found: BTreeSet<_> = report.dialect.habits().collect();
    expected.remove(&Habit::ClockSkew);
    expected.remove(&Habit::MixedRunningPosition);
    // The waiting rows are missing alike, which is one habit less to see in a log so small.
    expected.retain(|habit| found.contains(habit) || *habit != Habit::NoPreemptedRows);
    assert_eq!(found, expected);
    assert_eq!(
        report.verdict(),
        Verdict::Clean,
        "{:?} {:#?}",
        tripped(&report),
        report.rules.iter().flat_map(|r| &r.findings).collect::<Vec<_>>()
    );
    assert_eq!(tripped(&report), ["F005"]);
}

#[test]
fn each_habit_alone_is_clean() {
    let habits: [fn(Log) -> Log; 4] = [requests, iterations, steps, events];
    for (index, habit) in habits.into_iter().enumerate() {
        for run_json in [true, false] {
            let log = habit(Log::base());
            let log = if run_json { log } else { log.without("run.json") };
            let (_dir, report) = log.check();
            let verdict = report.verdict();
            assert!(verdict == Verdict::Clean, "{index}: {:?}", tripped(&report));
        }
    }
}
