//! Made-up traces: the same everywhere, in order, and as asked for.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

use std::process::{Command, Stdio};

use clap::Parser;
use proptest::prelude::*;
use schedlog::trace::generate::{GenerateOptions, Generator};
use schedlog::trace::{Arrival, ReadOptions, Trace, TraceRequest, TraceWriter};
use schedlog::units::Nanos;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    options: GenerateOptions,
}

fn options(flags: &str) -> GenerateOptions {
    Flags::try_parse_from(std::iter::once("generate").chain(flags.split_whitespace()))
        .unwrap()
        .options
}

fn written(options: &GenerateOptions) -> String {
    let mut writer = TraceWriter::new(Vec::new(), options.hash_block_size);
    Generator::new(options).unwrap().for_each(|request| writer.write(&request).unwrap());
    String::from_utf8(writer.finish().unwrap()).unwrap()
}

fn made(flags: &str) -> Vec<TraceRequest> {
    Generator::new(&options(flags)).unwrap().collect()
}

fn arrivals(requests: &[TraceRequest]) -> Vec<u64> {
    let at = |request: &TraceRequest| match request.arrival {
        Arrival::At(time) => Some(time.0),
        Arrival::AfterTurn { .. } => None,
    };
    requests.iter().filter_map(at).collect()
}

const EVERYTHING: &str = "--seed 42 --requests 24 --arrival gamma --rate 4 \
    --input-length lognormal:300:1:1:4000 --output-length uniform:1:200 --prefixes 3 \
    --prefix-length 1024 --prefix-share 0.7 --turns uniform:1:3 --priorities=-1:1,0:3 \
    --abort-fraction 0.2";

#[test]
fn a_seed_gives_these_bytes() {
    let cases = [
        ("default", "--requests 12"),
        ("closed-loop", EVERYTHING),
        ("timed", &format!("{EVERYTHING} --follow-up timed")),
        ("on-off", "--requests 12 --arrival on-off --rate 10 --on-time 100ms --off-time 1s"),
    ];
    for (name, flags) in cases {
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/generate"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, { insta::assert_snapshot!(name, written(&options(flags))) });
    }
}

#[test]
fn rates_are_kept_by_every_process() {
    for process in
        ["poisson", "gamma --cv 3", "fixed", "burst", "on-off --on-time 1s --off-time 1s"]
    {
        let requests = made(&format!("--requests 20000 --rate 50 --arrival {process}"));
        let span = *arrivals(&requests).last().unwrap() as f64 / 1e9;
        assert!((360.0..440.0).contains(&span), "{process}: {span} s");
    }
}

#[test]
fn a_fixed_interval_does_not_drift() {
    let times = arrivals(&made("--requests 100001 --rate 3 --arrival fixed"));
    assert_eq!((times[1], times[100_000]), (333_333_333, 33_333_333_333_333));
}

#[test]
fn aborts_do_not_move_arrivals() {
    let calm = arrivals(&made("--requests 100"));
    assert_eq!(calm, arrivals(&made("--requests 100 --abort-fraction 0.5 --priorities 0,1")));
    assert_ne!(calm, arrivals(&made("--requests 100 --seed 1")));
}

#[test]
fn follow_ups_continue_what_was_said() {
    let requests = made("--requests 50 --turns 5 --output-length 64 --input-length uniform:1:900");
    let mut turns = 0;
    for pair in requests.windows(2) {
        let [before, turn] = pair else { unreachable!() };
        if matches!(turn.arrival, Arrival::At(_)) {
            continue;
        }
        turns += 1;
        assert_eq!(before.session, turn.session);
        assert!(turn.input_tokens > before.input_tokens + before.output_tokens);
        let (short, long) = (before.prompt[0], turn.prompt[0]);
        assert_eq!(short.first, long.first);
        assert!(short.len <= long.len);
    }
    assert_eq!(turns, 40);
}

#[test]
fn conversations_end_before_they_get_too_long() {
    let requests = made(
        "--requests 500 --turns 50 --input-length 1000 --output-length 100 --session-max-input 5000",
    );
    assert!(requests.iter().all(|request| request.input_tokens.0 <= 5_000));
    assert!(requests.iter().any(|request| request.input_tokens.0 > 4_000));
}

