//! Runs side by side.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use schedlog::compare::{CompareOptions, Comparison, Verdict, compare_dirs, to_text};
use schedlog::engine::run::{LogOptions, replay_trace};
use schedlog::log::reader::LogDir;
use schedlog::settings::Settings;
use schedlog::trace::{Arrival, Trace, TraceRequest, private_token};
use schedlog::units::{Nanos, Priority, TokenRun, Tokens};
use schedlog::view::chart::{Body, Chart, Curve, MOST_RUNS, NamedPicture, overlaid};
use schedlog::view::collect::{Metric, PictureOptions};
use schedlog::view::draw::{draw, to_svg};
use schedlog::view::picture;

use crate::analyze::log_of;
use crate::fixtures::{Log, repo};
use crate::support::in_snapshots;
use crate::view::texts;

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

fn named(name: &str, directory: &Path) -> NamedPicture {
    let dir = LogDir::open(directory).unwrap();
    NamedPicture {
        name: name.to_owned(),
        picture: picture(&dir, &PictureOptions::default()).unwrap(),
    }
}

fn curves(chart: &Chart) -> &[Curve] {
    let Body::Curves { curves, .. } = &chart.body else { panic!("{} has no curves", chart.name) };
    curves
}

#[test]
fn what_stands_in_the_overlaid_charts_is_as_it_was() {
    let (narrow, wide) = (run(2), run(4));
    let runs = [named("A narrow", narrow.path()), named("B wide", wide.path())];
    let mut all = String::new();
    for chart in overlaid(&runs) {
        let svg = to_svg(&draw(&chart), chart.title);
        all.push_str(&format!("{}\n{}\n", chart.name, texts(&svg)));
    }
    in_snapshots("compare", || insta::assert_snapshot!("plots", all));
}

#[test]
fn overlaid_charts_show_what_the_runs_have() {
    let (narrow, wide) = (run(2), run(4));
    let runs = [named("A", narrow.path()), named("B", wide.path())];
    let charts = overlaid(&runs);
    let chart = |name: &str| charts.iter().find(|chart| chart.name == name).unwrap();
    for (index, run) in runs.iter().enumerate() {
        let points = run.picture.tracks.points();
        let peak = |metric: Metric| {
            points.iter().map(|point| point.stat(metric as usize).max).fold(0.0, f64::max)
        };
        // Merged or not, no peak is lost.
        for (name, metric) in [("batch-size", Metric::Batch), ("waiting-queue", Metric::Waiting)] {
            let curve = &curves(chart(name))[index];
            let drawn = curve.points.iter().chain(&curve.high).map(|point| point.1);
            assert_eq!(drawn.fold(0.0, f64::max), peak(metric), "{name}");
        }
        let last = curves(chart("preemptions"))[index].points.last().unwrap().1;
        assert_eq!(last as u64, run.picture.preemptions);
        for latency in ["ttft", "tpot", "e2e"] {
            let share = &curves(chart(&format!("{latency}-distribution")))[index].points;
            // The last corner closes the last bar.
            let sum: f64 = share[..share.len() - 1].iter().map(|point| point.1).sum();
            assert!((sum - 100.0).abs() < 1e-9, "{latency} {sum}");
            let all = &curves(chart(&format!("{latency}-cdf")))[index].points;
            assert_eq!((all[0].1, all.last().unwrap().1), (0.0, 100.0), "{latency}");
            assert!(all.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1), "{latency}");
        }
    }
    // Runs begin at the same place, whatever their clocks said.
    assert!(curves(chart("batch-size")).iter().all(|curve| curve.points[0].0 == 0.0));
}

#[test]
fn runs_that_have_nothing_are_drawn_too() {
    let base = Log::base().write();
    let mut nothing = Log::base();
    nothing.files.retain(|file, _| file == "per_request.csv");
    let header = nothing.map("per_request.csv", |bytes| {
        bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap().to_vec()
    });
    let empty = header.write();
    for runs in [
        vec![named("A", base.path()), named("B", empty.path())],
        vec![named("A", empty.path()), named("B", empty.path())],
    ] {
        for chart in overlaid(&runs) {
            let svg = to_svg(&draw(&chart), chart.title);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}", chart.name);
        }
    }
}

fn command(arguments: &[&str], directories: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_schedlog"))
        .arg("compare")
        .args(arguments)
        .args(directories)
        .output()
        .unwrap()
}

#[test]
fn plots_of_many_runs_with_long_names() {
    let place = tempfile::tempdir().unwrap();
    let long =
        place.path().join("a-directory-with-a-name-that-is-longer-than-any-legend-has-room-for");
    fs::rename(Log::base().write().keep(), &long).unwrap();
    let out = place.path().join("charts");
    let runs = vec![long.as_path(); MOST_RUNS];
    let output = command(&["--plots", out.to_str().unwrap(), "--resamples", "0"], &runs);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let svg = fs::read_to_string(out.join("batch-size.svg")).unwrap();
    assert!(svg.contains(">P …") && svg.contains("legend-has-room-for<"));
    // The last eight are dashed: eight lines and their eight marks in the legend.
    assert_eq!(svg.matches("stroke-dasharray").count(), 16);
    if cfg!(feature = "plots") {
        assert_eq!(
            &fs::read(out.join("batch-size.png")).unwrap()[16..24],
            [0, 0, 9, 96, 0, 0, 4, 96]
        );
    }
    let too_many = vec![long.as_path(); MOST_RUNS + 1];
    let output = command(&["--plots", out.to_str().unwrap()], &too_many);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("at most 16"));
}
