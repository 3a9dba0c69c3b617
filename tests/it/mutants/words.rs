//! Words and values that are not of the format.

use super::{Mutant, mutant};
use crate::sheets::Sheets;

fn first_empty(s: &mut Sheets, column: &str, text: &str) {
    let empty = (0..s.p.len()).find(|row| s.p.text(*row, column).is_empty());
    if let Some(row) = empty {
        s.p.set(row, column, text);
    }
}

fn undefined(s: &mut Sheets, text: &str) {
    for column in ["first_scheduled_time", "ttft", "tpot", "completion_time"] {
        s.p.map_text(column, |old| if old.is_empty() { text.to_owned() } else { old.to_owned() });
    }
}

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("states-in-capitals", "the name of the enum", &["F006"], |s| {
        s.r.map_text("state", str::to_uppercase)
    }),
    mutant("actions-in-capitals", "the name of the enum", &["F006"], |s| {
        s.i.map_text("scheduler_action", str::to_uppercase)
    }),
    mutant("events-renamed", "names of an older version", &["F006"], |s| {
        s.e.map_text("event_type", |kind| kind.replace("request_", ""))
    }),
    mutant("state-swapped", "a state of an older scheduler", &["F006"], |s| {
        let row = s.r.len() / 2;
        s.r.set(row, "state", "swapped");
    }),
    mutant("finish-reason-eos", "another word", &["F006"], |s| {
        let row = s.p.len() / 2;
        s.p.set(row, "finish_reason", "eos_token");
    }),
    mutant("undefined-none", "None is written as text", &["F003"], |s| undefined(s, "None")),
    mutant("undefined-nan", "nan is written as text", &["F003"], |s| undefined(s, "nan")),
    mutant("undefined-minus-one", "-1 stands for undefined", &["F003"], |s| undefined(s, "-1")),
    mutant("ttft-zero-once", "one path writes 0 for undefined", &["F005"], |s| {
        first_empty(s, "ttft", "0")
    }),
    mutant("tpot-zero-once", "one path writes 0 for undefined", &["F005"], |s| {
        first_empty(s, "tpot", "0")
    }),
    mutant("tpot-of-one-token", "the latency where no quotient is defined", &["M008"], |s| {
        for row in 0..s.p.len() {
            if s.p.n(row, "output_tokens") == 1 && s.p.num(row, "e2e_latency").is_some() {
                let latency = s.p.n(row, "e2e_latency");
                s.p.set(row, "tpot", latency);
            }
        }
    }),
    mutant("first-scheduled-zero", "one path writes 0 for undefined", &["F005"], |s| {
        first_empty(s, "first_scheduled_time", "0")
    }),
    mutant("ttft-without-token", "the time to the abort", &["M007", "K012"], |s| {
        for row in 0..s.p.len() {
            if s.p.n(row, "output_tokens") == 0
                && let Some(latency) = s.p.num(row, "e2e_latency").filter(|latency| *latency > 0)
            {
                s.p.set(row, "ttft", latency);
            }
        }
    }),
    mutant("ttft-empty", "ttft of chunked prompts is lost", &["M007"], |s| {
        s.p.map_text("ttft", |_| String::new())
    }),
    mutant("tpot-empty", "tpot is never written", &["M008"], |s| {
        s.p.map_text("tpot", |_| String::new())
    }),
    mutant("throughput-empty", "throughput is never written", &["M009"], |s| {
        s.p.map_text("throughput", |_| String::new())
    }),
    mutant("first-scheduled-empty", "never written", &["M006"], |s| {
        s.p.map_text("first_scheduled_time", |_| String::new())
    }),
    mutant("completion-empty", "never written", &["M001"], |s| {
        s.p.map_text("completion_time", |_| String::new())
    }),
    mutant("e2e-empty", "never written", &["M001"], |s| {
        s.p.map_text("e2e_latency", |_| String::new())
    }),
    mutant("details-of-python", "str(dict) instead of JSON", &["F003"], |s| {
        s.e.map_text("details", |text| text.replace('"', "'"))
    }),
    mutant("details-cut", "cut at forty characters", &["F003"], |s| {
        s.e.map_text("details", |text| text.chars().take(40).collect())
    }),
    mutant("negative-duration", "a difference taken the wrong way", &["F003"], |s| {
        s.i.map("forward_pass_duration", |time| -time)
    }),
    mutant("negative-waiting", "a difference taken the wrong way", &["F003"], |s| {
        s.p.map("waiting_time", |time| -time - 1)
    }),
    mutant("exponents", "floats in exponent form", &["F003"], |s| {
        s.p.map_text("e2e_latency", |text| {
            text.parse::<f64>().map_or(String::new(), |time| format!("{time:e}"))
        })
    }),
    mutant("fractions", "times with a fraction", &["F003"], |s| {
        s.e.map_text("timestamp", |text| format!("{text}.0"))
    }),
    mutant("tokens-as-floats", "a column with gaps read by pandas", &["F003"], |s| {
        s.r.map_text("tokens_generated", |text| format!("{text}.0"))
    }),
    mutant("ids-empty", "the id is set later", &["F003"], |s| s.p.set(0, "request_id", "")),
];
