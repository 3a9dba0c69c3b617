//! A second run whose files were appended to those of a killed one is not held against it.

use schedlog::conform::log::{ConformOptions, LogVerdict, conform_log};
use schedlog::log::dialect::Habit;

use crate::cuts::{bundled, replayed, rows_after};
use crate::damage::damaged;
use crate::dialect_writer::VARIATIONS;
use crate::fixtures::Log;
use crate::mutants::full_logs;
use crate::sheets::{Sheets, TABLES};

/// A run that was killed, its files as long as `rows` says, and behind each of them those of another run:
/// what starting again in append mode leaves. A torn row lacks its last bytes and its line break.
fn started_again(
    first: &Sheets,
    second: &Sheets,
    rows: [usize; 5],
    torn: usize,
    header: bool,
) -> Log {
    let mut killed = first.clone();
    let sheets = [&mut killed.p, &mut killed.i, &mut killed.r, &mut killed.e, &mut killed.t];
    for (sheet, rows) in sheets.into_iter().zip(rows) {
        sheet.rows.truncate(rows);
    }
    let second = second.log();
    TABLES.iter().fold(killed.log(), |log, table| {
        log.map(table, |bytes| {
            let second = &second.files[*table];
            let start = second.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let whole = bytes.iter().filter(|byte| **byte == b'\n').count() < 2;
            let kept = bytes.len() - if whole { 0 } else { torn };
            let start = if header { 0 } else { start };
            [&bytes[..kept], &second[start..]].concat()
        })
    })
}

/// The file of ends lags behind the others, or the last row of each file is torn.
#[test]
fn a_run_behind_a_killed_one_is_a_second_run_wherever_the_files_of_the_first_end() {
    let logs = full_logs();
    for (index, (name, first)) in logs.iter().enumerate() {
        let other = &logs[(index + 1) % logs.len()].1;
        let len = first.i.len();
        for (second, steps) in [(first, len / 3), (first, len - 1), (other, len / 2)] {
            for (lag, torn, header) in [
                (1, 0, false),
                (1, 0, true),
                (3, 0, false),
                (99, 0, true),
                (0, 5, false),
                (1, 9, true),
            ] {
                let rows = rows_after(first, steps.max(3), lag);
                let log = started_again(first, second, rows, torn, header);
                let what = format!("{steps} steps, {lag} behind, {torn} torn, header {header}");
                let report = damaged(name, &what, &log);
                let message = &report.rule("M011").unwrap().findings[0].message;
                assert!(message.contains("a second run was appended"), "{name}, {what}: {message}");
            }
        }
    }
}

/// `torn` before the first row of the second run in a file that has so many rows of the first.
fn torn_at(log: Log, table: &str, rows: usize, torn: &str) -> Log {
    log.map(table, |bytes| {
        let at: usize =
            bytes.split_inclusive(|byte| *byte == b'\n').take(rows + 1).map(<[u8]>::len).sum();
        [&bytes[..at], torn.as_bytes(), &bytes[at..]].concat()
    })
}

/// A row that was torn within its first field makes a whole row of the one behind it, under another name.
#[test]
fn a_second_run_is_found_where_its_first_row_goes_on_in_a_torn_one() {
    let (mut within_ids, mut within_steps) = (0, 0);
    for (name, first) in full_logs() {
        let whole = rows_after(&first, first.i.len() - 1, 0);
        let id = |row: usize| first.t.text(row, "request_id");
        for row in (1..whole[4]).filter(|row| id(*row) == id(row - 1)) {
            let mut rows = whole;
            rows[4] = row;
            let log = started_again(&first, &first, rows, 0, false);
            damaged(&name, &format!("{row} changes"), &torn_at(log, TABLES[4], row, "r"));
            within_ids += 1;
        }
        let steps_of = |id: &str| first.r.where_is("iteration_id", id).len();
        if first.i.len() > 10 && steps_of("0") == 1 && steps_of("1") > 0 {
            let rows = rows_after(&first, 10, 0);
            let log = started_again(&first, &first, rows, 0, false);
            damaged(&name, "ten steps", &torn_at(log, TABLES[2], rows[2], "1"));
            within_steps += 1;
        }
    }
    assert!(within_ids > 5 && within_steps > 2, "{within_ids} {within_steps}");
}

