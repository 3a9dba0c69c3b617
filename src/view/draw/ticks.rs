//! Where an axis has its ticks, and what stands there.

use crate::view::chart::{Axis, Unit};
use crate::view::draw::numbers::{TIME_UNITS, duration, stepped};

/// One tick.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// Where.
    pub(super) at: f64,
    /// What stands there; nothing at a minor tick.
    pub(super) text: String,
}

/// The unit that fits a linear time axis.
fn time_unit(axis: &Axis) -> (&'static str, f64) {
    let longest = axis.to.abs().max(axis.from.abs());
    let fits = |scale: f64| {
        // Hours and minutes only where seconds would be unreadable.
        let least = if scale > 1e9 { 100.0 * scale / 60.0 } else { 1.5 * scale };
        longest >= least
    };
    TIME_UNITS.into_iter().find(|(_, scale)| fits(*scale)).unwrap_or(("ns", 1.0))
}

/// The label of an axis with its unit.
pub(super) fn title(axis: &Axis) -> String {
    match axis.unit {
        Unit::Nanos if axis.log => axis.label.clone(),
        Unit::Nanos => format!("{} ({})", axis.label, time_unit(axis).0),
        Unit::Percent => format!("{} (%)", axis.label),
        Unit::Count => axis.label.clone(),
    }
}

/// The ticks of an axis, at most about `count`.
pub(super) fn ticks(axis: &Axis, count: usize) -> Vec<Tick> {
    if axis.log {
        return log_ticks(axis);
    }
    let scale = if axis.unit == Unit::Nanos { time_unit(axis).1 } else { 1.0 };
    let (from, to) = (axis.from / scale, axis.to / scale);
    let mut step = nice_step((to - from) / count.max(1) as f64);
    if axis.unit == Unit::Count {
        step = step.max(1.0);
    }
    let first = (from / step).ceil();
    (0..=2 * count)
        .map(|index| (first + index as f64) * step)
        .take_while(|at| *at <= to + step * 1e-9)
        .map(|at| Tick { at: at * scale, text: stepped(at, step) })
        .collect()
}

/// The next number of the form 1, 2 or 5 times a power of ten.
fn nice_step(least: f64) -> f64 {
    let mut power = 1e-9;
    while power * 10.0 <= least {
        power *= 10.0;
    }
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= least);
    // A product of decimals is a little off; the text of a tick must not be.
    let nice = step.unwrap_or(10.0) * power;
    if nice >= 1.0 { nice.round() } else { 1.0 / (1.0 / nice).round() }
}

fn log_ticks(axis: &Axis) -> Vec<Tick> {
    let decades = libm::log10(axis.to / axis.from);
    // Few decades have room for the numbers between them.
    let named: &[f64] = match decades {
        decades if decades <= 1.2 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0],
        decades if decades <= 2.2 => &[1.0, 2.0, 5.0],
        decades if decades <= 4.5 => &[1.0, 3.0],
        _ => &[1.0],
    };
    let mut ticks = Vec::new();
    let mut power = 1.0;
    while power <= axis.to {
        let minors = if decades <= 1.2 { &[1.5][..] } else { &[] };
        let mut steps: Vec<f64> = (1..10).map(f64::from).chain(minors.iter().copied()).collect();
        steps.sort_by(f64::total_cmp);
        for step in steps {
            let at = step * power;
            if at >= axis.from && at <= axis.to {
                let text = if named.contains(&step) { plain(axis, at) } else { String::new() };
                ticks.push(Tick { at, text });
            }
        }
        power *= 10.0;
    }
    ticks
}

/// A round number without the decimals that it does not have.
fn plain(axis: &Axis, at: f64) -> String {
    if axis.unit != Unit::Nanos {
        return stepped(at, at);
    }
    let text = duration(at);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(unit: Unit, log: bool, from: f64, to: f64) -> Axis {
        Axis { label: "time".to_owned(), unit, log, from, to }
    }

    fn texts(axis: &Axis) -> Vec<String> {
        let named = ticks(axis, 8).into_iter().filter(|tick| !tick.text.is_empty());
        named.map(|tick| tick.text).collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let time = axis(Unit::Nanos, false, 0.0, 4.7e8);
        assert_eq!(title(&time), "time (ms)");
        assert_eq!(texts(&time), ["0", "100", "200", "300", "400"]);
        assert_eq!(texts(&axis(Unit::Count, false, 0.0, 3.2)), ["0", "1", "2", "3"]);
        assert_eq!(
            texts(&axis(Unit::Percent, false, 0.0, 1.0)),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(
            texts(&axis(Unit::Nanos, true, 2e6, 3e7)),
            ["2 ms", "3 ms", "4 ms", "5 ms", "7 ms", "10 ms", "15 ms", "20 ms", "30 ms"]
        );
        assert_eq!(texts(&axis(Unit::Nanos, true, 1e3, 1e12))[..3], ["1 µs", "10 µs", "100 µs"]);
    }
}
