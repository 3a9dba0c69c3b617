//! The page around the data: what can be read without the script too.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::check::{CheckReport, Outcome, RuleOutcome};
use crate::log::reader::LogDir;
use crate::view::Picture;
use crate::view::draw::{duration, grouped};
use crate::view::page::findings::{FindingShown, RowShown, Shown};

const STYLE: &str = include_str!("assets/page.css");
/// One script in several files, each with one subject; the last one starts it.
const SCRIPT: [&str; 7] = [
    include_str!("assets/base.js"),
    include_str!("assets/axes.js"),
    include_str!("assets/charts.js"),
    include_str!("assets/timeline.js"),
    include_str!("assets/table.js"),
    include_str!("assets/selftest.js"),
    include_str!("assets/main.js"),
];

/// Nothing from anywhere but the page itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

pub(super) fn page(
    dir: &LogDir,
    report: &CheckReport,
    picture: &Picture,
    shown: &Shown,
    data: &str,
) -> String {
    let name = dir
        .path
        .file_name()
        .map_or_else(|| "scheduler log".to_owned(), |name| name.to_string_lossy().into_owned());
    let script = SCRIPT.concat();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (name) " · scheduler log" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(&name, dir, report, picture))
                main {
                    (tiles(report, picture))
                    (charts())
                    (timeline(picture))
                    (requests(picture))
                    (check(report, shown))
                }
                div #tooltip role="tooltip" {}
                noscript { p { "Charts, timeline and table need scripts to be allowed." } }
                script #data type="application/json" { (PreEscaped(data)) }
                script { (PreEscaped("\"use strict\";(() => {\n")) (PreEscaped(script))
                    (PreEscaped("})();\n")) }
            }
        }
    };
    page.into_string()
}

fn header(name: &str, dir: &LogDir, report: &CheckReport, picture: &Picture) -> Markup {
    let engine = dir.run_info.as_ref().map(|info| info.engine.as_str());
    html! {
        header {
            div {
                h1 { (name) }
                p.soft {
                    @if let Some(engine) = engine { (engine) " · " }
                    @if let Some(producer) = &report.producer {
                        "written by " (producer.name) " " (producer.version) " · "
                    }
                    (duration(picture.end.0 as f64)) " of scheduling"
                }
            }
            nav {
                a href="#charts" { "Charts" }
                a href="#timeline" { "Timeline" }
                a href="#requests" { "Requests" }
                a href="#check" { "Check" }
                button #theme type="button" title="Light or dark" { "◐" }
            }
        }
    }
}

fn tile(label: &str, value: &str, note: &str) -> Markup {
    html! {
        div.tile {
            span.label { (label) }
            span.value { (value) }
            span.soft { (note) }
        }
    }
}

fn tiles(report: &CheckReport, picture: &Picture) -> Markup {
    let seconds = (picture.end.0 as f64 / 1e9).max(f64::MIN_POSITIVE);
    let quantile = |distribution: &crate::view::collect::Distribution, q| {
        distribution.quantile(q).map_or_else(|| "–".to_owned(), duration)
    };
    let latency = |name, distribution| {
        let note = format!("p99 {}", quantile(distribution, 0.99));
        tile(name, &quantile(distribution, 0.5), &note)
    };
    let (errors, damages, warnings) = report.counts();
    let verdict = report.verdict().as_str();
    html! {
        section.tiles {
            a.tile href="#check" data-verdict=(verdict) {
                span.label { "Check" }
                span.value { (verdict) }
                span.soft { (errors) " errors · " (damages) " damages · " (warnings) " warnings" }
            }
            (tile("Requests", &grouped(picture.requests as f64),
                &format!("{} finished", grouped(picture.finished as f64))))
            (tile("Iterations", &grouped(picture.steps as f64),
                &format!("{} preemptions", grouped(picture.preemptions as f64))))
            (tile("Output", &format!("{} tok/s", grouped(picture.output_tokens as f64 / seconds)),
                &format!("{} tokens", grouped(picture.output_tokens as f64))))
            (latency("TTFT p50", &picture.ttft))
            (latency("TPOT p50", &picture.tpot))
            (latency("E2E p50", &picture.e2e))
        }
    }
}

fn charts() -> Markup {
    html! {
        section #charts {
            div.bar {
                h2 { "Charts" }
                span.soft { "drag to zoom, double-click to go back; charts over time and the \
                             timeline move together" }
                span.grow {}
                span #range.soft {}
                button type="button" data-zoom="in" title="Zoom in" { "+" }
                button type="button" data-zoom="out" title="Zoom out" { "−" }
                button type="button" data-zoom="left" title="Earlier" { "◂" }
                button type="button" data-zoom="right" title="Later" { "▸" }
                button type="button" data-zoom="all" title="The whole run" { "All" }
            }
            div #grid {}
        }
    }
}

