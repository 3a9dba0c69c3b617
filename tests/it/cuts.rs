//! What a cut leaves open is not held against the log.

use schedlog::check::{CheckOptions, Verdict, check_dir};
use schedlog::engine::run::LogOptions;
use schedlog::log::dialect::Habit;
use schedlog::log::values::LogLevel;

use crate::damage::damaged;
use crate::dialect_writer::VARIATIONS;
use crate::fixtures::tripped;
use crate::golden::replay_bundled;
use crate::mutants::full_logs;
use crate::sheets::{Sheet, Sheets};

pub(crate) fn bundled(name: &str) -> Sheets {
    full_logs().into_iter().find(|(other, _)| other == name).unwrap().1
}

/// The file was opened, and the run killed before its header was written; the events end before a
/// preemption.
#[test]
fn an_empty_file_of_changes_leaves_the_entries_into_states_to_the_events_as_far_as_they_go() {
    for name in ["tiny-cache-preemption", "async-preemption", "priorities"] {
        let mut log = bundled(name);
        let preempted = log.e.where_is("event_type", "request_preempted");
        for row in preempted.into_iter().rev() {
            log.e.rows.truncate(row);
            let empty = log.log().map("state_transitions.csv", |_| Vec::new());
            damaged(name, &format!("events cut at {row}"), &empty);
            damaged(name, "no changes", &log.log().without("state_transitions.csv"));
        }
    }
}

