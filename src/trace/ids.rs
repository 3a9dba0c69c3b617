//! Whether every request has a name of its own.

use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;
use xxhash_rust::xxh3::xxh3_128;

/// The names seen so far.
///
/// Names that only ever increase (by length, then by bytes: `r9` before `r10`) cannot repeat, so
/// the usual trace needs no memory here. The first name out of order needs the set of all earlier
/// ones, as 128-bit hashes; the caller reads them again.
#[derive(Debug)]
pub(super) enum Names {
    Increasing { last: Option<String> },
    Any(HashSet<u128, FxBuildHasher>),
}

/// What a name turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    New,
    Taken,
    /// Unknown until the earlier names are given to [`Names::remember`].
    OutOfOrder,
}

impl Names {
    pub(super) const fn new() -> Self {
        Self::Increasing { last: None }
    }

    /// Adds `name`.
    pub(super) fn add(&mut self, name: &str) -> Verdict {
        match self {
            Self::Any(seen) => {
                let new = seen.insert(name_hash(name));
                if new { Verdict::New } else { Verdict::Taken }
            }
            Self::Increasing { last: Some(last) } => {
                if (last.len(), last.as_str()) >= (name.len(), name) {
                    return Verdict::OutOfOrder;
                }
                last.clear();
                last.push_str(name);
                Verdict::New
            }
            Self::Increasing { last } => {
                *last = Some(name.to_owned());
                Verdict::New
            }
        }
    }

    /// Replaces what is known by the set of all earlier names.
    pub(super) fn remember(&mut self, earlier: HashSet<u128, FxBuildHasher>) {
        *self = Self::Any(earlier);
    }
}

/// The hash of a name in the set.
pub(super) fn name_hash(name: &str) -> u128 {
    xxh3_128(name.as_bytes())
}
