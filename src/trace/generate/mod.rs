//! Made-up traces from a seed.
//!
//! The same options give the same bytes on every machine: the random numbers are ChaCha8, every
//! transcendental function is `libm`'s own code, and each purpose draws from a stream of its own,
//! so that adding aborts to a trace does not move its arrivals. Requests are made one at a time;
//! only conversations that go on are kept.

mod arrivals;
mod distribution;
mod options;
mod random;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub use distribution::Distribution;
pub use options::{
    ArrivalProcess, FollowUp, GenerateOptions, IdStyle, InvalidOption, PrefixChoice,
    PriorityWeights,
};

use xxhash_rust::xxh3::xxh3_128_with_seed;

use self::arrivals::Arrivals;
use self::random::Source;
use super::parse::default_id;
use super::{Arrival, TraceRequest, hashed_run, private_prompt};
use crate::units::{Nanos, Priority, RequestId, TokenRun, Tokens, push_run};

/// A conversation, between two of its turns.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Conversation {
    /// Counted from 0 by first arrival.
    number: u64,
    /// Turns to come.
    turns_left: u64,
    priority: i64,
    /// Whether a turn has been made.
    started: bool,
    /// Tokens that the next prompt starts with: all that has been said.
    context: u64,
    /// The hash blocks of the conversation so far; `None` where it shares nothing.
    blocks: Option<Vec<u64>>,
}

/// The requests of a made-up trace, in arrival order.
#[derive(Debug)]
pub struct Generator {
    options: GenerateOptions,
    arrivals: Arrivals,
    lengths: Source,
    outputs: Source,
    prefixes: Source,
    sessions: Source,
    priorities: Source,
    aborts: Source,
    /// The cumulative weights of the shared prefixes.
    prefix_weights: Vec<f64>,
    /// The next hash id that is not taken.
    next_block: u64,
    conversations: u64,
    made: u32,
    /// The next first turn, drawn but not made.
    next_start: Nanos,
    /// Conversations that go on at a moment, by that moment and then by number.
    waiting: BinaryHeap<Reverse<(Nanos, Conversation)>>,
    /// The conversation whose next turn follows its last at once in the trace.
    following: Option<Conversation>,
}

impl Generator {
    /// A generator of the trace that `options` describe.
    ///
    /// # Errors
    /// Where options do not make sense, alone or together.
    pub fn new(options: &GenerateOptions) -> Result<Self, InvalidOption> {
        options.validate()?;
        let source = |stream| Source::new(options.seed, stream);
        let mut arrivals = Arrivals::new(options, source(0));
        let next_start = arrivals.next();
        let shared = u64::from(options.prefixes) * u64::from(options.prefix_blocks());
        Ok(Self {
            arrivals,
            lengths: source(1),
            outputs: source(2),
            prefixes: source(3),
            sessions: source(4),
            priorities: source(5),
            aborts: source(6),
            prefix_weights: options.prefix_weights(),
            next_block: shared,
            conversations: 0,
            made: 0,
            next_start,
            waiting: BinaryHeap::new(),
            following: None,
            options: options.clone(),
        })
    }

    /// Starts a conversation.
    fn start(&mut self) -> Conversation {
        let turns = self.options.turns.sample(&mut self.sessions);
        let prefix = self.prefix();
        let blocks = match prefix {
            Some(prefix) => {
                let len = u64::from(self.options.prefix_blocks());
                Some((prefix * len..(prefix + 1) * len).collect())
            }
            None if turns > 1 => Some(Vec::new()),
            None => None,
        };
        let number = self.conversations;
        self.conversations += 1;
        Conversation {
            number,
            turns_left: turns,
            started: false,
            priority: self.options.priorities.sample(&mut self.priorities),
            context: prefix.map_or(0, |_| u64::from(self.options.prefix_length)),
            blocks,
        }
    }

    fn prefix(&mut self) -> Option<u64> {
        if self.prefix_weights.is_empty() {
            return None;
        }
        // Both are always drawn, so that the share does not change who gets which prefix.
        let shares = self.prefixes.unit() < self.options.prefix_share;
        let prefix = self.prefixes.weighted(&self.prefix_weights);
        shares.then_some(prefix as u64)
    }

