//! Wrong logs for the causes that no mutant brings about.

use std::collections::BTreeSet;

use crate::sheets::{Sheet, Sheets};

/// Gives each id of a file another name, which is told how many requests came before it.
fn rename(s: &mut Sheets, name: impl Fn(usize, &str) -> String) {
    let ids: Vec<String> = s.p.rows.iter().map(|row| row[0].clone()).collect();
    for (table, (sheet, column)) in ["p", "r", "e", "t"].into_iter().zip([
        (&mut s.p, 0),
        (&mut s.r, 1),
        (&mut s.e, 2),
        (&mut s.t, 0),
    ]) {
        for row in &mut sheet.rows {
            if let Some(place) = ids.iter().position(|id| *id == row[column]) {
                row[column] = name(place, table);
            }
        }
    }
}

fn number(text: &str) -> usize {
    text.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or_default()
}

/// With ids of which text and number have different orders.
fn numbered(s: &mut Sheets) {
    rename(s, |place, _| format!("req-{}", 17 * (place + 5) % 211));
}

/// All of one kind or more than one row, so that each row changes.
fn each(sheet: &mut Sheet, change: impl Fn(&mut Vec<String>)) {
    sheet.rows.iter_mut().for_each(change);
}

/// As if each flush wrote so many steps, of which something is wrong in the last or first.
fn at_flushes(s: &mut Sheets, first: usize, wrong: impl Fn(&mut Sheets, usize)) {
    if s.i.len() > 500 {
        (first..s.i.len() - 1).step_by(100).for_each(|row| wrong(s, row));
    }
}

/// Changes of any log; they leave one alone in which the cause cannot be told.
pub(super) const CHANGES: &[fn(&mut Sheets)] = &[
    |s| {
        numbered(s);
        s.r.rows.sort_by_key(|row| number(&row[1]));
    },
    |s| s.r.rows.sort_by(|one, other| one[2].cmp(&other[2])),
    |s| {
        let first = s.p.rows.iter().map(|row| row[0].clone()).collect::<Vec<_>>();
        s.r.rows.sort_by_key(|row| first.iter().position(|id| *id == row[1]));
    },
    |s| {
        numbered(s);
        s.p.rows.sort_by_key(|row| number(&row[0]));
    },
    |s| s.p.rows.sort_by(|one, other| one[3].cmp(&other[3])),
    |s| {
        numbered(s);
        s.t.rows.sort_by_key(|row| number(&row[0]));
    },
    |s| s.e.rows.sort_by(|one, other| one[2].cmp(&other[2])),
    |s| {
        numbered(s);
        s.e.rows.sort_by_key(|row| number(&row[2]));
    },
    |s| {
        rename(s, |place, table| format!("cmpl-{place:02}{}", if table == "e" { "" } else { "-0" }))
    },
    |s| {
        rename(
            s,
            |place, table| {
                if table == "e" { format!("{place:02}") } else { format!("cmpl-{place:02}-0") }
            },
        )
    },
    |s| {
        rename(s, |place, table| {
            format!(
                "a{place:02}{}",
                if table == "e" { String::new() } else { format!("-{}", 7 * place + 3) }
            )
        })
    },
    |s| {
        rename(
            s,
            |place, table| if table == "e" { format!("{place:06}") } else { place.to_string() },
        )
    },
    |s| {
        rename(s, |place, table| {
            if table != "e" {
                format!("{place:02}abcd")
            } else {
                format!("{place:02}abcd{:03}", 37 * place)
            }
        })
    },
    // One event stands a second time, much later.
    |s| {
        let row = s.e.rows[2].clone();
        let at = s.e.len() - 2;
        s.e.rows.insert(at, row);
    },
    // The events of another run behind those of this one.
    |s| {
        let mut other = s.e.clone();
        each(&mut other, |row| {
            if !row[2].is_empty() {
                row[2].insert(0, 'x');
            }
        });
        s.e.rows.extend(other.rows);
    },
    // The changes of another run, of which some requests have the ids of this one.
    |s| {
        for (at, row) in s.t.rows.iter_mut().enumerate() {
            let moment: i64 = row[1].parse().unwrap();
            row[1] = (moment + 1_000_003).to_string();
            if at % 3 == 0 {
                row[0].insert(0, 'x');
            }
        }
    },
    // The rows of another run with as many steps.
    |s| {
        let last = s.i.len() as i64 - 1;
        s.r.map("iteration_id", |id| last - id);
        s.r.rows.reverse();
    },
    |s| {
        for row in 1..s.i.len() {
            let next = s.i.n(row, "waiting_count");
            s.i.set(row - 1, "waiting_count", next);
        }
    },
    |s| {
        for column in ["e2e_latency", "waiting_time", "execution_time", "ttft"] {
            s.p.map(column, |time| time + time / 2000);
        }
    },
    |s| s.p.map("e2e_latency", |time| time + time / 2000),
    // A second preemption has no event.
    |s| {
        let mut seen = BTreeSet::new();
        s.e.rows.retain(|row| row[1] != "request_preempted" || seen.insert(row[2].clone()));
    },
    |s| {
        for row in 0..s.p.len() {
            let tokens = s.p.n(row, "output_tokens");
            let times = (s.p.num(row, "execution_time"), s.p.num(row, "ttft"));
            if let (Some(execution), Some(ttft)) = times
                && tokens > 1
            {
                s.p.set(row, "tpot", (execution - ttft).max(0) / (tokens - 1));
            }
        }
    },
    |s| at_flushes(s, 99, |s, row| s.i.set(row, "output_processing_duration", 0)),
    |s| at_flushes(s, 99, |s, row| s.i.add(row, "duration", -1)),
    |s| at_flushes(s, 100, |s, row| s.i.add(row, "duration", -1)),
    // Of the step that ends a request only the completed row is kept.
    |s| {
        let ended: Vec<_> = s.r.rows.iter().filter(|row| row[2] == "completed").cloned().collect();
        s.r.rows.retain(|row| row[2] != "running" || !ended.iter().any(|end| end[..2] == row[..2]));
    },
    // The step of block events is never filled in.
    |s| {
        for row in s.e.rows.iter_mut().filter(|row| row[1].starts_with("kv_cache")) {
            if let Ok(mut details) = serde_json::from_str::<serde_json::Value>(&row[3]) {
                details["iteration_id"] = 0.into();
                row[3] = details.to_string();
            }
        }
    },
    // Every second decision names the step behind it.
    |s| {
        for row in s.e.rows.iter_mut().step_by(2) {
            if let Ok(mut details) = serde_json::from_str::<serde_json::Value>(&row[3])
                && let Some(id) = details["iteration_id"].as_i64()
            {
                details["iteration_id"] = (id + 1).into();
                row[3] = details.to_string();
            }
        }
    },
];
