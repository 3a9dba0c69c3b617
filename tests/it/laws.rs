//! What holds of any trace under any settings.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use schedlog::engine::replay::ReplayError;
use schedlog::engine::run::{LogOptions, RunError, replay_trace};
use schedlog::settings::Resolved;
use schedlog::trace::{Trace, TraceRequest};

use crate::golden::files;
use crate::strategies::{settings, traces};

/// Replays; `false` where vLLM itself would hang or die under these settings.
fn replay(requests: &[TraceRequest], settings: &Resolved, directory: &Path) -> bool {
    let trace = Trace::from_requests("generated", requests.to_vec());
    match replay_trace(&trace, settings, Some(directory), &LogOptions::default(), |_| {}) {
        Ok(_) => true,
        Err(RunError::Replay(ReplayError::Assertion(_) | ReplayError::Stuck { .. })) => false,
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn every_request_ends_in_per_request(requests in traces(12), settings in settings()) {
        let directory = tempfile::tempdir().unwrap();
        prop_assume!(replay(&requests, &settings, directory.path()));
        let mut reader = csv::Reader::from_path(directory.path().join("per_request.csv")).unwrap();
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        let ids: BTreeSet<_> = rows.iter().map(|row| row[0].to_owned()).collect();
        let expected: BTreeSet<_> = requests.iter().map(|request| request.id.to_string()).collect();
        prop_assert_eq!(rows.len(), requests.len());
        prop_assert_eq!(ids, expected);
        prop_assert!(rows.iter().all(|row| !row[3].is_empty() && &row[17] != "unfinished"));
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes(requests in traces(8), settings in settings()) {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        prop_assume!(replay(&requests, &settings, first.path()));
        prop_assert!(replay(&requests, &settings, second.path()));
        prop_assert_eq!(files(first.path()), files(second.path()));
    }
}