    /// The next turn of `conversation`, arriving at `arrival`; `None` where its prompt would be
    /// longer than a conversation may get.
    fn turn(&mut self, conversation: &mut Conversation, arrival: Arrival) -> Option<TraceRequest> {
        let own = self.options.input_length.sample(&mut self.lengths);
        let output = self.options.output_length.sample(&mut self.outputs);
        let input = conversation.context + own;
        if conversation.started && input > u64::from(self.options.session_max_input) {
            return None;
        }
        let input = Tokens(u32::try_from(input).ok()?);
        let output = Tokens(u32::try_from(output).ok()?);
        let ordinal = self.made;
        let prompt = match &mut conversation.blocks {
            None => private_prompt(ordinal, input),
            Some(blocks) => {
                let block = self.options.hash_block_size;
                let needed = input.blocks_ceil(block).0 as usize;
                while blocks.len() < needed {
                    blocks.push(self.next_block);
                    self.next_block += 1;
                }
                prompt(blocks, block, input)
            }
        };
        self.made += 1;
        conversation.started = true;
        conversation.turns_left -= 1;
        conversation.context = u64::from(input.0) + u64::from(output.0);
        let session = (!self.options.turns.is_always(1)).then(|| session_id(conversation.number));
        Some(TraceRequest {
            ordinal,
            id: self.id(ordinal),
            arrival,
            session,
            input_tokens: input,
            output_tokens: output,
            max_tokens: output,
            priority: Priority(conversation.priority),
            abort_after: self.abort(),
            prompt,
            failed: false,
        })
    }

    fn id(&self, ordinal: u32) -> RequestId {
        match self.options.ids {
            IdStyle::Ordinal => default_id(ordinal),
            IdStyle::Completion => {
                let hash = xxh3_128_with_seed(&ordinal.to_le_bytes(), self.options.seed);
                RequestId::from(format!("cmpl-{hash:032x}-0"))
            }
        }
    }

    fn abort(&mut self) -> Option<Nanos> {
        if self.options.abort_fraction == 0.0 {
            return None;
        }
        let aborts = self.aborts.unit() < self.options.abort_fraction;
        let after = self.options.abort_after_ms.sample(&mut self.aborts);
        aborts.then(|| milliseconds(after))
    }

    /// Puts a conversation with turns to come where its next turn will be found.
    fn keep(&mut self, conversation: Conversation, now: Nanos) {
        if conversation.turns_left == 0 {
            return;
        }
        match self.options.follow_up {
            FollowUp::ClosedLoop => self.following = Some(conversation),
            FollowUp::Timed => {
                let pause = milliseconds(self.options.think_time_ms.sample(&mut self.sessions));
                self.waiting.push(Reverse((now.saturating_add(pause), conversation)));
            }
        }
    }
}

impl Iterator for Generator {
    type Item = TraceRequest;

    fn next(&mut self) -> Option<TraceRequest> {
        loop {
            if u64::from(self.made) >= self.options.requests {
                return None;
            }
            if let Some(mut conversation) = self.following.take() {
                let delay = milliseconds(self.options.think_time_ms.sample(&mut self.sessions));
                let session = session_id(conversation.number);
                let arrival = Arrival::AfterTurn { session, delay };
                if let Some(request) = self.turn(&mut conversation, arrival) {
                    self.keep(conversation, Nanos::ZERO);
                    return Some(request);
                }
                continue;
            }
            let goes_on =
                self.waiting.peek().is_some_and(|Reverse((time, _))| *time <= self.next_start);
            let waiting = if goes_on { self.waiting.pop() } else { None };
            let (now, mut conversation) = match waiting {
                Some(Reverse(waiting)) => waiting,
                None => {
                    let now = self.next_start;
                    self.next_start = self.arrivals.next();
                    (now, self.start())
                }
            };
            if let Some(request) = self.turn(&mut conversation, Arrival::At(now)) {
                self.keep(conversation, now);
                return Some(request);
            }
        }
    }
}

fn session_id(number: u64) -> String {
    format!("s{number}")
}

fn milliseconds(count: u64) -> Nanos {
    Nanos(count.saturating_mul(Nanos::MILLISECOND.0))
}

/// The first `len` tokens of a sequence of hash blocks.
fn prompt(blocks: &[u64], block: u32, len: Tokens) -> Vec<TokenRun> {
    let (mut runs, mut left) = (Vec::new(), len.0);
    for id in blocks {
        let part = left.min(block);
        // Validated options cannot use up the ids.
        if let Some(run) = hashed_run(*id, block, Tokens(part)) {
            push_run(&mut runs, run);
        }
        left -= part;
    }
    runs
}
