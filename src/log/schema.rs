//! THE schema of the log: five tables, their columns and row types.
//!
//! The writer, the reader, the recognition of dialects and `docs/log-format.md` all come from the
//! declarations at the end of this file.

use std::fmt;

use crate::log::decimal::Decimal;
use crate::log::details::Details;
use crate::log::field::{Count, Field, FieldError, QueuePosition};
use crate::log::ids::{IdTable, Ids, RequestKey};
use crate::log::scan::Cursor;
use crate::log::sink::Sink;
use crate::log::values::{ActionSet, EventType, FinishReason, State, WaitingReason};
use crate::units::{Blocks, Bytes, IterationId, Nanos, Priority, Requests, Tokens};

/// One of the five files of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// per_request.csv
    PerRequest,
    /// per_iteration.csv
    PerIteration,
    /// per_iteration_requests.csv
    PerIterationRequests,
    /// events.csv
    Events,
    /// state_transitions.csv
    StateTransitions,
}

impl Table {
    /// Every table, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::PerRequest,
        Self::PerIteration,
        Self::PerIterationRequests,
        Self::Events,
        Self::StateTransitions,
    ];

    /// The declaration of the table.
    #[must_use]
    pub const fn schema(self) -> &'static TableSchema {
        match self {
            Self::PerRequest => RequestRow::SCHEMA,
            Self::PerIteration => IterationRow::SCHEMA,
            Self::PerIterationRequests => IterationRequestRow::SCHEMA,
            Self::Events => EventRow::SCHEMA,
            Self::StateTransitions => TransitionRow::SCHEMA,
        }
    }

    /// The name of the file.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        self.schema().file_name
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.file_name())
    }
}

/// Whether a column is one of the fixed ones or one of this product's own behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// In the header of every log of this family.
    Fixed,
    /// Behind the fixed ones; a reader that selects by name never notices it.
    Ours,
}

/// One column.
#[derive(Debug)]
pub struct Column {
    /// The name in the header.
    pub name: &'static str,
    /// Another name that a dialect uses for it.
    pub alias: Option<&'static str>,
    /// Fixed or ours.
    pub group: Group,
    /// What it holds: a unit or a vocabulary.
    pub kind: &'static str,
    /// Whether a field may be empty, and the whole column missing.
    pub optional: bool,
    /// What it means.
    pub doc: &'static str,
}

/// One table.
#[derive(Debug)]
pub struct TableSchema {
    /// Which one.
    pub table: Table,
    /// The name of its file.
    pub file_name: &'static str,
    /// What a row is.
    pub doc: &'static str,
    /// The columns, in order.
    pub columns: &'static [Column],
}

impl TableSchema {
    /// The index of the column with this name or alias.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name || column.alias == Some(name))
    }

    /// The header line, without a line break.
    #[must_use]
    pub fn header(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| column.name).collect();
        names.join(",")
    }

    /// How many columns are fixed.
    #[must_use]
    pub fn fixed_len(&self) -> usize {
        self.columns.iter().filter(|column| column.group == Group::Fixed).count()
    }
}

/// Where the columns of a table stand in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Per column of the schema: the index of the field in a record, if the file has the column.
    pub positions: Vec<Option<usize>>,
}

impl Layout {
    /// The layout of a file that this product writes.
    #[must_use]
    pub fn reference(schema: &TableSchema) -> Self {
        Self { positions: (0..schema.columns.len()).map(Some).collect() }
    }

    /// Whether the file has the column.
    #[must_use]
    pub fn has(&self, column: usize) -> bool {
        self.positions.get(column).is_some_and(Option::is_some)
    }
}

/// A record whose fields can be read one by one, unquoted.
pub trait RawRecord {
    /// The field at this index, if the record has so many.
    fn field(&self, index: usize) -> Option<&[u8]>;
}

impl RawRecord for csv::ByteRecord {
    fn field(&self, index: usize) -> Option<&[u8]> {
        self.get(index)
    }
}

/// A field that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnError {
    /// The index of the column in the schema.
    pub column: usize,
    /// What is wrong with it.
    pub error: FieldError,
}

/// A row of one table.
pub trait Row: Copy {
    /// The table.
    const SCHEMA: &'static TableSchema;