/// The run was killed before its steps were written.
#[test]
fn a_second_run_is_found_where_no_step_tells_of_the_first() {
    for (name, first) in full_logs() {
        let mut rows = rows_after(&first, first.i.len() / 2, 0);
        if rows[0] < 2 {
            continue;
        }
        rows[1] = 0;
        let log = started_again(&first, &first, rows, 0, false);
        let report = damaged(&name, "no steps", &log);
        let message = &report.rule("M011").unwrap().findings[0].message;
        assert!(message.contains("a second run was appended"), "{name}: {message}");
        let headless = log.map("per_iteration.csv", |bytes| bytes[9..].to_vec());
        let report = damaged(&name, "no header of the steps", &headless);
        let message = &report.rule("F001").unwrap().findings[0].message;
        assert!(message.contains("a second run was appended"), "{name}: {message}");
    }
}

/// The run was killed once one of its files had a header, before any other had.
#[test]
fn a_header_that_a_killed_run_left_above_that_of_the_next_is_damage() {
    for (name, log) in full_logs() {
        for table in TABLES {
            let log = log.log().map(table, |bytes| {
                let header = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                [&bytes[..header], &bytes].concat()
            });
            let report = damaged(&name, table, &log);
            // Ids that start behind a header are those of a second run.
            let rule = if table == "per_iteration.csv" { "M011" } else { "F003" };
            assert_eq!(report.rule(rule).unwrap().damages, 1, "{name} {table}");
        }
    }
}

/// run.json is that of the last run.
#[test]
fn the_first_of_two_runs_is_not_held_to_the_settings_of_the_second() {
    let (first, mut second) = (bundled("tiny-cache-preemption"), bundled("async-overlap"));
    for key in ["num_gpu_blocks", "max_num_seqs", "max_num_batched_tokens", "block_size"] {
        second.run["config"][key] = 2.into();
    }
    for steps in [3, first.i.len() / 2, first.i.len() - 1] {
        for header in [true, false] {
            let rows = rows_after(&first, steps, 0);
            let log = started_again(&first, &second, rows, 0, header);
            let run = second.log().files["run.json"].clone();
            let log = log.map("run.json", |_| run);
            let report = damaged("two runs", &format!("{steps} steps"), &log);
            let told =
                report.notes.iter().any(|note| note.starts_with("run.json may be of the second"));
            assert!(told, "{:?}", report.notes);
        }
    }
}

/// The run was killed while it wrote the first row of its steps, in which the first one of the second run
/// goes on.
#[test]
fn a_second_run_is_found_where_its_first_step_goes_on_in_a_torn_one() {
    for (name, first) in full_logs() {
        let [p, _, r, e, t] = rows_after(&first, first.i.len() - 1, 0);
        for rows in [[p, 0, r, e, t], [0, 0, 0, e, 0], [p, 0, r, 0, t]] {
            let log = started_again(&first, &first, rows, 0, false);
            damaged(&name, &format!("{rows:?}"), &torn_at(log, TABLES[1], 0, "0,0,72062"));
        }
    }
}

/// Nothing ends in the first step, so that only the steps and the events tell of the first run.
#[test]
fn a_second_run_is_found_behind_one_that_was_killed_after_its_first_step() {
    let line = "{\"timestamp\": 3, \"input_length\": 8, \"output_length\": 6}\n";
    let log = replayed(line, "max_model_len = 64\nlatency = \"fixed\"\n");
    let again = started_again(&log, &log, [0, 1, 0, 3, 0], 0, false);
    damaged("one request", "killed after a step", &again.without("per_iteration_requests.csv"));
}

/// As where the machine runs on: the clock is that of the machine.
#[test]
fn a_second_run_is_found_where_it_starts_later_than_two_steps_of_the_first() {
    let line =
        |at: u32| format!("{{\"timestamp\": {at}, \"input_length\": 8, \"output_length\": 6}}\n");
    let settings = "max_model_len = 64\nlatency = \"fixed\"\n";
    let [first, second] = [1, 900].map(|at| replayed(&line(at), settings));
    for steps in [2, 3, 4] {
        let log = started_again(&first, &second, rows_after(&first, steps, 0), 0, false);
        damaged("one request", &format!("{steps} steps"), &log);
    }
}

