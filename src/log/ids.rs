//! Request ids as small integers, with memory for the live ones only.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

/// A request of one log: an index into the tables that keep per-request state.
///
/// Keys are handed out by an [`IdTable`] or by the logger and are reused once released, so they say
/// nothing about order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
}

/// Maps id texts to keys and back.
#[derive(Debug, Default)]
pub struct IdTable {
    names: Vec<Box<str>>,
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
        let key = match self.free.pop() {
            Some(key) => {
                self.names[key.index()] = name.into();
                key
            }
            None => {
                // A log with 2^32 requests alive at once does not fit in memory long before this.
                let key = RequestKey(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
                self.names.push(name.into());
                key
            }
        };
        let names = &self.names;
        self.index.insert_unique(hash, key, |key| FxBuildHasher.hash_one(&*names[key.index()]));
        key
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
