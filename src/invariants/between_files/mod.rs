//! What the files say of one another.

pub mod x001;
pub mod x002;
pub mod x003;
pub mod x004;
pub mod x005;
pub mod x006;
pub mod x007;
pub mod x008;
pub mod x009;
