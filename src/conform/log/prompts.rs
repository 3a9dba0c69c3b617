//! What the trace of a replayed log knows and the log does not: the content of prompts.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::conform::log::verdict::Void;
use crate::trace::{Requests, Trace, TraceRequest};
use crate::units::Tokens;

/// The requests of a trace, by name. Memory: those that stand before the newest asked for and have
/// not been asked for themselves.
#[derive(Debug)]
pub(super) struct Prompts<'t> {
    requests: Requests<'t>,
    ahead: HashMap<String, TraceRequest, FxBuildHasher>,
}

impl<'t> Prompts<'t> {
    pub(super) fn new(trace: &'t Trace) -> Result<Self, Void> {
        let requests = trace.requests().map_err(|error| Void::BadTrace(error.to_string()))?;
        Ok(Self { requests, ahead: HashMap::default() })
    }

    /// The request with this name and, in the log, this many prompt tokens.
    pub(super) fn take(&mut self, id: &str, input: Tokens) -> Result<TraceRequest, Void> {
        let request = self.find(id)?;
        if request.input_tokens != input {
            let (logged, traced) = (input.0, request.input_tokens.0);
            return Err(Void::OtherLength { id: id.to_owned(), logged, traced });
        }
        Ok(request)
    }

    /// Forgets a request that nobody will ask for.
    pub(super) fn forget(&mut self, id: &str) {
        self.ahead.remove(id);
    }

    fn find(&mut self, id: &str) -> Result<TraceRequest, Void> {
        if let Some(request) = self.ahead.remove(id) {
            return Ok(request);
        }
        for request in self.requests.by_ref() {
            let request = request.map_err(|error| Void::BadTrace(error.to_string()))?;
            if request.id.as_str() == id {
                return Ok(request);
            }
            self.ahead.insert(request.id.to_string(), request);
        }
        Err(Void::NotInTrace(id.to_owned()))
    }
}
