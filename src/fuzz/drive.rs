//! Makes the calls of a sequence.

use std::collections::BTreeMap;

use crate::fuzz::sequence::{Call, EventSequence, RequestIndex};
use crate::logger::{KvCacheUsage, LoggerHooks, RunningRequest};

/// A call that the logger refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The place of the call in the sequence.
    pub call: usize,
    /// What the logger said.
    pub message: String,
}

/// Makes every call of `sequence` on `logger`, as far as the logger knows the request that a call
/// is about. Without a shutdown in the sequence the logger is dropped as it is.
///
/// The result lists the calls that were refused; a refusal does not stop the sequence.
pub fn drive<L: LoggerHooks>(sequence: &EventSequence, logger: L) -> Vec<Rejection> {
    let mut rejected = Vec::new();
    let mut handles = BTreeMap::new();
    let mut logger = Some(logger);
    for (index, call) in sequence.calls.iter().enumerate() {
        let outcome = if let Call::Shutdown { now } = call {
            logger.take().map_or(Ok(()), |logger| logger.shutdown(*now))
        } else if let Some(logger) = &mut logger {
            make(call, logger, &mut handles)
        } else {
            break;
        };
        if let Err(error) = outcome {
            rejected.push(Rejection { call: index, message: error.to_string() });
        }
    }
    rejected
}

fn make<L: LoggerHooks>(
    call: &Call,
    logger: &mut L,
    handles: &mut BTreeMap<RequestIndex, L::Request>,
) -> Result<(), L::Error> {
    if let Call::Arrival { now, request, request_id, input_tokens, priority } = call {
        let handle = logger.record_request_arrival(*now, request_id, *input_tokens, *priority)?;
        handles.insert(*request, handle);
        return Ok(());
    }
    match call.request() {
        None => make_of_step(call, logger),
        Some(request) => match handles.get(&request) {
            // A logger that never gave a handle cannot be asked about the request.
            None => Ok(()),
            Some(handle) => make_of_request(call, logger, *handle),
        },
    }
}

fn make_of_step<L: LoggerHooks>(call: &Call, logger: &mut L) -> Result<(), L::Error> {
    match *call {
        Call::Begin { now } => logger.begin_iteration(now),
        Call::Schedule { now, kv_cache_used, kv_cache_total, evicted_blocks } => {
            let kv = KvCacheUsage {
                used: kv_cache_used,
                total: kv_cache_total,
                evicted: evicted_blocks,
            };
            logger.record_schedule(now, kv)
        }
        Call::Output { now } => logger.record_model_output(now),
        Call::End { now } => logger.end_iteration(now),
        _ => Ok(()),
    }
}

fn make_of_request<L: LoggerHooks>(
    call: &Call,
    logger: &mut L,
    handle: L::Request,
) -> Result<(), L::Error> {
    match *call {
        Call::Preempted { computed_tokens, blocks, .. } => {
            logger.record_request_preempted(handle, computed_tokens, blocks)
        }
        Call::Scheduled { cached_tokens, .. } => {
            logger.record_request_scheduled(handle, cached_tokens)
        }
        Call::Resumed { cached_tokens, .. } => logger.record_request_resumed(handle, cached_tokens),
        Call::Allocated { blocks, .. } => logger.record_kv_cache_allocated(handle, blocks),
        Call::Running { kv_cache_blocks, scheduled_tokens, computed_tokens, prefill, .. } => logger
            .record_running(RunningRequest {
                request: handle,
                kv_cache_blocks,
                scheduled_tokens,
                computed_tokens,
                prefill,
            }),
        Call::Waiting { reason, .. } => logger.record_waiting(handle, reason),
        Call::Generated { tokens, rejected_drafts, .. } => {
            logger.record_tokens_generated(handle, tokens, rejected_drafts)
        }
        Call::Completed { finish_reason, blocks, computed_tokens, .. } => {
            logger.record_request_completed(handle, finish_reason, blocks, computed_tokens)
        }
        Call::Dropped { now, finish_reason, blocks, .. } => {
            logger.record_request_dropped(now, handle, finish_reason, blocks)
        }
        _ => Ok(()),
    }
}
