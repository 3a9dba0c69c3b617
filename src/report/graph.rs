//! The state graph as text, DOT and Mermaid; with a log, edges carry counts and mean durations.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use petgraph::dot::{Config, Dot};

use crate::check::CheckError;
use crate::log::ids::{IdTable, RequestKey};
use crate::log::reader::{FormProblem, Item, LogDir, LogDirError};
use crate::log::schema::{Row, Table, TransitionRow};
use crate::log::values::State;
use crate::state_graph::{LEGAL, is_legal, legal_graph, node};
use crate::units::counted;

/// How the graph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphForm {
    /// A table.
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid.
    Mermaid,
}

/// How often a change was seen, and how long the state before had lasted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How often.
    pub count: u64,
    /// The sum of the durations, in nanoseconds.
    pub duration_ns: u128,
    /// The line of the first one.
    pub first_line: u64,
}

impl Seen {
    /// The mean duration of the state before, in milliseconds.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        self.duration_ns as f64 / self.count.max(1) as f64 / 1e6
    }
}

/// The changes that a log shows.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    edges: BTreeMap<(State, State), Seen>,
    /// Rows that could not be read, and the first problem with its place.
    lost: u64,
    /// Whether no row can be read.
    unusable: bool,
    first_lost: Option<String>,
}

impl Traffic {
    /// Counts the changes in the state_transitions.csv of a log.
    ///
    /// # Errors
    /// If the directory is not a log or has no readable state_transitions.csv.
    pub fn of_log(path: &Path) -> Result<Self, CheckError> {
        let dir = LogDir::open(path)?;
        let mut traffic = Self::default();
        let Some(mut reader) = dir.reader::<TransitionRow>()? else {
            let path = path.join(Table::StateTransitions.file_name());
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(LogDirError::Unreadable { path, source }.into());
        };
        let header = reader.header();
        traffic.unusable = !header.usable;
        for problem in header.problems.iter().filter(|_| !header.usable) {
            traffic.lose(problem);
        }
        let mut ids = IdTable::default();
        let mut live: BTreeMap<RequestKey, State> = BTreeMap::new();
        while let Some(item) = reader.next(&mut ids) {
            let row = match item {
                Item::Row(row) => row,
                Item::Problem(problem) => {
                    if problem.kind.loses_row() {
                        traffic.lose(&problem);
                    }
                    continue;
                }
            };
            let key = row.row.request_id;
            let from = live.get(&key).copied().unwrap_or(State::Waiting);
            let seen = traffic.edges.entry((from, row.row.state)).or_default();
            seen.count += 1;
            seen.duration_ns += u128::from(row.row.duration_in_prev_state.0);
            if seen.first_line == 0 {
                seen.first_line = row.line;
            }
            if row.row.state == State::Completed {
                live.remove(&key);
                ids.release(key);
            } else {
                live.insert(key, row.row.state);
            }
        }
        debug_assert_eq!(TransitionRow::SCHEMA.table, Table::StateTransitions);
        Ok(traffic)
    }

    fn lose(&mut self, problem: &FormProblem) {
        self.lost += 1;
        self.first_lost.get_or_insert_with(|| {
            let line = problem.at.map(|at| format!(":{}", at.line)).unwrap_or_default();
            let column = problem.column.map(|column| format!(" {column}:")).unwrap_or_default();
            format!("{}{line}:{column} {}", problem.table.file_name(), problem.kind)
        });
    }

    /// What of the file could not be read, if anything; the counts are of the rest.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        let first = self.first_lost.as_ref()?;
        if self.unusable {
            return Some(format!("{first}; no change is counted"));
        }
        let rows = if self.lost == 1 { "row is" } else { "rows are" };
        Some(format!("{first}; {} {rows} not counted, see `schedlog check`", self.lost))
    }

    /// Whether a change is not legal.
    #[must_use]
    pub fn has_illegal(&self) -> bool {
        self.illegal().next().is_some()
    }

    fn illegal(&self) -> impl Iterator<Item = (State, State, Seen)> + '_ {
        self.edges
            .iter()
            .filter(|((from, to), _)| !is_legal(*from, *to))
            .map(|((from, to), seen)| (*from, *to, *seen))
    }

    fn seen(&self, from: State, to: State) -> Seen {
        self.edges.get(&(from, to)).copied().unwrap_or_default()
    }
}

