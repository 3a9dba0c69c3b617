//! Which rules a loss may break, by the file that has it.

/// Rules that find that something is missing, or see the figures that it leaves behind.
pub(super) const TRACES: &[&str] = &[
    "X001", "X002", "X003", "X004", "M011", "Q001", "Q004", "K002", "C003", "C006", "C008", "S001",
    "S003", "S005", "Q009",
];

/// Rules of a step that count its rows in per_iteration_requests.csv.
pub(in crate::diagnose) const ROWS_OF_STEP: &[&str] = &[
    "Q001", "Q002", "Q003", "Q005", "Q006", "Q007", "Q008", "Q009", "Q010", "K002", "K003", "C001",
    "C003", "C007", "X004",
];

/// Rules of a request that follow its rows from step to step.
pub(in crate::diagnose) const ROWS_OF_REQUEST: &[&str] = &[
    "Q004", "Q005", "Q006", "Q008", "Q011", "K004", "K006", "K007", "K010", "K011", "C002", "C004",
    "C009", "K012", "S002", "S004", "S007", "S008", "M013", "X001", "L001", "L002", "L003",
];

/// Rules that see that rows are missing between two others of a request.
pub(super) const GAPS: &[&str] = &["Q004", "K004", "K006"];

/// Rules of a step that count its events.
pub(in crate::diagnose) const EVENTS_OF_STEP: &[&str] =
    &["Q001", "Q002", "Q008", "Q010", "C010", "X006"];

/// Rules of a request that count its events.
pub(in crate::diagnose) const EVENTS_OF_REQUEST: &[&str] = &[
    "X001", "X002", "X005", "X006", "X008", "S003", "S005", "S008", "K011", "C006", "C008", "C009",
    "C011", "M006", "M007", "M018", "M020", "L001", "L002", "L003",
];

/// Rules that follow the changes of a request.
pub(in crate::diagnose) const CHANGES: &[&str] = &[
    "S001", "S002", "S003", "S004", "S005", "M003", "M004", "M006", "M013", "X001", "X005", "X006",
    "X008",
];

/// Columns that count events.
pub(in crate::diagnose) const EVENT_COUNTS: &[&str] =
    &["admitted_count", "resumed_count", "preempted_count", "completed_count"];

/// Columns that count rows.
pub(in crate::diagnose) const ROW_COUNTS: &[&str] =
    &["running_count", "waiting_count", "completed_count"];

/// Iterations for a sentence: "iteration 7", "iterations 7 to 9", "iterations 7, 14, 21, …, one in 7".
pub(super) fn iterations(all: &[u64]) -> String {
    const LISTED: usize = 4;
    let gaps: Vec<u64> = all.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let same = gaps.first().filter(|first| gaps.iter().all(|gap| gap == *first)).copied();
    match (all, same) {
        ([], _) => "no iteration".to_owned(),
        ([one], _) => format!("iteration {one}"),
        ([first, .., last], Some(1)) => format!("iterations {first} to {last}"),
        ([..], same) => {
            let mut text = format!("iterations {}", listed(all, LISTED));
            if let Some(stride) = same.filter(|_| all.len() >= 3) {
                text.push_str(&format!(", one in {stride}"));
            }
            text
        }
    }
}

/// The first few of many.
pub(in crate::diagnose) fn listed(values: &[impl ToString], most: usize) -> String {
    let mut text: Vec<_> = values.iter().take(most).map(ToString::to_string).collect();
    if values.len() > most {
        text.push("…".to_owned());
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterations_are_told_in_few_words() {
        assert_eq!(iterations(&[7]), "iteration 7");
        assert_eq!(iterations(&[7, 8, 9]), "iterations 7 to 9");
        assert_eq!(iterations(&[7, 14, 21, 28, 35]), "iterations 7, 14, 21, 28, …, one in 7");
        assert_eq!(iterations(&[7, 9, 21]), "iterations 7, 9, 21");
    }
}
