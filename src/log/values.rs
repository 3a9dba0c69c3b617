//! The closed vocabularies of the log: states, reasons, events, actions, finish reasons.
//!
//! Each enum knows its spelling in the files; nothing else in the crate compares such text.

use std::fmt;

macro_rules! wire_enum {
    (
        $(#[$doc:meta])*
        $name:ident { $( $(#[$vdoc:meta])* $variant:ident = $text:literal, )* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[$vdoc])* $variant, )* }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$( Self::$variant, )*];

            /// The spelling in the files.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }

            /// The value with this spelling, if there is one.
            #[must_use]
            pub fn from_bytes(text: &[u8]) -> Option<Self> {
                $( if text == $text.as_bytes() { return Some(Self::$variant); } )*
                None
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::from_bytes(text.as_bytes()).ok_or_else(|| {
                    serde::de::Error::custom(format_args!(
                        "unknown {} {text:?}", stringify!($name)
                    ))
                })
            }
        }
    };
}

wire_enum! {
    /// The state of a request.
    State {
        /// Arrived, never scheduled.
        Waiting = "waiting",
        /// In the running queue.
        Running = "running",
        /// Lost its blocks to another request; waits to be recomputed.
        Preempted = "preempted",
        /// Finished or aborted.
        Completed = "completed",
    }
}

wire_enum! {
    /// The constraint that kept a request out of a step.
    WaitingReason {
        /// The running queue was full.
        MaxNumSeqs = "max_num_seqs",
        /// The step's token budget was spent, or an unsplittable prompt did not fit in what was left.
        MaxNumBatchedTokens = "max_num_batched_tokens",
        /// The blocks for the head of the queue could not be allocated (reserve and watermark included).
        MemoryInsufficient = "memory_insufficient",
        /// Preempted in this very step, or admission did not run because the step preempted.
        Preempted = "preempted",
        /// The sequence is as long as the model allows.
        ContextLengthLimit = "context_length_limit",
        /// Decodes were served first.
        DecodePriority = "decode_priority",
        /// A prompt is being computed in chunks.
        ChunkedPrefill = "chunked_prefill",
        /// Its cache blocks were evicted.
        Evicted = "evicted",
        /// It is being recomputed.
        Recomputation = "recomputation",
        /// No step has looked at it yet.
        InitialWaiting = "initial_waiting",
        /// The logger does not know.
        Unknown = "unknown",
        /// Its KV blocks are being fetched from another engine.
        WaitingForRemoteKvs = "waiting_for_remote_kvs",
        /// Its grammar is being compiled.
        WaitingForFsm = "waiting_for_fsm",
        /// Its adapter would exceed the adapters of a batch.
        LoraLimit = "lora_limit",
        /// The budget of encoder inputs was spent.
        EncoderBudget = "encoder_budget",
        /// It was preempted while steps with its tokens were in flight; their output must come first.
        WaitingForOutput = "waiting_for_output",
    }
}

wire_enum! {
    /// What happened to a request.
    EventType {
        /// It reached the server.
        RequestArrived = "request_arrived",
        /// A step scheduled it for the first time.
        RequestScheduled = "request_scheduled",
        /// A step took its blocks away.
        RequestPreempted = "request_preempted",
        /// It was resumed with fewer cached tokens than it had computed.
        RequestEvicted = "request_evicted",
        /// A step scheduled it again after a preemption.
        RequestResumed = "request_resumed",
        /// Its first output token is there.
        FirstTokenGenerated = "first_token_generated",
        /// It is over.
        RequestCompleted = "request_completed",
        /// A step gave it blocks.
        KvCacheAllocated = "kv_cache_allocated",
        /// Its blocks went back to the pool.
        KvCacheFreed = "kv_cache_freed",
    }
}

wire_enum! {
    /// The weightiest decision of a step, heaviest first.
    SchedulerAction {
        /// A running request was preempted.
        Preempt = "preempt",
        /// A request was scheduled for the first time.
        AdmitNew = "admit_new",
        /// A preempted request was scheduled again.
        Resume = "resume",
        /// Only running requests were scheduled.
        Continue = "continue",
        /// Nothing was scheduled.
        Idle = "idle",
    }
}

wire_enum! {
    /// Why a request ended.
    FinishReason {
        /// A stop token was generated.
        Stop = "stop",
        /// `max_tokens` or `max_model_len` was reached.
        Length = "length",
        /// The client gave up.
        Abort = "abort",
        /// The request was rejected or failed.
        Error = "error",
        /// Still alive at shutdown.
        Unfinished = "unfinished",
    }
}

wire_enum! {
    /// How much a logger writes.
    LogLevel {
        /// Everything, block events included.
        Full = "full",
        /// Everything but block events.
        Standard = "standard",
        /// No per_iteration_requests.csv and no block events.
        Summary = "summary",
    }
}

/// The actions of a step: one in a reference log, several joined by `;` in some dialects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActionSet(u8);

impl ActionSet {
    /// Reads `continue` or `admit_new;preempt`.
    #[must_use]
    pub fn from_bytes(text: &[u8]) -> Option<Self> {
        text.split(|byte| *byte == b';').try_fold(Self::default(), |set, word| {
            SchedulerAction::from_bytes(word).map(|action| set.with(action))
        })
    }

    /// The set of this one action.
    #[must_use]
    pub const fn of(action: SchedulerAction) -> Self {
        Self(1 << action as u8)
    }

    /// The set with one more action.
    #[must_use]
    pub const fn with(self, action: SchedulerAction) -> Self {
        Self(self.0 | 1 << action as u8)
    }

    /// Whether the action is in the set.
    #[must_use]
    pub const fn contains(self, action: SchedulerAction) -> bool {
        self.0 & (1 << action as u8) != 0
    }

    /// How many actions the set has.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether the set has no action.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The actions, weightiest first.
    pub fn iter(self) -> impl Iterator<Item = SchedulerAction> {
        SchedulerAction::ALL.iter().copied().filter(move |action| self.contains(*action))
    }
}

impl fmt::Display for ActionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, action) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(";")?;
            }
            f.write_str(action.as_str())?;
        }
        Ok(())
    }
}

impl FinishReason {
    /// Whether a request with this reason ended outside of a step's output.
    #[must_use]
    pub const fn is_drop(self) -> bool {
        matches!(self, Self::Abort | Self::Error)
    }
}

impl EventType {
    /// Whether it is a decision of a step, taken at its `D`.
    #[must_use]
    pub const fn is_decision(self) -> bool {
        matches!(
            self,
            Self::RequestScheduled
                | Self::RequestPreempted
                | Self::RequestResumed
                | Self::RequestEvicted
                | Self::KvCacheAllocated
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_is_invertible() {
        for state in State::ALL {
            assert_eq!(State::from_bytes(state.as_str().as_bytes()), Some(*state));
        }
        for reason in WaitingReason::ALL {
            assert_eq!(WaitingReason::from_bytes(reason.as_str().as_bytes()), Some(*reason));
        }
        assert_eq!(EventType::from_bytes(b"request_aborted"), None);
    }

    #[test]
    fn action_sets_list_the_weightiest_first() {
        let set = ActionSet::of(SchedulerAction::Continue).with(SchedulerAction::Preempt);
        assert_eq!(set.to_string(), "preempt;continue");
        assert_eq!(set.len(), 2);
    }
}