    /// Reads a record of a file with this layout.
    ///
    /// # Errors
    /// The first column whose field is not a value of its kind.
    fn parse<R: RawRecord + ?Sized>(
        record: &R,
        layout: &Layout,
        ids: &mut IdTable,
    ) -> Result<Self, ColumnError>;

    /// Reads a row and its line break by the [short cut](crate::log::scan): all fixed columns in
    /// their order and, with `ours`, all others behind them. None if it is not an ordinary one.
    fn scan(cursor: &mut Cursor<'_>, ours: bool) -> Option<Self>;

    /// Puts the row's request in the place that [`scan`](Self::scan) leaves open.
    fn set_request(&mut self, key: RequestKey);

    /// Appends the row with all columns and a line break.
    fn write<I: Ids + ?Sized, O: Sink>(&self, ids: &I, out: &mut O);
}

fn parse_column<T: Field, R: RawRecord + ?Sized>(
    record: &R,
    layout: &Layout,
    column: usize,
    ids: &mut IdTable,
) -> Result<T, ColumnError> {
    let text = layout.positions[column].and_then(|index| record.field(index)).unwrap_or_default();
    T::parse(text, ids).map_err(|error| ColumnError { column, error })
}

#[inline(always)]
fn scan_column<T: Field>(cursor: &mut Cursor<'_>, left: &mut usize) -> Option<T> {
    cursor.begin_field()?;
    let value = T::scan(cursor)?;
    *left -= 1;
    cursor.end_field(*left == 0)?;
    Some(value)
}

#[inline(always)]
fn end_field<O: Sink>(left: &mut usize, out: &mut O) {
    *left -= 1;
    out.put_byte(if *left == 0 { b'\n' } else { b',' });
}

macro_rules! log_table {
    (
        $(#[doc = $doc:literal])*
        $row:ident in $table:ident ($file:literal)
        fixed { $( $(#[doc = $fdoc:literal])* $fname:ident $(as $falias:literal)?: $fty:ty, )* }
        ours { $( $(#[doc = $odoc:literal])* $oname:ident: $oty:ty, )* }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $row {
            $( $(#[doc = $fdoc])* pub $fname: $fty, )*
            $( $(#[doc = $odoc])* pub $oname: $oty, )*
        }

        impl Row for $row {
            const SCHEMA: &'static TableSchema = &TableSchema {
                table: Table::$table,
                file_name: $file,
                doc: concat!($($doc, "\n"),*),
                columns: &[
                    $( Column {
                        name: stringify!($fname),
                        alias: log_table!(@alias $($falias)?),
                        group: Group::Fixed,
                        kind: <$fty as Field>::KIND,
                        optional: <$fty as Field>::OPTIONAL,
                        doc: concat!($($fdoc, "\n"),*),
                    }, )*
                    $( Column {
                        name: stringify!($oname),
                        alias: None,
                        group: Group::Ours,
                        kind: <$oty as Field>::KIND,
                        optional: <$oty as Field>::OPTIONAL,
                        doc: concat!($($odoc, "\n"),*),
                    }, )*
                ],
            };

            fn parse<R: RawRecord + ?Sized>(
                record: &R,
                layout: &Layout,
                ids: &mut IdTable,
            ) -> Result<Self, ColumnError> {
                let mut columns = 0..;
                let mut next = || columns.next().unwrap_or_default();
                Ok(Self {
                    $( $fname: parse_column(record, layout, next(), ids)?, )*
                    $( $oname: parse_column(record, layout, next(), ids)?, )*
                })
            }

            #[inline]
            fn scan(cursor: &mut Cursor<'_>, ours: bool) -> Option<Self> {
                let mut left = [$( stringify!($fname) ),*].len();
                if ours {
                    left += <[&str]>::len(&[$( stringify!($oname) ),*]);
                }
                Some(Self {
                    $( $fname: scan_column(cursor, &mut left)?, )*
                    $( $oname: if ours {
                        scan_column(cursor, &mut left)?
                    } else {
                        <$oty as Field>::absent()?
                    }, )*
                })
            }

            #[inline]
            fn set_request(&mut self, key: RequestKey) {
                $( self.$fname.set_request(key); )*
            }

            #[inline]
            fn write<I: Ids + ?Sized, O: Sink>(&self, ids: &I, out: &mut O) {
                let mut left = Self::SCHEMA.columns.len();
                $( self.$fname.write(ids, out); end_field(&mut left, out); )*
                $( self.$oname.write(ids, out); end_field(&mut left, out); )*
            }
        }
    };
    (@alias) => { None };
    (@alias $alias:literal) => { Some($alias) };
}

log_table! {
    /// One row per request, in order of completion; requests still alive at shutdown follow in
    /// order of arrival.
    RequestRow in PerRequest ("per_request.csv")
    fixed {
        /// The request.
        request_id: RequestKey,
        /// When the request reached the server, not when a step noticed it.
        arrival_time: Nanos,
        /// `D` of the first step that scheduled it; empty if none did.
        first_scheduled_time: Option<Nanos>,
        /// `E` of the step that finished it, or the moment of its abort; empty if it is unfinished.
        completion_time: Option<Nanos>,
        /// Time in `waiting` + time in `preempted`.
        waiting_time: Nanos,
        /// Time in `running`.
        execution_time: Nanos,
        /// `completion_time - arrival_time`; empty if it is unfinished.
        e2e_latency: Option<Nanos>,
        /// Prompt tokens.
        input_tokens: Tokens,
        /// Generated tokens.
        output_tokens: Tokens,
        /// `E` of the step that produced the first token, counted from the arrival.
        ttft: Option<Nanos>,
        /// `floor((e2e_latency - ttft) / (output_tokens - 1))`; empty below two output tokens.
        tpot: Option<Decimal>,
        /// Output tokens per second of `e2e_latency`, six decimals.
        throughput: Option<Decimal>,
        /// How often it was preempted.
        preemption_count: Count,
        /// Resumptions that found fewer cached tokens than had been computed before.
        eviction_count: Count,
        /// Blocks held at completion, before they are freed.
        kv_cache_blocks: Option<Blocks>,
        /// Those blocks in bytes.
        kv_cache_memory_bytes: Option<Bytes>,
        /// The scheduler's priority; lower is served first, 0 under FCFS.
        priority_score: Option<Priority>,
    }
    ours {
        /// Why it ended.
        finish_reason: Option<FinishReason>,
        /// Tokens found in the prefix cache at the first scheduling, plus, at a resumption, those
        /// found beyond what had been computed before.
        cached_tokens: Option<Tokens>,
        /// Tokens scheduled again after a preemption.
        recomputed_tokens: Option<Tokens>,
        /// All tokens ever scheduled for it.
        scheduled_tokens: Option<Tokens>,
    }
}

log_table! {
    /// One row per engine step.
    IterationRow in PerIteration ("per_iteration.csv")
    fixed {
        /// 0, 1, 2, … without a gap.
        iteration_id: IterationId,
        /// `S`: `schedule()` is entered.
        start_time: Nanos,
        /// `E`: `update_from_output()` returns.
        end_time: Nanos,
        /// `E - S`: the sum of the three parts.
        duration: Nanos,
        /// `D - S`: the time inside `schedule()`.
        scheduling_overhead: Nanos,
        /// `O - D`: from the decision to the model's output.
        forward_pass_duration as "forward_duration": Nanos,
        /// `E - O`: the time inside `update_from_output()`.
        output_processing_duration: Option<Nanos>,
        /// Requests with at least one token scheduled in this step.
        batch_size: Requests,
        /// Tokens scheduled.
        total_tokens: Tokens,
        /// Tokens of requests that have not caught up (recomputation included).
        prefill_tokens: Tokens,
        /// Tokens of the other requests, drafts included.
        decode_tokens: Tokens,
        /// Blocks referenced by a request at `D`.
        kv_cache_used: Blocks,
        /// Blocks usable at all (the null block is not).
        kv_cache_total: Blocks,
        /// Length of the running queue at `D`.
        running_count: Requests,
        /// Length of the waiting queues at `D`, preempted requests included.
        waiting_count: Requests,
        /// Requests preempted by this step.
        preempted_count: Requests,
        /// The step's weightiest decision.
        scheduler_action: ActionSet,
    }
    ours {
        /// Requests scheduled for the first time.
        admitted_count: Option<Requests>,
        /// Requests resumed after a preemption.
        resumed_count: Option<Requests>,
        /// Requests finished by this step's output.
        completed_count: Option<Requests>,
        /// Cached blocks whose content this step dropped to reuse the block.
        evicted_blocks: Option<Blocks>,
        /// Device memory in use; empty where unknown.
        gpu_memory_bytes: Option<Bytes>,
    }
}

log_table! {
    /// For each step: the running queue at `D`, the waiting queues at `D` in the order of service,
    /// then one row for every request that the step's output finished.
    IterationRequestRow in PerIterationRequests ("per_iteration_requests.csv")
    fixed {
        /// The step.
        iteration_id: IterationId,
        /// The request.
        request_id: RequestKey,
        /// Its state.
        state: State,
        /// Its index in its queue; empty for `completed`.
        queue_position: Option<QueuePosition>,
        /// Why it was not scheduled; empty unless `waiting` or `preempted`.
        waiting_reason: Option<WaitingReason>,
        /// Tokens generated so far.
        tokens_generated: Tokens,
        /// Blocks held.
        kv_cache_blocks: Blocks,
        /// Time since it entered the state.
        time_in_state: Nanos,
    }
    ours {
        /// Tokens given to it by this step.
        scheduled_tokens: Option<Tokens>,
        /// Tokens computed before this step.
        computed_tokens: Option<Tokens>,
    }
}

log_table! {
    /// What happened, in order of time.
    EventRow in Events ("events.csv")
    fixed {
        /// When.
        timestamp: Nanos,
        /// What.
        event_type: EventType,
        /// To which request.
        request_id: Option<RequestKey>,
        /// A JSON object whose members depend on the type, or empty.
        details: Details,
    }
    ours {}
}

log_table! {
    /// One row per change of state, grouped by request in the order of per_request.csv; a request
    /// starts in `waiting` at its arrival without a row.
    TransitionRow in StateTransitions ("state_transitions.csv")
    fixed {
        /// The request.
        request_id: RequestKey,
        /// When.
        timestamp: Nanos,
        /// The state that it entered.
        state: State,
        /// How long it had been in the state before.
        duration_in_prev_state: Nanos,
    }
    ours {
        /// The state that it left.
        prev_state: Option<State>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_headers_are_those_of_the_log_family() {
        let fixed = |table: Table| {
            let schema = table.schema();
            let names: Vec<_> =
                schema.columns[..schema.fixed_len()].iter().map(|column| column.name).collect();
            names.join(",")
        };
        let expected = [
            "request_id,arrival_time,first_scheduled_time,completion_time,waiting_time,\
             execution_time,e2e_latency,input_tokens,output_tokens,ttft,tpot,throughput,\
             preemption_count,eviction_count,kv_cache_blocks,kv_cache_memory_bytes,priority_score",
            "iteration_id,start_time,end_time,duration,scheduling_overhead,forward_pass_duration,\
             output_processing_duration,batch_size,total_tokens,prefill_tokens,decode_tokens,\
             kv_cache_used,kv_cache_total,running_count,waiting_count,preempted_count,\
             scheduler_action",
            "iteration_id,request_id,state,queue_position,waiting_reason,tokens_generated,\
             kv_cache_blocks,time_in_state",
            "timestamp,event_type,request_id,details",
            "request_id,timestamp,state,duration_in_prev_state",
        ];
        for (table, header) in Table::ALL.into_iter().zip(expected) {
            assert_eq!(fixed(table), header, "{table}");
        }
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let mut ids = IdTable::default();
        let row = TransitionRow {
            request_id: ids.intern("a,b"),
            timestamp: Nanos(5),
            state: State::Running,
            duration_in_prev_state: Nanos(5),
            prev_state: Some(State::Waiting),
        };
        let mut out = Vec::new();
        row.write(&ids, &mut out);
        assert_eq!(out, b"\"a,b\",5,running,5,waiting\n");
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&out[..]);
        let record = reader.byte_records().next().unwrap().unwrap();
        let layout = Layout::reference(TransitionRow::SCHEMA);
        assert_eq!(TransitionRow::parse(&record, &layout, &mut ids), Ok(row));
    }
}
