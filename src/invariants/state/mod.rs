//! The states of a request and their legal changes.

pub mod s001;
pub mod s002;
pub mod s003;
pub mod s004;
pub mod s005;
pub mod s006;
pub mod s007;
pub mod s008;
