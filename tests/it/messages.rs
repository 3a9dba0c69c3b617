//! Every message of a finding has a snapshot: those of all wrong logs of the tests stand in one, without what
//! differs from log to log, and the sources have no message that is in none.

mod cases;
mod causes;
mod outputs;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use insta::assert_snapshot;
use schedlog::check::{CheckReport, Outcome};
use schedlog::diagnose::Diagnosis;

use crate::fixtures::repo;
use crate::sheets::Sheets;
use crate::support::in_snapshots;

/// What findings say, by rule, and what reports say beside findings.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    by_rule: BTreeMap<&'static str, BTreeSet<String>>,
    causes: BTreeMap<&'static str, BTreeSet<String>>,
    notes: BTreeSet<String>,
}

impl Messages {
    pub(crate) fn note(&mut self, report: &CheckReport) {
        self.notes.extend(report.notes.iter().map(|note| shape(note)));
        for rule in &report.rules {
            if let Outcome::NotExercised { reason } = &rule.outcome {
                self.notes.insert(format!("not exercised: {}", shape(reason)));
            }
            let lines = self.by_rule.entry(rule.rule.id).or_default();
            for finding in &rule.findings {
                let ids = [&finding.request, &finding.named];
                let plain = |text: &str| {
                    let ids = ids.into_iter().flatten().filter(|id| id.len() > 1);
                    shape(&ids.fold(text.to_owned(), |text, id| text.replace(&**id, "ID")))
                };
                lines.insert(plain(&finding.message));
                for mark in finding.primary.iter().chain(&finding.related) {
                    let label = plain(&mark.label);
                    lines.extend((!label.is_empty()).then(|| format!("  at: {label}")));
                }
                let values = [("expected", &finding.expected), ("actual", &finding.actual)];
                for (which, value) in values {
                    let value = value.as_deref().map(plain).filter(|value| is_sentence(value));
                    lines.extend(value.map(|value| format!("  {which}: {value}")));
                }
            }
        }
    }

    pub(crate) fn note_causes(&mut self, diagnosis: &Diagnosis<'_>) {
        for group in &diagnosis.groups {
            let id = group.findings.iter().find_map(|finding| finding.request.as_deref());
            for cause in &group.causes {
                let text = match id.filter(|id| id.len() > 1) {
                    Some(id) => cause.text.replace(id, "ID"),
                    None => cause.text.clone(),
                };
                self.causes.entry(cause.id).or_default().insert(shape(&text));
            }
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.notes.extend(other.notes);
        for (into, from) in [(&mut self.by_rule, other.by_rule), (&mut self.causes, other.causes)] {
            for (name, lines) in from {
                into.entry(name).or_default().extend(lines);
            }
        }
    }

    /// Compares them with the snapshot, those of [`cases`] among them.
    pub(crate) fn assert_known(mut self, logs: &[(String, Sheets)]) {
        self.add(cases::of(logs));
        let text = |of: &BTreeMap<&str, BTreeSet<String>>| {
            let lines = of.iter().flat_map(|(name, lines)| {
                let lines = lines.iter().map(|line| format!("  {line}\n"));
                std::iter::once(format!("{name}\n")).chain(lines)
            });
            lines.collect::<String>()
        };
        self.by_rule.insert("notes", self.notes);
        in_snapshots("messages", || {
            assert_snapshot!("findings", text(&self.by_rule));
            assert_snapshot!("causes", text(&self.causes));
        });
    }
}

/// Whether a text has words, so that it is more than a value.
fn is_sentence(text: &str) -> bool {
    text.split(' ').any(|word| word.len() > 2 && word.chars().all(char::is_alphabetic))
}

/// A text with `N` for each number and each list of them.
fn shape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        // Not those of a name, as in e2e_latency.
        if !c.is_ascii_digit() || out.ends_with(char::is_alphanumeric) {
            out.push(c);
            continue;
        }
        out.push('N');
        while chars.next_if(|c| c.is_ascii_digit() || *c == '.').is_some() {}
        if text.ends_with('.') && chars.peek().is_none() {
            out.push('.');
        }
    }
    while out.contains("N, N") {
        out = out.replace("N, N", "N");
    }
    out
}

/// The string literals of a source, without tests, comments and the declarations of rules.
fn literals(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//") && !line.contains("unreachable!("));
    let code: Vec<char> = lines.flat_map(|line| line.chars().chain(['\n'])).collect();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < code.len() {
        let rest = &code[at..];
        at += match rest {
            ['\'', '\\', _, '\'', ..] => 4,
            ['\'', _, '\'', ..] => 3,
            ['r', '#', '"', ..] => {
                4 + rest.windows(2).skip(3).position(|end| end == ['"', '#']).unwrap()
            }
            ['"', ..] => {
                let (text, len) = literal(&rest[1..]);
                found.push(text);
                len + 1
            }
            _ => 1,
        };
    }
    found
}

