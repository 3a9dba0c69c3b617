//! Findings to text and JSON; nothing else renders them.

mod excerpt;
pub mod graph;
mod json;
mod text;

pub(crate) use excerpt::Excerpts;
pub use json::{JSON_SCHEMA, write_json};
pub use text::{TextOptions, write_text};
