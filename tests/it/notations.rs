//! Fields as pandas, Python and spreadsheets write them: one finding, which says what to write instead.

use std::fmt::Write;

use crate::fixtures::Log;
use crate::leads::first;
use crate::mutants::full_logs;
use crate::sheets::Sheets;
use crate::support::in_snapshots;

/// What is done to a log before it is written, or to the text of a file.
enum Change {
    Cells(fn(&mut Sheets)),
    Text(&'static str, fn(&str) -> String),
}
use Change::{Cells, Text};

fn in_seconds(time: i64) -> String {
    format!("{:?}", time as f64 / 1e9)
}

fn numbers(s: &mut crate::sheets::Sheet, column: &str, write: fn(i64) -> String) {
    s.map_text(column, |text| text.parse().map_or_else(|_| text.to_owned(), write));
}

fn thousands(number: i64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8(groups.join(&b","[..])).unwrap()
}

fn header_again(text: &str) -> String {
    let mut lines: Vec<_> = text.lines().collect();
    lines.insert(6, lines[0]);
    lines.join("\n") + "\n"
}

const NOTATIONS: &[(&str, Change)] = &[
    ("whole numbers of a column with empty fields, by pandas", {
        Cells(|s| numbers(&mut s.r, "queue_position", |it| format!("{it}.0")))
    }),
    ("whole numbers of a column without empty fields", {
        Cells(|s| numbers(&mut s.e, "timestamp", |it| format!("{it}.0")))
    }),
    ("nan where a number is not there", {
        Cells(|s| {
            s.r.map_text("queue_position", |it| if it.is_empty() { "nan" } else { it }.into())
        })
    }),
    ("None where a word is not there", {
        Cells(|s| {
            s.r.map_text("waiting_reason", |it| if it.is_empty() { "None" } else { it }.into())
        })
    }),
    ("thousands", Cells(|s| numbers(&mut s.p, "arrival_time", thousands))),
    ("an exponent", Cells(|s| numbers(&mut s.i, "start_time", |it| format!("{:e}", it as f64)))),
    ("seconds", Cells(|s| numbers(&mut s.e, "timestamp", in_seconds))),
    ("seconds of the calendar", {
        Cells(|s| numbers(&mut s.e, "timestamp", |it| in_seconds(it + 1_767_225_600_000_000_000)))
    }),
    ("a date", {
        Cells(|s| {
            numbers(&mut s.i, "start_time", |it| {
                format!("2026-01-01T00:00:{:09.6}", it as f64 / 1e9)
            })
        })
    }),
    ("a duration in words", {
        Cells(|s| numbers(&mut s.p, "ttft", |it| format!("0:00:{:09.6}", it as f64 / 1e9)))
    }),
    ("members of an enum", {
        Cells(|s| {
            s.r.map_text("state", |it| format!("RequestState.{}", it.to_uppercase()));
            s.t.map_text("state", |it| format!("RequestState.{}", it.to_uppercase()));
        })
    }),
    ("the text of members of an enum", {
        Cells(|s| {
            s.e.map_text("event_type", |it| format!("<Event.{}: '{it}'>", it.to_uppercase()));
        })
    }),
    ("capitals", Cells(|s| s.i.map_text("scheduler_action", str::to_uppercase))),
    ("vLLM's names of how requests end", {
        Cells(|s| {
            s.p.map_text("finish_reason", |it| {
                it.replace("length", "RequestStatus.FINISHED_LENGTH_CAPPED")
            });
        })
    }),
    ("actions joined by a semicolon and a space", {
        Cells(|s| s.i.map_text("scheduler_action", |it| format!("{it}; continue")))
    }),
    ("spaces around words", Cells(|s| s.e.map_text("event_type", |it| format!(" {it}")))),
    ("spaces behind commas", Text("per_iteration.csv", |text| text.replace(',', ", "))),
    ("a header as a comment", Text("per_iteration.csv", |text| format!("# {text}"))),
    ("a header that stands twice", Text("events.csv", header_again)),
    ("a dict", Text("events.csv", |text| text.replace("\"\"", "'"))),
    ("JSON with backslashes", Text("events.csv", |text| text.replace("\"\"", "\\\""))),
    ("JSON in single quotes", {
        Text("events.csv", |text| {
            text.replace("\"{", "'{").replace("}\"", "}'").replace("\"\"", "\"")
        })
    }),
    ("JSON in no quotes", {
        Text("events.csv", |text| {
            text.replace("\"{", "{").replace("}\"", "}").replace("\"\"", "\"")
        })
    }),
];

#[test]
fn a_notation_is_named_once_with_what_to_write_instead() {
    let logs = full_logs();
    let (_, log) = logs.iter().find(|(name, _)| name == "tiny-cache-preemption").unwrap();
    let mut told = String::new();
    for (what, change) in NOTATIONS {
        let mut sheets = log.clone();
        let wrong: Log = match change {
            Cells(change) => {
                change(&mut sheets);
                sheets.log()
            }
            Text(file, change) => sheets
                .log()
                .map(file, |bytes| change(std::str::from_utf8(&bytes).unwrap()).into_bytes()),
        };
        let (_, text) = first(&wrong).unwrap_or_else(|| panic!("{what} is not found"));
        write!(told, "{what}\n  {text}").unwrap();
        assert!(text.contains(" other-notation: "), "{what}: {text}");
        assert!(!text.contains("beside it"), "{what}: {text}");
    }
    in_snapshots("leads", || insta::assert_snapshot!("notations", told));
}
