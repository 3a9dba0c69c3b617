//! Service level objectives: what a request must not exceed, and how many kept it.

use std::str::FromStr;

use serde::Serialize;

use crate::analyze::distribution::ratio;
use crate::analyze::figures::RequestFigures;
use crate::units::Nanos;

/// What a request must not exceed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Slo {
    /// Arrival to first output token.
    pub ttft_ns: Option<Nanos>,
    /// Time per output token after the first.
    pub tpot_ns: Option<Nanos>,
    /// Arrival to completion.
    pub e2e_ns: Option<Nanos>,
}

/// Why a text is no objective.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SloError {
    /// Not `name=duration`.
    #[error("{0:?} is not NAME=DURATION: write, e.g., ttft=200ms,tpot=50ms,e2e=10s")]
    Form(String),
    /// Not one of the latencies.
    #[error("{0:?} is not a latency that can have an objective: ttft, tpot, e2e")]
    Name(String),
    /// Not a duration.
    #[error("{0:?} is not a duration: a number and one of ns, us, ms, s")]
    Duration(String),
    /// Twice the same.
    #[error("{0} has two objectives")]
    Twice(String),
}

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        let mut slo = Self::default();
        for part in text.split(',') {
            let (name, bound) =
                part.split_once('=').ok_or_else(|| SloError::Form(part.trim().to_owned()))?;
            let place = match name.trim() {
                "ttft" => &mut slo.ttft_ns,
                "tpot" => &mut slo.tpot_ns,
                "e2e" => &mut slo.e2e_ns,
                other => return Err(SloError::Name(other.to_owned())),
            };
            if place.replace(duration(bound.trim())?).is_some() {
                return Err(SloError::Twice(name.trim().to_owned()));
            }
        }
        Ok(slo)
    }
}

/// Reads `200ms`, `1.5s` and the like.
fn duration(text: &str) -> Result<Nanos, SloError> {
    let error = || SloError::Duration(text.to_owned());
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(error)?;
    let (number, unit) = text.split_at(unit);
    let scale = match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return Err(error()),
    };
    let plain = number.trim_end().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value: f64 = number.trim_end().parse().map_err(|_| error())?;
    let nanos = value * scale;
    if !plain || nanos > u64::MAX as f64 {
        return Err(error());
    }
    Ok(Nanos(nanos.round() as u64))
}

/// Attainment of the objectives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SloReport {
    /// Per objective.
    pub objectives: Vec<Attainment>,
    /// Finished requests that kept all objectives.
    pub met_all: u64,
    /// Of the finished requests.
    pub share_of_finished: Option<f64>,
    /// Of all requests but those that their clients gave up: what did not finish did not keep it.
    pub share_of_owed: Option<f64>,
    /// Requests that were owed an answer: all but the aborted ones.
    pub owed: u64,
    /// Requests per second that finished and kept all objectives.
    pub goodput_requests_per_s: Option<f64>,
    /// Their output tokens per second.
    pub goodput_output_tokens_per_s: Option<f64>,
}

/// Attainment of one objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Attainment {
    /// The latency.
    pub latency: &'static str,
    /// Its bound.
    pub bound_ns: Nanos,
    /// Finished requests that kept it.
    pub met: u64,
    /// Of the finished requests.
    pub share_of_finished: Option<f64>,
}

/// Counts who keeps the objectives.
#[derive(Clone, Debug)]
pub(super) struct SloCounter {
    slo: Slo,
    finished: u64,
    owed: u64,
    met: [u64; 3],
    met_all: u64,
    good_tokens: u64,
}

impl SloCounter {
    pub(super) const fn new(slo: Slo) -> Self {
        Self { slo, finished: 0, owed: 0, met: [0; 3], met_all: 0, good_tokens: 0 }
    }

    pub(super) fn request(&mut self, request: &RequestFigures) {
        use crate::analyze::figures::Ending;
        self.owed += u64::from(request.ending != Ending::Abort);
        if !request.ending.finished() {
            return;
        }
        self.finished += 1;
        let nanos = |value: Option<Nanos>| value.map(|nanos| nanos.0 as f64);
        let kept = |value: Option<f64>, bound: Option<Nanos>, undefined| {
            bound.is_none_or(|bound| value.map_or(undefined, |value| value <= bound.0 as f64))
        };
        let met = [
            kept(nanos(request.ttft_ns), self.slo.ttft_ns, false),
            // Below two output tokens there is no pace that could be missed.
            kept(request.tpot_ns, self.slo.tpot_ns, request.output_tokens < 2),
            kept(nanos(request.e2e_ns), self.slo.e2e_ns, false),
        ];
        for (count, met) in self.met.iter_mut().zip(met) {
            *count += u64::from(met);
        }
        if met.iter().all(|met| *met) {
            self.met_all += 1;
            self.good_tokens += request.output_tokens;
        }
    }

    pub(super) fn report(&self, window: Nanos) -> SloReport {
        let bounds = [
            ("ttft", self.slo.ttft_ns, self.met[0]),
            ("tpot", self.slo.tpot_ns, self.met[1]),
            ("e2e", self.slo.e2e_ns, self.met[2]),
        ];
        let of = |part: u64, whole: u64| ratio(part as f64, whole as f64);
        let per_s = |count: u64| ratio(count as f64, window.as_secs_f64());
        let objectives = bounds.into_iter().filter_map(|(latency, bound, met)| {
            let share_of_finished = of(met, self.finished);
            Some(Attainment { latency, bound_ns: bound?, met, share_of_finished })
        });
        SloReport {
            objectives: objectives.collect(),
            met_all: self.met_all,
            share_of_finished: of(self.met_all, self.finished),
            share_of_owed: of(self.met_all, self.owed),
            owed: self.owed,
            goodput_requests_per_s: per_s(self.met_all),
            goodput_output_tokens_per_s: per_s(self.good_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_are_read() {
        let slo: Slo = "ttft=200ms, tpot=1.5us,e2e=2s".parse().unwrap();
        assert_eq!(slo.ttft_ns, Some(Nanos(200_000_000)));
        assert_eq!(slo.tpot_ns, Some(Nanos(1_500)));
        assert_eq!(slo.e2e_ns, Some(Nanos(2_000_000_000)));
    }

    #[test]
    fn what_is_no_objective_says_why() {
        let cases = [
            ("ttft", "NAME=DURATION"),
            ("itl=5ms", "ttft, tpot, e2e"),
            ("ttft=5", "ns, us, ms, s"),
            ("ttft=5h", "ns, us, ms, s"),
            ("ttft=-5ms", "ns, us, ms, s"),
            ("ttft=infs", "ns, us, ms, s"),
            ("ttft=1ms,ttft=2ms", "two objectives"),
        ];
        for (text, says) in cases {
            let error = text.parse::<Slo>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
