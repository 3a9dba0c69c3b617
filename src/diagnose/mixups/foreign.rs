//! A file of another run, where at least two others belong together.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::CheckReport;
use crate::diagnose::board::{Board, Claim, Seen};
use crate::diagnose::losses::explain::{CHANGES, EVENTS_OF_REQUEST, EVENTS_OF_STEP};
use crate::diagnose::mixups::ANOTHER_RUN;
use crate::diagnose::mixups::numbering::BY_DETAILS;
use crate::diagnose::pass::{each, each_step, of_requests};
use crate::log::moments::Moments;
use crate::log::reader::LogDir;
use crate::log::schema::{EventRow, Table, TransitionRow};
use crate::log::values::{EventType, FinishReason, State};
use crate::units::Nanos;

/// Requests that are compared.
const MOST: usize = 1 << 14;
/// Ends that are no chance.
const SEVERAL: usize = 3;

/// Moments of two runs that are the same, as the first ones may be: one in so many.
const SAME: usize = 10;
/// Most wrong moments of right steps are not so many steps away.
const FAR: i128 = 4;

/// When each request arrived, was first scheduled and ended.
type Ends = BTreeMap<String, [Option<Nanos>; 3]>;

/// Rules of one row, or of rows of per_iteration.csv among themselves.
const OF_ROWS: &[&str] =
    &["M001", "M002", "M008", "M009", "M010", "M011", "M012", "C005", "K001", "S001", "X009"];
/// Rules that go by neither rows of steps nor by what requests they are of.
const WITHOUT_ROWS: &[&str] = &[
    "M001", "M002", "M003", "M004", "M005", "M006", "M007", "M008", "M009", "M010", "M011", "M012",
    "C005", "K001", "K008", "S001", "S003", "X006", "X007",
];
/// Rules that do not go by per_iteration.csv.
const WITHOUT_STEPS: &[&str] = &[
    "M001", "M002", "M003", "M004", "M005", "M006", "M007", "M008", "M009", "M012", "M017", "C005",
    "K005", "K008", "S001", "S003", "X001", "X006", "X007", "X008",
];
/// Rules that ask what events say of tokens and blocks.
const BY_EVENTS: &[&str] = &[
    "K002", "K004", "K005", "K006", "K010", "K012", "X003", "X007", "M005", "S002", "S004", "Q011",
];

/// The moments of requests by one or two files; without those that a drop ends.
struct Told {
    /// The file that may be of another run.
    table: Table,
    ends: Ends,
}

/// Files of requests.
pub(super) fn find(dir: &LogDir, report: &CheckReport, board: &mut Board<'_, '_>) -> Option<()> {
    look(dir, report, board, false)
}

/// Files of steps, once it is known that they are not numbered otherwise.
pub(super) fn find_steps(
    dir: &LogDir,
    report: &CheckReport,
    board: &mut Board<'_, '_>,
) -> Option<()> {
    look(dir, report, board, true)
}

fn look(
    dir: &LogDir,
    report: &CheckReport,
    board: &mut Board<'_, '_>,
    of_steps: bool,
) -> Option<()> {
    if !board.has(&["S003", "S004", "M014", "M015", "M006", "X001", "X003"]) || board.has(&["M011"])
    {
        return Some(());
    }
    let lives = of_requests(dir, MOST, |row| {
        let dropped = row.finish_reason.is_some_and(FinishReason::is_drop);
        let end = row.completion_time.filter(|_| !dropped);
        Some([Some(row.arrival_time), row.first_scheduled_time, end])
    })?;
    let steps = steps(dir, report)?;
    let all = [
        Told { table: Table::PerRequest, ends: lives },
        Told { table: Table::StateTransitions, ends: changes(dir)? },
        Told { table: Table::Events, ends: events(dir)? },
        Told { table: Table::PerIteration, ends: steps.ends.clone() },
    ];
    let told: Vec<&Told> = all.iter().filter(|told| told.ends.len() >= SEVERAL).collect();
    let is_foreign = |odd: &&&Told| {
        // Steps of another run have other counts as well, as is asked below.
        let far = if odd.table == Table::PerIteration { 0 } else { steps.mean() };
        let others = || told.iter().filter(|other| other.table != odd.table);
        let alone = others().all(|other| differ(&odd.ends, &other.ends, far));
        let agree =
            |one: &&Told| others().any(|two| two.table != one.table && agree(&one.ends, &two.ends));
        alone && others().copied().any(|one| agree(&one))
    };
    let mut odd = told.iter().filter(is_foreign);
    let Some(first) = odd.next().filter(|_| odd.next().is_none()) else { return Some(()) };
    if of_steps != (first.table == Table::PerIteration) {
        return Some(());
    }
    let fitting = told.iter().find(|it| it.table != first.table)?;
    match first.table {
        // Whether it is the steps or their rows shows at the moments.
        Table::PerIteration if steps.counted * 2 > steps.all => {}
        Table::PerIteration => {
            let ends = || fitting.ends.values().filter_map(|[.., end]| *end);
            if ends().filter(|end| steps.moments.contains(end)).count() * 2 < ends().count() {
                let lead = &["S004", "M014", "M015", "Q001"];
                of_another_run(board, "per_iteration.csv", first, lead, |seen| {
                    !seen.is(WITHOUT_STEPS)
                });
            } else {
                let lead = &["S004", "X003", "Q001", "X004", "K002"];
                of_another_run(board, "per_iteration_requests.csv", first, lead, |seen| {
                    !seen.is(WITHOUT_ROWS)
                });
            }
        }
        Table::PerRequest => {
            let lead = &["S003", "M015", "M006", "M007", "X001", "X003"];
            of_another_run(board, "per_request.csv", first, lead, |seen| !seen.is(OF_ROWS));
        }
        Table::Events => {
            let lead = &["M015", "M014", "S003", "M006", "M007", "S005", "X001", "X003"];
            of_another_run(board, "events.csv", first, lead, |seen| {
                seen.is(EVENTS_OF_REQUEST)
                    || seen.is(EVENTS_OF_STEP)
                    || seen.is(BY_DETAILS)
                    || seen.is(BY_EVENTS)
            });
        }
        _ => {
            let lead = &["S003", "M006", "X001", "X003"];
            of_another_run(board, "state_transitions.csv", first, lead, |seen| {
                seen.is(CHANGES) || seen.is(&["X003", "M015", "M005"])
            });
        }
    }
    Some(())
}

