//! The trait of a rule.

use crate::check::context::Cx;
use crate::check::facts::LogEnd;
use crate::check::history::RequestHistory;
use crate::check::view::IterationView;
use crate::log::reader::{FormProblem, Located};
use crate::log::schema::EventRow;

/// One rule during one run: it is shown the log piece by piece and says what contradicts it.
///
/// Every method has an empty default. The driver calls a rule only where every file and column that
/// it declares is there and every setting that it needs is known.
pub trait Invariant {
    /// Something is wrong with the form of a file.
    fn form(&mut self, problem: &FormProblem, cx: &mut Cx<'_>) {
        let _ = (problem, cx);
    }

    /// One step: its row, the rows of its requests, the events in it.
    fn iteration(&mut self, view: &IterationView<'_>, cx: &mut Cx<'_>) {
        let _ = (view, cx);
    }

    /// Events in the order of the file; every event is shown once.
    fn events(&mut self, events: &[Located<EventRow>], cx: &mut Cx<'_>) {
        let _ = (events, cx);
    }

    /// All that the log says of one request, once it is over (or the log is).
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let _ = (request, cx);
    }

    /// The end of the log.
    fn finish(&mut self, end: &LogEnd, cx: &mut Cx<'_>) {
        let _ = (end, cx);
    }
}
