//! The log as an object-centric event log (OCEL 2.0, JSON) for process mining.
//!
//! Objects are requests and iterations. Every row of events.csv is an event of its request and, where
//! it tells, of its iteration; every step is an event of its iteration and of all requests that it
//! scheduled: `completed` ones, which its output finished, and others, `scheduled`.

use std::collections::BTreeSet;
use std::io::{self, Seek, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::analyze::source::Source;
use crate::analyze::{RequestFigures, Sink, Step, read_log};
use crate::export::date::iso_8601;
use crate::export::{ExportError, NewFile};
use crate::log::ids::{IdTable, Ids};
use crate::log::moments::Moments;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, IterationRequestRow, Table};
use crate::log::values::{EventType, State};
use crate::units::Nanos;

/// Attributes of requests.
const REQUEST: [(&str, &str); 9] = [
    ("ending", "string"),
    ("input_tokens", "integer"),
    ("output_tokens", "integer"),
    ("preemptions", "integer"),
    ("priority", "integer"),
    ("ttft_ns", "integer"),
    ("tpot_ns", "float"),
    ("e2e_ns", "integer"),
    ("waiting_ns", "integer"),
];

/// Attributes of iterations.
const ITERATION: [(&str, &str); 7] = [
    ("action", "string"),
    ("batch_size", "integer"),
    ("prefill_tokens", "integer"),
    ("decode_tokens", "integer"),
    ("kv_cache_used", "integer"),
    ("running_count", "integer"),
    ("waiting_count", "integer"),
];

/// Attributes of the events of a type: members of `details`.
const fn details(kind: EventType) -> &'static [(&'static str, &'static str)] {
    match kind {
        EventType::RequestArrived => &[("input_tokens", "integer"), ("priority", "integer")],
        EventType::RequestScheduled | EventType::RequestResumed => &[("cached_tokens", "integer")],
        EventType::RequestPreempted => &[("computed_tokens", "integer")],
        EventType::RequestEvicted => &[("lost_tokens", "integer")],
        EventType::FirstTokenGenerated => &[],
        EventType::RequestCompleted => &[("finish_reason", "string"), ("output_tokens", "integer")],
        EventType::KvCacheAllocated | EventType::KvCacheFreed => &[("blocks", "integer")],
    }
}

/// The name of the event that a step is.
const STEP: &str = "step";

/// Writes the object-centric event log of the log in a directory.
///
/// # Errors
/// If the directory is not a log or the file cannot be written; then there is no file.
pub fn export(log: &Path, out: &Path) -> Result<(), ExportError> {
    let start = LogDir::open(log)?.run_info.map_or(0, |info| info.start_time_unix_ns);
    let objects = tempfile::tempfile().map_err(ExportError::io(out))?;
    let mut ocel = Ocel::new(NewFile::create(out)?, io::BufWriter::new(objects), start);
    read_log(log, &mut [&mut ocel])?;
    let (file, objects) = ocel.finish().map_err(ExportError::io(out))?;
    join(file, objects).map_err(ExportError::io(out))?.finish()
}

/// Appends the objects to the events.
fn join(mut file: NewFile, objects: io::BufWriter<std::fs::File>) -> io::Result<NewFile> {
    let mut objects = objects.into_inner().map_err(io::IntoInnerError::into_error)?;
    objects.rewind()?;
    file.write_all(b"\n],\"objects\":[\n")?;
    io::copy(&mut objects, &mut file)?;
    file.write_all(b"\n]}\n")?;
    Ok(file)
}

#[derive(Serialize)]
struct Object {
    id: String,
    r#type: &'static str,
    attributes: Vec<ObjectAttribute>,
    relationships: Vec<Relation>,
}

#[derive(Serialize)]
struct ObjectAttribute {
    name: &'static str,
    time: String,
    value: Value,
}

#[derive(Serialize)]
struct Event {
    id: String,
    r#type: &'static str,
    time: String,
    attributes: Vec<EventAttribute>,
    relationships: Vec<Relation>,
}

#[derive(Serialize)]
struct EventAttribute {
    name: &'static str,
    value: Value,
}

