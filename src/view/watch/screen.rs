//! The dashboard: engines, the last minutes of the chosen one, what waits and why, and findings.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Gauge, Paragraph, Sparkline, Wrap};

use crate::check::Severity;
use crate::units::counted;
use crate::view::draw::{duration, grouped};
use crate::view::watch::follow::Engine;
use crate::view::watch::lines::finding_line;
use crate::view::watch::pulse::Sample;

const BLUE: Color = Color::Rgb(90, 150, 235);
const GREEN: Color = Color::Rgb(64, 176, 142);
const YELLOW: Color = Color::Rgb(216, 177, 47);
const PURPLE: Color = Color::Rgb(150, 120, 210);
const RED: Color = Color::Rgb(220, 90, 105);
const SOFT: Color = Color::DarkGray;

/// Draws the dashboard with the engine at `chosen` in full.
pub fn draw(frame: &mut Frame<'_>, engines: &[Engine], chosen: usize, paused: bool) {
    let list = (engines.len() as u16 + 2).min(8);
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(list), Constraint::Min(6), Constraint::Length(1)])
            .areas(frame.area());
    draw_engines(frame, head, engines, chosen);
    if let Some(engine) = engines.get(chosen) {
        draw_engine(frame, body, engine);
    }
    let state = if paused { " PAUSED " } else { "" };
    let keys = Line::from(vec![
        Span::styled(state, Style::new().fg(Color::Black).bg(YELLOW)),
        " q quit · Tab ↑ ↓ engine · space pause".fg(SOFT),
    ]);
    frame.render_widget(keys, foot);
}

fn verdict(engine: &Engine) -> (String, Color) {
    match engine.counts {
        (0, 0, 0) => ("no findings".to_owned(), GREEN),
        (0, 0, warnings) => (counted(warnings, "warning", "warnings"), YELLOW),
        (0, damages, _) => (counted(damages, "damage", "damages"), YELLOW),
        (errors, ..) => (counted(errors, "error", "errors"), RED),
    }
}

/// Characters of an engine's name in the list, at most.
const NAME_CHARS: usize = 28;

fn draw_engines(frame: &mut Frame<'_>, area: Rect, engines: &[Engine], chosen: usize) {
    let block = Block::bordered().title(" schedlog watch ").border_style(Style::new().fg(SOFT));
    let longest = engines.iter().map(|engine| engine.name.chars().count()).max();
    let width = longest.unwrap_or_default().clamp(12, NAME_CHARS);
    let lines: Vec<Line<'_>> = engines
        .iter()
        .enumerate()
        .map(|(index, engine)| {
            let mark = if index == chosen && engines.len() > 1 { "▸ " } else { "  " };
            let short: String = engine.name.chars().take(width).collect();
            let name = Span::from(format!("{mark}{short:<width$}  "));
            let name = if index == chosen { name.add_modifier(Modifier::BOLD) } else { name };
            let Some(step) = &engine.pulse.step else {
                let trouble = engine.trouble.clone().unwrap_or_else(|| "no steps yet".to_owned());
                return Line::from(vec![name, trouble.fg(SOFT)]);
            };
            let (text, color) = verdict(engine);
            Line::from(vec![
                name,
                format!("{:>9.1} s  step {:<9}", step.end_time.as_secs_f64(), step.iteration_id.0)
                    .into(),
                format!("run {:<5} wait {:<6}", step.running_count, step.waiting_count).into(),
                text.fg(color),
            ])
        })
        .collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_engine(frame: &mut Frame<'_>, area: Rect, engine: &Engine) {
    let findings = if engine.findings.is_empty() { 3 } else { (area.height / 3).max(4) };
    let [top, bottom] =
        Layout::vertical([Constraint::Min(5), Constraint::Length(findings)]).areas(area);
    if area.width < 70 {
        draw_charts(frame, top, engine);
    } else {
        let [charts, side] =
            Layout::horizontal([Constraint::Min(30), Constraint::Length(38)]).areas(top);
        draw_charts(frame, charts, engine);
        draw_side(frame, side, engine);
    }
    draw_findings(frame, bottom, engine);
}

fn draw_charts(frame: &mut Frame<'_>, area: Rect, engine: &Engine) {
    let total = engine.pulse.step.map_or(1, |step| step.kv_cache_total.0.max(1));
    let percent = move |sample: &Sample| u64::from(sample.kv_used) * 100 / u64::from(total);
    type Chart<'a> = (&'a str, &'a str, Color, &'a dyn Fn(&Sample) -> u64);
    let charts: [Chart<'_>; 5] = [
        ("batch", "requests", BLUE, &|sample| u64::from(sample.batch)),
        ("tokens per second", "tokens", GREEN, &|sample| sample.tokens),
        ("KV cache", "%", PURPLE, &percent),
        ("running", "requests", GREEN, &|sample| u64::from(sample.running)),
        ("waiting", "requests", YELLOW, &|sample| u64::from(sample.waiting)),
    ];
    let shown = usize::from(area.height / 3).clamp(1, charts.len());
    let areas = Layout::vertical(vec![Constraint::Fill(1); shown]).split(area);
    for ((name, unit, color, value), area) in charts.iter().take(shown).zip(areas.iter()) {
        let width = usize::from(area.width.saturating_sub(2));
        let values: Vec<u64> = engine.pulse.samples().map(value).collect();
        let values = &values[values.len().saturating_sub(width)..];
        let most = if *unit == "%" { 100 } else { values.iter().copied().max().unwrap_or(0) };
        let last = values.last().copied().unwrap_or(0);
        let title =
            format!(" {name}: {} {unit} (top {}) ", grouped(last as f64), grouped(most as f64));
        let block = Block::new()
            .borders(Borders::TOP)
            .border_style(Style::new().fg(SOFT))
            .title(Span::styled(title, Style::new().fg(*color)));
        let line = Sparkline::default()
            .block(block)
            .data(values)
            .max(most.max(1))
            .style(Style::new().fg(*color));
        frame.render_widget(line, *area);
    }
}

