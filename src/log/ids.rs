//! Request ids as small integers, with memory for the live ones only.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::log::field::{needs_quotes, write_text};

/// A request of one log: an index into the tables that keep per-request state.
///
/// Keys are handed out by an [`IdTable`] or by the logger and are reused once released, so they say
/// nothing about order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(pub u32);

impl RequestKey {
    /// The key as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Something that knows the text of request keys.
pub trait Ids {
    /// The id as the client gave it (not quoted).
    fn id(&self, key: RequestKey) -> &str;

    /// The id as a CSV field, quoted if need be.
    fn field(&self, key: RequestKey) -> &[u8];
}

/// Maps id texts to keys and back.
#[derive(Debug, Default)]
pub struct IdTable {
    names: Vec<Box<str>>,
    /// The ids that must be quoted in a CSV field, quoted; empty for the others, which are nearly all.
    quoted: Vec<Box<[u8]>>,
    /// By key: how many names had it before.
    generations: Vec<u32>,
    free: Vec<RequestKey>,
    index: HashTable<RequestKey>,
}

impl IdTable {
    /// The key of `name`; a new one if the name is not live.
    pub fn intern(&mut self, name: &str) -> RequestKey {
        let hash = FxBuildHasher.hash_one(name);
        if let Some(key) = self.index.find(hash, |key| &*self.names[key.index()] == name) {
            return *key;
        }
        let quoted = quoted(name);
        let key = match self.free.pop() {
            Some(key) => {
                self.names[key.index()] = name.into();
                self.quoted[key.index()] = quoted;
                key
            }
            None => {
                // A log with 2^32 requests alive at once does not fit in memory long before this.
                let key = RequestKey(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
                self.names.push(name.into());
                self.quoted.push(quoted);
                self.generations.push(0);
                key
            }
        };
        let names = &self.names;
        self.index.insert_unique(hash, key, |key| FxBuildHasher.hash_one(&*names[key.index()]));
        key
    }

    /// Whether `name` is live and has this key.
    #[inline]
    #[must_use]
    pub fn is(&self, key: RequestKey, name: &[u8]) -> bool {
        // The name of a key that is not live is empty.
        !name.is_empty() && self.names.get(key.index()).is_some_and(|own| own.as_bytes() == name)
    }

    /// How many names had the key before the one that has it.
    #[inline]
    #[must_use]
    pub fn generation(&self, key: RequestKey) -> u32 {
        self.generations.get(key.index()).copied().unwrap_or_default()
    }

    /// Whether the key still belongs to the name that had it in this generation.
    #[inline]
    #[must_use]
    pub fn is_still(&self, key: RequestKey, generation: u32) -> bool {
        self.generations.get(key.index()) == Some(&generation)
    }

    /// The key of `name`, if the name is live.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<RequestKey> {
        let hash = FxBuildHasher.hash_one(name);
        self.index.find(hash, |key| &*self.names[key.index()] == name).copied()
    }

    /// Forgets a name; its key will be handed out again.
    pub fn release(&mut self, key: RequestKey) {
        let hash = FxBuildHasher.hash_one(&*self.names[key.index()]);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == key) {
            entry.remove();
            self.names[key.index()] = Box::default();
            self.generations[key.index()] = self.generations[key.index()].wrapping_add(1);
            self.free.push(key);
        }
    }

    /// How many names are live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether no name is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
}

impl Ids for IdTable {
    fn id(&self, key: RequestKey) -> &str {
        &self.names[key.index()]
    }

    fn field(&self, key: RequestKey) -> &[u8] {
        let quoted = &self.quoted[key.index()];
        if quoted.is_empty() { self.names[key.index()].as_bytes() } else { quoted }
    }
}

/// The id as a quoted field; empty if it needs no quotes.
fn quoted(name: &str) -> Box<[u8]> {
    let mut field = Vec::new();
    if needs_quotes(name) {
        write_text(name, &mut field);
    }
    field.into_boxed_slice()
}

/// Foresees whose row comes next: the steps of a log show the same requests in the same order, so it
/// is nearly always the one that followed the last time. What it says is always compared with the
/// name itself.
#[derive(Debug, Default)]
pub struct Foresight {
    /// By key: the key whose row came next the last time.
    next: Vec<RequestKey>,
    last: RequestKey,
}

impl Foresight {
    /// The key of the next row's `name`.
    #[inline]
    pub fn key(&mut self, name: &[u8], ids: &mut IdTable) -> RequestKey {
        let guess = self.after(self.last);
        if ids.is(guess, name) {
            self.last = guess;
            return guess;
        }
        self.surprise(guess, name, ids)
    }

    fn after(&self, key: RequestKey) -> RequestKey {
        self.next.get(key.index()).copied().unwrap_or_default()
    }

    fn surprise(&mut self, guess: RequestKey, name: &[u8], ids: &mut IdTable) -> RequestKey {
        // One that is over drops out of the order.
        let second = self.after(guess);
        let key = match ids.is(second, name) {
            true => second,
            // Names that the short cut takes are ASCII.
            false => match str::from_utf8(name) {
                Ok(name) => ids.intern(name),
                Err(_) => ids.intern(&String::from_utf8_lossy(name)),
            },
        };
        let most = self.last.index().max(key.index());
        if self.next.len() <= most {
            self.next.resize(most + 1, RequestKey::default());
        }
        self.next[self.last.index()] = key;
        self.last = key;
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_keys_are_reused() {
        let mut ids = IdTable::default();
        let a = ids.intern("a");
        let b = ids.intern("b");
        assert_eq!(ids.intern("a"), a);
        ids.release(a);
        assert_eq!(ids.get("a"), None);
        assert_eq!(ids.intern("c"), a);
        assert_eq!(ids.id(b), "b");
        assert_eq!(ids.len(), 2);
    }
}
