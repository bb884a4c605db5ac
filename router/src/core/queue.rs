//! The bounded queue in front of a device. Calls whose time runs out first do not go first: order is arrival.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::in_flight::Tag;

/// Calls that wait for room on a device, in the order of their arrival.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: VecDeque<(Tag, Instant)>,
    capacity: usize,
}

/// The next call of a [`Queue`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Popped {
    /// Still has time.
    Due(Tag),
    /// Its deadline has passed while it waited.
    Late(Tag),
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { waiting: VecDeque::new(), capacity }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Appends a call; the caller has asked whether there is room.
    pub(crate) fn push(&mut self, tag: Tag, deadline: Instant) {
        debug_assert!(self.waiting.len() < self.capacity);
        self.waiting.push_back((tag, deadline));
    }

    pub(crate) fn pop(&mut self, now: Instant) -> Option<Popped> {
        let (tag, deadline) = self.waiting.pop_front()?;
        Some(if deadline > now { Popped::Due(tag) } else { Popped::Late(tag) })
    }

    /// Takes a call out; it has been cancelled or has expired.
    pub(crate) fn remove(&mut self, tag: Tag) {
        self.waiting.retain(|(waiting, _)| *waiting != tag);
    }

    /// Empties the queue.
    pub(crate) fn take_all(&mut self) -> Vec<Tag> {
        self.waiting.drain(..).map(|(tag, _)| tag).collect()
    }
}
