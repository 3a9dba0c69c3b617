//! The log as a trace that Perfetto and Chrome show: a track per request, the steps, counters.

use std::io::{self, Write};
use std::path::Path;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::analyze::{RequestFigures, Sink, Step, read_log};
use crate::export::{ExportError, NewFile};
use crate::log::ids::{IdTable, Ids};
use crate::log::schema::EventRow;
use crate::units::Nanos;

/// The process of the tracks of requests.
const REQUESTS: u32 = 1;
/// The process of the steps and the counters.
const ENGINE: u32 = 2;

/// Writes the trace of the log in a directory.
///
/// # Errors
/// If the directory is not a log or the trace cannot be written; then there is no trace.
pub fn export(log: &Path, out: &Path) -> Result<(), ExportError> {
    let mut trace = Perfetto::new(NewFile::create(out)?);
    let description = read_log(log, &mut [&mut trace])?;
    let about = json!({
        "producer": description.producer,
        "engine": description.engine,
        "dialect": description.dialect,
        "cannot_say": description.cannot_say,
    });
    trace.finish(&about).map_err(ExportError::io(out))?.finish()
}

/// A moment or a duration in microseconds, to the nanosecond.
struct Micros(Nanos);

impl Serialize for Micros {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A double would lose nanoseconds after some days.
        let text = format!("{}.{:03}", self.0.0 / 1000, self.0.0 % 1000);
        RawValue::from_string(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// One event of the trace.
#[derive(Serialize)]
struct TraceEvent<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cat: &'a str,
    ph: &'a str,
    pid: u32,
    tid: u64,
    ts: Micros,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<Micros>,
    /// The scope of an instant: its track.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'a str>,
    #[serde(skip_serializing_if = "Value::is_null")]
    args: Value,
}

/// Writes the trace while the log is read.
#[derive(Debug)]
struct Perfetto<W> {
    out: W,
    first: bool,
    failure: Option<io::Error>,
    /// Tracks of the requests that are alive, by id.
    tracks: HashMap<String, u64, FxBuildHasher>,
    next_track: u64,
    /// Per lane of overlapping steps: when the last one ends.
    lanes: Vec<Nanos>,
}

impl<W: Write> Perfetto<W> {
    fn new(out: W) -> Self {
        let mut trace = Self {
            out,
            first: true,
            failure: None,
            tracks: HashMap::default(),
            next_track: 1,
            lanes: Vec::new(),
        };
        trace.raw(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
        trace.name("process_name", REQUESTS, 0, "requests");
        trace.name("process_name", ENGINE, 0, "engine");
        trace
    }

    fn finish(mut self, about: &Value) -> io::Result<W> {
        self.raw(format!("\n],\"otherData\":{about}}}\n").as_bytes());
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(self.out),
        }
    }

    /// Writes bytes; the first failure is kept, and nothing is written after it.
    fn raw(&mut self, bytes: &[u8]) {
        if self.failure.is_none() {
            self.failure = self.out.write_all(bytes).err();
        }
    }

    fn event(&mut self, event: &TraceEvent<'_>) {
        if !std::mem::take(&mut self.first) {
            self.raw(b",\n");
        }
        if self.failure.is_none() {
            self.failure = serde_json::to_writer(&mut self.out, event).err().map(Into::into);
        }
    }

    fn name(&mut self, what: &str, pid: u32, tid: u64, name: &str) {
        let args = json!({ "name": name });
        let ts = Micros(Nanos::ZERO);
        self.event(&TraceEvent {
            name: what,
            cat: "",
            ph: "M",
            pid,
            tid,
            ts,
            dur: None,
            s: None,
            args,
        });
    }

    fn slice(&mut self, name: &str, place: (u32, u64), time: (Nanos, Nanos), args: Value) {
        let (pid, tid) = place;
        let cat = if pid == REQUESTS { "request" } else { "step" };
        let dur = Some(Micros(time.1.saturating_sub(time.0)));
        self.event(&TraceEvent {
            name,
            cat,
            ph: "X",
            pid,
            tid,
            ts: Micros(time.0),
            dur,
            s: None,
            args,
        });
    }

    fn counter(&mut self, name: &str, at: Nanos, args: Value) {
        let ts = Micros(at);
        self.event(&TraceEvent {
            name,
            cat: "",
            ph: "C",
            pid: ENGINE,
            tid: 0,
            ts,
            dur: None,
            s: None,
            args,
        });
    }

