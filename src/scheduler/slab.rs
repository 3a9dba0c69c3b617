//! Where requests live. Stands for `Scheduler.requests`, with slots in the place of ids.
//!
//! A slot is reused only after its request finished, its end was handed out, and every pass that
//! names it was processed; so no pass, however late its output, can mistake one request for another.

use std::ops::{Index, IndexMut};

use crate::scheduler::request::{NewRequest, Request};

/// Names a request inside the scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl Slot {
    /// The slot as an index, for tables kept beside the scheduler.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The requests, and the slots that may be reused.
#[derive(Clone, Debug, Default)]
pub struct Slab {
    requests: Vec<Request>,
    free: Vec<Slot>,
    /// Slots that nothing names any more; observers of the current step may still read them.
    retired: Vec<Slot>,
}

impl Slab {
    /// Stores a request.
    pub fn insert(&mut self, new: NewRequest) -> Slot {
        let mut request = Request::new(new);
        match self.free.pop() {
            Some(slot) => {
                let old = &mut self[slot];
                request.reuse_buffers(old);
                *old = request;
                slot
            }
            None => {
                let slot = Slot(u32::try_from(self.requests.len()).unwrap_or(u32::MAX));
                self.requests.push(request);
                slot
            }
        }
    }

    /// Drops one mention of a request.
    #[inline]
    pub fn unpin(&mut self, slot: Slot) {
        let request = &mut self[slot];
        request.pins -= 1;
        if request.pins == 0 && request.is_finished() {
            self.retired.push(slot);
        }
    }

    /// Makes the slots retired so far available to new requests.
    pub fn recycle(&mut self) {
        self.free.append(&mut self.retired);
    }

    /// How many slots exist: the most requests ever alive at a time, roughly.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.requests.len()
    }
}

impl Index<Slot> for Slab {
    type Output = Request;

    #[inline]
    fn index(&self, slot: Slot) -> &Request {
        &self.requests[slot.index()]
    }
}

impl IndexMut<Slot> for Slab {
    #[inline]
    fn index_mut(&mut self, slot: Slot) -> &mut Request {
        &mut self.requests[slot.index()]
    }
}

impl Request {
    /// Takes over the buffers of the slot's former request.
    fn reuse_buffers(&mut self, old: &mut Self) {
        self.blocks = std::mem::take(&mut old.blocks);
        self.blocks.clear();
        self.content.reuse_buffers(&mut old.content);
    }
}