/// A string up to its end, and its length in the source with the quote behind it.
fn literal(code: &[char]) -> (String, usize) {
    let (mut text, mut at) = (String::new(), 0);
    loop {
        match code[at..] {
            ['"', ..] | [] => break,
            ['\\', '\n', ..] => {
                at += 1;
                at += code[at..].iter().take_while(|c| c.is_whitespace()).count();
                continue;
            }
            ['\\', 'n', ..] => text.push('\n'),
            ['\\', c, ..] => text.push(c),
            [c, ..] => {
                text.push(c);
                at += 1;
                continue;
            }
        }
        at += 2;
    }
    (text, at + 1)
}

/// The longest part of a message that is the same in all logs; none if it has too few words to be one.
fn fixed_part(message: &str) -> Option<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in message.chars() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                parts.push(String::new());
            }
            c if depth == 0 => parts.last_mut()?.push(c),
            _ => {}
        }
    }
    let words = |part: &String| {
        part.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 1).count()
    };
    let longest = parts.iter().max_by_key(|part| part.len())?.trim().to_owned();
    (parts.iter().map(words).sum::<usize>() > 2).then_some(longest)
}

fn texts(dir: &Path, extension: &str, visit: &mut impl FnMut(&Path, String)) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, extension, visit);
        } else if path.extension().is_some_and(|other| other == extension) {
            visit(&path, std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// What users see: folders and files of the sources.
const SOURCES: &[&str] = &[
    "src/invariants",
    "src/diagnose",
    "src/check",
    "src/report",
    "src/policy",
    "src/coverage",
    "src/conform",
    "src/log/reader",
    "src/log/dialect.rs",
    "src/log/dialect",
    "src/log/field.rs",
    "src/cli",
];

/// Of them, what is not told of a log: which rule breaks with another is for those who read the source; what
/// the fuzzer says of its progress depends on time, and the dashboard needs a terminal.
const OTHERS: &[&str] =
    &["src/diagnose/dependencies.rs", "src/cli/fuzz.rs", "src/cli/dashboard.rs"];

/// Texts that no snapshot can have, and why: by file, and the part that is the same in all logs.
const UNSEEN: &[(&str, &str, &str)] = &[
    (
        "filled.rs",
        "a thread that reads the file died",
        "only where this program panics while it reads",
    ),
    (
        "verdict.rs",
        "the trace cannot be read:",
        "a trace is read through before: only one that is changed meanwhile",
    ),
    ("output.rs", "no PNG: this program was built without the feature `plots`", "another build"),
    (
        "diff.rs",
        ": cannot be removed; check the permissions of its directory",
        "a lack of permission, which stops not every user",
    ),
];

/// The files of [`SOURCES`], without the declarations of rules, which are in docs/rules.md.
fn sources(mut visit: impl FnMut(&Path, String)) {
    let mut body = |path: &Path, source: String| {
        if OTHERS.iter().any(|other| path == repo(other)) {
            return;
        }
        let is_rule = path.starts_with(repo("src/invariants"));
        let start = if is_rule { source.find("=> Check").unwrap_or(0) } else { 0 };
        visit(path, source[start..].to_owned());
    };
    for source in SOURCES.iter().map(|source| repo(source)) {
        if source.is_dir() {
            texts(&source, "rs", &mut body);
        } else {
            body(&source, std::fs::read_to_string(&source).unwrap());
        }
    }
}

#[test]
fn every_message_in_the_sources_is_in_a_snapshot() {
    let mut snapshots = String::new();
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    texts(&repo("snapshots"), "snap", &mut |_, text| {
        snapshots += &plain(&text.replace("\\\"", "\""));
    });
    let mut missing = BTreeSet::new();
    sources(|path, source| {
        let file = path.file_name().unwrap().to_str().unwrap();
        for literal in literals(&source) {
            // Messages are no whole sentences; what a cause is of is for those who read the source.
            let is_doc = literal.ends_with('.') || !literal.contains(' ');
            let Some(part) = fixed_part(&literal).filter(|_| !is_doc) else { continue };
            // Numbers stand as `N` in the snapshot of all.
            if ![plain(&part), plain(&shape(&part))].iter().any(|part| snapshots.contains(part)) {
                missing.insert((file.to_owned(), part));
            }
        }
    });
    let unseen = UNSEEN.iter().map(|(file, part, _)| ((*file).to_owned(), (*part).to_owned()));
    let unseen: BTreeSet<_> = unseen.collect();
    let new: Vec<_> = missing.difference(&unseen).collect();
    assert!(new.is_empty(), "in no snapshot:\n{new:#?}");
    let old: Vec<_> = unseen.difference(&missing).collect();
    assert!(old.is_empty(), "seen after all, or gone:\n{old:#?}");
}