#[derive(Serialize)]
struct Relation {
    #[serde(rename = "objectId")]
    object_id: String,
    qualifier: &'static str,
}

/// Writes events to `out` and objects to `objects` while the log is read.
struct Ocel<W, O> {
    out: W,
    objects: O,
    failure: Option<io::Error>,
    start_unix_ns: u64,
    events: u64,
    objects_written: u64,
    has_steps: bool,
    /// Requests of the step that is read.
    group: Vec<Relation>,
    /// Iterations that events name and that have no object yet.
    wanted: BTreeSet<u64>,
    /// Runs of iterations that have an object: first and last.
    written: Vec<(u64, u64)>,
}

impl<W: Write, O: Write> Ocel<W, O> {
    fn new(out: W, objects: O, start_unix_ns: u64) -> Self {
        let mut ocel = Self {
            out,
            objects,
            failure: None,
            start_unix_ns,
            events: 0,
            objects_written: 0,
            has_steps: false,
            group: Vec::new(),
            wanted: BTreeSet::new(),
            written: Vec::new(),
        };
        let head = format!(
            "{{\"objectTypes\":{},\"eventTypes\":{},\"events\":[\n",
            json!([types("request", &REQUEST), types("iteration", &ITERATION)]),
            Value::from(event_types()),
        );
        ocel.failure = ocel.out.write_all(head.as_bytes()).err();
        ocel
    }

    fn finish(mut self) -> io::Result<(W, O)> {
        // An event may name an iteration whose row was lost; it has an object all the same.
        for iteration in std::mem::take(&mut self.wanted) {
            self.object(&Object {
                id: iteration_id(iteration),
                r#type: "iteration",
                attributes: Vec::new(),
                relationships: Vec::new(),
            });
        }
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok((self.out, self.objects)),
        }
    }

    fn time(&self, at: Nanos) -> String {
        iso_8601(self.start_unix_ns.saturating_add(at.0))
    }

    fn event(&mut self, event: &Event) {
        let first = self.events == 1;
        if self.failure.is_none() {
            self.failure = write_element(&mut self.out, first, event).err();
        }
    }

    fn next_event(&mut self) -> String {
        self.events += 1;
        format!("e{}", self.events)
    }

    fn object(&mut self, object: &Object) {
        self.objects_written += 1;
        let first = self.objects_written == 1;
        if self.failure.is_none() {
            self.failure = write_element(&mut self.objects, first, object).err();
        }
    }

    /// Tools keep one relation of an event to an object, so `completed` takes the place of
    /// `scheduled`.
    fn completed(&mut self, object_id: String) {
        let qualifier = "completed";
        match self.group.iter_mut().find(|relation| relation.object_id == object_id) {
            Some(relation) => relation.qualifier = qualifier,
            None => self.group.push(Relation { object_id, qualifier }),
        }
    }

    fn has_object(&self, iteration: u64) -> bool {
        let after = self.written.partition_point(|(first, _)| *first <= iteration);
        after > 0 && self.written[after - 1].1 >= iteration
    }

    fn note_object(&mut self, iteration: u64) {
        self.wanted.remove(&iteration);
        match self.written.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(iteration) => *last = iteration,
            _ => self.written.push((iteration, iteration)),
        }
    }
}

fn write_element(out: &mut impl Write, first: bool, element: &impl Serialize) -> io::Result<()> {
    if !first {
        out.write_all(b",\n")?;
    }
    serde_json::to_writer(out, element).map_err(Into::into)
}

fn types(name: &str, attributes: &[(&str, &str)]) -> Value {
    let attributes: Vec<_> =
        attributes.iter().map(|(name, kind)| json!({ "name": name, "type": kind })).collect();
    json!({ "name": name, "attributes": attributes })
}

fn event_types() -> Vec<Value> {
    let rows = EventType::ALL.iter().map(|kind| types(kind.as_str(), details(*kind)));
    rows.chain([types(STEP, &[("duration_ns", "integer")])]).collect()
}

fn request_id(id: &str) -> String {
    format!("request:{id}")
}

fn iteration_id(id: u64) -> String {
    format!("iteration:{id}")
}

impl<W: Write, O: Write> Sink for Ocel<W, O> {
    fn begin(&mut self, source: &Source) {
        self.has_steps = source.has(Table::PerIteration);
    }

