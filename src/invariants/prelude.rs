//! What nearly every rule uses.

pub(crate) use crate::check::{
    Cx, Finding, Invariant, IterationView, LogEnd, RequestHistory, RowView, Severity,
    declare_invariant,
};
pub(crate) use crate::log::dialect::{Compared, Habit};
pub(crate) use crate::log::reader::{FormKind, FormProblem, Located, Location};
pub(crate) use crate::log::schema::{EventRow, Table};
pub(crate) use crate::log::values::{
    EventType, FinishReason, SchedulerAction, State, WaitingReason,
};
pub(crate) use crate::units::{Blocks, Nanos, Requests, Tokens};
