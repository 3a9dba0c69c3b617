//! Findings for people: each with the rows that contradict one another.

use std::io::{self, Write};
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group as Block, Level, Origin, Renderer, Snippet};

use crate::check::{CheckReport, Finding, Mark, Severity};
use crate::diagnose::{Group, SHOWN_FINDINGS, Story};
use crate::log::reader::Location;
use crate::log::schema::Table;
use crate::policy::Applied;
use crate::report::explain::{about, consequences, timeline};
use crate::report::summary::write_summary;
use crate::report::{Sheet, Suite, visible, write_coverage};
use crate::units::counted;

/// How a report is shown.
#[derive(Clone, Copy, Debug)]
pub struct TextOptions {
    /// With colours.
    pub color: bool,
    /// Every finding that was kept, not the first three of each group.
    pub all: bool,
    /// Also what became of every rule.
    pub rules: bool,
    /// The width of the terminal.
    pub width: usize,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self { color: false, all: false, rules: false, width: 140 }
    }
}

/// Writes a report as text.
///
/// # Errors
/// What writing gives.
pub fn write_text(
    report: &CheckReport,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    write_sheet(&Sheet::new(report, &Applied::default(), None, options.all), options, out)
}

/// Writes all that a check has to report as text.
///
/// # Errors
/// What writing gives.
pub fn write_suite(
    suite: &Suite<'_>,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let several = suite.sheets.len() + suite.unread.len() > 1;
    let mut gap = "";
    for sheet in suite.sheets {
        if several {
            writeln!(out, "{gap}==> {} <==", sheet.report.directory.display())?;
            gap = "\n";
        }
        write_sheet(sheet, options, out)?;
    }
    for unread in suite.unread {
        if several {
            writeln!(out, "{gap}==> {} <==", unread.directory.display())?;
            gap = "\n";
        }
        writeln!(out, "not checked: {}", unread.error)?;
    }
    if several {
        let count = suite.sheets.len();
        writeln!(out, "\n==> {count} {} together <==", if count == 1 { "log" } else { "logs" })?;
        if let Some(together) = suite.together {
            write_coverage(together, out)?;
        }
        write!(out, "verdict: {}", suite.verdict().as_str())?;
        match suite.unread.len() {
            0 => writeln!(out)?,
            1 => writeln!(out, "; 1 directory could not be checked")?,
            count => writeln!(out, "; {count} directories could not be checked")?,
        }
    }
    for text in suite.uncovered {
        writeln!(out, "not covered: {text}")?;
    }
    Ok(())
}

/// Writes a report and all that is told with it as text.
///
/// # Errors
/// What writing gives.
pub fn write_sheet(
    sheet: &Sheet<'_>,
    options: &TextOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let renderer = if options.color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(options.width);
    for group in &sheet.diagnosis.groups {
        write_group(sheet, group, options, &renderer, out)?;
    }
    for rule in &sheet.report.rules {
        let total = rule.errors + rule.damages + rule.warnings;
        let lost = total - rule.findings.len() as u64;
        if lost > 0 {
            let were = if lost == 1 { "was" } else { "were" };
            let lost = counted(lost, "finding", "findings");
            writeln!(out, "{}: {lost} beyond these {were} only counted\n", rule.rule.id)?;
        }
    }
    write_summary(sheet, options, out)
}

fn write_group(
    sheet: &Sheet<'_>,
    group: &Group<'_>,
    options: &TextOptions,
    renderer: &Renderer,
    out: &mut dyn Write,
) -> io::Result<()> {
    let limit = if options.all { group.findings.len() } else { SHOWN_FINDINGS };
    for (index, finding) in group.findings.iter().take(limit).enumerate() {
        let story = group.stories.get(index).and_then(Option::as_ref);
        let mut block = block(sheet, group, finding, story);
        if let Some(about) = about(finding) {
            block = block.element(Level::NOTE.message(about));
        }
        // The timeline of a request is told once.
        let told = group.findings[..index].iter().any(|other| other.request == finding.request);
        if let Some(timeline) = story.filter(|_| !told).and_then(|story| timeline(finding, story)) {
            block = block.element(Level::NOTE.message(timeline));
        }
        if index == 0 {
            for cause in &group.causes {
                let cause = format!("{}: {}", cause.id, visible(&cause.text));
                block = block.element(Level::NOTE.with_name("likely cause").message(cause));
            }
            if let Some(text) = consequences(group, options.all) {
                block = block.element(Level::NOTE.with_name("consequences").message(text));
            }
            let (name, id) = (group.rule().name, group.rule().id);
            let help = format!("{name}; see `schedlog explain {id}`");
            block = block.element(Level::HELP.message(help));
        }
        writeln!(out, "{}\n", renderer.render(&[block]))?;
    }
    let (count, id) = (group.findings.len(), group.rule().id);
    if count > limit {
        let left = count - limit;
        writeln!(out, "{id}: {count} findings like these; --all lists the other {left}\n")?;
    }
    Ok(())
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Warning => Level::WARNING,
        Severity::Damage => Level::ERROR.with_name("damage"),
        Severity::Error => Level::ERROR,
    }
}

