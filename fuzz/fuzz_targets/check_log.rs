#![no_main]

#[path = "../src/targets.rs"]
#[allow(dead_code)]
mod targets;

use std::path::PathBuf;
use std::sync::LazyLock;

static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = std::env::temp_dir().join(format!("schedlog-check-log-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a temporary directory can be made");
    directory
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::check_log(bytes, &DIRECTORY));
