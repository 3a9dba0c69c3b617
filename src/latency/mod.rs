//! stub
use crate::units::*;
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchShape {
    pub requests: u64,
    pub prefill: u64,
    pub decode: u64,
    pub kv: u64,
    pub queued: u64,
}
impl BatchShape {
    pub fn add(&mut self, prefill: bool, computed: Tokens, tokens: Tokens) {
        self.requests += 1;
        if prefill {
            self.prefill += u64::from(tokens.0)
        } else {
            self.decode += u64::from(tokens.0)
        }
        self.kv += u64::from(computed.0);
    }
}
#[derive(Clone, Copy, Debug, Default)]
pub struct StepLatency {
    pub schedule: Nanos,
    pub forward: Nanos,
    pub output: Nanos,
}
#[derive(Clone, Debug)]
pub enum LatencyModel {
    Fixed,
}
impl LatencyModel {
    pub fn step(&self, shape: &BatchShape) -> StepLatency {
        StepLatency {
            schedule: Nanos(50_000),
            forward: if shape.requests > 0 {
                Nanos(10_000_000 + shape.prefill * 10_000)
            } else {
                Nanos(0)
            },
            output: Nanos(20_000),
        }
    }
}
