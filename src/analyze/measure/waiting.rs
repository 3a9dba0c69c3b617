//! What kept requests waiting, in rows and in time.

use std::collections::BTreeMap;

use crate::analyze::distribution::ratio;
use crate::analyze::figures::RequestFigures;
use crate::analyze::model::{Reason, Waiting};
use crate::log::schema::IterationRequestRow;
use crate::log::values::WaitingReason;

#[derive(Clone, Debug, Default)]
pub(super) struct WaitingMeasure {
    rows: BTreeMap<WaitingReason, u64>,
    time: BTreeMap<WaitingReason, u128>,
    total: u128,
    unexplained: u128,
}

impl WaitingMeasure {
    pub(super) fn row(&mut self, row: &IterationRequestRow) {
        if let Some(reason) = row.waiting_reason {
            *self.rows.entry(reason).or_default() += 1;
        }
    }

    pub(super) fn request(&mut self, request: &RequestFigures) {
        for wait in &request.waits {
            let time = u128::from(wait.time_ns.0);
            self.total += time;
            match wait.reason {
                Some(reason) => *self.time.entry(reason).or_default() += time,
                None => self.unexplained += time,
            }
        }
    }

    pub(super) fn waiting(&self) -> Waiting {
        let mut reasons: Vec<_> = WaitingReason::ALL
            .iter()
            .map(|reason| {
                let time_ns = self.time.get(reason).copied().unwrap_or(0);
                Reason {
                    reason: reason.as_str(),
                    rows: self.rows.get(reason).copied().unwrap_or(0),
                    time_ns,
                    time_share: ratio(time_ns as f64, self.total as f64),
                }
            })
            .filter(|reason| reason.rows > 0)
            .collect();
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.time_ns));
        Waiting { time_ns: self.total, reasons, unexplained_ns: self.unexplained }
    }
}
