//! Times: what adds up, what comes before what.

pub mod m001;
pub mod m002;
pub mod m003;
pub mod m004;
pub mod m005;
pub mod m006;
pub mod m007;
pub mod m008;
pub mod m009;
pub mod m010;
pub mod m011;
pub mod m012;
pub mod m013;
pub mod m014;
pub mod m015;
pub mod m016;
pub mod m017;
pub mod m018;
pub mod m019;
pub mod m020;
pub mod m021;
pub mod t001;