fn of_another_run(
    board: &mut Board<'_, '_>,
    name: &str,
    odd: &Told,
    lead: &'static [&'static str],
    explains: impl Fn(&Seen<'_>) -> bool,
) {
    let text = format!(
        "the {} requests of {name} are scheduled and end at other moments there than in the other files, which \
         agree with one another: the file is of another run",
        odd.ends.len()
    );
    board.claim(Claim { cause: ANOTHER_RUN, text, lead, explains: Box::new(explains) });
}

/// The moments that both have.
fn common<'e>(one: &'e Ends, other: &'e Ends) -> impl Iterator<Item = (Nanos, Nanos)> + 'e {
    let both = one.iter().filter_map(|(id, one)| Some((one, other.get(id)?)));
    both.flat_map(|(one, other)| {
        one.iter().zip(other).filter_map(|(one, other)| (*one).zip(*other))
    })
}

/// Whether hardly anything is at one moment in both, nor all by one and the same time later, and most of it is many
/// steps away.
fn differ(one: &Ends, other: &Ends, step: i128) -> bool {
    let off = |(one, other): (Nanos, Nanos)| i128::from(one.0) - i128::from(other.0);
    let offs: BTreeSet<i128> = common(one, other).map(off).collect();
    let far = offs.iter().filter(|off| off.abs() > step * FAR).count() * 2 > offs.len();
    let fitting = common(one, other).filter(|(one, other)| is_at(*one, *other)).count();
    if offs.is_empty() {
        // Under other ids they may be the same requests.
        let moments = |ends: &Ends| -> BTreeSet<Nanos> {
            let all = ends.values().flatten().flatten().copied();
            all.filter(|at| *at > Nanos::ZERO).collect()
        };
        let (one, other) = (moments(one), moments(other));
        return one.intersection(&other).count() * SAME <= one.len();
    }
    fitting * SAME <= common(one, other).count() && offs.len() > 1 && far
}

fn agree(one: &Ends, other: &Ends) -> bool {
    let fitting = common(one, other).filter(|(one, other)| is_at(*one, *other)).count();
    fitting >= SEVERAL && fitting * 2 > common(one, other).count()
}

/// Whether they are one moment, in whatever units.
fn is_at(one: Nanos, other: Nanos) -> bool {
    [1, 1_000, 1_000_000, 1_000_000_000].into_iter().any(|unit| {
        one.0.saturating_mul(unit).abs_diff(other.0) < unit
            || other.0.saturating_mul(unit).abs_diff(one.0) < unit
    })
}

/// Sets the moment of a request, the first one of which it is told.
fn note(ends: &mut Ends, id: &str, which: usize, at: Nanos) {
    if ends.len() < MOST || ends.contains_key(id) {
        ends.entry(id.to_owned()).or_default()[which].get_or_insert(at);
    }
}

fn changes(dir: &LogDir) -> Option<Ends> {
    let mut ends = Ends::new();
    each::<TransitionRow>(
        dir,
        |row| Some(row.request_id),
        |row, id| match row.state {
            State::Running => note(&mut ends, id, 1, row.timestamp),
            State::Completed => note(&mut ends, id, 2, row.timestamp),
            _ => {}
        },
    )?;
    Some(ends)
}

fn events(dir: &LogDir) -> Option<Ends> {
    let mut ends = Ends::new();
    each::<EventRow>(
        dir,
        |row| row.request_id,
        |row, id| match row.event_type {
            EventType::RequestArrived => note(&mut ends, id, 0, row.timestamp),
            EventType::RequestScheduled => note(&mut ends, id, 1, row.timestamp),
            EventType::RequestCompleted => note(&mut ends, id, 2, row.timestamp),
            _ => {}
        },
    )?;
    Some(ends)
}

/// What both files of steps tell together.
#[derive(Default)]
struct Steps {
    ends: Ends,
    /// All ends of steps.
    moments: BTreeSet<Nanos>,
    /// How long all of them take.
    lasted: i128,
    /// Steps, and those with as many running rows as they count.
    all: u64,
    counted: u64,
}

impl Steps {
    /// How long a step takes.
    fn mean(&self) -> i128 {
        self.lasted / i128::from(self.all.max(1))
    }
}

fn steps(dir: &LogDir, report: &CheckReport) -> Option<Steps> {
    let mut steps = Steps::default();
    each_step(dir, |step, rows| {
        let at = Moments::of(step, &report.dialect);
        if steps.moments.len() < MOST {
            steps.moments.insert(at.end);
        }
        steps.lasted += i128::from(at.end.0) - i128::from(at.start.0);
        let mut running = 0;
        for (row, id) in rows {
            match row.state {
                State::Running => {
                    running += 1;
                    note(&mut steps.ends, id, 1, at.decided);
                }
                State::Completed => note(&mut steps.ends, id, 2, at.end),
                _ => {}
            }
        }
        steps.all += 1;
        steps.counted += u64::from(running == step.running_count.0);
    })?;
    Some(steps)
}
