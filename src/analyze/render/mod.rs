//! The analysis as text, JSON and CSV.

mod csv;
mod json;
mod sections;
mod table;
mod text;

pub use csv::to_csv;
pub use json::to_json;
pub(super) use json::{wide, wide_option};
pub(crate) use table::{Align, Table};
pub use text::to_text;
