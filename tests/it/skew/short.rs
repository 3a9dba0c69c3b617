//! Schedulers whose calls take less time than two readings of the clock may differ by.

use schedlog::check::Verdict;
use schedlog::log::dialect::Habit;

use super::{Jitter, late_events, problems, report, shows, stamps};
use crate::dialect_writer::written;
use crate::mutants::full_logs;
use crate::mutants::short_parts::{DURATION_LACKS_OUTPUT, with_short_calls};
use crate::sheets::Sheets;

/// As the log of a logger that reads its clock a little after the moments of steps; one thread, so that
/// no reading is before one that it made earlier.
fn late_steps(log: &Sheets, most: u64) -> Sheets {
    let (mut late, mut jitter) = (log.clone(), Jitter { state: 3, most });
    let mut moments: Vec<_> = (0..log.i.len())
        .flat_map(|row| log.moments(row).into_iter().enumerate().map(move |(i, at)| (at, row, i)))
        .collect();
    moments.sort_unstable();
    let (mut steps, mut last) = (vec![[0; 4]; log.i.len()], 0);
    for (at, row, moment) in moments {
        last = last.max(at + jitter.next());
        steps[row][moment] = last;
    }
    for (row, [start, decided, output, end]) in steps.into_iter().enumerate() {
        late.i.set(row, "start_time", start);
        late.i.set(row, "end_time", end);
        late.i.set(row, "duration", end - start);
        late.i.set(row, "scheduling_overhead", decided - start);
        late.i.set(row, "forward_pass_duration", output - decided);
        late.i.set(row, "output_processing_duration", end - output);
    }
    late
}

#[test]
fn logs_with_short_calls_are_clean() {
    for (name, log) in full_logs() {
        let report = report(&with_short_calls(&log));
        assert_eq!(report.verdict(), Verdict::Clean, "{name}: {}", problems(&report));
        assert!(!report.dialect.has(Habit::ClockSkew), "{name}");
    }
}

/// The decision of a step may be stamped before the end of the step before, by a reading of that.
#[test]
fn decisions_that_name_no_step_are_of_the_nearest() {
    for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
        let log = with_short_calls(log);
        for most in [3_000, 20_000, 40_000] {
            for (what, skewed) in [
                ("steps", late_steps(&log, most)),
                ("events", late_events(&log, most)),
                ("stamps", stamps(&log, most)),
                ("both", late_steps(&late_events(&log, most), most)),
            ] {
                for habits in [&[][..], &["no-details"], &["fixed-columns-only", "no-details"]] {
                    let report = written(&skewed, habits, true).check().1;
                    let what = format!("{name}, {what}, {most}, {habits:?}");
                    assert_eq!(report.verdict(), Verdict::Clean, "{what}: {}", problems(&report));
                }
            }
        }
    }
}

#[test]
fn a_column_that_lacks_a_part_is_wrong_beside_real_skew() {
    for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
        for most in [900, 30_000] {
            let mut wrong = late_events(&with_short_calls(log), most);
            DURATION_LACKS_OUTPUT(&mut wrong);
            let report = report(&wrong);
            assert!(report.dialect.has(Habit::ClockSkew), "{name}");
            assert!(report.rule("T001").unwrap().warnings == 1, "{name}");
            assert!(report.rule("M010").unwrap().errors > 0, "{name}, {most}");
        }
    }
}

/// A clock of whole microseconds has few values, of which a difference may meet one by chance.
#[test]
fn a_coarse_clock_meets_short_times_by_chance() {
    for (name, log) in full_logs().iter().filter(|(_, log)| shows(log)) {
        let mut coarse = with_short_calls(log);
        for row in 0..coarse.i.len() {
            let [start, _, _, end] = coarse.moments(row).map(|at| at / 1_000 * 1_000);
            // One to four microseconds for each call, and as much between two readings.
            let call = 1_000 * (1 + row as i64 % 4);
            coarse.i.set(row, "start_time", start);
            coarse.i.set(row, "end_time", end);
            coarse.i.set(row, "scheduling_overhead", call);
            coarse.i.set(row, "output_processing_duration", call);
            coarse.i.set(row, "forward_pass_duration", end - start - 2 * call);
            coarse.i.set(row, "duration", end - start + call);
        }
        let habit = report(&coarse).dialect.has(Habit::ClockSkew);
        assert!(habit, "{name}");
    }
}
