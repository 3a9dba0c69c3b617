//! K008: the length limit.

use crate::invariants::prelude::*;

declare_invariant! {
    /// input_tokens + output_tokens <= max_model_len.
    ///
    /// vLLM stops a request at max_model_len (`check_stop`) and rejects a longer prompt on arrival;
    /// such a request, finish_reason `error`, is the exception.
    ///
    /// Blind spot: a request's own max_tokens is not in the log.
    ///
    /// Example: 4000 + 100 tokens under a limit of 4096.
    pub static K008 = {
        name: "length-limit",
        reads: [PerRequest(input_tokens, output_tokens)],
        also: [PerRequest(finish_reason)],
        needs: [MaxModelLen],
        severity: Error,
    } => Check
}

#[derive(Default)]
struct Check;

impl Invariant for Check {
    fn request(&mut self, request: &RequestHistory, cx: &mut Cx<'_>) {
        let (Some(record), Some(limit)) = (&request.record, cx.facts.settings.max_model_len) else {
            return;
        };
        let row = &record.row;
        // Where the log does not say why a request ended, one that never ran may be rejected.
        let unsaid = row.finish_reason.is_none() && row.first_scheduled_time.is_none();
        if row.finish_reason == Some(FinishReason::Error) || unsaid {
            return;
        }
        let length = u64::from(row.input_tokens.0) + u64::from(row.output_tokens.0);
        cx.expect(length <= u64::from(limit), |ids| {
            Finding::new(format!(
                "{} input + {} output tokens exceed max_model_len",
                row.input_tokens, row.output_tokens
            ))
            .at(record.at(), "output_tokens")
            .of(request.key, ids)
            .values(format!("at most {limit} together"), length)
        });
    }
}
