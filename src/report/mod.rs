//! Findings to text and JSON; nothing else renders them.

mod conformance;
mod excerpt;
pub mod graph;
mod json;
mod text;

pub use conformance::{CONFORM_SCHEMA, write_conformance, write_conformance_json};
pub use json::{JSON_SCHEMA, write_json};
pub use text::{TextOptions, write_text};
