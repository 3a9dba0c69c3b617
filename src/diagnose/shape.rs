//! What makes two findings the same: their shape in one log, their fingerprint in two.

use xxhash_rust::xxh3::Xxh3;

use crate::check::{Declaration, Finding};

/// The message with `#` for every word that has a digit: what repeated findings share.
#[must_use]
pub fn shape(message: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', ';', ':', '.', ')']);
        match bare.bytes().any(|byte| byte.is_ascii_digit()) {
            true => format!("#{}", &word[bare.len()..]),
            false => word.to_owned(),
        }
    };
    message.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// What tells a finding from others over several runs of a logger.
///
/// Lines, moments and values are not part of it: they shift when the log grows or time passes.
/// The rule, the file and column, the request (or, without one, the iteration) and the shape of the
/// message are.
#[must_use]
pub fn fingerprint(rule: &Declaration, finding: &Finding) -> String {
    let mut hash = Xxh3::new();
    let mut part = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    part(rule.id);
    part(finding.primary.as_ref().map_or("", |mark| mark.at.table.file_name()));
    part(finding.primary.as_ref().and_then(|mark| mark.column).unwrap_or_default());
    match (&finding.request, finding.iteration) {
        (Some(request), _) => part(request),
        (None, Some(iteration)) => part(&format!("#{iteration}")),
        (None, None) => part(""),
    }
    part(&shape(&finding.message));
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
        assert_eq!(
            shape("waiting_time 76 + execution_time 91 is 167, but cmpl-7 waits"),
            "waiting_time # + execution_time # is #, but # waits"
        );
    }

    #[test]
    fn fingerprints_survive_shifts_and_tell_requests_apart() {
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
    }
}
