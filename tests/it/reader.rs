//! Any bytes in, rows and problems out; and what damage does to a verdict.

use std::fmt::Debug;
use std::io::{Cursor, Read, Write};
use std::sync::Arc;

use proptest::prelude::*;
use schedlog::check::Verdict;
use schedlog::log::dialect::Habit;
use schedlog::log::ids::{IdTable, Ids};
use schedlog::log::reader::{
    Ahead, Ending, Item, Located, Piece, Reading, Shared, Splitter, StepRows, TableReader, Threads,
    echo,
};
use schedlog::log::schema::{IterationRequestRow, RawRecord, Row};
use schedlog::report::{TextOptions, write_text};

use crate::fixtures::{Log, tripped};

const FILES: [&str; 5] = [
    "per_request.csv",
    "per_iteration.csv",
    "per_iteration_requests.csv",
    "events.csv",
    "state_transitions.csv",
];

fn clean(log: &Log) {
    let (_dir, report) = log.check();
    assert_eq!(tripped(&report), [""; 0], "{:#?}", report.rules);
}

#[test]
fn crlf_and_bom_change_nothing() {
    let log = FILES.into_iter().fold(Log::base(), |log, file| {
        log.map(file, |bytes| {
            let text = String::from_utf8(bytes).unwrap().replace('\n', "\r\n");
            format!("\u{feff}{text}").into_bytes()
        })
    });
    clean(&log);
}

#[test]
fn quoted_ids_with_commas_quotes_and_line_breaks_change_nothing() {
    let log = FILES.into_iter().fold(Log::base(), |log, file| {
        log.map(file, |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            let rename = |row: &str| {
                let fields = row.split(',').map(|field| match field {
                    "b" => "\"b,\"\"1\"\"\n2\"",
                    other => other,
                });
                fields.collect::<Vec<_>>().join(",")
            };
            text.lines().map(|row| rename(row) + "\n").collect::<String>().into_bytes()
        })
    });
    clean(&log);
}

#[test]
fn gzip_changes_nothing() {
    let mut log = Log::base();
    for file in FILES {
        let bytes = log.files.remove(file).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&bytes).unwrap();
        log.files.insert(format!("{file}.gz"), encoder.finish().unwrap());
    }
    clean(&log);
}

#[test]
fn rows_in_order_of_time_are_told_and_all_the_rest_is_judged() {
    let log = Log::base().map("state_transitions.csv", |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        let mut rows: Vec<&str> = rows.lines().collect();
        rows.sort_by_key(|row| row.split(',').nth(1).unwrap().parse::<u64>().unwrap());
        format!("{header}\n{}\n", rows.join("\n")).into_bytes()
    });
    let (_dir, report) = log.check();
    assert_eq!(tripped(&report), ["X008"], "{:#?}", report.rules);
}

#[test]
fn each_missing_file_is_damage_and_the_rest_is_checked() {
    for file in FILES {
        let (_dir, report) = Log::base().without(file).check();
        // Many loggers do not write the changes of state.
        if file == "state_transitions.csv" {
            assert_eq!(report.verdict(), Verdict::Clean, "without {file}");
            assert!(report.dialect.has(Habit::NoTransitions), "without {file}");
            continue;
        }
        assert_eq!(tripped(&report), ["F001"], "without {file}");
        assert_eq!(report.verdict(), Verdict::Damaged, "without {file}");
    }
}

#[test]
fn a_cut_at_any_byte_is_damage_never_a_violation() {
    for file in FILES {
        let len = Log::base().files[file].len();
        let header = Log::base().files[file].iter().position(|byte| *byte == b'\n').unwrap();
        for at in header + 1..len {
            let (_dir, report) = Log::base().map(file, |bytes| bytes[..at].to_vec()).check();
            let verdict = report.verdict();
            assert_ne!(verdict, Verdict::Violated, "{file} cut at {at}: {:?}", tripped(&report));
        }
    }
}

#[test]
fn a_killed_run_is_damage() {
    let log = Log::base()
        .replace("per_request.csv", "e,190,202,,12,11,,5,1,23,,,0,0,2,200,0,unfinished,0,0,5\n", "")
        .replace("state_transitions.csv", "e,202,running,12,waiting\n", "");
    let (_dir, report) = log.check();
    assert_eq!(tripped(&report), ["X005"]);
    assert_eq!(report.verdict(), Verdict::Damaged);
}

