//! One column that is wrong as a whole, in a way that the likely cause has a name for.

use super::queues::of_last_step;
use super::{Mutant, mutant};

const PARTS: [&str; 3] =
    ["scheduling_overhead", "forward_pass_duration", "output_processing_duration"];

pub(super) const MUTANTS: &[Mutant] = &[
    mutant("start-in-us", "one column in microseconds", &["M010"], |s| {
        s.i.map("start_time", |time| time / 1_000);
    }),
    mutant("end-in-ms", "one column in milliseconds", &["M010"], |s| {
        s.i.map("end_time", |time| time / 1_000_000);
    }),
    mutant("scheduling-in-us", "one column in microseconds", &["M010"], |s| {
        s.i.map("scheduling_overhead", |time| time / 1_000);
    }),
    mutant("forward-in-ms", "one column in milliseconds", &["M010"], |s| {
        s.i.map("forward_pass_duration", |time| time / 1_000_000);
    }),
    mutant("parts-in-us", "the parts in microseconds, their sum in nanoseconds", &["M010"], |s| {
        PARTS.iter().for_each(|part| s.i.map(part, |time| time / 1_000));
    }),
    mutant("arrival-in-us", "one column in microseconds", &["M001", "M015"], |s| {
        s.p.map("arrival_time", |time| time / 1_000);
    }),
    mutant("completion-in-us", "one column in microseconds", &["M001", "S003"], |s| {
        s.p.map("completion_time", |time| time / 1_000);
    }),
    mutant("time-in-state-in-ms", "one column in milliseconds", &["M013"], |s| {
        s.r.map("time_in_state", |time| time / 1_000_000);
    }),
    mutant("ttft-of-last-token", "overwritten with each token", &["M007"], |s| {
        for row in 0..s.p.len() {
            let more = s.p.n(row, "output_tokens") > 1;
            if let Some(latency) = s.p.num(row, "e2e_latency").filter(|_| more) {
                s.p.set(row, "ttft", latency);
                s.p.set(row, "tpot", 0);
            }
        }
    }),
    mutant("admitted-of-last-step", "a counter set too late", &["Q001"], |s| {
        of_last_step(s, "admitted_count");
    }),
];
