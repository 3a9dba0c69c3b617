//! What makes two findings the same: their shape in one log, their fingerprint in two recordings of
//! one run, their kind in any two runs of a logger.

use xxhash_rust::xxh3::Xxh3;

use crate::check::{Declaration, Finding};

/// The message with `#` for the request that it names and every word that has a digit: what repeated
/// findings share.
#[must_use]
pub fn shape(finding: &Finding) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', ';', ':', '.', ')']);
        match bare.bytes().any(|byte| byte.is_ascii_digit()) {
            true => format!("#{}", &word[bare.len()..]),
            false => word.to_owned(),
        }
    };
    let message = without_name(finding);
    message.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The message with `#` for the request that it names, be that spelt with digits or without.
fn without_name(finding: &Finding) -> String {
    let message = &finding.message;
    let Some(name) = finding.named.as_deref().filter(|name| !name.is_empty()) else {
        return message.clone();
    };
    let is_word = |at: usize| {
        let before = message[..at].chars().next_back();
        let behind = message[at + name.len()..].chars().next();
        before.is_none_or(|it| it == ' ') && behind.is_none_or(|it| it == ' ' || it == ',')
    };
    let at = message.match_indices(name).map(|(at, _)| at).find(|at| is_word(*at));
    at.map_or_else(
        || message.clone(),
        |at| format!("{}#{}", &message[..at], &message[at + name.len()..]),
    )
}

/// What tells a finding from others where a run is recorded again with the same ids and steps.
///
/// Lines, moments and values are not part of it: they shift when the log grows or time passes.
/// Those of the [kind] are, and the request (or, without one, the iteration).
#[must_use]
pub fn fingerprint(rule: &Declaration, finding: &Finding) -> String {
    let about = match (&finding.request, finding.iteration) {
        (Some(request), _) => request.clone(),
        (None, Some(iteration)) => format!("#{iteration}"),
        (None, None) => String::new(),
    };
    hashed(rule, finding, Some(&about))
}

/// What tells a mistake of a logger from its others, in whatever run it shows.
///
/// The rule, the file and column, and the shape of the message.
#[must_use]
pub fn kind(rule: &Declaration, finding: &Finding) -> String {
    hashed(rule, finding, None)
}

fn hashed(rule: &Declaration, finding: &Finding, about: Option<&str>) -> String {
    let mut hash = Xxh3::new();
    let mut part = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    part(rule.id);
    part(finding.primary.as_ref().map_or("", |mark| mark.at.table.file_name()));
    part(finding.primary.as_ref().and_then(|mark| mark.column).unwrap_or_default());
    about.into_iter().for_each(&mut part);
    part(&shape(finding));
    format!("{}-{:016x}", rule.id, hash.digest())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::reader::Location;
    use crate::log::schema::Table;
    use crate::units::IterationId;

    #[test]
    fn numbers_and_what_holds_them_are_left_out() {
        let finding = Finding::new("waiting_time 76 + execution_time 91 is 167, but cmpl-7 waits");
        assert_eq!(shape(&finding), "waiting_time # + execution_time # is #, but # waits");
    }

    #[test]
    fn a_request_that_is_named_is_left_out_where_it_has_no_digit_too() {
        let shaped = |message: &str, name: &str| shape(&Finding::new(message).naming(name));
        let one = shaped("the request is admitted while a b, which comes before it, waits", "a b");
        assert_eq!(one, "the request is admitted while #, which comes before it, waits");
        let other = shaped("the request is admitted while w, which comes before it, waits", "w");
        assert_eq!(one, other);
        assert_eq!(shaped("é stands before the request", "é"), "# stands before the request");
        assert_eq!(shaped("x stands before the request", ""), "x stands before the request");
    }

    #[test]
    fn fingerprints_survive_shifts_and_tell_requests_apart_and_kinds_do_not() {
        let rule = crate::invariants::find("M002").unwrap();
        let finding = |line: u64, request: &str, value: u64| {
            let at = Location { table: Table::PerRequest, line, offset: line * 70 };
            let mut finding = Finding::new(format!("the sum is {value}")).at(at, "e2e_latency");
            finding.request = Some(request.to_owned());
            finding.in_iteration(IterationId(line))
        };
        let known = fingerprint(rule, &finding(5, "b", 10));
        assert_eq!(known, fingerprint(rule, &finding(6, "b", 11)));
        assert_ne!(known, fingerprint(rule, &finding(5, "c", 10)));
        assert!(known.starts_with("M002-"));
        let known = kind(rule, &finding(5, "b", 10));
        assert_eq!(known, kind(rule, &finding(6, "c", 11)));
        let mut other = finding(5, "b", 10);
        other.message = "the sum is less".to_owned();
        assert_ne!(known, kind(rule, &other));
        other = finding(5, "b", 10);
        other.primary.as_mut().unwrap().column = Some("waiting_time");
        assert_ne!(known, kind(rule, &other));
    }
}
