//! What stands in a directory where a file of the log should: a file of nearly the same name.

use std::path::Path;

use crate::log::schema::Table;

/// How files are packed that are not read.
const PACKED: [&str; 7] = ["zst", "xz", "bz2", "lz4", "zip", "br", "7z"];

/// Of the file of one table, and what to do about it.
pub(super) fn of_table(directory: &Path, table: Table) -> Option<String> {
    names(directory).iter().find_map(|name| remedy(name, table))
}

/// Of all files, where none is there: the first one of a log, or a directory in this one that has them.
pub(super) fn of_all(directory: &Path) -> Option<String> {
    let names = names(directory);
    let files =
        Table::ALL.iter().find_map(|table| names.iter().find_map(|name| remedy(name, *table)));
    files.or_else(|| {
        let holds_one = |name: &&String| {
            Table::ALL.iter().any(|table| directory.join(name).join(table.file_name()).is_file())
        };
        let name = names.iter().find(holds_one)?;
        Some(format!("{name} in it holds some: give {}", directory.join(name).display()))
    })
}

/// The names in a directory, in their order.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// What to do about a name that is nearly that of a table's file.
fn remedy(name: &str, table: Table) -> Option<String> {
    let wanted = table.file_name();
    let lower = name.to_ascii_lowercase();
    if let Some(how) = lower.strip_prefix(wanted).and_then(|rest| rest.strip_prefix('.'))
        && PACKED.contains(&how)
    {
        return Some(format!(
            "{name} is there, but files packed with {how} are not read: unpack it, or pack it with gzip \
             ({wanted}.gz)"
        ));
    }
    let (plain, wanted) = match lower.strip_suffix(".gz") {
        Some(plain) => (plain, format!("{wanted}.gz")),
        None => (lower.as_str(), wanted.to_owned()),
    };
    let before = plain.strip_suffix(table.file_name())?;
    // Some word stands before the name, or letters are capital ones.
    let is_word = before.is_empty() || before.ends_with(['_', '-', '.']);
    is_word.then(|| format!("{name} is there: name it {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nearly_the_same_spelling_are_told() {
        let told = |name: &str, table: Table| remedy(name, table).is_some();
        assert!(told("EVENTS.CSV", Table::Events));
        assert!(told("events.csv.zst", Table::Events));
        assert!(told("run1_per_iteration.csv", Table::PerIteration));
        assert!(told("Run-1.per_iteration.csv.gz", Table::PerIteration));
        for name in ["myevents.csv", "events.csv.bak", "events.tsv", "events"] {
            assert!(!told(name, Table::Events), "{name}");
        }
    }
}
