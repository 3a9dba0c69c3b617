//! The waiting queue. Stands for `v1/core/sched/request_queue.py: FCFSRequestQueue` and
//! `PriorityRequestQueue` of vLLM 0.32.
//!
//! vLLM takes a request that cannot run yet out of its queue and puts it back in its old place when
//! the scan ends; here a scan walks past it with [`WaitingQueue::after`], which is the same.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::config::Policy;
use crate::scheduler::request::Request;
use crate::scheduler::slab::Slot;
use crate::units::{Nanos, Priority, RequestId};

/// Requests that wait to be admitted, preempted ones among them.
#[derive(Clone, Debug)]
pub enum WaitingQueue {
    /// In order of arrival; preempted requests go to the front.
    Fcfs(LinkedQueue),
    /// By urgency; a preempted request returns to its place.
    Priority(BTreeSet<PriorityKey>),
}

/// The service order of the priority policy. Stands for `Request.__lt__`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PriorityKey {
    priority: Priority,
    arrival_time: Nanos,
    id: RequestId,
    slot: Slot,
}

impl PriorityKey {
    fn new(slot: Slot, request: &Request) -> Self {
        Self {
            priority: request.priority,
            arrival_time: request.arrival_time,
            id: request.id.clone(),
            slot,
        }
    }
}

impl WaitingQueue {
    /// An empty queue.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        match policy {
            Policy::Fcfs => Self::Fcfs(LinkedQueue::default()),
            Policy::Priority => Self::Priority(BTreeSet::new()),
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Fcfs(queue) => queue.len,
            Self::Priority(set) => set.len(),
        }
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in a new request (`add_request`).
    pub fn push_back(&mut self, slot: Slot, request: &Request) {
        match self {
            Self::Fcfs(queue) => queue.push_back(slot),
            Self::Priority(set) => {
                set.insert(PriorityKey::new(slot, request));
            }
        }
    }

    /// Takes in a preempted request (`prepend_request`).
    pub fn push_front(&mut self, slot: Slot, request: &Request) {
        match self {
            Self::Fcfs(queue) => queue.push_front(slot),
            Self::Priority(set) => {
                set.insert(PriorityKey::new(slot, request));
            }
        }
    }

    /// Takes a request out, wherever it stands.
    pub fn remove(&mut self, slot: Slot, request: &Request) {
        match self {
            Self::Fcfs(queue) => queue.remove(slot),
            Self::Priority(set) => {
                set.remove(&PriorityKey::new(slot, request));
            }
        }
    }

    /// The request that is served first.
    #[must_use]
    pub fn first(&self) -> Option<Slot> {
        match self {
            Self::Fcfs(queue) => queue.first(),
            Self::Priority(set) => set.first().map(|key| key.slot),
        }
    }

    /// The request that is served right after a waiting one.
    #[must_use]
    pub fn after(&self, slot: Slot, request: &Request) -> Option<Slot> {
        match self {
            Self::Fcfs(queue) => queue.after(slot),
            Self::Priority(set) => {
                let key = PriorityKey::new(slot, request);
                set.range((Bound::Excluded(&key), Bound::Unbounded)).next().map(|key| key.slot)
            }
        }
    }

    /// All of them, in service order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        match self {
            Self::Fcfs(queue) => Iter::Fcfs { queue, next: queue.first() },
            Self::Priority(set) => Iter::Priority(set.iter()),
        }
    }
}

/// Iterates over a waiting queue in service order.
#[derive(Debug)]
pub enum Iter<'a> {
    /// Along the links.
    Fcfs {
        /// The queue.
        queue: &'a LinkedQueue,
        /// Where to go on.
        next: Option<Slot>,
    },
    /// Along the keys.
    Priority(std::collections::btree_set::Iter<'a, PriorityKey>),
}

impl Iterator for Iter<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        match self {
            Self::Fcfs { queue, next } => {
                let slot = (*next)?;
                *next = queue.after(slot);
                Some(slot)
            }
            Self::Priority(keys) => keys.next().map(|key| key.slot),
        }
    }
}

/// A doubly linked list threaded through the slots, so that any request leaves in constant time.
#[derive(Clone, Debug, Default)]
pub struct LinkedQueue {
    links: Vec<Link>,
    first: Option<Slot>,
    last: Option<Slot>,
    len: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    before: Option<Slot>,
    after: Option<Slot>,
}

impl LinkedQueue {
    fn first(&self) -> Option<Slot> {
        self.first
    }

    fn after(&self, slot: Slot) -> Option<Slot> {
        self.links[slot.index()].after
    }

    fn push_back(&mut self, slot: Slot) {
        self.set(slot, Link { before: self.last, after: None });
        match self.last {
            Some(last) => self.links[last.index()].after = Some(slot),
            None => self.first = Some(slot),
        }
        self.last = Some(slot);
        self.len += 1;
    }

    fn push_front(&mut self, slot: Slot) {
        self.set(slot, Link { before: None, after: self.first });
        match self.first {
            Some(first) => self.links[first.index()].before = Some(slot),
            None => self.last = Some(slot),
        }
        self.first = Some(slot);
        self.len += 1;
    }

    fn remove(&mut self, slot: Slot) {
        let Link { before, after } = self.links[slot.index()];
        match before {
            Some(before) => self.links[before.index()].after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => self.links[after.index()].before = before,
            None => self.last = before,
        }
        self.len -= 1;
    }

    fn set(&mut self, slot: Slot, link: Link) {
        if self.links.len() <= slot.index() {
            self.links.resize(slot.index() + 1, Link::default());
        }
        self.links[slot.index()] = link;
    }
}
