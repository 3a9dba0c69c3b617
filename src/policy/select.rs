//! Rules by id or prefix.

use crate::check::Declaration;
use crate::invariants::{JOINED, every};

/// Why rules cannot be selected so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No rule has this id or prefix.
    #[error("no rule is called {0} or begins with it; `schedlog rules` lists them")]
    Unknown(String),
    /// A rule that the comparison with the reference scheduler judges, which was not asked for.
    #[error("{0} is judged only with --conform: give it, or leave the rule out of the selection")]
    NeedsConform(String),
    /// A selection without a name in it.
    #[error("no rule is named; `schedlog rules` lists them")]
    Empty,
    /// Nothing is left to run.
    #[error("every rule is deselected, so nothing would be checked; ignore fewer or select more")]
    Nothing,
}

/// Rules with this id or prefix, in any case.
///
/// # Errors
/// If there is none.
pub(super) fn matching(pattern: &str) -> Result<Vec<&'static Declaration>, SelectError> {
    let pattern = pattern.trim();
    let wanted = pattern.to_ascii_uppercase();
    let all = wanted == "ALL";
    let found: Vec<_> = every().filter(|rule| all || rule.id.starts_with(&wanted)).collect();
    if pattern.is_empty() {
        return Err(SelectError::Empty);
    }
    if found.is_empty() {
        return Err(SelectError::Unknown(pattern.to_owned()));
    }
    Ok(found)
}

/// The rules of the pass and, if the log is to be compared with the reference (`conform`), those that
/// this judges: to run, and not to. `ignore` wins over `select`; an empty `select` is all.
///
/// # Errors
/// If a pattern fits no rule, or only rules that are not judged, or no rule is left.
pub fn select(
    select: &[String],
    ignore: &[String],
    conform: bool,
) -> Result<(Vec<&'static Declaration>, Vec<&'static Declaration>), SelectError> {
    let (select, ignore) = (named(select)?, named(ignore)?);
    let judged = |rule: &Declaration| conform || !is_joined(rule);
    let ids = |patterns: &[&String]| -> Result<Vec<&'static str>, SelectError> {
        let mut ids = Vec::new();
        for pattern in patterns {
            ids.extend(matching(pattern)?.iter().map(|rule| rule.id));
        }
        Ok(ids)
    };
    for &pattern in &select {
        if !matching(pattern)?.into_iter().any(judged) {
            return Err(SelectError::NeedsConform(pattern.clone()));
        }
    }
    let (selected, ignored) = (ids(&select)?, ids(&ignore)?);
    let runs = |rule: &&Declaration| {
        (selected.is_empty() || selected.contains(&rule.id)) && !ignored.contains(&rule.id)
    };
    let (run, left): (Vec<_>, Vec<_>) = every().filter(|rule| judged(rule)).partition(runs);
    if run.is_empty() { Err(SelectError::Nothing) } else { Ok((run, left)) }
}

/// The patterns, less what stands behind the last comma of a list.
fn named(patterns: &[String]) -> Result<Vec<&String>, SelectError> {
    let named: Vec<_> = patterns.iter().filter(|pattern| !pattern.trim().is_empty()).collect();
    if named.is_empty() && !patterns.is_empty() { Err(SelectError::Empty) } else { Ok(named) }
}

/// Whether it is the comparison with the reference that judges a rule, not the pass over the log.
pub(super) fn is_joined(rule: &Declaration) -> bool {
    JOINED.iter().any(|joined| joined.id == rule.id)
}

#[cfg(test)]
mod tests {
    use crate::invariants::ALL;

    use super::*;

    fn ids(selected: &[&str], ignored: &[&str]) -> Result<Vec<&'static str>, SelectError> {
        let owned = |patterns: &[&str]| patterns.iter().map(|text| (*text).to_owned()).collect();
        let (selected, ignored): (Vec<_>, Vec<_>) = (owned(selected), owned(ignored));
        let (run, left) = select(&selected, &ignored, false)?;
        assert_eq!(run.len() + left.len(), ALL.len());
        Ok(run.iter().map(|rule| rule.id).collect())
    }

    #[test]
    fn by_id_and_prefix() {
        assert_eq!(ids(&["m002", " K01"], &[" k010 "]), Ok(vec!["M002", "K011", "K012"]));
        assert_eq!(ids(&["m002", "K01"], &[]), Ok(vec!["M002", "K010", "K011", "K012"]));
        assert!(ids(&["X"], &["X001"]).unwrap().iter().all(|id| id.starts_with('X')));
        assert_eq!(ids(&[], &[]).unwrap().len(), ALL.len());
    }

    #[test]
    fn the_comparison_is_selected_like_any_rule() {
        let run = |selected: &[&str], ignored: &[&str], conform| {
            let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
            let (run, left) = select(&owned(selected), &owned(ignored), conform)?;
            let has = |rules: &[&Declaration]| rules.iter().any(|rule| rule.id == "V001");
            Ok((has(&run), has(&left)))
        };
        assert_eq!(run(&[], &[], true), Ok((true, false)));
        assert_eq!(run(&["V001"], &[], true), Ok((true, false)));
        assert_eq!(run(&["M", "v"], &[], true), Ok((true, false)));
        assert_eq!(run(&["M"], &[], true), Ok((false, true)));
        assert_eq!(run(&[], &["V"], true), Ok((false, true)));
        assert_eq!(run(&["ALL"], &["V001"], false), Ok((false, false)));
        let needs = SelectError::NeedsConform("V001".to_owned());
        assert_eq!(run(&["M", "V001"], &[], false), Err(needs));
    }

    #[test]
    fn mistakes_are_errors() {
        assert_eq!(ids(&["Z"], &[]), Err(SelectError::Unknown("Z".to_owned())));
        assert_eq!(ids(&[""], &[]), Err(SelectError::Empty));
        assert_eq!(ids(&["M002"], &["M"]), Err(SelectError::Nothing));
    }
}