fn draw_side(frame: &mut Frame<'_>, area: Rect, engine: &Engine) {
    let block = Block::bordered().title(" now ").border_style(Style::new().fg(SOFT));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [gauge, rest] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(inner);
    let Some(step) = &engine.pulse.step else { return };
    let (used, total) = (step.kv_cache_used.0, step.kv_cache_total.0.max(1));
    let ratio = (f64::from(used) / f64::from(total)).clamp(0.0, 1.0);
    let label = format!("KV {} of {}", grouped(f64::from(used)), grouped(f64::from(total)));
    let bar = Gauge::default().ratio(ratio).label(label).gauge_style(Style::new().fg(PURPLE));
    frame.render_widget(bar, gauge);
    let latency = |nanos: Option<crate::units::Nanos>| {
        nanos.map_or_else(|| "–".to_owned(), |nanos| duration(nanos.0 as f64))
    };
    let pulse = &engine.pulse;
    let row = |name: &str, value: String| {
        Line::from(vec![Span::styled(format!("{name:<16}"), Style::new().fg(SOFT)), value.into()])
    };
    let mut lines = vec![
        row("batch", grouped(f64::from(step.batch_size.0))),
        row(
            "tokens",
            format!("{} prefill, {} decode", step.prefill_tokens.0, step.decode_tokens.0),
        ),
        row("step took", duration(step.duration.0 as f64)),
        row("TTFT, latest", latency(pulse.ttft())),
        row("TPOT, latest", latency(pulse.tpot())),
        row("arrived", grouped(pulse.arrived as f64)),
        row("finished", grouped(pulse.finished as f64)),
        row("preempted", grouped(pulse.preemptions as f64)),
        Line::from(""),
        Line::from("waiting for".fg(SOFT)),
    ];
    if pulse.reasons.is_empty() {
        lines.push(Line::from("nobody waits".fg(SOFT)));
    }
    let most = pulse.reasons.values().copied().max().unwrap_or(1).max(1);
    for (reason, count) in &pulse.reasons {
        let bar = "█".repeat((count * 8).div_ceil(most) as usize);
        lines.push(Line::from(vec![
            format!("{:<22}", reason.as_str()).into(),
            bar.fg(YELLOW),
            format!(" {count}").into(),
        ]));
    }
    frame.render_widget(Paragraph::new(lines), rest);
}

fn draw_findings(frame: &mut Frame<'_>, area: Rect, engine: &Engine) {
    let (text, color) = verdict(engine);
    let block = Block::bordered()
        .title(Span::styled(format!(" {text} "), Style::new().fg(color)))
        .border_style(Style::new().fg(if engine.counts.0 > 0 { RED } else { SOFT }));
    // The latest first.
    let lines: Vec<Line<'_>> = engine
        .findings
        .iter()
        .rev()
        .take(usize::from(area.height))
        .map(|new| {
            let color = if new.severity == Severity::Error { RED } else { YELLOW };
            Line::from(finding_line(&engine.name, new).fg(color))
        })
        .collect();
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }).block(block), area);
}