/// The first run wrote no rows of its steps; in both runs one request runs at a time.
#[test]
fn rows_of_the_second_run_alone_are_not_held_against_the_steps_of_the_first() {
    let trace = |lengths: [u32; 3]| {
        let line = |input: u32| {
            format!("{{\"timestamp\": 0, \"input_length\": {input}, \"output_length\": 9}}\n")
        };
        lengths.map(line).concat()
    };
    let settings = "max_model_len = 64\nmax_num_seqs = 1\nlatency = \"fixed\"\n";
    let [first, second] = [[8, 9, 10], [30, 20, 7]].map(|it| replayed(&trace(it), settings));
    for steps in 4..first.i.len() {
        let mut rows = rows_after(&first, steps, 0);
        rows[2] = 0;
        damaged(
            "a queue",
            &format!("{steps} steps"),
            &started_again(&first, &second, rows, 0, false),
        );
    }
}

/// The second run has fewer steps than the first, which alone shows what rows the logger leaves out.
#[test]
fn what_a_logger_leaves_out_is_told_by_the_first_run_alone() {
    let line = "{\"timestamp\": 0, \"input_length\": 8, \"output_length\": 2}\n";
    let short = replayed(line, "max_model_len = 64\nlatency = \"fixed\"\n");
    for habit in ["no-initial-rows", "no-preempted-rows", "no-completed-rows"] {
        let variation = VARIATIONS.iter().find(|it| it.habit == habit).unwrap();
        let left_out = |mut log: Sheets| {
            (variation.write)(&mut log);
            log
        };
        for (name, first) in full_logs() {
            let (rows, steps) = (first.r.len(), first.i.len());
            let (first, second) = (left_out(first), left_out(short.clone()));
            if first.r.len() == rows || steps < 8 {
                continue;
            }
            let rows = rows_after(&first, steps - 2, 0);
            damaged(&name, habit, &started_again(&first, &second, rows, 0, false));
        }
    }
}

/// Nothing but the first step of the first run was written.
#[test]
fn a_second_run_is_found_behind_one_step_of_another_one() {
    let [first, second] = [30, 9].map(|input| {
        let line =
            format!("{{\"timestamp\": 0, \"input_length\": {input}, \"output_length\": 6}}\n");
        replayed(&line, "max_model_len = 64\nlatency = \"fixed\"\n")
    });
    for rows in [[0, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 2, 0]] {
        let log = started_again(&first, &second, rows, 0, false);
        let report = damaged("two runs", &format!("{rows:?}"), &log);
        let message = &report.rule("M011").unwrap().findings[0].message;
        assert!(message.contains("a second run was appended"), "{rows:?}: {message}");
    }
}

/// The steps of the first run were not written, and its only request has one name, one beginning and one end in
/// both.
#[test]
fn a_second_run_is_found_behind_the_only_request_of_the_first() {
    let line = "{\"timestamp\": 3, \"input_length\": 8, \"output_length\": 6}\n";
    let log = replayed(line, "max_model_len = 64\nlatency = \"fixed\"\n");
    let events = log.e.len();
    for rows in [[1, 0, 0, events, 2], [1, 0, 0, events, 0], [0, 0, 0, events, 2]] {
        let again = started_again(&log, &log, rows, 0, false);
        damaged("one request", &format!("{rows:?}"), &again.without("per_iteration_requests.csv"));
    }
    for rows in [[1, 1, 0, 0, 0], [0, 1, 0, 0, 2]] {
        let again = started_again(&log, &log, rows, 0, false);
        damaged("one request", &format!("{rows:?}"), &again);
    }
}

/// The first run was killed while it wrote the first row of one file, and left nothing else.
#[test]
fn a_first_row_that_goes_on_in_a_torn_one_is_damage() {
    let log = bundled("plain-run");
    for (table, torn) in
        [(TABLES[0], "r0,0,1020"), (TABLES[2], "0,r0,runn"), (TABLES[3], "0,request_arrived,r")]
    {
        let report = damaged("plain-run", table, &torn_at(log.log(), table, 0, torn));
        assert!(report.rules.iter().all(|rule| rule.errors == 0), "{table}");
    }
}

/// One more field in the first row alone is a torn one; in every row it is a wrong row.
#[test]
fn rows_that_all_have_one_field_more_stay_errors() {
    let mut log = bundled("plain-run");
    log.t.rows.iter_mut().for_each(|row| row.push("more".to_owned()));
    let (_directory, report) = log.log().check();
    let rule = report.rule("F002").unwrap();
    assert_eq!(rule.errors as usize, log.t.len());
    assert_eq!(rule.damages, 0);
}