fn timeline(picture: &Picture) -> Markup {
    let (shown, left_out) = (picture.chosen.requests.len(), picture.chosen.left_out);
    html! {
        section #timeline {
            div.bar {
                h2 { "Timeline" }
                span.soft {
                    @if left_out > 0 {
                        (grouped(shown as f64)) " of " (grouped(picture.requests as f64))
                        " requests: those with findings, the slowest by each figure, and every "
                        "so many of the others"
                    } @else {
                        "every request, by state"
                    }
                }
                span.grow {}
                label { "order "
                    select #order {
                        option value="packed" { "packed into lanes" }
                        option value="arrival" { "by arrival" }
                        option value="e2e" { "longest first" }
                        option value="waiting" { "longest wait first" }
                        option value="preemptions" { "most preempted first" }
                        option value="findings" { "findings first" }
                    }
                }
                label { input #inview type="checkbox"; " only those in view" }
            }
            div #lanekeys.keys {}
            div #lanes { canvas #overview {} div #scroll { div #spacer {} canvas #rows {} } }
        }
    }
}

fn requests(picture: &Picture) -> Markup {
    html! {
        section #requests {
            div.bar {
                h2 { "Requests" }
                input #search type="search" placeholder="Search by id" aria-label="Search by id";
                span #matches.soft {}
                @if picture.chosen.left_out > 0 {
                    span.soft { (grouped(picture.chosen.left_out as f64)) " more are in the log" }
                }
            }
            div.scrollx { table #table { thead { tr {} } tbody {} } }
            button #more type="button" { "Show more" }
        }
    }
}

fn check(report: &CheckReport, shown: &Shown) -> Markup {
    let idle = report.rules.iter().filter(|rule| rule.exercised == 0).count();
    html! {
        section #check {
            div.bar {
                h2 { "Check" }
                span.soft {
                    "verdict: " strong { (report.verdict().as_str()) } " · "
                    (report.rules.len()) " rules, " (idle) " not exercised"
                }
            }
            @for note in &report.notes { p.soft { (note) } }
            @for rule in &report.rules {
                @if rule.errors + rule.damages + rule.warnings > 0 { (broken(rule, shown)) }
            }
            details {
                summary { "What became of every rule" }
                table.rules {
                    @for rule in &report.rules { (outcome(rule)) }
                }
            }
        }
    }
}

fn broken(rule: &RuleOutcome, shown: &Shown) -> Markup {
    let total = rule.errors + rule.damages + rule.warnings;
    let here = || shown.findings.iter().enumerate().filter(|(_, one)| one.rule == rule.rule.id);
    let left = total.saturating_sub(here().count() as u64);
    html! {
        div.rule id={ "rule-" (rule.rule.id) } {
            h3 { (rule.rule.id) " " span.soft { (rule.rule.name) " · " (total) " found" } }
            p.soft { (rule.rule.summary()) }
            @for (index, finding) in here() { (one_finding(index, finding)) }
            @if left > 0 { p.soft { (left) " more; schedlog check --all lists them" } }
        }
    }
}

fn one_finding(index: usize, finding: &FindingShown) -> Markup {
    html! {
        article.finding data-severity=(finding.severity.as_str()) id={ "finding-" (index) } {
            p {
                strong { (finding.severity.as_str()) } " " (finding.message)
                @if finding.request.is_some() || finding.at.is_some() {
                    " " a.show href="#timeline" data-finding=(index) { "show on the timeline" }
                }
            }
            @if !finding.about.is_empty() { p.soft { (finding.about) } }
            @for row in &finding.rows { (one_row(row)) }
        }
    }
}

fn one_row(row: &RowShown) -> Markup {
    let (before, meant, after) = match row.span.clone() {
        Some(span) => (
            row.text.get(..span.start).unwrap_or_default(),
            row.text.get(span.clone()).unwrap_or_default(),
            row.text.get(span.end..).unwrap_or_default(),
        ),
        None => (row.text.as_str(), "", ""),
    };
    html! {
        div.row {
            span.place { (row.place) } " " span.soft { (row.label) }
            @if !row.text.is_empty() { pre { (before) mark { (meant) } (after) } }
        }
    }
}

fn outcome(rule: &RuleOutcome) -> Markup {
    let (word, note) = match &rule.outcome {
        Outcome::Holds { exercised } => {
            ("holds", format!("{} comparisons", grouped(*exercised as f64)))
        }
        Outcome::Violated { count } => ("violated", format!("{count} findings")),
        Outcome::NotExercised { reason } => ("not exercised", reason.clone()),
    };
    html! {
        tr data-outcome=(word) {
            td { (rule.rule.id) }
            td { (rule.rule.name) }
            td { (word) }
            td.soft { (note) }
        }
    }
}