/// A finding's title and the rows that contradict one another.
fn block<'a>(
    sheet: &'a Sheet<'_>,
    group: &Group<'_>,
    finding: &Finding,
    story: Option<&Story>,
) -> Block<'a> {
    let title = level(group.severity).primary_title(visible(&finding.message)).id(group.rule().id);
    let mut block = Block::with_title(title);
    let rows = story.filter(|story| !story.rows.is_empty());
    if let Some(mark) = &finding.primary {
        block = with_mark(block, sheet, mark, AnnotationKind::Primary, primary_label(finding));
    }
    // Where all the rows of the step are shown, the one that stands for them is not.
    let stands_for_rows = |mark: &&Mark| {
        rows.is_some() && mark.column.is_none() && mark.at.table == Table::PerIterationRequests
    };
    for mark in finding.related.iter().filter(|mark| !stands_for_rows(mark)) {
        let label = match mark.column {
            None => mark.label.clone(),
            Some(column) if mark.label.is_empty() => column.to_owned(),
            Some(column) => format!("{column}: {}", mark.label),
        };
        block = with_mark(block, sheet, mark, AnnotationKind::Context, label);
    }
    if let Some(story) = rows {
        block = with_rows(block, sheet, story);
    }
    block
}

fn primary_label(finding: &Finding) -> String {
    let column = finding.primary.as_ref().and_then(|mark| mark.column);
    match (column, &finding.expected) {
        (Some(column), Some(expected)) => format!("{column}: expected {expected}"),
        (Some(column), None) => column.to_owned(),
        (None, _) => String::new(),
    }
}

fn line_number(at: Location) -> usize {
    usize::try_from(at.line).unwrap_or(usize::MAX)
}

fn with_mark<'a>(
    block: Block<'a>,
    sheet: &'a Sheet<'_>,
    mark: &Mark,
    kind: AnnotationKind,
    label: String,
) -> Block<'a> {
    let (excerpts, path) = (&sheet.diagnosis.excerpts, mark.at.table.file_name());
    let Some(row) = excerpts.row(mark.at) else {
        return block.element(Origin::path(path).line(line_number(mark.at)));
    };
    let span = mark.column.and_then(|column| excerpts.span(mark.at, column));
    let (row, span) = visible_row(row, span);
    let annotation = kind.span(span).label(visible(&label));
    let snippet = Snippet::source(row).line_start(line_number(mark.at)).path(path);
    block.element(snippet.annotation(annotation))
}

/// A row as it is shown, and where the field is then; without a field, the whole row.
fn visible_row(row: &str, field: Option<Range<usize>>) -> (String, Range<usize>) {
    // A quoted field may hold line ends, which are shown as such.
    let shown = |text: &str| text.split('\n').map(visible).collect::<Vec<_>>().join("\n");
    let field = field.unwrap_or(0..row.len());
    let mut out = shown(&row[..field.start]);
    let start = out.len();
    out.push_str(&shown(&row[field.clone()]));
    let end = out.len();
    out.push_str(&shown(&row[field.end..]));
    (out, start..end)
}

/// The rows that a value of a step is made of, neighbours in one piece.
fn with_rows<'a>(mut block: Block<'a>, sheet: &'a Sheet<'_>, story: &Story) -> Block<'a> {
    let excerpts = &sheet.diagnosis.excerpts;
    let mut rows = story.rows.iter().peekable();
    while let Some(first) = rows.next() {
        let (mut source, mut spans, mut line) = (String::new(), Vec::new(), first.line);
        let mut add = |at: &Location| {
            let Some(row) = excerpts.row(*at) else { return };
            let start = source.len();
            let (row, span) = visible_row(row, excerpts.span(*at, story.rows_column));
            spans.push(start + span.start..start + span.end);
            source.push_str(&row);
            source.push('\n');
        };
        add(first);
        while let Some(next) = rows.next_if(|next| next.line == line + 1) {
            add(next);
            line = next.line;
        }
        let path = first.table.file_name();
        let mut snippet = Snippet::source(source).line_start(line_number(*first)).path(path);
        for span in spans {
            snippet = snippet.annotation(AnnotationKind::Context.span(span));
        }
        block = block.element(snippet);
    }
    if story.more_rows > 0 {
        let text = format!("{} more rows are part of it", story.more_rows);
        block = block.element(Level::NOTE.message(text));
    }
    block
}