/// The clock goes on, and the first run was killed after its first step, while it ran one request: that it arrives
/// again is told.
#[test]
fn a_second_run_is_found_behind_a_single_step_though_the_clock_goes_on() {
    let line = |at: u32, input: u32, tokens: u32| {
        format!("{{\"timestamp\": {at}, \"input_length\": {input}, \"output_length\": {tokens}}}\n")
    };
    let settings = "max_model_len = 64\nlatency = \"fixed\"\n";
    let first = replayed(&line(3, 18, 13), settings);
    for tokens in [1, 4] {
        let second = replayed(&[line(39, 1, tokens), line(80, 19, 2)].concat(), settings);
        for header in [false, true] {
            let again = started_again(&first, &second, [0, 1, 1, 3, 0], 0, header);
            damaged("one request", &format!("{tokens} tokens, header {header}"), &again);
            let summary = again.without("per_iteration_requests.csv");
            damaged("one request", &format!("{tokens} tokens, no rows"), &summary);
        }
    }
}

/// The second run has no step: its only prompt is longer than any that the model takes.
#[test]
fn a_second_run_of_a_rejected_request_is_found_where_it_arrives() {
    let line = |input: u32| {
        format!("{{\"timestamp\": 0, \"input_length\": {input}, \"output_length\": 9}}\n")
    };
    let settings = "max_model_len = 100\nmax_num_batched_tokens = 16\nlatency = \"fixed\"\n";
    let [first, second] = [33, 100].map(|input| replayed(&line(input), settings));
    assert_eq!((second.i.len(), second.p.text(0, "finish_reason")), (0, "error"));
    for steps in [1, 2, 4] {
        for header in [false, true] {
            let rows = rows_after(&first, steps, 0);
            let again = started_again(&first, &second, rows, 0, header);
            damaged("one request", &format!("{steps} steps, header {header}"), &again);
        }
    }
}

/// The clock goes on, and the last step of the first run would not be over yet.
#[test]
fn a_second_run_is_found_that_starts_within_the_second_step_of_the_first() {
    let line =
        |at: f64| format!("{{\"timestamp\": {at}, \"input_length\": 8, \"output_length\": 6}}\n");
    let first = replayed(&[4.0, 5.0].map(line).concat(), "");
    let within = (first.i.n(1, "start_time") + first.i.n(1, "end_time")) / 2;
    let at = f64::from(u32::try_from(within / 1_000).unwrap()) / 1e3;
    let second = replayed(&[at, at + 1.0].map(line).concat(), "");
    let rows = rows_after(&first, 2, 0);
    for header in [false, true] {
        let log = started_again(&first, &second, rows, 0, header);
        damaged("a second run within a step", &format!("header {header}"), &log);
    }
}

/// What stands between the first step and the second one was no second step.
#[test]
fn a_second_run_is_found_where_its_first_step_goes_on_in_the_second_one_of_the_first() {
    for name in ["async-overlap", "plain-run", "burst-into-max-num-seqs"] {
        let first = bundled(name);
        for torn in [3, 5, 9] {
            let log = started_again(&first, &first, rows_after(&first, 2, 0), torn, false);
            damaged(name, &format!("torn by {torn}"), &log);
        }
    }
}

/// Nobody waits in the second run.
#[test]
fn the_first_of_two_runs_is_compared_by_its_own_habits() {
    let line = |at: u32, tokens: u32| {
        format!("{{\"timestamp\": {at}, \"input_length\": 8, \"output_length\": {tokens}}}\n")
    };
    let lines = [line(0, 2), line(2, 1), line(2, 1), line(2, 1), line(6, 1)].concat();
    let no_rows = VARIATIONS.iter().find(|it| it.habit == "no-initial-rows").unwrap();
    let [first, second] = [&lines, &line(0, 1)].map(|lines| {
        let mut log = replayed(lines, "max_num_seqs = 4\n");
        (no_rows.write)(&mut log);
        log
    });
    for torn in [0, 5] {
        let rows = rows_after(&first, 4, 99);
        let log = started_again(&first, &second, rows, torn, false).write();
        let report = conform_log(log.path(), &ConformOptions::default()).unwrap();
        assert_eq!(report.verdict, LogVerdict::Conforms, "{:#?}", report.divergences);
        assert!(report.dialect.contains(&Habit::NoInitialRows));
        assert!(report.second_run.is_some() && report.counts.compared > 1);
    }
}
