//! From findings to explanations: which belong together, which follow from which, and why.
//!
//! A check yields findings rule by rule. Here they are folded under their root causes
//! ([`dependencies`]), repeated ones are grouped, a table of [`causes`] looks for what those of a
//! group have in common, and a second, bounded pass over the files fetches the rows and timelines of
//! what will be shown. All of it is data; the report renders it.

mod board;
pub mod causes;
pub mod dependencies;
mod evidence;
mod excerpt;
mod facts;
mod fold;
mod group;
mod lookup;
pub mod losses;
pub mod mixups;
mod pass;
mod repair;
mod shape;
mod story;

pub use causes::Cause;
pub use excerpt::Excerpts;
pub use facts::{Facts, Own, Tally};
pub use group::{Consequence, Group};
pub use shape::{fingerprint, kind, shape};
pub use story::{Entry, Kind, Story, Sums};

use crate::check::CheckReport;
use crate::diagnose::board::Board;
use crate::diagnose::repair::Telling;
use crate::log::reader::LogDir;

/// Findings of one group that are shown unless all are asked for.
pub const SHOWN_FINDINGS: usize = 3;
/// Findings of one group that are looked at for a common cause.
const SAMPLE: usize = 64;
/// Rows that complete a contradiction, per finding.
const MOST_ROWS: usize = 8;

/// A report's findings, explained.
#[derive(Debug)]
pub struct Diagnosis<'a> {
    /// The groups, root causes first.
    pub groups: Vec<Group<'a>>,
    /// The text of the rows that the groups point at.
    pub excerpts: Excerpts,
}

impl<'a> Diagnosis<'a> {
    /// Explains the findings of a report; `all` fetches the rows of every finding that was kept.
    #[must_use]
    pub fn of(report: &'a CheckReport, all: bool) -> Self {
        let mut folded = fold::fold(report);
        // The directory was read a moment ago; if it is gone the findings stand without their rows.
        let Ok(dir) = LogDir::open(&report.directory) else {
            let groups = group::group(report, &folded, Vec::new());
            return Self { groups, excerpts: Excerpts::default() };
        };
        let mut board = Board::of(report, &mut folded);
        mixups::find(&dir, report, &mut board);
        losses::find(&dir, report, &mut board);
        mixups::fold_repeats(&mut board);
        let leads = board.into_leads();
        let (mut groups, mut excerpts) = Self::explained(&dir, report, &folded, leads, all);
        if repair::is_wanted(&groups)
            && let Some(found) = repair::find(&dir, report, &mut folded)
        {
            let repair::Found { lead, cause, telling } = found;
            let alone = telling == Telling::Alone;
            let leads = if alone { vec![(lead, cause.clone())] } else { Vec::new() };
            (groups, excerpts) = Self::explained(&dir, report, &folded, leads, all);
            if let Some(group) = groups.first_mut() {
                match telling {
                    Telling::First => group.causes.insert(0, cause),
                    Telling::IfNothingElse if group.causes.is_empty() => group.causes.push(cause),
                    Telling::Alone | Telling::IfNothingElse => {}
                }
            }
        }
        complete_rows(&mut excerpts, &dir, &groups);
        Self { groups, excerpts }
    }

    /// The groups with what causes them, and the rows that they point at.
    fn explained(
        dir: &LogDir,
        report: &'a CheckReport,
        folded: &[fold::Item<'a>],
        leads: Vec<(usize, Cause)>,
        all: bool,
    ) -> (Vec<Group<'a>>, Excerpts) {
        let mut groups = group::group(report, folded, leads);
        let marks = groups.iter().flat_map(|group| {
            let sample = group.findings.iter().take(if all { usize::MAX } else { SAMPLE });
            sample.flat_map(|finding| finding.primary.iter().chain(&finding.related))
        });
        let excerpts = Excerpts::load(dir, marks.map(|mark| mark.at));
        let facts = lookup::tell(dir, &mut groups, &excerpts);
        let windows = Excerpts::load(dir, facts.windows.values().flatten().copied());
        causes::explain(&mut groups, &excerpts, &windows, &facts);
        group::merge(&mut groups);
        (groups, excerpts)
    }
}

/// Fetches the rows that stories added to findings.
fn complete_rows(excerpts: &mut Excerpts, dir: &LogDir, groups: &[Group<'_>]) {
    let added: Vec<_> = groups
        .iter()
        .flat_map(|group| group.stories.iter().flatten())
        .flat_map(|story| story.rows.iter().copied())
        .collect();
    excerpts.extend(dir, added.into_iter());
}
