//! The legal changes of a request's state, as data: judged by the state rules, drawn by `graph`.

use petgraph::graph::{DiGraph, NodeIndex};

use crate::log::values::State;

/// A legal change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// What happens.
    pub cause: &'static str,
}

/// Every legal change. A request begins in `waiting` at its arrival.
pub const LEGAL: [Edge; 6] = [
    Edge { from: State::Waiting, to: State::Running, cause: "scheduled for the first time" },
    Edge { from: State::Running, to: State::Preempted, cause: "lost its blocks" },
    Edge { from: State::Preempted, to: State::Running, cause: "resumed" },
    Edge { from: State::Running, to: State::Completed, cause: "finished or aborted" },
    Edge { from: State::Waiting, to: State::Completed, cause: "aborted or rejected" },
    Edge { from: State::Preempted, to: State::Completed, cause: "aborted" },
];

/// Whether a request may change from one state to another.
#[must_use]
pub fn is_legal(from: State, to: State) -> bool {
    const TABLE: [[bool; 4]; 4] = {
        let mut table = [[false; 4]; 4];
        let mut index = 0;
        while index < LEGAL.len() {
            table[LEGAL[index].from as usize][LEGAL[index].to as usize] = true;
            index += 1;
        }
        table
    };
    TABLE[from as usize][to as usize]
}

/// The states that a request may change to.
#[must_use]
pub fn successors(from: State) -> Vec<State> {
    LEGAL.iter().filter(|edge| edge.from == from).map(|edge| edge.to).collect()
}

/// The legal graph; node `i` is the `i`th state.
#[must_use]
pub fn legal_graph() -> DiGraph<State, &'static str> {
    let mut graph = DiGraph::new();
    for state in State::ALL {
        graph.add_node(*state);
    }
    for edge in LEGAL {
        graph.add_edge(node(edge.from), node(edge.to), edge.cause);
    }
    graph
}

/// The node of a state in [`legal_graph`].
#[must_use]
pub fn node(state: State) -> NodeIndex {
    NodeIndex::new(state as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use petgraph::visit::{Dfs, EdgeRef};

    #[test]
    fn the_table_is_the_graph() {
        let graph = legal_graph();
        for from in State::ALL {
            for to in State::ALL {
                let edge = graph.edges(node(*from)).any(|edge| edge.target() == node(*to));
                assert_eq!(is_legal(*from, *to), edge, "{from} -> {to}");
            }
        }
    }

    #[test]
    fn every_state_is_reached_and_only_completed_is_final() {
        let graph = legal_graph();
        let mut search = Dfs::new(&graph, node(State::Waiting));
        let mut reached = 0;
        while search.next(&graph).is_some() {
            reached += 1;
        }
        assert_eq!(reached, State::ALL.len());
        for state in State::ALL {
            assert_eq!(successors(*state).is_empty(), *state == State::Completed, "{state}");
        }
    }
}
