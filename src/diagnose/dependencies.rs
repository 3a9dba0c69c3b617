//! Which rules break because another one is broken: the table by which findings are folded.

/// What a consequence shares with its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shared {
    /// Both are of the same request.
    Request,
    /// Both are of the same iteration.
    Iteration,
    /// Both are of the log as a whole, or of whole files of it.
    Log,
    /// The root is of the log as a whole, whatever the consequence is of.
    All,
}

/// One mistake and what follows from it.
#[derive(Clone, Copy, Debug)]
pub struct Dependency {
    /// The rule that names the mistake.
    pub root: &'static str,
    /// Rules that break with it.
    pub consequences: &'static [&'static str],
    /// What a finding of the one must share with a finding of the other.
    pub shared: Shared,
    /// Why.
    pub why: &'static str,
}

const fn of_request(
    root: &'static str,
    consequences: &'static [&'static str],
    why: &'static str,
) -> Dependency {
    Dependency { root, consequences, shared: Shared::Request, why }
}

const fn of_iteration(
    root: &'static str,
    consequences: &'static [&'static str],
    why: &'static str,
) -> Dependency {
    Dependency { root, consequences, shared: Shared::Iteration, why }
}

const fn of_log(
    root: &'static str,
    consequences: &'static [&'static str],
    why: &'static str,
) -> Dependency {
    Dependency { root, consequences, shared: Shared::Log, why }
}

const fn of_all(
    root: &'static str,
    consequences: &'static [&'static str],
    why: &'static str,
) -> Dependency {
    Dependency { root, consequences, shared: Shared::All, why }
}