/// The log of overlapping steps, of which clients leave.
fn aborts_in_flight() -> Sheets {
    let line = |i: u32| {
        let abort = format!(r#", "abort_after_ms": {}"#, 65 + i * 53 % 97);
        let (input, output) = (8 + i * 37 % 71, 4 + i * 13 % 23);
        let abort = if i % 2 == 1 { abort.as_str() } else { "" };
        let at = 20 * i;
        format!(
            "{{\"timestamp\": {at}, \"input_length\": {input}, \"output_length\": {output}{abort}}}\n"
        )
    };
    let settings = "async_scheduling = true\nmax_model_len = 256\nmax_num_batched_tokens = 64\n\
                    max_num_seqs = 6\nnum_gpu_blocks = 40\nblock_size = 8\n";
    replayed(&(0..40).map(line).collect::<String>(), settings)
}

/// The log of a trace.
pub(crate) fn replayed(lines: &str, settings: &str) -> Sheets {
    let place = tempfile::tempdir().unwrap();
    let trace = place.path().join("trace.jsonl");
    std::fs::write(&trace, lines).unwrap();
    std::fs::write(trace.with_extension("toml"), settings).unwrap();
    replay_bundled(&trace, &place.path().join("log"), &LogOptions::default());
    Sheets::read(&place.path().join("log"))
}

/// A step is decided while the client of one of its requests gives up, so that a row of it stands behind
/// its end.
#[test]
fn a_request_that_was_aborted_in_flight_is_known_until_its_last_row() {
    let log = aborts_in_flight();
    damaged("aborts", "changes alone", &log.log().without("events.csv").without("per_request.csv"));
}

/// Where nothing counts the completed rows, and where two of them were to follow.
#[test]
fn rows_that_end_within_the_completed_ones_are_cut() {
    let names = ["idle-gap", "closed-loop-turns", "long-prompts-chunked", "watermark"];
    for name in names {
        let mut log = bundled(name);
        log.r.rows.pop();
        damaged(name, "reference", &log.log());
        let fixed = VARIATIONS.iter().find(|other| other.habit == "fixed-columns-only").unwrap();
        (fixed.write)(&mut log);
        damaged(name, "fixed columns", &log.log());
        log.e.map_text("details", |_| String::new());
        damaged(name, "fixed columns without details", &log.log());
    }
    let mut log = bundled("idle-gap");
    log.e.rows.truncate(14);
    log.t.rows.truncate(3);
    log.r.rows.truncate(13);
    log.p.rows.truncate(3);
    log.i.rows.truncate(7);
    damaged("idle-gap", "killed within a step", &log.log());
}

#[test]
fn steps_that_nothing_tells_of_may_overlap() {
    for name in ["async-overlap", "async-preemption"] {
        let mut log = bundled(name);
        log.run = serde_json::Value::Null;
        for steps in 0..3 {
            log.i.rows.truncate(2 - steps);
            let report = damaged(name, &format!("{steps} steps lost"), &log.log());
            assert!(!report.overlapping, "{name}: nothing tells");
        }
        damaged(name, "no steps", &log.log().without("per_iteration.csv"));
    }
}

/// The last step of overlapping ones has nobody in its batch who could show that he is missing.
#[test]
fn steps_behind_the_cut_of_their_rows_are_one_loss() {
    let mut log = aborts_in_flight();
    let empty = |sheet: &mut Sheet| sheet.rows.clear();
    [&mut log.p, &mut log.r, &mut log.e, &mut log.t].into_iter().for_each(empty);
    damaged("aborts", "steps alone", &log.log());
}

/// How many rows each file has once this many steps are over, but for requests of which the files of
/// ends have none yet.
pub(crate) fn rows_after(log: &Sheets, steps: usize, lag: usize) -> [usize; 5] {
    let end = log.i.n(steps - 1, "end_time");
    let ended = (0..log.p.len())
        .filter(|row| log.p.num(*row, "completion_time").is_some_and(|at| at <= end))
        .count()
        .saturating_sub(lag);
    let ids: Vec<_> = (0..ended).map(|row| log.p.text(row, "request_id")).collect();
    let changes = (0..log.t.len()).filter(|row| ids.contains(&log.t.text(*row, "request_id")));
    let rows = (0..log.r.len()).filter(|row| log.r.n(*row, "iteration_id") < steps as i64);
    let events = (0..log.e.len()).filter(|row| log.e.n(*row, "timestamp") <= end);
    [ended, steps, rows.count(), events.count(), changes.count()]
}

/// The run was killed, and its steps were flushed before its requests: who came and gave up behind the last
/// step that is there is none of those that ran in it.
#[test]
fn rows_of_waiting_requests_are_left_out_though_one_gave_up_behind_the_cut() {
    let trace = r#"{"timestamp": 0, "input_length": 8, "output_length": 9}
{"timestamp": 1, "input_length": 8, "output_length": 9}
{"timestamp": 35, "input_length": 8, "output_length": 9, "abort_after_ms": 10}
"#;
    let mut log = replayed(trace, "max_model_len = 64\nmax_num_seqs = 1\nlatency = \"fixed\"\n");
    log.r.rows.retain(|row| row[2] == "running");
    assert_eq!(log.p.text(0, "finish_reason"), "abort");
    let [_, _, rows, events, changes] = rows_after(&log, 5, 0);
    log.p.rows.truncate(1);
    log.i.rows.truncate(3);
    let sheets = [&mut log.r, &mut log.e, &mut log.t];
    sheets.into_iter().zip([rows, events, changes]).for_each(|(it, rows)| it.rows.truncate(rows));
    damaged("a queue", "steps lost", &log.log());
}

/// Behind the end of the events one gives up and another comes, for which there is no room: the number of those
/// that wait stays what it was.
#[test]
fn who_gives_up_behind_the_end_of_the_events_is_not_kept_out() {
    let trace = r#"{"timestamp": 0, "input_length": 8, "output_length": 4}
{"timestamp": 0, "input_length": 16, "output_length": 30}
{"timestamp": 1, "input_length": 4, "output_length": 4, "abort_after_ms": 21}
{"timestamp": 21, "input_length": 40, "output_length": 4}
"#;
    let settings = "max_model_len = 64\nmax_num_seqs = 2\nlatency = \"fixed\"\nblock_size = 8\n\
                    num_gpu_blocks = 10\nenable_prefix_caching = false\nwatermark = 0.3\n";
    let mut log = replayed(trace, settings);
    log.r.rows.retain(|row| row[2] == "running");
    let changes = log.i.column("waiting_count");
    assert!(log.i.rows.iter().all(|row| row[changes].parse::<u32>().unwrap() < 2));
    let given_up = log.p.where_is("finish_reason", "abort");
    assert_eq!(given_up.len(), 1);
    let end = log.p.n(given_up[0], "completion_time");
    let events = (0..log.e.len()).filter(|row| log.e.n(*row, "timestamp") < 21_000_000.min(end));
    let events = events.count();
    log.e.rows.truncate(events);
    log.p.rows.clear();
    log.t.rows.clear();
    damaged("a queue", "events lost", &log.log());
}

/// The log of a killed run has no rows of waiting requests; one waits although there are seats.
#[test]
fn a_request_that_is_never_admitted_is_seen_without_rows_of_those_that_wait() {
    let mut log = bundled("burst-into-max-num-seqs");
    log.r.rows.retain(|row| row[2] != "waiting" && row[2] != "preempted");
    let waits = |row: &usize| log.i.n(*row, "waiting_count") > 0;
    let steps = (0..log.i.len()).filter(waits).max().unwrap() + 1;
    let [p, i, r, e, t] = rows_after(&log, steps, 0);
    log.p.rows.truncate(p);
    log.i.rows.truncate(i);
    log.r.rows.truncate(r);
    log.e.rows.truncate(e);
    log.t.rows.truncate(t);
    damaged("burst", "killed", &log.log());
    log.run["config"]["max_num_seqs"] = 1000.into();
    log.run["config"]["max_num_active_seqs"] = 1000.into();
    let (_directory, report) = log.log().check();
    let errors = report.rules.iter().filter(|rule| rule.errors > 0).map(|rule| rule.rule.id);
    assert_eq!(errors.collect::<Vec<_>>(), ["Q010"]);
}

/// A log of steps whose decisions take no time, so that each is decided at the very moment at which the one
/// before it ends: as on a coarse clock.
pub(crate) fn decided_at_ends(settings: &str) -> Sheets {
    let line = |i: u32| {
        let (input, output) = (8 + i * 37 % 71, 4 + i * 13 % 23);
        format!(
            "{{\"timestamp\": {}, \"input_length\": {input}, \"output_length\": {output}}}\n",
            9 * i
        )
    };
    let place = tempfile::tempdir().unwrap();
    let trace = place.path().join("trace.jsonl");
    std::fs::write(&trace, (0..24).map(line).collect::<String>()).unwrap();
    let free = "schedule_base_ns = 0\nschedule_per_request_ns = 0\noutput_base_ns = 0\n\
                output_per_request_ns = 0\nmax_model_len = 128\nmax_num_batched_tokens = 64\n\
                max_num_seqs = 6\nnum_gpu_blocks = 24\nblock_size = 8\n";
    std::fs::write(trace.with_extension("toml"), format!("{free}{settings}")).unwrap();
    let options = LogOptions { log_level: LogLevel::Full, ..LogOptions::default() };
    replay_bundled(&trace, &place.path().join("log"), &options);
    Sheets::read(&place.path().join("log"))
}

#[test]
fn steps_may_be_decided_at_the_moment_at_which_the_ones_before_end() {
    let log = decided_at_ends("");
    assert!(log.e.where_is("event_type", "request_preempted").len() > 2);
    let clean = |what: &str, log: &Sheets| {
        let (_directory, report) = log.log().check();
        assert_eq!(report.verdict(), Verdict::Clean, "{what}: {:?}", tripped(&report));
    };
    clean("all", &log);
    let mut untold = log.clone();
    untold.e.rows.retain(|row| !row[1].starts_with("kv_cache"));
    untold.e.map_text("details", |_| String::new());
    untold.run["log_level"] = "standard".into();
    clean("no details", &untold);
    let fixed = VARIATIONS.iter().find(|other| other.habit == "fixed-columns-only").unwrap();
    (fixed.write)(&mut untold);
    clean("fixed columns without details", &untold);
}

#[test]
fn who_is_scheduled_as_the_last_step_of_a_cut_file_ends_belongs_to_the_next() {
    for settings in ["", "enable_prefix_caching = false\nasync_scheduling = true\n"] {
        let log = decided_at_ends(settings);
        for steps in (1..log.i.len() * 2 / 3).step_by(3) {
            let mut rows = log.clone();
            let [.., until, _, _] = rows_after(&log, steps, 0);
            rows.r.rows.truncate(until);
            damaged("free decisions", &format!("rows of {steps} steps"), &rows.log());
            let [p, i, r, e, t] = rows_after(&log, steps, 0);
            let mut killed = log.clone();
            let sheets =
                [&mut killed.p, &mut killed.i, &mut killed.r, &mut killed.e, &mut killed.t];
            sheets.into_iter().zip([p, i, r, e, t]).for_each(|(it, rows)| it.rows.truncate(rows));
            damaged("free decisions", &format!("{steps} steps"), &killed.log());
            killed.run = serde_json::Value::Null;
            damaged("free decisions", &format!("{steps} steps, no run.json"), &killed.log());
        }
    }
}

/// Only the first request has a row in per_request.csv, and none of the others has run.
#[test]
fn waiting_rows_may_be_left_out_though_nobody_who_waits_has_come_to_an_end() {
    let line = "{\"timestamp\": 0, \"input_length\": 8, \"output_length\": 4}\n";
    let settings = "max_model_len = 64\nmax_num_seqs = 1\nlatency = \"fixed\"\n";
    let mut log = replayed(&line.repeat(4), settings);
    log.r.rows.retain(|row| row[2] == "running");
    let sheets = [&mut log.p, &mut log.i, &mut log.r, &mut log.t];
    sheets.into_iter().zip([1, 3, 4, 2]).for_each(|(it, rows)| it.rows.truncate(rows));
    let until = log.e.where_is("event_type", "request_completed")[0] + 1;
    log.e.rows.truncate(until);
    damaged("a queue", "killed", &log.log());
}

/// The dialect tells what a logger never writes; a directory in the file's place, or a file of this
/// product's logger that has gone, is damage.
#[test]
fn a_file_of_changes_that_is_lost_is_no_habit_of_the_logger() {
    let place = bundled("plain-run").log().without("state_transitions.csv").write();
    for _ in 0..2 {
        let report = check_dir(place.path(), &CheckOptions::default()).unwrap();
        assert_eq!(report.verdict(), Verdict::Damaged);
        assert!(!report.dialect.has(Habit::NoTransitions));
        let _ = std::fs::create_dir(place.path().join("state_transitions.csv"));
    }
}

/// Nothing tells the reasons of the ends, and the clients that gave up first did so while a step was in
/// flight.
#[test]
fn ends_of_a_killed_run_may_all_be_of_clients_that_gave_up() {
    let line = |i: u32| {
        let abort = if i > 0 { r#", "abort_after_ms": 1"# } else { "" };
        let at = 12 * i;
        format!("{{\"timestamp\": {at}, \"input_length\": 8, \"output_length\": 60{abort}}}\n")
    };
    let settings = "max_model_len = 128\nmax_num_seqs = 8\nlatency = \"fixed\"\n";
    let mut log = replayed(&(0..8).map(line).collect::<String>(), settings);
    let ends = log.p.where_is("finish_reason", "abort");
    assert_eq!(ends.len(), 7);
    let [_, i, r, e, _] = rows_after(&log, 20, 0);
    let sheets = [&mut log.p, &mut log.i, &mut log.r, &mut log.e, &mut log.t];
    sheets.into_iter().zip([0, i, r, e, 0]).for_each(|(it, rows)| it.rows.truncate(rows));
    log.e.map_text("details", |_| String::new());
    damaged("aborts", "killed", &log.log());
}

/// Drafts take a part of the budget and of the memory, and no setting names their number.
#[test]
fn work_that_drafts_leave_no_room_for_is_not_lost() {
    let line = |i: u32| {
        let (input, output) = (24 + i * 37 % 41, 20 + i * 13 % 23);
        format!("{{\"timestamp\": {i}, \"input_length\": {input}, \"output_length\": {output}}}\n")
    };
    let settings = "speculative_method = \"ngram\"\nnum_speculative_tokens = 7\nmax_model_len = 96\n\
                    num_gpu_blocks = 26\nblock_size = 4\nmax_num_batched_tokens = 64\n\
                    max_num_seqs = 8\nlatency = \"fixed\"\nenable_prefix_caching = false\n";
    let mut log = replayed(&(0..12).map(line).collect::<String>(), settings);
    let config = log.run["config"].as_object_mut().unwrap();
    config.remove("num_speculative_tokens");
    config.remove("num_lookahead_tokens");
    let (_directory, report) = log.log().check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
}

/// At log level `summary` nothing but the tokens tells a batch that got nothing from the running queue.
#[test]
fn a_step_of_which_the_running_queue_gets_nothing_is_idle_where_that_counts_as_the_batch() {
    let mut log = bundled("async-overlap");
    let fixed = VARIATIONS.iter().find(|other| other.habit == "fixed-columns-only").unwrap();
    (fixed.write)(&mut log);
    for row in 0..log.i.len() {
        let running = log.i.n(row, "running_count");
        log.i.set(row, "batch_size", running);
    }
    log.run["log_level"] = "summary".into();
    log.e.rows.retain(|row| !row[1].starts_with("kv_cache"));
    let (_directory, report) = log.log().without("per_iteration_requests.csv").check();
    assert_eq!(report.verdict(), Verdict::Clean, "{:?}", tripped(&report));
}

/// The log in other habits of its dialect.
fn in_habits(mut log: Sheets, habits: &[&str]) -> Sheets {
    for variation in VARIATIONS.iter().filter(|variation| habits.contains(&variation.habit)) {
        (variation.write)(&mut log);
    }
    log
}

/// All requests are scheduled by the first step, and the events end between one of them and its resumption.
#[test]
fn resumptions_at_first_schedulings_are_known_though_the_last_of_them_is_cut_off() {
    let line = "{\"timestamp\": 0, \"input_length\": 8, \"output_length\": 4}\n";
    let log = replayed(&line.repeat(4), "max_model_len = 64\nlatency = \"fixed\"\n");
    let log = in_habits(log, &["resumed-at-first"]);
    let scheduled = log.e.where_is("event_type", "request_scheduled");
    assert_eq!(scheduled.len(), 4);
    for row in &scheduled[1..] {
        let mut cut = log.clone();
        cut.e.rows.truncate(row + 1);
        let report = damaged("four requests", &format!("{row} events"), &cut.log());
        assert!(report.dialect.has(Habit::ResumedAtFirst));
        cut.run = serde_json::Value::Null;
        damaged("four requests", &format!("{row} events, no run.json"), &cut.log());
    }
}

/// Nothing says when a step ended but what happened then, which may have been in a step that was lost.
#[test]
fn what_follows_the_last_step_is_not_its_own_where_nothing_tells_its_end() {
    let hidden = ["ends-at-decision", "no-output-duration"];
    for (name, log) in full_logs() {
        for more in [&[][..], &["no-details"], &["no-details", "fixed-columns-only"]] {
            let log = in_habits(log.clone(), &[&hidden, more].concat());
            for steps in (1..log.i.len() - 1).step_by(2) {
                let mut cut = log.clone();
                cut.i.rows.truncate(steps);
                damaged(&name, &format!("{more:?}, {steps} steps"), &cut.log());
            }
        }
    }
}

/// The rows end with those of the requests that the first step finished, behind which none of a queue may stand.
#[test]
fn rows_may_be_left_out_of_a_file_that_ends_with_its_first_step() {
    let line = "{\"timestamp\": 0, \"input_length\": 8, \"output_length\": 1}\n";
    let settings = "max_model_len = 64\nmax_num_seqs = 3\nlatency = \"fixed\"\n";
    let mut log = in_habits(replayed(&line.repeat(5), settings), &["no-initial-rows"]);
    log.r.rows.truncate(6);
    assert_eq!((log.r.text(2, "state"), log.r.text(5, "state")), ("running", "completed"));
    let report = damaged("five requests", "rows of a step", &log.log());
    assert!(report.dialect.has(Habit::NoInitialRows));
}

/// The steps end before the first one that preempts, which is decided before the last of them ends.
#[test]
fn a_preemption_behind_the_last_of_overlapping_steps_shows_that_preempted_rows_are_left_out() {
    let log = in_habits(bundled("async-preemption"), &["no-preempted-rows"]);
    let first = log.i.rows.iter().position(|row| row[log.i.column("preempted_count")] != "0");
    let mut cut = log.clone();
    cut.i.rows.truncate(first.unwrap());
    let report = damaged("async-preemption", "no step preempts", &cut.log());
    assert!(report.dialect.has(Habit::NoPreemptedRows));
}
