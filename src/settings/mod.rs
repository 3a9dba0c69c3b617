//! What a user may set: names, defaults, meanings, and how they resolve.

mod declare;

pub use declare::{Origin, SETTINGS, SettingInfo, Settings, UNSUPPORTED};