#[test]
fn options_that_make_no_sense_are_named() {
    let cases = [
        "--requests 0",
        "--rate 0",
        "--rate NaN",
        "--rate 0.0000001",
        "--rate 0.000001 --requests 10000",
        "--arrival gamma --cv 0",
        "--arrival burst --burst-size 0",
        "--arrival burst --burst-size 10 --burst-spacing 2s",
        "--arrival on-off --on-time 0",
        "--arrival on-off --on-time 1ms --off-time 0 --rate 0.01",
        "--input-length 0",
        "--output-length uniform:1:4294967296",
        "--turns 0",
        "--prefixes 1 --prefix-length 100",
        "--prefix-share 1.5",
        "--abort-fraction=-0.1",
        "--hash-block-size 0",
    ];
    let mut text = String::new();
    for flags in cases {
        let error = Generator::new(&options(flags)).unwrap_err();
        text.push_str(&format!("{flags}\n{error}\n\n"));
    }
    for flags in ["--input-length some", "--input-length uniform:5:1", "--priorities 0:-1"] {
        let Err(error) =
            Flags::try_parse_from(std::iter::once("generate").chain(flags.split_whitespace()))
        else {
            panic!("{flags} is taken");
        };
        let error = error.to_string();
        text.push_str(&format!("{flags}\n{}\n\n", error.lines().next().unwrap()));
    }
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/generate"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!("errors", text) });
}

#[test]
fn options_print_as_flags_that_give_the_same_trace() {
    for flags in [EVERYTHING, "", "--arrival on-off", "--arrival burst --burst-spacing 1ms"] {
        let first = GenerateOptions { requests: 30, ..options(flags) };
        assert_eq!(written(&options(&first.to_string())), written(&first));
    }
}

fn schedlog() -> Command {
    Command::new(env!("CARGO_BIN_EXE_schedlog"))
}

#[test]
fn a_file_is_whole_or_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.jsonl");
    let run = |args: &[&str]| schedlog().arg("generate").args(args).output().unwrap();
    let out = path.to_str().unwrap();
    let done = run(&["--requests", "50", "--out", out]);
    assert!(done.status.success() && done.stdout.is_empty());
    assert!(String::from_utf8(done.stderr).unwrap().starts_with("schedlog generate --seed 0 "));
    let file = std::fs::read(&path).unwrap();
    assert_eq!(file, run(&["--requests", "50"]).stdout);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let bad = run(&["--requests", "50", "--out", dir.path().join("no/trace").to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(String::from_utf8(bad.stderr).unwrap().contains("cannot write"));
}

#[test]
fn a_reader_that_leaves_is_an_error() {
    let mut child = schedlog()
        .args(["generate", "--requests", "100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(141));
    assert!(String::from_utf8(done.stderr).unwrap().contains("its reader has gone"));
}

fn any_flags() -> impl Strategy<Value = String> {
    let arrival = prop::sample::select(vec!["poisson", "gamma", "fixed", "burst", "on-off"]);
    let follow_up = prop::sample::select(vec!["closed-loop", "timed"]);
    let block = prop::sample::select(vec![1_u32, 16, 512]);
    let rest = (0..4_u32, 1..5_u32, 0..=10_u32, 1..2000_u32);
    (any::<u64>(), 1..60_u32, arrival, follow_up, block, rest).prop_map(
        |(seed, requests, arrival, follow_up, block, (prefixes, turns, tenths, input))| {
            format!(
                "--seed {seed} --requests {requests} --arrival {arrival} --follow-up {follow_up} \
                 --hash-block-size {block} --prefixes {prefixes} --prefix-length {} \
                 --prefix-share 0.{tenths} --turns uniform:1:{turns} --abort-fraction 0.{tenths} \
                 --input-length uniform:1:{input} --priorities 0:2,5:1",
                block * 4
            )
        },
    )
}

proptest! {
    #[test]
    fn any_trace_reads_back_in_order(flags in any_flags()) {
        let options = options(&flags);
        let requests: Vec<_> = Generator::new(&options).unwrap().collect();
        prop_assert_eq!(requests.len() as u64, options.requests);
        prop_assert!(arrivals(&requests).is_sorted());
        let read = ReadOptions {
            hash_block_size: Some(options.hash_block_size),
            ..ReadOptions::default()
        };
        let bytes = written(&options).into_bytes();
        let trace = Trace::from_bytes("generated", bytes, &read).unwrap();
        let read: Vec<_> = trace.requests().unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(&read, &requests);
        prop_assert_eq!(trace.summary().order, schedlog::trace::Order::File);
        prop_assert!(read.iter().all(|request| request.abort_after != Some(Nanos::ZERO)));
    }
}

#[test]
fn ids_as_a_completions_server_gives_them() {
    let requests = made("--requests 300 --seed 7 --ids completion");
    let names: std::collections::BTreeSet<_> =
        requests.iter().map(|request| request.id.as_str().to_owned()).collect();
    assert_eq!(names.len(), 300);
    for name in &names {
        let hash = name.strip_prefix("cmpl-").and_then(|rest| rest.strip_suffix("-0")).unwrap();
        assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    }
    assert_eq!(requests, made("--requests 300 --seed 7 --ids completion"));
    assert_ne!(requests[0].id, made("--requests 300 --seed 8 --ids completion")[0].id);
    assert!(options("--ids completion").to_string().contains(" --ids completion "));
}
