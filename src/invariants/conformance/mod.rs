//! Rules that compare a log with a scheduler. They are judged elsewhere: what judges must not know the
//! scheduler, so here is only what the rules say.

pub mod v001;

pub use v001::V001;
