//! The log directory: its schema, how values stand in it, and who wrote it.

pub(crate) mod beginning;
pub mod decimal;
pub mod details;
pub mod dialect;
pub mod field;
mod flush;
pub mod ids;
pub mod moments;
pub(crate) mod packed;
pub mod reader;
pub mod run_info;
pub mod scan;
pub mod schema;
pub mod sink;
pub mod values;
pub mod writer;
