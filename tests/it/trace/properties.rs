//! What holds for any trace.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// Any request that a trace can hold, but for its place in the trace.
fn request(block: u32) -> impl Strategy<Value = TraceRequest> {
    let length = prop_oneof![1..2000_u32, Just(MAX_LENGTH)];
    let ids = vec(prop_oneof![0..4_u64, 0..((1_u64 << 63) / u64::from(block))], 1..6);
    let content = option::of((ids, 1..=block));
    let rest = (
        length.clone(),
        option::of(length),
        prop_oneof![Just(0), any::<i64>()],
        option::of(0..=i64::MAX.unsigned_abs()),
        prop::bool::weighted(0.1),
        option::of(0..3_u8),
        option::of(0..10_u64.pow(12)),
    );
    (1..3000_u32, content, rest).prop_map(move |(input, content, rest)| {
        let (output, max_tokens, priority, abort_after, failed, session, delay) = rest;
        let (input, prompt) = match content {
            None => (input, Vec::new()),
            Some((ids, last)) => {
                let mut prompt = Vec::new();
                for (index, id) in ids.iter().enumerate() {
                    let len = if index + 1 == ids.len() { last } else { block };
                    let first = TokenId(id * u64::from(block));
                    push_run(&mut prompt, TokenRun { first, len: Tokens(len) });
                }
                (block * (u32::try_from(ids.len()).unwrap() - 1) + last, prompt)
            }
        };
        let output = if failed { 0 } else { output };
        TraceRequest {
            ordinal: 0,
            id: RequestId::from(""),
            arrival: Arrival::AfterTurn {
                session: String::new(),
                delay: Nanos(delay.unwrap_or(u64::MAX)),
            },
            session: session.map(|session| format!("s{session}")),
            input_tokens: Tokens(input),
            output_tokens: Tokens(output),
            max_tokens: Tokens(max_tokens.unwrap_or(output)),
            priority: Priority(priority),
            abort_after: abort_after.map(Nanos),
            prompt,
            failed,
        }
    })
}

/// A trace in arrival order, with turns right after what they follow.
fn trace(block: u32) -> impl Strategy<Value = Vec<TraceRequest>> {
    let names = prop_oneof![Just(None), ("[a-z\"\\\\é, ]{1,3}").prop_map(Some)];
    vec((request(block), 0..5_000_000_000_u64, names), 1..20).prop_map(|rows| {
        let (mut time, mut last_session) = (0, None);
        let mut requests = Vec::new();
        for (ordinal, (mut request, gap, name)) in (0_u32..).zip(rows) {
            request.ordinal = ordinal;
            // The ordinal keeps names apart.
            let name = name.map_or(format!("r{ordinal}"), |name| format!("{name}{ordinal}!"));
            request.id = RequestId::from(name);
            if request.prompt.is_empty() {
                let first = private_token(ordinal, 0);
                request.prompt = vec![TokenRun { first, len: request.input_tokens }];
            }
            match (&request.session, &mut request.arrival) {
                (Some(session), Arrival::AfterTurn { session: of, delay })
                    if delay.0 != u64::MAX && last_session.as_ref() == Some(session) =>
                {
                    of.clone_from(session);
                }
                _ => {
                    time += gap;
                    request.arrival = Arrival::At(Nanos(time));
                }
            }
            last_session.clone_from(&request.session);
            requests.push(request);
        }
        requests
    })
}

fn write(requests: &[TraceRequest], block: u32) -> Vec<u8> {
    let mut writer = TraceWriter::new(Vec::new(), block);
    requests.iter().for_each(|request| writer.write(request).unwrap());
    writer.finish().unwrap()
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        (block, written) in prop_oneof![Just(16_u32), Just(512), 1..2000_u32]
            .prop_flat_map(|block| (Just(block), trace(block)))
    ) {
        let bytes = write(&written, block);
        let options = ReadOptions {
            hash_block_size: Some(block),
            keep_failed: true,
            ..ReadOptions::default()
        };
        let trace = Trace::from_bytes("written", bytes.clone(), &options).unwrap();
        let read = requests(&trace);
        prop_assert_eq!(&read, &written);
        prop_assert_eq!(write(&read, block), bytes);
        let given = Trace::from_requests("written", read);
        prop_assert_eq!(given.summary().sequence_tokens_max, trace.summary().sequence_tokens_max);
    }

    #[test]
    fn the_order_of_rows_with_different_times_does_not_matter(
        times in vec(0..1_000_000_u32, 1..30)
    ) {
        let mut times = times;
        let row = |t: &u32| format!(
            "{{\"timestamp\": {t}, \"input_length\": 5, \"output_length\": 5, \"request_id\": \"t{t}\"}}\n"
        );
        let shuffled: String = { times.sort_unstable(); times.dedup(); times.reverse(); times.iter().map(row).collect() };
        times.reverse();
        let sorted: String = times.iter().map(row).collect();
        let names = |text: &str| -> Vec<_> {
            let trace = read_text(text, &ReadOptions::default()).unwrap();
            requests(&trace).into_iter().map(|request| (request.id, request.arrival)).collect()
        };
        prop_assert_eq!(names(&shuffled), names(&sorted));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in vec(any::<u8>(), 0..400),
        format in prop::sample::select(vec![
            None,
            Some(TraceFormat::Mooncake),
            Some(TraceFormat::Csv),
            Some(TraceFormat::Azure),
            Some(TraceFormat::LlmServingSim),
        ]),
        skip_invalid: bool,
    ) {
        let options = ReadOptions { format, skip_invalid, ..ReadOptions::default() };
        if let Ok(trace) = Trace::from_bytes("bytes", bytes, &options) {
            trace.requests().unwrap().for_each(|request| { request.unwrap(); });
        }
    }

    #[test]
    fn no_damage_to_a_trace_makes_the_reader_panic(
        name in prop::sample::select(vec![
            "mooncake.jsonl", "native.jsonl", "azure-2024.csv", "plain.csv", "unsorted.jsonl",
            "llmservingsim.jsonl", "burstgpt-v1.csv",
        ]),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        skip_invalid: bool,
        keep_failed: bool,
        rebase: bool,
    ) {
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let options = ReadOptions { skip_invalid, keep_failed, rebase, ..ReadOptions::default() };
        if let Ok(trace) = Trace::from_bytes("bytes", bytes, &options) {
            let read = requests(&trace);
            prop_assert_eq!(read.len() as u64, trace.summary().requests);
        }
    }
}
