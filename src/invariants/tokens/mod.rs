//! Tokens: what was scheduled, computed and generated.

pub mod k001;
pub mod k002;
pub mod k003;
pub mod k004;
pub mod k005;
pub mod k006;
pub mod k007;
pub mod k008;
pub mod k009;
pub mod k010;
pub mod k011;
pub mod k012;
