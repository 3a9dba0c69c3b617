//! Something is missing as a whole: one leading finding says what, and all that follows from it stands
//! under it.

use std::collections::BTreeSet;
use std::fmt::Write;

use schedlog::diagnose::Diagnosis;
use schedlog::diagnose::losses::LOSSES;
use schedlog::diagnose::mixups::MIXUPS;
use schedlog::policy::Applied;
use schedlog::report::{Sheet, TextOptions, write_sheet};

use crate::mutants::{catalogue, full_logs};
use crate::sheets::{Sheet as Csv, Sheets};
use crate::support::in_snapshots;

/// What takes something away from a log.
type Lose = fn(&mut Sheets);

fn drop_request(sheet: &mut Csv, id: &str) {
    let column = sheet.column("request_id");
    sheet.rows.retain(|row| row[column] != id);
}

fn every(sheet: &mut Csv, stride: usize) {
    let rows = std::mem::take(&mut sheet.rows);
    let kept = rows.into_iter().enumerate().filter(|(index, _)| index % stride != stride - 1);
    sheet.rows = kept.map(|(_, row)| row).collect();
}

fn one_in(sheet: &mut Csv, stride: usize) {
    let rows = std::mem::take(&mut sheet.rows);
    sheet.rows = rows.into_iter().step_by(stride).collect();
}

fn without(sheet: &mut Csv, column: &str, value: &str) {
    let column = sheet.column(column);
    sheet.rows.retain(|row| row[column] != value);
}

fn steps_of_half(log: &mut Sheets) -> (String, [i64; 4]) {
    let row = log.i.len() / 2;
    (log.i.text(row, "iteration_id").to_owned(), log.moments(row))
}

/// The step in which the first preempted request comes back.
fn resumption(log: &Sheets) -> [i64; 4] {
    let row = (0..log.i.len()).find(|row| log.i.n(*row, "resumed_count") > 0).unwrap();
    log.moments(row)
}

const REQUEST: &str = "lost-request";
const STEP: &str = "lost-step";
const KIND: &str = "lost-kind";
const ROWS: &str = "lost-rows";

/// Losses by name, with the cause that is to be told.
const LOST: &[(&str, &str, Lose)] = &[
    ("request-of-rows", REQUEST, |s| drop_request(&mut s.r, "r3")),
    ("request-of-events", REQUEST, |s| drop_request(&mut s.e, "r3")),
    ("request-of-requests", REQUEST, |s| drop_request(&mut s.p, "r3")),
    ("request-of-changes", REQUEST, |s| drop_request(&mut s.t, "r3")),
    ("two-requests-of-rows", REQUEST, |s| {
        drop_request(&mut s.r, "r1");
        drop_request(&mut s.r, "r3");
    }),
    ("step-of-steps", STEP, |s| {
        let (id, _) = steps_of_half(s);
        without(&mut s.i, "iteration_id", &id);
    }),
    ("step-of-rows", STEP, |s| {
        let (id, _) = steps_of_half(s);
        without(&mut s.r, "iteration_id", &id);
    }),
    ("step-of-events", STEP, |s| {
        let [start, _, _, end] = resumption(s);
        let of_step = |row: &Vec<String>| {
            let at: i64 = row[0].parse().unwrap();
            start < at && at <= end && row[1] != "request_arrived"
        };
        s.e.rows.retain(|row| !of_step(row));
    }),
    ("seventh-of-steps", STEP, |s| every(&mut s.i, 7)),
    ("seventh-of-rows", ROWS, |s| every(&mut s.r, 7)),
    ("seventh-of-events", ROWS, |s| every(&mut s.e, 7)),
    ("seventh-of-changes", ROWS, |s| every(&mut s.t, 7)),
    ("one-in-ten-of-steps", STEP, |s| one_in(&mut s.i, 10)),
    ("one-in-ten-of-rows", ROWS, |s| one_in(&mut s.r, 10)),
    ("one-in-ten-of-events", ROWS, |s| one_in(&mut s.e, 10)),
    ("no-arrivals", KIND, |s| without(&mut s.e, "event_type", "request_arrived")),
    ("no-first-schedulings", KIND, |s| without(&mut s.e, "event_type", "request_scheduled")),
    ("no-resumptions", KIND, |s| without(&mut s.e, "event_type", "request_resumed")),
    ("no-preemptions", KIND, |s| without(&mut s.e, "event_type", "request_preempted")),
    ("no-evictions", KIND, |s| without(&mut s.e, "event_type", "request_evicted")),
    ("no-first-tokens", KIND, |s| without(&mut s.e, "event_type", "first_token_generated")),
    ("no-completions", KIND, |s| without(&mut s.e, "event_type", "request_completed")),
    ("no-blocks-taken", KIND, |s| without(&mut s.e, "event_type", "kv_cache_allocated")),
    ("no-blocks-freed", KIND, |s| without(&mut s.e, "event_type", "kv_cache_freed")),
    ("no-changes-back-to-running", KIND, |s| {
        let [state, before] = ["state", "prev_state"].map(|column| s.t.column(column));
        s.t.rows.retain(|row| !(row[state] == "running" && row[before] == "preempted"));
    }),
    ("first-half", STEP, |s| {
        let row = s.i.len() / 2;
        let (id, start) = (s.i.n(row, "iteration_id"), s.i.n(row, "start_time"));
        s.i.rows.drain(..row);
        let [step, at] = [s.r.column("iteration_id"), s.e.column("timestamp")];
        s.r.rows.retain(|row| row[step].parse::<i64>().unwrap() >= id);
        s.e.rows.retain(|row| row[at].parse::<i64>().unwrap() >= start);
    }),
    ("no-changes-to-preempted", KIND, |s| without(&mut s.t, "state", "preempted")),
];

