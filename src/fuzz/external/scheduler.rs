//! A scheduler in another process, driven step by step with the reference's workloads
//! (docs/protocol.md).

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::fuzz::drive::Rejection;
use crate::fuzz::external::decisions::{Decision, STOP_TOKEN, Steps};
use crate::fuzz::external::logger::{hello_line, line, supported};
use crate::fuzz::external::process::{Process, Program};
use crate::fuzz::failure::Failure;
use crate::fuzz::generate::Limits;
use crate::fuzz::judge::{Judgement, Subject};
use crate::fuzz::sequence::EventSequence;
use crate::fuzz::workload::Workload;
use crate::log::values::LogLevel;

/// An external scheduler; its process lives through many cases.
#[derive(Debug)]
pub struct ExternalScheduler {
    program: Program,
    process: Option<Process>,
    limits: Limits,
}

impl ExternalScheduler {
    /// Starts the scheduler and asks what it supports.
    ///
    /// # Errors
    /// If it cannot be started or does not answer as the protocol says.
    pub fn start(program: Program) -> Result<Self, Failure> {
        let mut scheduler = Self { program, process: None, limits: Limits::default() };
        let answer = scheduler.hello()?;
        scheduler.limits = Limits {
            // Draft tokens are the drafter's: a scheduler alone has none to propose.
            speculative: false,
            log_levels: vec![LogLevel::Standard],
            ..supported(answer.get("supports"))
        };
        Ok(scheduler)
    }

    fn hello(&mut self) -> Result<Map<String, Value>, Failure> {
        let mut process =
            Process::start(&self.program).map_err(|message| Failure::Crash { message })?;
        let answer = process.ask(hello_line("scheduler"), "hello")?;
        self.process = Some(process);
        Ok(answer)
    }

    fn compare(&mut self, sequence: &EventSequence, workload: &Workload) -> Result<(), Failure> {
        if self.process.is_none() {
            self.hello()?;
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        let start = json!({
            "type": "start",
            "config": sequence.run.config,
            "stop_token_id": STOP_TOKEN,
        });
        process.ask(line(&start), "start")?;
        let mut steps = Steps::new(sequence, workload);
        while let Some((message, expected)) = steps.next() {
            let answer = process.ask(line(&message), message["type"].as_str().unwrap_or("step"))?;
            if let Some(difference) = first_difference(&expected, &answer) {
                return Err(difference);
            }
        }
        Ok(())
    }
}

impl Subject for ExternalScheduler {
    fn limits(&self) -> Limits {
        self.limits.clone()
    }

    fn write(&mut self, _: &EventSequence, _: &Path) -> Result<Vec<Rejection>, Failure> {
        Ok(Vec::new())
    }

    fn judge(&mut self, sequence: &EventSequence, _: &Path) -> Judgement {
        let Some(workload) = &sequence.workload else { return Judgement::default() };
        match self.compare(sequence, workload) {
            Ok(()) => Judgement::default(),
            Err(failure) => {
                if !matches!(failure, Failure::Differs { .. }) {
                    self.process = None;
                }
                Judgement::failed(failure)
            }
        }
    }
}

/// The first thing that the answer decides otherwise; what it does not tell is not compared, but
/// for the batch and the ends.
fn first_difference(expected: &Decision, answer: &Map<String, Value>) -> Option<Failure> {
    expected.fields.iter().find_map(|(name, reference)| {
        let scheduler = answer.get(*name);
        let is_required = matches!(*name, "batch" | "finished");
        let same = scheduler.map_or(!is_required, |scheduler| scheduler == reference);
        (!same).then(|| Failure::Differs {
            step: expected.step,
            what: (*name).to_owned(),
            reference: reference.to_string(),
            scheduler: scheduler.map_or_else(|| "nothing".to_owned(), ToString::to_string),
        })
    })
}
