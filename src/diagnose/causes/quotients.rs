//! Quotients of the wrong numbers.

use crate::diagnose::causes::{About, Case, Point, Recogniser};

/// A part of a quotient: its name and how it comes of the row.
type Part = (&'static str, fn(&Point<'_>) -> Option<f64>);

fn field(point: &Point<'_>, column: &str) -> Option<f64> {
    point.row.get(column)?.parse().ok()
}

const TIMES: [Part; 5] = [
    ("e2e_latency", |row| field(row, "e2e_latency")),
    ("e2e_latency - ttft", |row| Some(field(row, "e2e_latency")? - field(row, "ttft")?)),
    ("execution_time", |row| field(row, "execution_time")),
    ("execution_time - ttft", |row| Some(field(row, "execution_time")? - field(row, "ttft")?)),
    ("ttft", |row| field(row, "ttft")),
];

const TOKENS: [Part; 7] = [
    ("output_tokens", |row| field(row, "output_tokens")),
    ("output_tokens - 1", |row| Some(field(row, "output_tokens")? - 1.0)),
    ("output_tokens + 1", |row| Some(field(row, "output_tokens")? + 1.0)),
    ("input_tokens + output_tokens", |row| {
        Some(field(row, "input_tokens")? + field(row, "output_tokens")?)
    }),
    ("input_tokens", |row| field(row, "input_tokens")),
    ("scheduled_tokens", |row| field(row, "scheduled_tokens")),
    ("1", |_| Some(1.0)),
];

/// A sum in brackets.
fn bracket(part: &str) -> String {
    if part.contains(' ') { format!("({part})") } else { part.to_owned() }
}

/// The right quotient, rounded in another way.
fn rounded(case: &Case<'_>, by_time: bool) -> Option<String> {
    let off = |point: &Point<'_>| {
        let text = point.text?;
        let value: f64 = text.parse().ok()?;
        let (time, tokens) = match by_time {
            true => (TIMES[0], TOKENS[0]),
            false => (TIMES[1], TOKENS[1]),
        };
        let (time, tokens) = ((time.1)(point)?, (tokens.1)(point)?);
        let quotient = if by_time { tokens * 1e9 / time } else { time / tokens };
        let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        let digit = 10f64.powi(i32::try_from(decimals).ok()?);
        Some((value - quotient) * digit)
    };
    let off: Vec<f64> = case.points.iter().map(off).collect::<Option<_>>()?;
    let column = case.column_name();
    if !by_time && off.iter().all(|off| (0.0..=0.5).contains(off)) {
        Some(format!(
            "{column} is rounded to the nearest whole number: where it is none, it is rounded down"
        ))
    } else if by_time
        && case.points.iter().all(|it| it.text.is_some_and(|text| !text.contains('.')))
    {
        off.iter()
            .all(|off| off.abs() <= 1.0)
            .then(|| format!("{column} is cut to whole numbers: it is written with its decimals"))
    } else if by_time && off.iter().all(|off| (-1.0..=-0.499).contains(off)) {
        Some(format!("{column} is cut to its decimals: it is rounded to the nearest"))
    } else {
        None
    }
}

/// Another dividend or divisor.
pub(super) static QUOTIENT: Recogniser = Recogniser {
    id: "other-quotient",
    doc: "Every value is a quotient, but of other numbers of its row, or rounded in another way.",
    about: About::Column,
    find: |case| {
        let by_time = match (case.rule, case.column?) {
            ("M008", "tpot") => false,
            ("M009", "throughput") => true,
            _ => return None,
        };
        let fits = |time: &Part, tokens: &Part| {
            let quotient = |point: &Point<'_>| {
                let (time, tokens) = ((time.1)(point)?, (tokens.1)(point)?);
                Some(if by_time { tokens * 1e9 / time } else { time / tokens })
            };
            case.points.iter().all(|point| {
                let told = point.text.and_then(|text| Some((text.parse::<f64>().ok()?, text)));
                let (Some((value, text)), Some(quotient)) = (told, quotient(point)) else {
                    return false;
                };
                let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
                // Whole ones are rounded down.
                let digits = if decimals == 0 { 1.0 } else { 0.5 };
                let digit = 10f64.powi(-i32::try_from(decimals).unwrap_or(0));
                (value - quotient).abs() <= digit * digits * 1.000_001
            })
        };
        if case.points.len() < 2 {
            return None;
        }
        if let Some(told) = rounded(case, by_time) {
            return Some(told);
        }
        let right = if by_time { (TIMES[0].0, TOKENS[0].0) } else { (TIMES[1].0, TOKENS[1].0) };
        let all = TIMES.iter().flat_map(|time| TOKENS.iter().map(move |tokens| (time, tokens)));
        let mut others = all.filter(|(time, tokens)| (time.0, tokens.0) != right);
        let (time, tokens) = others.find(|(time, tokens)| fits(time, tokens))?;
        Some(if by_time {
            format!(
                "throughput is {} per second of {}, not {} of {}",
                tokens.0, time.0, right.1, right.0
            )
        } else {
            format!(
                "tpot is {} / {}, not {} / {}",
                bracket(time.0),
                bracket(tokens.0),
                bracket(right.0),
                bracket(right.1)
            )
        })
    },
};
