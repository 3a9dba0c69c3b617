//! Runs side by side.

use std::path::{Path, PathBuf};

use schedlog::compare::{CompareOptions, Comparison, Verdict, compare_dirs, to_text};
use schedlog::engine::run::{LogOptions, replay_trace};
use schedlog::settings::Settings;
use schedlog::trace::{Arrival, Trace, TraceRequest, private_token};
use schedlog::units::{Nanos, Priority, TokenRun, Tokens};

use crate::analyze::log_of;
use crate::fixtures::{Log, repo};
use crate::support::in_snapshots;

/// A run of 600 requests with so many at a time.
fn run(max_num_seqs: u32) -> tempfile::TempDir {
    let request = |index: u32| {
        let input = Tokens(10 + index * 7 % 40);
        TraceRequest {
            ordinal: index,
            id: format!("r{index}").into(),
            arrival: Arrival::At(Nanos(u64::from(index) * 40_000_000)),
            session: None,
            input_tokens: input,
            output_tokens: Tokens(2 + index * 5 % 11),
            max_tokens: Tokens(64),
            priority: Priority(0),
            abort_after: None,
            prompt: vec![TokenRun { first: private_token(index, 0), len: input }],
            failed: false,
        }
    };
    let mut settings = Settings::from_file(&repo("traces/tiny-cache-preemption.toml")).unwrap();
    settings.max_num_seqs = Some(max_num_seqs);
    settings.num_gpu_blocks = Some(64);
    let trace = Trace::from_requests("made up", (0..600).map(request).collect());
    let directory = tempfile::tempdir().unwrap();
    let options = LogOptions::default();
    let settings = settings.resolve().unwrap();
    replay_trace(&trace, &settings, Some(directory.path()), &options, |_| {}).unwrap();
    directory
}

fn compare(directories: &[&Path]) -> Comparison {
    let directories: Vec<PathBuf> = directories.iter().map(|path| path.to_path_buf()).collect();
    let slo = Some("ttft=50ms,e2e=150ms".parse().unwrap());
    let options = CompareOptions { slo, seed: 1, resamples: 200 };
    let mut comparison = compare_dirs(&directories, &options).unwrap();
    for run in &mut comparison.runs {
        run.directory = format!("run-{}", run.name);
    }
    comparison
}

#[test]
fn three_runs_side_by_side() {
    let (narrow, wide) = (run(2), run(4));
    let base = Log::base().without("run.json").write();
    let comparison = compare(&[narrow.path(), wide.path()]);
    let differ: Vec<_> = comparison.settings.iter().map(|d| d.setting.as_str()).collect();
    assert_eq!(differ, ["max_num_active_seqs", "max_num_seqs"]);
    in_snapshots("compare", || {
        insta::assert_snapshot!("two.txt", to_text(&comparison));
        insta::assert_json_snapshot!("two.json", comparison);
    });
    let comparison = compare(&[narrow.path(), wide.path(), base.path()]);
    in_snapshots("compare", || insta::assert_snapshot!("three.txt", to_text(&comparison)));
}

#[test]
fn a_run_is_as_good_as_itself() {
    let log = run(2);
    let comparison = compare(&[log.path(), log.path()]);
    assert!(comparison.settings.is_empty());
    for figure in &comparison.figures {
        let ratio = figure.ratios[0];
        assert!(ratio.ratio.is_none_or(|ratio| ratio == 1.0), "{figure:?}");
        assert!(matches!(ratio.verdict, Verdict::Same | Verdict::Untold), "{figure:?}");
    }
}

#[test]
fn the_other_way_round_is_the_inverse() {
    let (narrow, wide) = (run(2), run(4));
    let there = compare(&[narrow.path(), wide.path()]);
    let back = compare(&[wide.path(), narrow.path()]);
    let mut better = 0;
    for (there, back) in there.figures.iter().zip(&back.figures) {
        let (one, other) = (there.ratios[0], back.ratios[0]);
        if let (Some(one), Some(other)) = (one.ratio, other.ratio) {
            assert!((one * other - 1.0).abs() < 1e-12, "{there:?}");
        }
        better += usize::from(one.verdict == Verdict::Better);
        assert_eq!(one.verdict == Verdict::Better, other.verdict == Verdict::Worse, "{there:?}");
    }
    assert!(better > 5, "{better}");
}

#[test]
fn few_requests_give_no_interval() {
    let log = log_of("plain-run");
    let comparison = compare(&[log.path(), log.path()]);
    let p99 = comparison.figures.iter().find(|figure| figure.figure == "ttft p99").unwrap();
    assert!(p99.values[0].interval.is_none() && p99.values[0].value.is_some());
}
