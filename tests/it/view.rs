//! Charts and the page: what is in them, and that the same log gives the same bytes.

use std::fs;
use std::path::Path;
use std::process::Command;

use schedlog::check::CheckOptions;
use schedlog::engine::run::LogOptions;
use schedlog::log::reader::LogDir;
use schedlog::view::chart::{Body, charts};
use schedlog::view::collect::{Metric, PictureOptions};
use schedlog::view::draw::{draw, to_png, to_svg};
use schedlog::view::{Picture, page, picture, plots};

use crate::fixtures::{Log, fixture, repo};
use crate::golden::{bundled, replay_bundled};
use crate::support::in_snapshots;

const EXAMPLE: &str = "tiny-cache-preemption";

fn replayed(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let trace = repo(&format!("traces/{name}.jsonl"));
    replay_bundled(&trace, directory.path(), &LogOptions::default());
    directory
}

fn seen(directory: &Path) -> Picture {
    let options = PictureOptions { requests: 1_000, ..PictureOptions::default() };
    picture(&LogDir::open(directory).unwrap(), &options).unwrap()
}

fn names(directory: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.path().is_file());
    files.map(|entry| entry.file_name()).collect()
}

/// The texts of an SVG, one per line.
pub(crate) fn texts(svg: &str) -> String {
    svg.lines()
        .filter_map(|line| line.strip_prefix("<text")?.split_once('>')?.1.strip_suffix("</text>"))
        .map(|text| format!("{text}\n"))
        .collect()
}

#[test]
fn what_stands_in_the_charts_is_as_it_was() {
    let directory = replayed(EXAMPLE);
    let picture = seen(directory.path());
    for chart in charts(&picture, 1_200) {
        let svg = to_svg(&draw(&chart), chart.title);
        in_snapshots("plots", || insta::assert_snapshot!(chart.name, texts(&svg)));
    }
}

#[test]
fn every_chart_has_axes_with_units_and_ink() {
    for (name, trace) in bundled() {
        let log = tempfile::tempdir().unwrap();
        replay_bundled(&trace, log.path(), &LogOptions::default());
        for chart in charts(&seen(log.path()), 1_200) {
            let svg = to_svg(&draw(&chart), chart.title);
            let about = format!("{name}: {}", chart.name);
            let units = ["(ms)", "(s)", "(µs)", "(%)", " ms<", " s<", " µs<"];
            assert!(units.iter().any(|unit| svg.contains(unit)), "{about} has no unit");
            assert!(svg.matches("<path").count() > 5, "{about} is empty");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{about}");
        }
    }
}

#[test]
fn images_are_written_in_both_forms() {
    let (log, out) = (replayed(EXAMPLE), tempfile::tempdir().unwrap());
    let picture = seen(log.path());
    let written = plots::write_plots(&picture, out.path()).unwrap();
    let kinds = if cfg!(feature = "plots") { 2 } else { 1 };
    assert_eq!(written.len(), charts(&picture, 1_200).len() * kinds);
    for path in written {
        let bytes = fs::read(&path).unwrap();
        let about = path.display();
        if path.extension().unwrap() == "png" {
            assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "{about}");
            assert_eq!(bytes[16..24], [0, 0, 9, 96, 0, 0, 4, 96], "{about}: 2400 by 1120");
            assert!(bytes.len() > 20_000, "{about} has {} bytes", bytes.len());
        } else {
            assert!(bytes.starts_with(b"<svg") && bytes.ends_with(b"</svg>\n"), "{about}");
        }
    }
}

#[test]
fn the_same_log_gives_the_same_bytes() {
    let (first, second) = (replayed(EXAMPLE), replayed(EXAMPLE));
    let images = |directory: &Path| -> Vec<_> {
        let picture = seen(directory);
        let images = charts(&picture, 1_200).into_iter().enumerate().map(|(index, chart)| {
            let drawing = draw(&chart);
            // One PNG speaks for all: pixels come from the same shapes.
            (to_svg(&drawing, chart.title), (index == 3).then(|| to_png(&drawing)))
        });
        images.collect()
    };
    assert!(images(first.path()) == images(second.path()));
    let page_of = |directory: &tempfile::TempDir| {
        // The name of the directory is the title of the page.
        let named = directory.path().join("run");
        fs::create_dir(&named).unwrap();
        for name in names(directory.path()) {
            fs::rename(directory.path().join(&name), named.join(name)).unwrap();
        }
        page::page(&LogDir::open(&named).unwrap(), &CheckOptions::default()).unwrap()
    };
    let pages = [replayed(EXAMPLE), replayed(EXAMPLE)].map(|directory| page_of(&directory));
    assert!(pages[0] == pages[1]);
}

#[test]
fn what_the_picture_adds_up_is_what_the_log_says() {
    for (name, trace) in bundled() {
        let log = tempfile::tempdir().unwrap();
        replay_bundled(&trace, log.path(), &LogOptions::default());
        let picture = seen(log.path());
        let lines = |file: &str| fs::read_to_string(log.path().join(file)).unwrap().lines().count();
        assert_eq!(picture.requests as usize, lines("per_request.csv") - 1, "{name}");
        assert_eq!(picture.steps as usize, lines("per_iteration.csv") - 1, "{name}");
        let points = picture.tracks.points();
        assert_eq!(points.iter().map(|point| point.steps).sum::<u64>(), picture.steps, "{name}");
        let tokens: f64 = points.iter().map(|point| point.stat(Metric::Tokens as usize).sum).sum();
        let phases = [Metric::Prefill, Metric::Decode];
        let split: f64 = phases
            .iter()
            .flat_map(|phase| points.iter().map(|point| point.stat(*phase as usize).sum))
            .sum();
        assert_eq!(tokens, split, "{name}");
        // A request's spans cover its life without a gap.
        for request in picture.chosen.requests.iter().filter(|request| request.e2e.is_some()) {
            let spans = &request.spans;
            assert_eq!(spans.first().unwrap().start, request.arrival, "{name} {}", request.id);
            assert_eq!(spans.last().unwrap().end, request.completion, "{name} {}", request.id);
            assert!(spans.windows(2).all(|pair| pair[0].end == Some(pair[1].start)), "{name}");
        }
    }
}

