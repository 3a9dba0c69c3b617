//! Quantities and identities as types, so that a block is never added to a token.
//!
//! Every newtype is a plain integer at run time. Subtraction is checked in debug builds as for any
//! integer; where a difference may legitimately be negative the callers use [`Nanos::checked_sub`]
//! and its siblings.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A count with its noun, or with what is said of so many.
#[must_use]
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// Nothing of it.
            pub const ZERO: Self = Self(0);
            /// The largest representable amount.
            pub const MAX: Self = Self(<$inner>::MAX);

            /// The difference, or `None` where it would be negative.
            #[must_use]
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The difference, or zero where it would be negative.
            #[must_use]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// The sum, or the largest amount where it would overflow.
            #[must_use]
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                self.0 -= other.0;
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self::ZERO, Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

quantity! {
    /// Nanoseconds: a duration, or a moment counted from the start of the scheduler (t = 0).
    Nanos(u64)
}
quantity! {
    /// A number of tokens.
    Tokens(u32)
}
quantity! {
    /// A number of KV cache blocks.
    Blocks(u32)
}
quantity! {
    /// A number of requests (queue lengths, batch sizes, per-step counts).
    Requests(u32)
}
quantity! {
    /// The ordinal of an engine step: 0, 1, 2, …
    IterationId(u64)
}
quantity! {
    /// A number of bytes.
    Bytes(u64)
}

impl Nanos {
    /// One millisecond.
    pub const MILLISECOND: Self = Self(1_000_000);
    /// One second.
    pub const SECOND: Self = Self(1_000_000_000);

    /// The time as floating seconds; for display and for models, never for accounting.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl Tokens {
    /// How many blocks of `block_size` tokens hold this many tokens (rounded up).
    #[must_use]
    pub const fn blocks_ceil(self, block_size: u32) -> Blocks {
        Blocks(self.0.div_ceil(block_size))
    }
}

/// A scheduling priority: a lower number is served first; 0 under FCFS.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Priority(pub i64);

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a KV cache block. Block 0 is the null block and is never handed out.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BlockId(pub u32);

/// The name of a request, as the client or the trace gave it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RequestId {
    fn from(id: &str) -> Self {
        Self(Arc::from(id))
    }
}

impl From<String> for RequestId {
    fn from(id: String) -> Self {
        Self(Arc::from(id))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of one token's content. Equal ids are equal tokens; nothing else is known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub u64);

/// A run of tokens with consecutive ids: `first, first + 1, …` (`len` of them).
///
/// Prompts of real traces have thousands of tokens; runs keep a prompt at a few words per prefix
/// block while still naming every token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRun {
    /// The first token of the run.
    pub first: TokenId,
    /// How many tokens the run has; at least one.
    pub len: Tokens,
}

/// Appends `run` to `runs`, merging it into the last run where the ids continue, so that equal
/// token sequences always have the same runs.
pub fn push_run(runs: &mut Vec<TokenRun>, run: TokenRun) {
    if run.len == Tokens::ZERO {
        return;
    }
    match runs.last_mut() {
        Some(last) if last.first.0 + u64::from(last.len.0) == run.first.0 => last.len += run.len,
        _ => runs.push(run),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_merge_only_where_ids_continue() {
        let mut runs = Vec::new();
        for (first, len) in [(0, 4), (4, 2), (9, 1), (9, 0), (10, 3)] {
            push_run(&mut runs, TokenRun { first: TokenId(first), len: Tokens(len) });
        }
        let shape: Vec<_> = runs.iter().map(|run| (run.first.0, run.len.0)).collect();
        assert_eq!(shape, [(0, 6), (9, 4)]);
    }

    #[test]
    fn blocks_round_up() {
        assert_eq!(Tokens(0).blocks_ceil(16), Blocks(0));
        assert_eq!(Tokens(16).blocks_ceil(16), Blocks(1));
        assert_eq!(Tokens(17).blocks_ceil(16), Blocks(2));
    }
}
