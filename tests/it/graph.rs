//! The state graph, legal and as a log shows it.

use schedlog::report::graph::{GraphForm, Traffic, draw};

use crate::fixtures::{Log, fixture, repo};

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(repo("snapshots/graph"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn the_legal_graph_in_every_form() {
    snapshot("legal.txt", &draw(None, GraphForm::Text));
    snapshot("legal.dot", &draw(None, GraphForm::Dot));
    snapshot("legal.mermaid", &draw(None, GraphForm::Mermaid));
}

#[test]
fn a_log_adds_counts_and_illegal_changes_stand_out() {
    let dir = Log::base().edited(&fixture("S001")).write();
    let traffic = Traffic::of_log(dir.path()).unwrap();
    assert!(traffic.has_illegal());
    snapshot("illegal.txt", &draw(Some(&traffic), GraphForm::Text));
    snapshot("illegal.dot", &draw(Some(&traffic), GraphForm::Dot));
}
