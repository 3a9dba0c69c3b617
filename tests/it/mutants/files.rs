//! Mistakes that show in the bytes of the files only.

use super::RawMutant;
use crate::fixtures::Log;
use crate::sheets::TABLES;

type Rules = &'static [&'static str];

const fn raw(
    name: &'static str,
    story: &'static str,
    rules: Rules,
    apply: fn(&mut Log),
) -> RawMutant {
    RawMutant { name, story, rules, apply }
}

fn edit(log: &mut Log, file: &str, change: impl FnOnce(String) -> String) {
    let text = String::from_utf8(log.files[file].clone()).unwrap();
    log.files.insert(file.to_owned(), change(text).into_bytes());
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Everything after the last whole flush is lost.
fn no_final_flush(log: &mut Log, file: &str) {
    edit(log, file, |text| {
        let lines = lines(&text);
        let keep = (lines.len() * 2 / 3).max(1);
        lines[..keep].join("\n") + "\n"
    });
}

pub(super) const MUTANTS: &[RawMutant] = &[
    raw("header-spelled-otherwise", "another name of a column", &["F001"], |log| {
        edit(log, "per_iteration.csv", |text| text.replacen("waiting_count", "num_waiting", 1));
    }),
    raw(
        "header-columns-swapped",
        "the header in another order than the rows",
        &["F001", "M001", "M002"],
        |log| {
            edit(log, "per_request.csv", |text| {
                text.replacen("waiting_time,execution_time", "execution_time,waiting_time", 1)
            });
        },
    ),
    raw("header-repeated", "the header is written at every flush", &["F002", "F003"], |log| {
        edit(log, "per_iteration.csv", |text| {
            let mut lines = lines(&text);
            let header = lines[0].clone();
            lines.insert(lines.len() / 2, header);
            lines.join("\n") + "\n"
        });
    }),
    raw("no-header", "the header is written by the first run only", &["F001"], |log| {
        edit(log, "events.csv", |text| text.split_once('\n').unwrap().1.to_owned());
    }),
    raw("column-missing", "a column is not written", &["F002"], |log| {
        edit(log, "per_iteration.csv", |text| {
            let header = text.lines().next().unwrap().to_owned();
            let rows = text.lines().skip(1).map(|row| row.rsplit_once(',').unwrap().0);
            std::iter::once(&*header).chain(rows).collect::<Vec<_>>().join("\n") + "\n"
        });
    }),
    raw("details-not-quoted", "joined with commas by hand", &["F002"], |log| {
        edit(log, "events.csv", |text| text.replace('"', ""));
    }),
    raw("thousands-separated", "a locale writes 1,000", &["F002"], |log| {
        edit(log, "per_request.csv", |text| {
            let mut lines = lines(&text);
            let last = lines.len() - 1;
            lines[last] = lines[last].replacen("000,", ",000,", 1);
            lines.join("\n") + "\n"
        });
    }),
    raw("requests-not-flushed", "one file misses the last flush", &["X005"], |log| {
        no_final_flush(log, "per_request.csv")
    }),
    raw("steps-not-flushed", "one file misses the last flush", &["X005"], |log| {
        no_final_flush(log, "per_iteration.csv")
    }),
    raw("rows-not-flushed", "one file misses the last flush", &["X005"], |log| {
        no_final_flush(log, "per_iteration_requests.csv")
    }),
    raw("events-not-flushed", "one file misses the last flush", &["X005"], |log| {
        no_final_flush(log, "events.csv")
    }),
    raw("changes-not-flushed", "one file misses the last flush", &["X005"], |log| {
        no_final_flush(log, "state_transitions.csv")
    }),
    raw("last-line-torn", "killed while writing", &["F004"], |log| {
        for file in TABLES {
            edit(log, file, |text| text[..text.len() - 3].to_owned());
        }
    }),
    raw("steps-missing", "a file is not there", &["F001"], |log| {
        drop(log.files.remove("per_iteration.csv"))
    }),
    raw(
        "two-runs-appended",
        "the files of the run before were not removed",
        &["M011", "D001"],
        |log| {
            for file in TABLES {
                edit(log, file, |text| {
                    let (_, rows) = text.split_once('\n').unwrap();
                    format!("{text}{rows}")
                });
            }
        },
    ),
    raw(
        "rows-interleaved",
        "two processes write one file",
        &["F002", "F003", "Q001", "M011"],
        |log| {
            edit(log, "per_iteration_requests.csv", |text| {
                let mut lines = lines(&text);
                let middle = lines.len() / 2;
                let half = lines[middle].len() / 2;
                let torn = lines[middle].split_off(half);
                lines[middle - 1].push_str(&torn);
                lines.join("\n") + "\n"
            });
        },
    ),
];
