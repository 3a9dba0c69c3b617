//! The requests: distributions over all of them, and which of them are shown one by one.

use crate::log::dialect::{DEFAULT_SKEW_BOUND, Dialect};
use crate::log::ids::{IdTable, Ids};
use crate::log::reader::{Item, LogDir, LogDirError};
use crate::log::schema::RequestRow;
use crate::log::values::FinishReason;
use crate::stats::Quantiles;
use crate::units::Nanos;
use crate::view::collect::lives::Span;
use crate::view::collect::{Picture, PictureOptions};

/// One request.
#[derive(Clone, Debug, Default)]
pub struct RequestFigures {
    /// Its id.
    pub id: String,
    /// The line of its row in per_request.csv; 0 if it has none.
    pub line: u64,
    /// When it arrived.
    pub arrival: Nanos,
    /// When it was first scheduled.
    pub first_scheduled: Option<Nanos>,
    /// When it was over.
    pub completion: Option<Nanos>,
    /// Time in `waiting` and `preempted`.
    pub waiting: Nanos,
    /// Time in `running`.
    pub execution: Nanos,
    /// End-to-end latency.
    pub e2e: Option<Nanos>,
    /// Time to first token.
    pub ttft: Option<Nanos>,
    /// Time per output token, in nanoseconds.
    pub tpot: Option<f64>,
    /// Prompt tokens.
    pub input_tokens: u32,
    /// Generated tokens.
    pub output_tokens: u32,
    /// How often it was preempted.
    pub preemptions: u32,
    /// Tokens found in the prefix cache.
    pub cached_tokens: Option<u32>,
    /// Tokens computed twice.
    pub recomputed_tokens: Option<u32>,
    /// Its priority.
    pub priority: Option<i64>,
    /// Why it ended.
    pub finish_reason: Option<FinishReason>,
    /// Its states over time.
    pub spans: Vec<Span>,
    /// When its first token came.
    pub first_token: Option<Nanos>,
}

impl RequestFigures {
    pub(super) fn of(row: &RequestRow, line: u64, ids: &IdTable) -> Self {
        Self {
            id: ids.id(row.request_id).to_owned(),
            line,
            arrival: row.arrival_time,
            first_scheduled: row.first_scheduled_time,
            completion: row.completion_time,
            waiting: row.waiting_time,
            execution: row.execution_time,
            e2e: row.e2e_latency,
            ttft: row.ttft,
            tpot: row.tpot.map(|tpot| tpot.as_f64()),
            input_tokens: row.input_tokens.0,
            output_tokens: row.output_tokens.0,
            preemptions: row.preemption_count.0,
            cached_tokens: row.cached_tokens.map(|tokens| tokens.0),
            recomputed_tokens: row.recomputed_tokens.map(|tokens| tokens.0),
            priority: row.priority_score.map(|priority| priority.0),
            finish_reason: row.finish_reason,
            ..Self::default()
        }
    }

    pub(super) fn finish(&mut self, end: Nanos) {
        if let Some(last) = self.spans.last_mut()
            && last.end.is_none()
        {
            last.end = Some(end.max(last.start));
        }
    }

    /// By what the slowest are found: each figure with the quantiles of its kind.
    const fn figures(&self) -> [Option<u64>; 4] {
        let e2e = match self.e2e {
            Some(e2e) => Some(e2e.0),
            None => None,
        };
        let ttft = match self.ttft {
            Some(ttft) => Some(ttft.0),
            None => None,
        };
        let preemptions = if self.preemptions > 0 { Some(self.preemptions as u64) } else { None };
        [e2e, ttft, Some(self.waiting.0), preemptions]
    }
}

/// The requests that are shown one by one.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// In the order of per_request.csv; requests without a row follow.
    pub requests: Vec<RequestFigures>,
    /// How many requests are not shown.
    pub left_out: u64,
    /// Whether the log has rows of unfinished requests.
    pub(super) has_unfinished: bool,
}

pub(super) fn read(
    dir: &LogDir,
    options: &PictureOptions,
    picture: &mut Picture,
) -> Result<(), LogDirError> {
    let mut figures: [Quantiles; 4] = Default::default();
    each(dir, |request| {
        note(&request, picture);
        for (quantiles, figure) in figures.iter_mut().zip(request.figures()) {
            if let Some(figure) = figure {
                quantiles.record(figure);
            }
        }
    })?;
    if options.requests == 0 {
        return Ok(());
    }
    let limit = options.requests as u64;
    let all = picture.requests <= limit;
    // A share of the places for the slowest by each figure, the rest for an even sample.
    let share = limit as f64 / 8.0;
    let thresholds: Vec<f64> = figures
        .iter()
        .map(|quantiles| {
            let q = 1.0 - share / quantiles.count().max(1) as f64;
            quantiles.quantile(q).unwrap_or(f64::INFINITY)
        })
        .collect();
    let stride = (picture.requests as f64 / (share * 4.0).max(1.0)).ceil().max(1.0) as u64;
    let (mut index, mut kept) = (0, Vec::new());
    each(dir, |request| {
        let slow = request
            .figures()
            .iter()
            .zip(&thresholds)
            .any(|(figure, threshold)| figure.is_some_and(|figure| figure as f64 > *threshold));
        let wanted = options.wanted_requests.contains(&request.id);
        let place = all || wanted || kept.len() < options.requests && (slow || index % stride == 0);
        index += 1;
        if place {
            kept.push(request);
        }
    })?;
    picture.chosen.left_out = picture.requests.saturating_sub(kept.len() as u64);
    picture.chosen.requests = kept;
    Ok(())
}

fn note(request: &RequestFigures, picture: &mut Picture) {
    picture.requests += 1;
    picture.chosen.has_unfinished |= request.completion.is_none();
    picture.output_tokens += u64::from(request.output_tokens);
    picture.input_tokens += u64::from(request.input_tokens);
    picture.waiting.record(request.waiting.0);
    let last = request.completion.unwrap_or_default().max(request.arrival);
    picture.end = picture.end.max(last);
    if request.completion.is_none() || !finished(request.finish_reason) {
        return;
    }
    picture.finished += 1;
    if let Some(e2e) = request.e2e {
        picture.e2e.record(e2e.0);
    }
    if let Some(ttft) = request.ttft {
        picture.ttft.record(ttft.0);
    }
    if let Some(tpot) = request.tpot {
        picture.tpot.record(tpot.max(0.0) as u64);
    }
}

/// Whether a request that has ended was served to its end; so it counts where the log does not tell.
/// The time until a client gave up or a request was rejected is no latency of the service.
pub(super) const fn finished(reason: Option<FinishReason>) -> bool {
    matches!(reason, None | Some(FinishReason::Stop | FinishReason::Length))
}

fn each(dir: &LogDir, mut visit: impl FnMut(RequestFigures)) -> Result<(), LogDirError> {
    let Some(mut reader) = dir.reader::<RequestRow>()? else { return Ok(()) };
    let dialect = Dialect::detect(dir, DEFAULT_SKEW_BOUND)?;
    let mut ids = IdTable::default();
    while let Some(item) = reader.next(&mut ids) {
        let Item::Row(mut row) = item else { continue };
        dialect.undefine(&mut row.row, |_| {});
        visit(RequestFigures::of(&row.row, row.line, &ids));
        ids.release(row.row.request_id);
    }
    Ok(())
}
