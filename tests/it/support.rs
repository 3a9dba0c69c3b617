//! What several tests need.

use std::path::PathBuf;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `assertions` with their snapshots in this folder of `snapshots/`.
pub(crate) fn in_snapshots(folder: &str, assertions: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("snapshots").join(folder));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(assertions);
}

/// A line of output without the byte at which a gzip stream ends: how long that is depends on who compresses.
pub(crate) fn without_sizes(line: &str) -> String {
    match line.split_once("end of the gzip stream, from byte ") {
        Some((before, after)) => {
            let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before}end of the gzip stream, from byte [byte]{after}")
        }
        None => line.to_owned(),
    }
}