/// Every dependency, nearest roots first. A finding is folded under the first root that is there;
/// that one may be folded in turn.
pub static DEPENDENCIES: &[Dependency] = &[
    of_request("M001", &["M002", "M008", "M009"], "they use e2e_latency"),
    of_request("M003", &["M002", "M017"], "the sum has the wrong part"),
    of_request("M004", &["M003", "M002"], "the sums have the wrong duration"),
    of_request("M007", &["M005", "M008"], "they use ttft"),
    of_request("M006", &["M005", "M003", "M004", "M017"], "they use the first scheduling"),
    of_request("M005", &["M001", "M004", "M013"], "the difference would be negative"),
    of_request("M020", &["M015", "M018"], "the output is at the wrong moment"),
    of_request("M020", &["M003", "M005", "S002", "S003"], "the end is at the wrong moment"),
    of_request("S003", &["M001", "M003", "M004", "M013"], "they use the completion"),
    of_request("S005", &["M003", "X002"], "a preemption is missing or told twice"),
    of_request("S001", &["S002", "M003", "M004", "M006", "M013"], "the changes are not to be had"),
    of_request("S001", &["S004", "S005"], "a change of state is missing or out of place"),
    of_request("S007", &["S004", "K004", "K006"], "the row has the wrong state"),
    of_request("S004", &["M013"], "time_in_state is of the wrong state"),
    of_request("K004", &["K005"], "the tokens were miscounted on the way"),
    of_request("K005", &["C009", "K007", "K008", "M008", "M009"], "they use output_tokens"),
    of_request("X007", &["C009"], "they use input_tokens"),
    of_request("X007", &["S008", "K007"], "they use finish_reason"),
    of_request("K011", &["K007"], "they use cached_tokens and recomputed_tokens"),
    of_request("C009", &["C005"], "the bytes are those of other blocks"),
    of_request("K006", &["C002", "K007", "K010", "C004"], "they use computed_tokens"),
    of_request("K010", &["K007"], "they use scheduled_tokens"),
    of_request("C004", &["C002"], "the blocks are wrong"),
    of_request(
        "Q004",
        &["K010", "S007", "K004", "K006", "M013"],
        "rows of the request are missing",
    ),
    of_request("X002", &["C006", "M006", "M007"], "an event is missing or told twice"),
    of_request("X001", &["X002", "S001", "S003", "S005"], "the file does not know the request"),
    of_request("X001", &["Q004", "K005", "K010", "M006"], "the file does not know the request"),
    of_request("X003", &["X001", "X002", "S003", "S005"], "the request has no row to agree with"),
    of_request("X003", &["Q004", "K005", "K010", "L003"], "the request has no row to agree with"),
    of_request("F007", &["X001", "X002", "X003", "S001", "S003"], "two requests share one id"),
    of_request("F007", &["S002", "M003", "M004", "M006", "M007"], "two requests share one id"),
    of_request("F007", &["K005", "K007", "K010", "Q004", "M013"], "two requests share one id"),
    of_request("X006", &["X008"], "the request stands elsewhere in the order of ends"),
    of_iteration("K001", &["K002", "K003"], "total_tokens is wrong"),
    of_iteration("K002", &["K003"], "total_tokens is wrong"),
    of_iteration("K006", &["C002", "K002"], "the row's tokens are wrong"),
    of_iteration("C002", &["C003", "C001"], "a request's blocks are wrong"),
    of_iteration("C003", &["C001", "C007", "C011", "Q008"], "kv_cache_used is wrong"),
    of_iteration("C004", &["C003"], "a request's blocks are wrong"),
    of_iteration("Q001", &["Q002", "Q003", "Q005", "Q007", "Q009"], "a count is wrong"),
    of_iteration("Q003", &["Q009"], "a count is wrong"),
    of_iteration("Q004", &["Q001", "Q003", "Q005", "Q006"], "a row of the step is missing"),
    of_iteration("Q004", &["K002", "C003"], "a row of the step is missing"),
    of_iteration("S006", &["Q001", "Q003", "Q005", "K002", "C003"], "a request stands twice"),
    of_iteration("S007", &["Q001", "Q003", "Q009"], "a row has the wrong state"),
    of_iteration("X004", &["Q001", "Q003", "K002", "C003", "Q004"], "the step lacks its rows"),
    of_iteration("M010", &["M013", "M014", "Q004", "S004"], "the step's moments are wrong"),
    of_iteration("M011", &["X004", "M010", "M014", "Q004"], "steps are missing or twice"),
    of_iteration("M011", &["M013", "K004", "K006", "S007"], "steps are missing or twice"),
    of_all(
        "X009",
        &["Q001", "Q003", "Q004", "Q005", "Q006", "Q011", "S002", "S004", "S006", "S007", "X004"],
        "rows stand among those of other steps",
    ),
    of_all(
        "X009",
        &["C002", "C003", "C004", "C008", "C009", "K002", "K004", "K006", "K010", "K011", "M013"],
        "rows stand among those of other steps",
    ),
    of_all("C001", &["Q008", "Q010", "C010"], "there are as many blocks as kv_cache_total says"),
    of_all("C002", &["C010"], "a step takes the blocks by which its requests hold more"),
    of_log("M011", &["X005"], "the run before the appended one was killed"),
    of_all("X005", &["C008"], "the end of a request may be cut off"),
    of_all("M019", &["M004", "M005", "M006", "M007", "M012", "M013"], "the clocks differ"),
    of_all("M019", &["M014", "M015", "M018", "M020", "S002", "S003", "S004"], "the clocks differ"),
    of_all("M019", &["Q001", "Q004", "Q006", "Q008", "Q009", "Q010", "Q011"], "the clocks differ"),
    of_all(
        "M019",
        &["C001", "C003", "C008", "C009", "C010", "K002", "K004", "K006", "K011"],
        "the clocks differ",
    ),
    of_all("M019", &["X001", "X002", "X003", "X004", "X005", "X006"], "the clocks differ"),
    of_all("M019", &["L001", "L002", "L003", "S007", "S008", "M017"], "the clocks differ"),
    of_all("M019", &["K004", "K010"], "the clocks differ"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use petgraph::algo::toposort;
    use petgraph::graph::DiGraph;

    #[test]
    fn every_id_is_a_rule() {
        for dependency in DEPENDENCIES {
            for id in dependency.consequences.iter().chain([&dependency.root]) {
                assert!(crate::invariants::find(id).is_some(), "{id}");
            }
            assert!(!dependency.why.is_empty());
        }
    }

    #[test]
    fn nothing_follows_from_itself() {
        let mut graph = DiGraph::new();
        let mut nodes = BTreeMap::new();
        for dependency in DEPENDENCIES {
            let root = *nodes.entry(dependency.root).or_insert_with(|| graph.add_node(()));
            for id in dependency.consequences {
                let node = *nodes.entry(*id).or_insert_with(|| graph.add_node(()));
                graph.add_edge(root, node, ());
            }
        }
        let cycle = toposort(&graph, None).err().map(|cycle| {
            nodes.iter().find(|(_, node)| **node == cycle.node_id()).map(|(id, _)| *id)
        });
        assert_eq!(cycle, None);
    }
}
