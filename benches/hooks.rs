//! What the logger's hooks cost a scheduler: per iteration with 256 running requests, flush included, the
//! longest single call, and with logging off.
//!
//! A real scheduler waits some milliseconds for the model in every iteration. Here it waits 200 us, or not
//! at all: then rows come faster than they can be written, and the hooks wait for the disk.
//!
//! `cargo bench --bench hooks [-- ITERATIONS]`

use std::hint::black_box;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use schedlog::log::run_info::{Producer, RunInfo, SCHEMA_VERSION};
use schedlog::log::values::{FinishReason, LogLevel};
use schedlog::logger::{
    KvCacheUsage, LoggerOptions, RequestHandle, RunningRequest, SchedulerLogger,
};
use schedlog::units::{Blocks, Nanos, Priority, Tokens};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const RUNNING: u32 = 256;
const OUTPUT_TOKENS: u32 = 512;
/// What the model takes where it is waited for.
const FORWARD_PASS: Duration = Duration::from_micros(200);

/// A request of the steady state.
#[derive(Clone, Copy)]
struct Request {
    handle: RequestHandle,
    computed: u32,
    generated: u32,
}

/// A scheduler that decodes 256 requests, of which one ends in every second step and another takes
/// its seat, and calls every hook that vLLM's would.
struct Engine {
    logger: SchedulerLogger,
    requests: Vec<Request>,
    now: u64,
    arrived: u64,
}

/// Calls a hook, and measures it if asked to.
fn timed<T>(calls: &mut Option<Histogram<u64>>, call: impl FnOnce() -> T) -> Outcome<T> {
    match calls {
        None => Ok(call()),
        Some(calls) => {
            let start = Instant::now();
            let value = call();
            calls.record(start.elapsed().as_nanos() as u64)?;
            Ok(value)
        }
    }
}

impl Engine {
    fn new(logger: SchedulerLogger) -> Self {
        Self { logger, requests: Vec::new(), now: 0, arrived: 0 }
    }

    fn tick(&mut self) -> Nanos {
        self.now += 1_000_000;
        Nanos(self.now)
    }

    fn iteration(&mut self, calls: &mut Option<Histogram<u64>>) -> Outcome<()> {
        let mut new = Vec::new();
        while self.requests.len() < RUNNING as usize {
            // Spread over the lengths at first, so that the ends are spread too.
            let ahead = if self.arrived < u64::from(RUNNING) { self.arrived as u32 * 2 } else { 0 };
            let mut id = String::from("cmpl-");
            for part in [1, 3] {
                let mixed = (self.arrived + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 * part);
                id.push_str(&format!("{mixed:016x}"));
            }
            id.push_str("-0");
            let now = Nanos(self.now);
            let logger = &mut self.logger;
            let handle = timed(calls, || {
                logger.record_request_arrival(now, &id, Tokens(200), Priority(0))
            })??;
            self.requests.push(Request { handle, computed: 200, generated: ahead });
            self.arrived += 1;
            new.push(handle);
        }
        let (start, decided) = (self.tick(), self.tick());
        let (output, end) = (self.tick(), self.tick());
        let logger = &mut self.logger;
        timed(calls, || logger.begin_iteration(start))??;
        let kv = KvCacheUsage { used: Blocks(8000), total: Blocks(16000), evicted: Blocks(0) };
        timed(calls, || logger.record_schedule(decided, kv))??;
        for handle in new {
            timed(calls, || logger.record_request_scheduled(handle, Tokens(0)))??;
        }
        for request in &self.requests {
            let running = RunningRequest {
                request: request.handle,
                kv_cache_blocks: Blocks((request.computed + request.generated) / 16 + 1),
                scheduled_tokens: Tokens(1),
                computed_tokens: Tokens(request.computed + request.generated),
                prefill: false,
            };
            timed(calls, || logger.record_running(running))??;
        }
        timed(calls, || logger.record_model_output(output))??;
        for request in &mut self.requests {
            let handle = request.handle;
            timed(calls, || logger.record_tokens_generated(handle, Tokens(1), Tokens(0)))??;
            request.generated += 1;
            if request.generated >= OUTPUT_TOKENS {
                let computed = Tokens(request.computed + request.generated);
                timed(calls, || {
                    let reason = FinishReason::Length;
                    logger.record_request_completed(handle, reason, Blocks(45), computed)
                })??;
            }
        }
        timed(calls, || logger.end_iteration(end))??;
        self.requests.retain(|request| request.generated < OUTPUT_TOKENS);
        Ok(())
    }
}

fn logger(directory: &std::path::Path) -> Outcome<SchedulerLogger> {
    let run = RunInfo {
        schema_version: SCHEMA_VERSION,
        producer: Producer { name: "hooks".into(), version: "0".into() },
        engine: "none".into(),
        start_time_unix_ns: 0,
        overlapping_steps: false,
        log_level: LogLevel::Standard,
        config: Default::default(),
        trace: Default::default(),
    };
    Ok(SchedulerLogger::create(directory, &run, LoggerOptions::default())?)
}

fn print(what: &str, times: &Histogram<u64>) {
    let micros = |nanos: u64| nanos as f64 / 1e3;
    println!(
        "{what:28} min {:9.3}  median {:9.3}  p99.9 {:9.3}  max {:9.3} us  ({})",
        micros(times.min()),
        micros(times.value_at_quantile(0.5)),
        micros(times.value_at_quantile(0.999)),
        micros(times.max()),
        times.len(),
    );
}

/// Waits for the model, which needs no processor.
fn wait() {
    let start = Instant::now();
    while start.elapsed() < FORWARD_PASS {
        std::thread::yield_now();
    }
}

fn main() -> Outcome<()> {
    let iterations = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(20_000);

    let directory = tempfile::tempdir()?;
    let mut engine = Engine::new(logger(directory.path())?);
    let mut steps = Histogram::<u64>::new(3)?;
    for _ in 0..iterations {
        let start = Instant::now();
        engine.iteration(&mut None)?;
        steps.record(start.elapsed().as_nanos() as u64)?;
        wait();
    }
    print("one iteration, log on", &steps);
    println!("{:28} mean {:.3} us", "", steps.mean() / 1e3);
    engine.logger.shutdown(Nanos(engine.now))?;

    let directory = tempfile::tempdir()?;
    let mut engine = Engine::new(logger(directory.path())?);
    let mut calls = Some(Histogram::<u64>::new(3)?);
    for _ in 0..iterations {
        engine.iteration(&mut calls)?;
        wait();
    }
    if let Some(calls) = &calls {
        print("one call, log on", calls);
    }
    engine.logger.shutdown(Nanos(engine.now))?;

    let directory = tempfile::tempdir()?;
    let mut engine = Engine::new(logger(directory.path())?);
    let begin = Instant::now();
    for _ in 0..iterations {
        engine.iteration(&mut None)?;
    }
    engine.logger.shutdown(Nanos(engine.now))?;
    let mean = begin.elapsed().as_nanos() as f64 / iterations as f64;
    println!(
        "without a model              mean {:.3} us, {:.1} ns per row",
        mean / 1e3,
        mean / 256.0
    );

    let mut engine = Engine::new(SchedulerLogger::disabled());
    let mut steps = Histogram::<u64>::new(3)?;
    for _ in 0..iterations {
        let start = Instant::now();
        black_box(&mut engine).iteration(&mut None)?;
        steps.record(start.elapsed().as_nanos() as u64)?;
    }
    print("one iteration, log off", &steps);
    Ok(())
}
