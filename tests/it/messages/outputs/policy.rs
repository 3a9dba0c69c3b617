//! Which rules run, how severe they are and what is known: mistakes in saying so.

use super::Place;
use crate::fixtures::{Log, fixture};

fn place() -> Place {
    let place = Place::new();
    place.log("log", &Log::base());
    place.log("wrong", &Log::base().edited(&fixture("M002")));
    place
}

#[test]
fn what_a_selection_or_a_list_cannot_do_is_told_with_a_remedy() {
    let mut place = place();
    for mistake in [
        "check log --select M,V001",
        "check log --select M --ignore M",
        "check log --ignore ALL",
        "check log --select ,",
        "check log --select M2",
        "check log --config nowhere.toml",
        "check log --config wrong",
        "check log --baseline nowhere.json",
    ] {
        assert_eq!(place.says(mistake), 2, "{mistake}");
    }
    place.assert_known("policy");
}

/// How a list is matched is said where it is written; whoever says it to a list that is read would be
/// listened to by nobody.
#[test]
fn a_way_of_matching_is_for_the_list_that_is_written() {
    let mut place = place();
    assert_eq!(place.says("check wrong --write-baseline kinds.json --baseline-match kind"), 0);
    assert_eq!(place.tells("check wrong --baseline kinds.json", &["known", "verdict"]), 0);
    for way in ["exact", "kind"] {
        let check = format!("check wrong --baseline kinds.json --baseline-match {way}");
        assert_eq!(place.says(&check), 2, "{way}");
        assert_eq!(place.says(&format!("check wrong --baseline-match {way}")), 2, "{way}");
    }
    place.file("schedlog.toml", "baseline = \"kinds.json\"\n");
    assert_eq!(place.tells("check wrong", &["known", "verdict"]), 0);
    assert_eq!(place.says("check wrong --baseline-match exact"), 2);
    place.assert_known("policy-matching");
}

/// Of a working directory or else of the log's own, never of the one above that: one file, not two.
#[test]
fn schedlog_toml_is_that_of_the_working_directory_or_else_of_the_log() {
    let mut place = place();
    place.log("logs/log", &Log::base());
    place.file("logs/schedlog.toml", "ignore = [\"M\"]\n");
    let told = ["config:", "not run", "verdict", "note:"];
    assert_eq!(place.tells("check logs/log", &["verdict"]), 0);
    place.file("logs/log/schedlog.toml", "ignore = [\"K\"]\n");
    assert_eq!(place.tells("check logs/log", &told), 0);
    place.file("schedlog.toml", "ignore = [\"X\"]\n\n[settings]\nmax_num_seqs = 1\n");
    assert_eq!(place.tells("check logs/log", &told), 0);
    place.file("mine.toml", "[settings]\nmax_num_seqs = 1\npolicy = \"priority\"\n");
    assert_eq!(place.tells("check logs/log --config mine.toml", &told), 0);
    assert_eq!(place.tells("check logs/log --config mine.toml --max-num-seqs 2", &told), 0);
    place.assert_known("policy-file");
}