fn log(name: &str) -> Sheets {
    full_logs().into_iter().find(|(other, _)| other == name).unwrap().1
}

/// The report as a terminal shows it, and the ids of the causes of its groups.
fn told(log: &Sheets) -> (String, Vec<Vec<&'static str>>) {
    let (directory, report) = log.log().check();
    let applied = Applied::default();
    let mut out = Vec::new();
    let sheet = Sheet::new(&report, &applied, None, false);
    write_sheet(&sheet, &TextOptions::default(), &mut out).unwrap();
    let path = directory.path().display().to_string();
    let text = String::from_utf8(out).unwrap().replace(&path, "LOG");
    let diagnosis = Diagnosis::of(&report, false);
    let causes =
        |group: &schedlog::diagnose::Group<'_>| group.causes.iter().map(|it| it.id).collect();
    (text, diagnosis.groups.iter().map(causes).collect())
}

#[test]
fn a_loss_is_one_finding_with_all_that_follows_from_it() {
    let log = log("tiny-cache-preemption");
    for (name, loss, lose) in LOST {
        let mut lost = log.clone();
        lose(&mut lost);
        let (text, causes) = told(&lost);
        assert_eq!(causes, [[*loss]], "{name}: {text}");
        in_snapshots("losses", || insta::assert_snapshot!(*name, text));
    }
    let known: BTreeSet<_> = LOSSES.iter().map(|(id, _)| *id).collect();
    assert_eq!(LOST.iter().map(|(_, loss, _)| *loss).collect::<BTreeSet<_>>(), known);
    assert!(LOSSES.iter().all(|(_, doc)| doc.ends_with('.')));
}

/// Of other logs: whatever breaks, the loss is what is told first.
#[test]
fn a_loss_comes_first_in_every_log() {
    let mut tried = 0;
    for (name, log) in full_logs() {
        for (what, loss, lose) in LOST {
            let mut lost = log.clone();
            // Not every log has such a step.
            let resumes = (0..log.i.len()).any(|row| log.i.n(row, "resumed_count") > 0);
            if *what == "step-of-events" && !resumes {
                continue;
            }
            lose(&mut lost);
            let (text, causes) = told(&lost);
            if let Some(first) =
                causes.first().filter(|_| text.contains("error[") && causes.len() > 1)
            {
                // Of short steps one row in ten is a row in few steps.
                let either = *what == "one-in-ten-of-rows" && first.contains(&STEP);
                assert!(first.contains(loss) || either, "{name}, {what}: {causes:?} {text}");
                tried += 1;
            }
        }
    }
    assert!(tried > 0);
}

/// Where nothing is lost nothing is said to be: the mutants of which a loss is told are those that lose, and
/// those of which a mistake of a whole file is told make it.
#[test]
fn a_loss_is_told_of_logs_that_lost_something_only() {
    // All that a mutant may need is in one of these.
    let rich = ["aborts", "async-preemption", "tiny-cache-preemption", "too-long-prompts"];
    let logs: Vec<_> =
        full_logs().into_iter().filter(|(name, _)| rich.contains(&name.as_str())).collect();
    let mut text = String::new();
    for mutant in catalogue() {
        for (name, log) in &logs {
            let mut wrong = log.clone();
            (mutant.apply)(&mut wrong);
            let (_directory, report) = wrong.log().check();
            let diagnosis = Diagnosis::of(&report, false);
            let groups = diagnosis.groups.iter().flat_map(|group| &group.causes);
            // An event that is early is late, whatever else it is.
            let known = || LOSSES.iter().chain(MIXUPS).filter(|(id, _)| *id != "written-late");
            let loss = groups.into_iter().find(|cause| known().any(|(id, _)| *id == cause.id));
            if let Some(loss) = loss {
                writeln!(
                    text,
                    "{}: {}\n  {name}: {}: {}",
                    mutant.name, mutant.story, loss.id, loss.text
                )
                .unwrap();
                break;
            }
        }
    }
    in_snapshots("losses", || insta::assert_snapshot!("mutants", text));
}
