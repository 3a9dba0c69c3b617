//! Queues and the batch.

pub mod q001;
pub mod q002;
pub mod q003;
pub mod q004;
pub mod q005;
pub mod q006;
pub mod q007;
pub mod q008;
pub mod q009;
pub mod q010;
pub mod q011;
