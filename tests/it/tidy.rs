//! The repository holds to its own rules.

use std::path::{Path, PathBuf};

use crate::fixtures::repo;

/// Files that may read the wall clock.
const CLOCK: [&str; 2] = ["src/cli/stopwatch.rs", "src/fuzz/watch.rs"];

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// Every source file with its path below the repository.
fn each(mut visit: impl FnMut(&str, &str)) {
    let mut files = Vec::new();
    sources(&repo("src"), &mut files);
    sources(&repo("tests"), &mut files);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(repo("")).unwrap().to_str().unwrap().to_owned();
        visit(&name, &text);
    }
}

#[test]
fn the_judge_never_looks_at_the_judged() {
    each(|name, text| {
        let judge = [
            "src/check/",
            "src/invariants/",
            "src/state_graph",
            "src/log/",
            "src/diagnose/",
            "src/policy/",
            "src/coverage/",
            "src/report/",
            "src/analyze/",
            "src/export/",
            "src/compare/",
        ];
        if judge.iter().any(|prefix| name.starts_with(prefix)) {
            for forbidden in ["crate::scheduler", "crate::engine", "crate::logger", "crate::trace"]
            {
                assert!(!text.contains(forbidden), "{name} uses {forbidden}");
            }
        }
        let before_reports = ["invariants", "check", "diagnose", "policy", "coverage"];
        if before_reports.iter().any(|module| name.starts_with(&format!("src/{module}/"))) {
            assert!(!text.contains("crate::report"), "{name} renders");
        }
        let viewer = name.starts_with("src/view/");
        for upstream in ["crate::scheduler", "crate::engine", "crate::logger", "crate::trace"] {
            assert!(!viewer || !text.contains(upstream), "{name} uses {upstream}");
        }
        let upstream_of_views = judge.iter().any(|prefix| name.starts_with(prefix));
        assert!(!upstream_of_views || !text.contains("crate::view"), "{name} looks at itself");
        let before_diagnosis = ["invariants", "check"];
        if before_diagnosis.iter().any(|module| name.starts_with(&format!("src/{module}/"))) {
            for later in ["crate::diagnose", "crate::policy", "crate::coverage"] {
                assert!(!text.contains(later), "{name} uses {later}");
            }
        }
    });
}

#[test]
fn files_are_short_enough_to_read() {
    each(|name, text| {
        let lines = text.lines().count();
        assert!(lines <= 600, "{name} has {lines} lines");
    });
}

#[test]
fn nothing_depends_on_the_wall_clock_or_on_chance() {
    each(|name, text| {
        if !name.starts_with("src/") || CLOCK.contains(&name) {
            return;
        }
        let forbidden = [
            "std::time",
            "SystemTime",
            "thread_rng",
            "from_os_rng",
            "std::collections::HashMap",
            "std::collections::HashSet",
            "collections::{HashMap",
            "collections::{HashSet",
        ];
        for word in forbidden {
            assert!(!text.contains(word), "{name} uses {word}");
        }
    });
}
