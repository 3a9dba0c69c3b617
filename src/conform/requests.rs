//! Recorded requests as the model takes them in.

use crate::conform::record::RecordedRequest;
use crate::scheduler::NewRequest;
use crate::units::{Nanos, Priority, RequestId, TokenId, TokenRun, Tokens, push_run};

/// The ranks of the arrival times, equal for equal times.
pub(crate) fn ranks(requests: &[RecordedRequest<'_>]) -> Vec<Nanos> {
    let mut times: Vec<f64> = requests.iter().map(|request| request.arrival_time).collect();
    times.sort_by(f64::total_cmp);
    // Python's 0.0 and -0.0 are equal too.
    times.dedup_by(|a, b| a == b);
    let rank = |time: f64| times.partition_point(|&other| other < time);
    requests.iter().map(|request| Nanos(rank(request.arrival_time) as u64)).collect()
}

/// Streams are this far apart, so that tokens of different streams differ.
const STREAM: u64 = 65536;

/// The request, to be served as if it had arrived at `arrival_time`.
pub(crate) fn new_request(request: &RecordedRequest<'_>, arrival_time: Nanos) -> NewRequest {
    let mut prompt = Vec::with_capacity(request.prompt.len());
    for &(stream, start, len) in &request.prompt {
        let first = TokenId(stream * STREAM + start);
        push_run(&mut prompt, TokenRun { first, len: Tokens(len) });
    }
    NewRequest {
        id: RequestId::from(request.id.as_str()),
        prompt,
        max_tokens: Tokens(request.max_tokens),
        priority: Priority(request.priority),
        arrival_time,
        cache_salt: request.salt.as_deref().map(str::to_owned),
        skip_reading_prefix_cache: request.skip_read,
    }
}
