//! Liveness: what ought to happen does.

pub mod l001;
pub mod l002;
pub mod l003;