    fn counters(&mut self, at: Nanos, step: Option<&Step>) {
        let of = |value: fn(&Step) -> u32| step.map_or(0, value);
        self.counter(
            "batch (requests)",
            at,
            json!({ "scheduled": of(|step| step.row.batch_size.0) }),
        );
        let tokens = json!({
            "prefill": of(|step| step.row.prefill_tokens.0),
            "decode": of(|step| step.row.decode_tokens.0),
        });
        self.counter("tokens per step", at, tokens);
        let blocks = json!({ "used": of(|step| step.row.kv_cache_used.0) });
        self.counter("KV cache (blocks)", at, blocks);
        let queues = json!({
            "running": of(|step| step.row.running_count.0),
            "waiting": of(|step| step.row.waiting_count.0),
        });
        self.counter("queues (requests)", at, queues);
    }

    /// The track of a live request; a new one if it has none.
    fn track(&mut self, id: &str) -> u64 {
        if let Some(track) = self.tracks.get(id) {
            return *track;
        }
        let track = self.next_track;
        self.next_track += 1;
        self.tracks.insert(id.to_owned(), track);
        self.name("thread_name", REQUESTS, track, id);
        track
    }

    /// A track on which no step is in progress.
    fn lane(&mut self, start: Nanos, end: Nanos) -> u64 {
        let lane = match self.lanes.iter().position(|busy_until| *busy_until <= start) {
            Some(lane) => lane,
            None => {
                self.lanes.push(Nanos::ZERO);
                let lane = self.lanes.len();
                self.name("thread_name", ENGINE, lane as u64, &format!("steps {lane}"));
                lane - 1
            }
        };
        self.lanes[lane] = end;
        lane as u64 + 1
    }
}

impl<W: Write> Sink for Perfetto<W> {
    fn event(&mut self, event: &EventRow, ids: &IdTable) {
        let (pid, tid) = match event.request_id {
            Some(key) => (REQUESTS, self.track(ids.id(key))),
            None => (ENGINE, 0),
        };
        // Serialising plain data gives a value.
        let args = serde_json::to_value(event.details).unwrap_or_default();
        self.event(&TraceEvent {
            name: event.event_type.as_str(),
            cat: "event",
            ph: "i",
            pid,
            tid,
            ts: Micros(event.timestamp),
            dur: None,
            s: Some("t"),
            args,
        });
    }

    fn step(&mut self, step: &Step) {
        let moments = &step.moments;
        let place = (ENGINE, self.lane(moments.start, moments.end));
        let row = &step.row;
        let name = row.scheduler_action.to_string();
        let args = json!({
            "iteration_id": row.iteration_id.0,
            "batch_size": row.batch_size.0,
            "prefill_tokens": row.prefill_tokens.0,
            "decode_tokens": row.decode_tokens.0,
            "kv_cache_used": row.kv_cache_used.0,
            "kv_cache_total": row.kv_cache_total.0,
            "preempted_count": row.preempted_count.0,
        });
        self.slice(&name, place, (moments.start, moments.end), args);
        let parts = [
            ("schedule", moments.start, moments.decided),
            ("forward pass", moments.decided, moments.output),
            ("output", moments.output, moments.end),
        ];
        for (name, from, to) in parts.into_iter().filter(|(_, from, to)| from < to) {
            self.slice(name, place, (from, to), Value::Null);
        }
        self.counters(moments.decided, Some(step));
        if step.empty > Nanos::ZERO {
            self.counters(moments.decided.saturating_add(step.hold), None);
        }
    }

    fn request(&mut self, request: &RequestFigures) {
        let place = (REQUESTS, self.track(&request.request_id));
        self.tracks.remove(&request.request_id);
        let end = request.spans.last().map_or(request.completion_ns, |span| Some(span.to_ns));
        let waits: Vec<_> = request
            .waits
            .iter()
            .map(|wait| {
                let reason = wait.reason.map_or("before a step looked", |reason| reason.as_str());
                format!("{reason}: {} ns", wait.time_ns)
            })
            .collect();
        let args = json!({
            "ending": request.ending.as_str(),
            "input_tokens": request.input_tokens,
            "output_tokens": request.output_tokens,
            "ttft_ns": request.ttft_ns,
            "tpot_ns": request.tpot_ns,
            "e2e_ns": request.e2e_ns,
            "preemptions": request.preemptions,
            "recomputed_tokens": request.recomputed_tokens,
            "priority": request.priority,
            "waits": waits,
        });
        let name = format!("{} ({})", request.request_id, request.ending.as_str());
        // The whole life first: what is inside of it nests.
        if let Some(end) = end {
            self.slice(&name, place, (request.arrival_ns, end), args);
        }
        for span in &request.spans {
            let args = json!({ "state": span.activity.state() });
            self.slice(span.activity.as_str(), place, (span.from_ns, span.to_ns), args);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_nanoseconds() {
        let text = |nanos| serde_json::to_string(&Micros(Nanos(nanos))).unwrap();
        assert_eq!(text(0), "0.000");
        assert_eq!(text(1_234_567), "1234.567");
        assert_eq!(text(9_007_199_254_740_993), "9007199254740.993");
    }
}