#[test]
fn a_log_without_events_or_with_nothing_is_drawn_too() {
    let whole = Log::base().write();
    let without = Log::base().without("events.csv").write();
    let spans = |directory: &Path| -> Vec<_> {
        let requests = seen(directory).chosen.requests;
        requests.into_iter().map(|request| (request.id, request.spans)).collect()
    };
    assert_eq!(spans(whole.path()), spans(without.path()));
    let only_header = Log::base()
        .without("events.csv")
        .without("per_request.csv")
        .without("per_iteration_requests.csv")
        .without("state_transitions.csv")
        .map("per_iteration.csv", |text| {
            text.split(|byte| *byte == b'\n').next().unwrap().to_vec()
        });
    let empty = only_header.write();
    let picture = seen(empty.path());
    for chart in charts(&picture, 1_200) {
        let svg = to_svg(&draw(&chart), chart.title);
        assert!(!svg.contains("NaN"), "{}", chart.name);
        let nothing = svg.contains("nothing to show") || svg.contains("no request is finished");
        assert!(nothing, "{}", chart.name);
    }
    page::page(&LogDir::open(empty.path()).unwrap(), &CheckOptions::default()).unwrap();
}

#[test]
fn a_picture_of_any_length_is_bounded() {
    let log = replayed("burst-into-max-num-seqs");
    let dir = LogDir::open(log.path()).unwrap();
    let options = PictureOptions { points: 16, requests: 4, ..PictureOptions::default() };
    let picture = picture(&dir, &options).unwrap();
    assert!(picture.tracks.points().len() <= 32);
    assert!(picture.chosen.requests.len() <= 4);
    assert_eq!(picture.chosen.left_out, picture.requests - picture.chosen.requests.len() as u64);
    let peak = |points: usize| {
        let charts = charts(&picture, points);
        let Body::Time { series, .. } = &charts[0].body else { panic!("no time") };
        series[0].max.iter().copied().fold(0.0, f64::max)
    };
    assert_eq!(peak(1_000), peak(3));
}

/// The browser, if this machine has one.
fn browser() -> Option<&'static str> {
    let works = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(works);
    if found.is_none() {
        println!("skipped: no chromium on this machine");
    }
    found
}

/// Opens the page of a log in a browser, lets it use itself, and returns what it says.
fn self_test(directory: &Path) -> Option<String> {
    let browser = browser()?;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("page.html");
    let dir = LogDir::open(directory).unwrap();
    fs::write(&file, page::page(&dir, &CheckOptions::default()).unwrap()).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        .args(["--window-size=1400,1000", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", place.path().join("profile").display()))
        .arg(format!("file://{}#selftest", file.display()))
        .output()
        .unwrap();
    let document = String::from_utf8(output.stdout).unwrap();
    let report = document.rsplit_once("<pre id=\"selftest\"").expect("the page said nothing").1;
    Some(report.split_once("</pre>").unwrap().0.to_owned())
}

#[test]
fn the_page_works_in_a_browser() {
    let log = replayed(EXAMPLE);
    let Some(report) = self_test(log.path()) else { return };
    assert!(report.contains("data-result=\"passed\""), "{report}");
    let broken = Log::base().edited(&fixture("M002")).write();
    let Some(report) = self_test(broken.path()) else { return };
    assert!(report.contains("data-result=\"passed\""), "{report}");
    assert!(report.contains("ok a finding leads to the timeline"), "{report}");
}

#[test]
fn nothing_in_a_log_becomes_markup() {
    let evil = "</script><script>alert(1)</script>";
    let log = Log::base();
    let id = String::from_utf8(log.files["per_request.csv"].clone()).unwrap();
    let id = id.lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
    let directory = log
        .map("per_request.csv", |text| {
            let text = String::from_utf8(text).unwrap();
            text.replacen(&format!("\n{id},"), &format!("\n{evil},"), 1).into_bytes()
        })
        .write();
    let dir = LogDir::open(directory.path()).unwrap();
    let page = page::page(&dir, &CheckOptions::default()).unwrap();
    assert!(!page.contains("<script>alert"));
    assert!(page.contains("alert(1)"));
    // Nothing is fetched from anywhere.
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn latencies_are_of_the_requests_that_finished() {
    // Rejected at once: no latency of the service, and no reason for an axis that begins at 1 ns.
    let picture = seen(replayed("too-long-prompts").path());
    let log = crate::analyze::log_of("too-long-prompts");
    let options = schedlog::analyze::AnalyzeOptions { slo: None, series_buckets: 0 };
    let analysis = schedlog::analyze::analyze_dir(log.path(), &options).unwrap();
    assert!(analysis.requests.by_ending["error"] > 0);
    assert_eq!(picture.finished, analysis.requests.finished);
    assert_eq!(picture.e2e.count(), analysis.latency.e2e_ns.count);
    assert_eq!(picture.e2e.quantile(0.5), analysis.latency.e2e_ns.p50);
    assert_eq!(picture.bands[0].requests, analysis.requests.finished);
}
