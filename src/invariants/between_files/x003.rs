//! X003: no request is lost.

use std::collections::{BTreeSet, VecDeque};
use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;

use crate::invariants::prelude::*;
use crate::log::ids::RequestKey;

declare_invariant! {
    /// Every request that any file knows has a row in per_request.csv.
    ///
    /// Requests still alive at shutdown have one too, with finish_reason `unfinished`. Statistics are
    /// made from this file; a request missing in it is never missed.
    ///
    /// A log that ends without a shutdown, or whose per_request.csv ends before the other files, is
    /// damaged, which X005 reports instead.
    ///
    /// A request that the steps go on without was not alive then, and is missing all the same.
    ///
    /// Events that stand behind later ones may be of a request whose row was read long ago; of a request
    /// that nothing else tells of, M012 speaks then.
    ///
    /// Other files may also go on with a request long after its row: what they tell then has no row any more.
    ///
    /// Blind spot: a request lost by all files.
    ///
    /// Example: an aborted request that is in the events only.
    pub static X003 = {
        name: "nothing-is-lost",
        reads: [PerRequest(request_id)],
        also: [Events(request_id), StateTransitions(request_id), PerIterationRequests(request_id)],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check {
    /// The latest event.
    latest: Option<Nanos>,
    /// Requests with events that stand behind later ones.
    late: BTreeSet<RequestKey>,
    /// The last requests that were over and had a row, by the hashes of their ids.
    over: VecDeque<u64>,
}

/// Requests that are remembered when they are over.
const REMEMBERED: usize = 1 << 12;

impl Invariant for Check {
    fn events(&mut self, events: &[Located<EventRow>], cx: &mut Cx<'_>) {
        for event in events {
            let now = event.row.timestamp;
            if self.latest > Some(now.saturating_add(cx.slack())) {
                self.late.extend(event.row.request_id);
            }
            self.latest = self.latest.max(Some(now));
        }
    }

    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let late = self.late.remove(&request.key);
        let id = FxBuildHasher.hash_one(cx.id(request.key));
        if request.record.is_some() {
            cx.exercised(1);
            if self.over.len() == REMEMBERED {
                self.over.pop_front();
            }
            self.over.push_back(id);
            return;
        }
        if request.damaged || !cx.facts.complete(Table::PerRequest) {
            return;
        }
        let only_events = request.last().is_none() && request.transitions.is_empty();
        let excused = late && only_events
            || match request.completion() {
                Some(end) => !cx.facts.covers(Table::PerRequest, end),
                None => cx.facts.killed && !request.has_vanished(cx.facts),
            };
        cx.expect(excused, |ids| {
            let message = match self.over.contains(&id) {
                true => "the request goes on after it was over by its row in per_request.csv",
                false => "the request has no row in per_request.csv",
            };
            let mut finding = Finding::new(message).of(request.key, ids);
            if let Some(at) = request.any_location() {
                finding = finding.at(at, "request_id");
            }
            finding
        });
    }
}
