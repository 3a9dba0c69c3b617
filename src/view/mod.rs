//! Looking at a log: charts, a page, and a log that is still being written.
//!
//! [`collect`] reads a log once into a [`Picture`] whose size does not depend on the length of the
//! run; [`chart`] says what is drawn of it, as data; [`draw`] makes SVG and PNG of that, and
//! [`page`] a web page that needs no network. Nothing here judges a log: what the rules say of it
//! comes from [`crate::check`].

pub mod chart;
pub mod collect;
pub mod draw;
pub mod page;
pub mod plots;
pub mod watch;

pub use collect::{Picture, picture};