#[test]
fn a_log_without_run_json_is_checked_as_far_as_it_goes() {
    clean(&Log::base().without("run.json"));
}

/// Bytes that make records: separators, quotes and line breaks are frequent.
fn csv_like() -> impl Strategy<Value = Vec<u8>> {
    let byte =
        prop_oneof![Just(b','), Just(b'"'), Just(b'\n'), Just(b'\r'), b'a'..=b'c', any::<u8>()];
    proptest::collection::vec(byte, 0..200)
}

/// Fields as any writer would quote them.
fn fields() -> impl Strategy<Value = Vec<Vec<String>>> {
    let field = "[a-c,\"\n\r]{0,6}";
    proptest::collection::vec(proptest::collection::vec(field, 2..5), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_a_csv_writer_wrote_is_read_back(rows in fields(), crlf: bool) {
        let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer = csv::WriterBuilder::new()
            .terminator(terminator)
            .flexible(true)
            .from_writer(Vec::new());
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        let mut splitter = Splitter::new(&bytes[..]);
        let mut read = Vec::new();
        while let Some(record) = splitter.next_record().unwrap() {
            prop_assert_eq!(record.ending, Ending::LineBreak);
            let row: Vec<String> = (0..record.len())
                .map(|i| String::from_utf8(record.field(i).unwrap().to_vec()).unwrap())
                .collect();
            read.push(row);
        }
        prop_assert_eq!(read, rows);
    }

    #[test]
    fn no_bytes_stop_the_splitter(bytes in csv_like()) {
        let mut splitter = Splitter::new(&bytes[..]);
        let mut last = 0;
        while let Some(record) = splitter.next_record().unwrap() {
            prop_assert!(record.line >= last);
            last = record.line;
        }
    }

    #[test]
    fn no_damage_stops_a_check(file in 0..5usize, edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let log = Log::base().map(FILES[file], |mut bytes| {
            for (at, byte) in &edits {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes
        });
        let (_dir, report) = log.check();
        let mut text = Vec::new();
        write_text(&report, &TextOptions { all: true, ..TextOptions::default() }, &mut text).unwrap();
        prop_assert!(!text.is_empty());
    }

    #[test]
    fn no_number_stops_a_check(
        edits in proptest::collection::vec(
            (0..5usize, any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::sample::select(vec![
                "0", "1", "2147483647", "2147483648", "4294967294", "4294967295", "9223372036854775807",
                "18446744073709551614", "18446744073709551615", "-1", "0.5", "1e300", "",
            ])),
            1..6,
        ),
    ) {
        let log = edits.into_iter().fold(Log::base(), |log, (file, row, column, value)| {
            log.map(FILES[file], |bytes| {
                let text = String::from_utf8(bytes).unwrap();
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                let row = 1 + row.index(lines.len() - 1);
                let mut fields: Vec<&str> = lines[row].split(',').collect();
                let column = column.index(fields.len());
                fields[column] = value;
                lines[row] = fields.join(",");
                (lines.join("\n") + "\n").into_bytes()
            })
        });
        let (_dir, report) = log.check();
        let mut text = Vec::new();
        write_text(&report, &TextOptions { all: true, ..TextOptions::default() }, &mut text).unwrap();
        prop_assert!(!text.is_empty());
    }
}

/// What a reader yields, ids as text.
fn read_out(mut reader: TableReader<IterationRequestRow, Cursor<Vec<u8>>>) -> Vec<String> {
    let mut ids = IdTable::default();
    let mut out = Vec::new();
    while let Some(item) = reader.next(&mut ids) {
        out.push(match item {
            Item::Row(row) => format!("{} {row:?}", ids.id(row.row.request_id)),
            Item::Problem(problem) => format!("{problem:?}"),
        });
    }
    out.push(format!("{} rows", reader.rows()));
    out
}

/// What is read step by step, the rows of runs put together from those of the step before; and how
/// many rows stood in runs.
fn read_steps<S: Read + Send + Debug + 'static>(
    input: S,
    reading: Reading,
) -> (Vec<String>, usize) {
    let mut shared = Shared::default();
    let size = reading.runs;
    let reader = TableReader::new(input);
    let mut rows = StepRows::new(Some(reader), reading, None, &mut shared).unwrap();
    let (mut before, mut out, mut in_runs) = (Vec::new(), Vec::new(), 0);
    loop {
        out.extend(shared.problems.drain(..).map(|problem| format!("{problem:?}")));
        let Some(id) = rows.peek().map(|row| row.row.iteration_id) else { break };
        let mut now: Vec<(String, Located<IterationRequestRow>)> = Vec::new();
        rows.take_step(id, &mut shared, |shared, piece| {
            out.extend(shared.problems.drain(..).map(|problem| format!("{problem:?}")));
            let first = now.len();
            match piece {
                Piece::Row(row) => now.push((shared.ids.id(row.row.request_id).to_owned(), *row)),
                Piece::Run(run, lens) => {
                    assert_eq!((lens.len(), run.place), (run.len, now.len()));
                    in_runs += run.len;
                    for index in 0..run.len {
                        let (name, row): &(String, Located<_>) = &before[run.from + index];
                        let size = size.unwrap();
                        let row = echo(&row.row, 1, run.passed, run.place + index, size);
                        let (line, offset) = run.row(index, lens);
                        now.push((name.clone(), Located { row, line, offset }));
                    }
                    let blocks = |rows: &[(String, Located<IterationRequestRow>)]| {
                        rows.iter()
                            .map(|(_, row)| u64::from(row.row.kv_cache_blocks.0))
                            .sum::<u64>()
                    };
                    let then = blocks(&before[run.from..run.from + run.len]);
                    assert_eq!((run.blocks, run.begun), (blocks(&now[first..]), run.blocks - then));
                }
            }
            out.extend(now[first..].iter().map(|(name, row)| format!("{name} {row:?}")));
        });
        before = now;
    }
    out.push(format!("{} rows", rows.rows()));
    (out, in_runs)
}

/// What is read with a little look-ahead, by a thread or not.
fn read_ahead(bytes: &[u8], on_thread: bool) -> Vec<String> {
    let mut shared = Shared::default();
    let reader = Some(TableReader::new(Cursor::new(bytes.to_vec())));
    let mut rows: Ahead<IterationRequestRow, _, 2> = match on_thread {
        true => Ahead::on_thread(reader, None, &mut shared).unwrap(),
        false => Ahead::new(reader, None, &mut shared),
    };
    let mut out = Vec::new();
    loop {
        out.extend(shared.problems.drain(..).map(|problem| format!("{problem:?}")));
        let Some(row) = rows.pop(&mut shared) else { break };
        out.push(format!("{} {row:?}", shared.ids.id(row.row.request_id)));
    }
    assert!(rows.exhausted());
    out.push(format!("{} rows", rows.rows()));
    out
}

/// A key is any number that stands for the id, which is there beside it.
fn without_keys(lines: Vec<String>) -> Vec<String> {
    let keyless = |line: String| match line.split_once("request_id: RequestKey(") {
        Some((before, after)) => format!("{before}{}", after.split_once(')').unwrap().1),
        None => line,
    };
    lines.into_iter().map(keyless).collect()
}

/// The long way, the short cut, runs, the thread and shares say the same of a file. Returns how many rows stood
/// in runs.
fn all_ways_agree(bytes: &[u8]) -> usize {
    let input = || Cursor::new(bytes.to_vec());
    let long = read_out(TableReader::without_short_cut(input()));
    assert_eq!(read_out(TableReader::new(input())), long, "the short cut");
    assert_eq!(read_ahead(bytes, true), read_ahead(bytes, false), "ahead");
    let long = without_keys(long);
    let mut in_runs = 0;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let shares = |bytes| Threads::Shares(Arc::new(file.try_clone().unwrap()), bytes);
    for (runs, threads) in [
        (None, Threads::One),
        (Some(0), Threads::None),
        (Some(16), Threads::None),
        (Some(16), Threads::One),
        (None, shares(1000)),
        (Some(0), shares(100)),
        (Some(16), shares(3000)),
        (Some(16), shares(50_000)),
    ] {
        let how = format!("step by step: {runs:?}, {threads:?}");
        let (steps, echoes) = read_steps(input(), Reading { runs, threads });
        assert_eq!(without_keys(steps), long, "{how}");
        in_runs += echoes;
    }
    in_runs
}

#[test]
fn a_long_file_is_read_alike_in_every_way() {
    let header = IterationRequestRow::SCHEMA.header();
    let mut text = format!("{header}\n");
    // More than the buffers and the batches hold, with requests that come, go and come back.
    for step in 0..400u64 {
        for seat in 0..40u64 {
            let request = seat + step / 7;
            let (position, tokens) = (seat, step * 12_345_678_901 % 10_000_000_000_000_000);
            let id = match request % 13 {
                0 => format!("\"a,{request}\""),
                1 => format!("caf\u{e9}-{request}"),
                _ => format!("cmpl-{request:032x}-0"),
            };
            let end = if seat % 11 == 3 { "\r\n" } else { "\n" };
            text += &format!("{step},{id},running,{position},,{seat},3,{tokens},1,{step}{end}");
            if seat % 17 == 5 {
                text += &format!("{step},r{request},waiting,-1,unknown,0,0,{tokens},,{end}");
            }
        }
        if step % 90 == 1 {
            text += "this is no row\n\n";
        }
    }
    all_ways_agree(text.as_bytes());
    all_ways_agree(&text.as_bytes()[..text.len() - 1]);
    let fixed = text.replace(",scheduled_tokens,computed_tokens", "");
    all_ways_agree(fixed.as_bytes());
}

/// The rows of requests that decode side by side, one of which ends and is followed by another now and
/// then; blocks of 16 tokens.
fn decoding(steps: u64, seats: u64, end: &str) -> Vec<String> {
    let mut lines = vec![format!("{}{end}", IterationRequestRow::SCHEMA.header())];
    for step in 0..steps {
        // The one at the head ends every fifth step, and a new one stands behind the others.
        let gone = step / 5;
        for position in 0..seats {
            let (request, since) =
                (gone + position, (gone + position + 1).saturating_sub(seats) * 5);
            let (age, computed) = (step - since, request * 7 + step - since);
            let (blocks, time) = ((computed + 1).div_ceil(16), age * 10_000_123);
            lines.push(format!(
                "{step},cmpl-{request:x}-0,running,{position},,{age},{blocks},{time},1,{computed}{end}"
            ));
        }
        if step % 5 == 4 {
            lines.push(format!("{step},cmpl-{gone:x}-0,completed,,,{step},1,0,0,{step}{end}"));
        }
    }
    lines
}

#[test]
fn rows_of_decoding_requests_stand_in_runs() {
    for end in ["\n", "\r\n"] {
        let text = decoding(300, 40, end).concat();
        // With and without a thread, and a part of them where the size of a block is not known.
        assert!(all_ways_agree(text.as_bytes()) > 2 * 300 * 40 * 8 / 10);
        assert!(all_ways_agree(&text.as_bytes()[..text.len() - 1]) > 2 * 300 * 40 * 8 / 10);
    }
}

#[test]
fn a_share_may_end_within_quotes() {
    let mut text = format!("{}\n", IterationRequestRow::SCHEMA.header());
    // Nearly all lines end within quotes, and none of a few steps does.
    for (step, quoted) in (0..600u64).map(|step| (step, step % 200 > 20)) {
        for seat in 0..10u64 {
            let id = if quoted { format!("\"{seat}\n\n\n\"") } else { format!("r{seat}") };
            text += &format!("{step},{id},running,{seat},,{step},3,{step},1,{step}\n");
        }
    }
    all_ways_agree(text.as_bytes());
    // A quote that is not closed takes what stands behind it with it.
    let open = text.replacen("\"5\n\n\n\"", "\"5", 1);
    assert_ne!(open, text);
    all_ways_agree(open.as_bytes());
}

#[test]
fn rows_of_very_many_lengths_stand_in_runs() {
    let (steps, seats) = (12, 1500);
    let mut text = format!("{}\n", IterationRequestRow::SCHEMA.header());
    for step in 0..steps {
        for seat in 0..seats {
            // Two names of a length have numbers of other lengths, so nearly every row has a shape of its own.
            let name = format!("{seat:0>width$}", width = 4 + seat % 39);
            let tokens = 10u64.pow(seat as u32 / 39 % 6) + step;
            let time = 10u64.pow(seat as u32 / 234 + 8) + step * 10_000_123;
            let blocks = (tokens + 1).div_ceil(16);
            text += &format!("{step},{name},running,{seat},,{tokens},{blocks},{time},1,{tokens}\n");
        }
    }
    assert!(all_ways_agree(text.as_bytes()) > 2 * (steps as usize - 4) * seats);
}

proptest! {
    #[test]
    fn what_disturbs_runs_is_read_as_it_stands(
        edits in proptest::collection::vec(
            (any::<prop::sample::Index>(), 0..7usize, any::<prop::sample::Index>(), "[0-9a-z,\"\r\n-]"),
            0..12,
        ),
    ) {
        let mut lines = decoding(40, 7, "\n");
        for (line, edit, other, letter) in edits {
            let at = 1 + line.index(lines.len() - 1);
            let other = 1 + other.index(lines.len() - 1);
            match edit {
                0 => drop(lines.remove(at)),
                1 => lines.insert(other, lines[at].clone()),
                2 => lines.swap(at, other),
                3 => lines[at] = lines[at].replacen(",running,", ",waiting,", 1),
                _ => {
                    let text = lines[at].clone();
                    let place = other % text.len();
                    lines[at] = format!("{}{letter}{}", &text[..place], &text[place + 1..]);
                }
            }
        }
        all_ways_agree(lines.concat().as_bytes());
    }

    #[test]
    fn the_short_cut_agrees_with_the_long_way(
        fields in proptest::collection::vec(row_like(), 1..40),
        ours in any::<bool>(),
    ) {
        let schema = IterationRequestRow::SCHEMA;
        let columns = if ours { schema.columns.len() } else { schema.fixed_len() };
        let names: Vec<_> = schema.columns[..columns].iter().map(|column| column.name).collect();
        let mut bytes = format!("{}\n", names.join(",")).into_bytes();
        for mut row in fields {
            let end = row.pop().unwrap();
            bytes.extend_from_slice(row[..columns].join(",").as_bytes());
            bytes.extend_from_slice(end.as_bytes());
        }
        all_ways_agree(&bytes);
    }
}

/// The fields of a row, mostly ordinary, and its end.
fn row_like() -> impl Strategy<Value = Vec<String>> {
    let text = |words: &'static [&'static str]| {
        proptest::sample::select(words).prop_map(str::to_owned).boxed()
    };
    let odd = prop_oneof![
        "[0-9]{1,21}",
        "[-+. \"a-z0-9\u{e9}]{0,9}",
        text(&["", "-1", "007", "\"12\"", "1e3", "18446744073709551616", "4294967296"]),
    ];
    let or_odd = |usual: BoxedStrategy<String>| prop_oneof![30 => usual, 1 => odd.clone().boxed()];
    let number = || prop_oneof!["[0-9]{1,3}", "[1-9][0-9]{7,9}", "[1-9][0-9]{14,18}"].boxed();
    let small = || "[0-9]{1,4}".boxed();
    let end = prop_oneof![20 => Just("\n"), 1 => Just("\r\n"), 1 => Just(",\n"), 1 => Just("\r")];
    (
        or_odd(number()),
        or_odd("[a-z0-9-]{1,40}".boxed()),
        or_odd(text(&["waiting", "running", "preempted", "completed"])),
        or_odd("|[0-9]{1,4}".boxed()),
        or_odd(text(&["", "", "max_num_seqs", "unknown", "lora_limit"])),
        (or_odd(small()), or_odd(small()), or_odd(number())),
        (or_odd("|[0-9]{1,4}".boxed()), or_odd("|[0-9]{1,4}".boxed())),
        end,
    )
        .prop_map(
            |(step, id, state, place, why, (tokens, blocks, time), (given, had), end)| {
                vec![step, id, state, place, why, tokens, blocks, time, given, had, end.to_owned()]
            },
        )
}