/// One edge to draw.
struct Drawn {
    from: State,
    to: State,
    label: String,
    legal: bool,
    used: bool,
}

fn edges(traffic: Option<&Traffic>) -> Vec<Drawn> {
    let label = |cause: &str, seen: Seen| match (traffic, seen.count) {
        (None, _) => cause.to_owned(),
        (Some(_), 0) => format!("{cause}: never"),
        (Some(_), count) => {
            let times = counted(count, "time", "times");
            format!("{cause}: {times}, after {:.3} ms", seen.mean_ms())
        }
    };
    let seen = |from, to| traffic.map(|traffic| traffic.seen(from, to)).unwrap_or_default();
    let mut edges: Vec<_> = LEGAL
        .iter()
        .map(|edge| {
            let seen = seen(edge.from, edge.to);
            Drawn {
                from: edge.from,
                to: edge.to,
                label: label(edge.cause, seen),
                legal: true,
                used: traffic.is_none() || seen.count > 0,
            }
        })
        .collect();
    for (from, to, seen) in traffic.into_iter().flat_map(Traffic::illegal) {
        let cause = format!("ILLEGAL, first in line {}", seen.first_line);
        edges.push(Drawn { from, to, label: label(&cause, seen), legal: false, used: true });
    }
    edges
}

/// Draws the legal graph, with what a log shows of it.
#[must_use]
pub fn draw(traffic: Option<&Traffic>, form: GraphForm) -> String {
    let edges = edges(traffic);
    match form {
        GraphForm::Text => text(&edges),
        GraphForm::Dot => dot(&edges),
        GraphForm::Mermaid => mermaid(&edges),
    }
}

fn text(edges: &[Drawn]) -> String {
    let mut out = String::from("A request begins in `waiting` at its arrival.\n");
    for edge in edges {
        let mark = if edge.legal { ' ' } else { '!' };
        let (from, to) = (edge.from.as_str(), edge.to.as_str());
        // Writing to a string does not fail.
        let _ = writeln!(out, "{mark} {from:<9} -> {to:<9}  {}", edge.label);
    }
    out
}

fn dot(edges: &[Drawn]) -> String {
    let mut graph = legal_graph().map(|_, state| *state, |_, _| None);
    graph.clear_edges();
    for edge in edges {
        graph.add_edge(node(edge.from), node(edge.to), Some(edge));
    }
    let edge_style = |_: &_, edge: petgraph::graph::EdgeReference<'_, Option<&Drawn>>| {
        let Some(drawn) = edge.weight() else { return String::new() };
        let style = match (drawn.legal, drawn.used) {
            (false, _) => ", color=red, fontcolor=red, penwidth=2",
            (true, false) => ", color=gray, fontcolor=gray, style=dashed",
            (true, true) => "",
        };
        format!("label=\"{}\"{style}", drawn.label)
    };
    let node_style = |_: &_, (_, state): (_, &State)| format!("label=\"{state}\"");
    let config = [Config::EdgeNoLabel, Config::NodeNoLabel];
    let graph: petgraph::graph::DiGraph<State, Option<&Drawn>> = graph;
    let dot = Dot::with_attr_getters(&graph, &config, &edge_style, &node_style);
    format!("{dot:?}")
}

fn mermaid(edges: &[Drawn]) -> String {
    let mut out = String::from("stateDiagram-v2\n    [*] --> waiting: arrives\n");
    for edge in edges {
        let _ =
            writeln!(out, "    {} --> {}: {}", edge.from, edge.to, edge.label.replace(':', ","));
    }
    out.push_str("    completed --> [*]\n");
    out
}

impl std::fmt::Debug for Drawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.label)
    }
}