    fn row(&mut self, row: &IterationRequestRow, moments: Option<&Moments>, ids: &IdTable) {
        let object_id = || request_id(ids.id(row.request_id));
        match row.state {
            _ if moments.is_none() => {}
            State::Running if row.scheduled_tokens.is_none_or(|tokens| tokens.0 > 0) => {
                self.group.push(Relation { object_id: object_id(), qualifier: "scheduled" });
            }
            State::Completed => self.completed(object_id()),
            _ => {}
        }
    }

    fn step(&mut self, step: &Step) {
        let (row, moments) = (&step.row, &step.moments);
        let iteration = row.iteration_id.0;
        let mut relationships = std::mem::take(&mut self.group);
        relationships
            .insert(0, Relation { object_id: iteration_id(iteration), qualifier: "iteration" });
        let duration = moments.end.saturating_sub(moments.start).0;
        let event = Event {
            id: self.next_event(),
            r#type: STEP,
            time: self.time(moments.end),
            attributes: vec![EventAttribute { name: "duration_ns", value: duration.into() }],
            relationships,
        };
        Self::event(self, &event);
        let values: [Value; ITERATION.len()] = [
            row.scheduler_action.to_string().into(),
            row.batch_size.0.into(),
            row.prefill_tokens.0.into(),
            row.decode_tokens.0.into(),
            row.kv_cache_used.0.into(),
            row.running_count.0.into(),
            row.waiting_count.0.into(),
        ];
        let time = self.time(moments.decided);
        let attribute = |((name, _), value): (&(&'static str, &str), Value)| ObjectAttribute {
            name,
            time: time.clone(),
            value,
        };
        let attributes = ITERATION.iter().zip(values).map(attribute).collect();
        let id = iteration_id(iteration);
        self.object(&Object { id, r#type: "iteration", attributes, relationships: Vec::new() });
        self.note_object(iteration);
    }

    fn event(&mut self, event: &EventRow, ids: &IdTable) {
        // Serialising plain data gives an object.
        let mut members = serde_json::to_value(event.details).unwrap_or_default();
        let attribute = |&(name, _): &(&'static str, &str)| {
            let value = members.get_mut(name).map(Value::take)?;
            Some(EventAttribute { name, value })
        };
        let attributes = details(event.event_type).iter().filter_map(attribute).collect();
        let mut relationships = Vec::new();
        if let Some(key) = event.request_id {
            let object_id = request_id(ids.id(key));
            relationships.push(Relation { object_id, qualifier: "request" });
        }
        if let Some(iteration) = event.details.iteration_id.filter(|_| self.has_steps) {
            if !self.has_object(iteration.0) {
                self.wanted.insert(iteration.0);
            }
            let object_id = iteration_id(iteration.0);
            relationships.push(Relation { object_id, qualifier: "iteration" });
        }
        let event = Event {
            id: self.next_event(),
            r#type: event.event_type.as_str(),
            time: self.time(event.timestamp),
            attributes,
            relationships,
        };
        Self::event(self, &event);
    }

    fn request(&mut self, request: &RequestFigures) {
        let nanos = |value: Option<Nanos>| value.map_or(Value::Null, |nanos| nanos.0.into());
        let values: [Value; REQUEST.len()] = [
            request.ending.as_str().into(),
            request.input_tokens.into(),
            request.output_tokens.into(),
            request.preemptions.into(),
            request.priority.map(|priority| priority.0).into(),
            nanos(request.ttft_ns),
            request.tpot_ns.into(),
            nanos(request.e2e_ns),
            request.waiting_ns.0.into(),
        ];
        let time = self.time(request.arrival_ns);
        // An undefined attribute is left out.
        let attribute = |((name, _), value): (&(&'static str, &str), Value)| {
            (!value.is_null()).then(|| ObjectAttribute { name, time: time.clone(), value })
        };
        let attributes = REQUEST.iter().zip(values).filter_map(attribute).collect();
        self.object(&Object {
            id: request_id(&request.request_id),
            r#type: "request",
            attributes,
            relationships: Vec::new(),
        });
    }
}
