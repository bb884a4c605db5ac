//! The calls that one device has been given, and who waits for them. Where each of them stands, not what to do next.

use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::token::CallToken;

/// Names a call on its device's slot; never used twice within four thousand million calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Tag(pub(crate) u64);

impl Tag {
    fn new(index: usize, sequence: u32) -> Self {
        Self(u64::from(sequence) << 32 | index as u64)
    }

    fn index(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }
}

/// Where a call stands. `content` is what the device will be told; it is gone once the transport has it.
#[derive(Debug)]
pub(crate) enum Phase<C> {
    /// Waits for room on the device.
    Queued { content: C, since: Instant },
    /// Has its place on the device; waits for the transport.
    Ready { content: C, queued: Duration, since: Instant },
    /// The transport took it.
    Written { queued: Duration, write: Duration, since: Instant },
    /// Nobody waits any more; the device has not said yet that it stopped.
    Cancelling { since: Instant },
}

impl<W, C> Entry<W, C> {
    /// Its name on the device's slot.
    pub(crate) fn tag(&self) -> Tag {
        self.tag
    }
}

impl<C> Phase<C> {
    /// Whether the call takes up capacity of the device.
    pub(crate) fn occupies(&self) -> bool {
        match self {
            Self::Queued { .. } => false,
            Self::Ready { .. } | Self::Written { .. } | Self::Cancelling { .. } => true,
        }
    }
}

/// What becomes of a call that its device has, when the device's connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLoss {
    /// It waits until the device comes back and says.
    Wait,
    /// It ends: nobody knows, and its caller's node tries another device.
    End,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Entry<W, C> {
    tag: Tag,
    /// Its name in the whole cluster.
    pub(crate) token: CallToken,
    /// What becomes of it when the device's connection is lost.
    pub(crate) on_loss: OnLoss,
    /// Who waits; `None` while [`Phase::Cancelling`].
    pub(crate) waiter: Option<W>,
    /// When the waiter gives up.
    pub(crate) deadline: Instant,
    /// Where it stands.
    pub(crate) phase: Phase<C>,
}

/// What is known of a call from its arrival on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    /// Its name in the whole cluster.
    pub(crate) token: CallToken,
    /// When the waiter gives up.
    pub(crate) deadline: Instant,
    /// What becomes of it when the device's connection is lost.
    pub(crate) on_loss: OnLoss,
}

/// The table of a device's calls.
#[derive(Debug)]
pub(crate) struct InFlight<W, C> {
    entries: Slab<Entry<W, C>>,
    sequence: u32,
    /// No deadline is earlier than this: lets a sweep skip the table.
    earliest: Option<Instant>,
}

impl<W, C> InFlight<W, C> {
    pub(crate) fn new() -> Self {
        Self { entries: Slab::new(), sequence: 0, earliest: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn insert(&mut self, waiter: W, named: Named, phase: Phase<C>) -> Tag {
        let Named { token, deadline, on_loss } = named;
        self.sequence = self.sequence.wrapping_add(1);
        let vacant = self.entries.vacant_entry();
        let tag = Tag::new(vacant.key(), self.sequence);
        vacant.insert(Entry { tag, token, on_loss, waiter: Some(waiter), deadline, phase });
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        tag
    }

    pub(crate) fn get_mut(&mut self, tag: Tag) -> Option<&mut Entry<W, C>> {
        self.entries.get_mut(tag.index()).filter(|entry| entry.tag == tag)
    }

    pub(crate) fn get(&self, tag: Tag) -> Option<&Entry<W, C>> {
        self.entries.get(tag.index()).filter(|entry| entry.tag == tag)
    }

    pub(crate) fn remove(&mut self, tag: Tag) -> Option<Entry<W, C>> {
        self.get(tag)?;
        self.entries.try_remove(tag.index())
    }

    /// The calls that somebody still waits for and whose deadline has passed.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<Tag> {
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return Vec::new();
        }
        let waiting =
            || self.entries.iter().filter(|(_, entry)| entry.waiter.is_some()).map(|(_, entry)| entry);
        let overdue = waiting().filter(|entry| entry.deadline <= now).map(|entry| entry.tag).collect();
        self.earliest = waiting().filter(|entry| entry.deadline > now).map(|entry| entry.deadline).min();
        overdue
    }

    /// The calls that the device has not been told of.
    pub(crate) fn unsent(&self) -> Vec<Tag> {
        let unsent = |entry: &Entry<W, C>| matches!(entry.phase, Phase::Queued { .. } | Phase::Ready { .. });
        self.entries.iter().filter(|(_, entry)| unsent(entry)).map(|(_, entry)| entry.tag).collect()
    }

    /// Since when the device owes its word on the call that was cancelled first; `None`: it owes none.
    pub(crate) fn unreturned(&self) -> Option<Instant> {
        let since = |entry: &Entry<W, C>| match entry.phase {
            Phase::Cancelling { since } => Some(since),
            Phase::Queued { .. } | Phase::Ready { .. } | Phase::Written { .. } => None,
        };
        self.entries.iter().filter_map(|(_, entry)| since(entry)).min()
    }

    /// The calls that the device has been told of.
    pub(crate) fn sent(&self) -> impl Iterator<Item = &Entry<W, C>> {
        let sent =
            |entry: &&Entry<W, C>| matches!(entry.phase, Phase::Written { .. } | Phase::Cancelling { .. });
        self.entries.iter().map(|(_, entry)| entry).filter(sent)
    }

    /// Empties the table.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Entry<W, C>> + '_ {
        self.earliest = None;
        self.entries.drain()
    }
}

#[cfg(test)]
mod tests {
    use rollcall_registry::model::ids::{Incarnation, NodeId};

    use super::*;

    fn due(deadline: Instant) -> Named {
        let token = CallToken { origin: NodeId(1), incarnation: Incarnation(1), call: 1 };
        Named { token, deadline, on_loss: OnLoss::Wait }
    }

    #[test]
    fn a_tag_of_a_past_call_names_nothing() {
        let now = Instant::now();
        let mut table = InFlight::<&str, ()>::new();
        let first = table.insert("a", due(now), Phase::Cancelling { since: now });
        assert!(table.remove(first).is_some());
        let second = table.insert("b", due(now), Phase::Cancelling { since: now });
        assert_eq!(first.index(), second.index());
        assert!(table.remove(first).is_none());
        assert!(table.get_mut(second).is_some());
    }

    #[test]
    fn overdue_calls_are_found_whatever_the_order_of_deadlines() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut table = InFlight::<u64, ()>::new();
        let tags: Vec<_> = [30, 10, 20]
            .into_iter()
            .map(|ms| table.insert(ms, due(at(ms)), Phase::Cancelling { since: now }))
            .collect();
        assert!(table.overdue(at(9)).is_empty());
        assert_eq!(table.overdue(at(20)), vec![tags[1], tags[2]]);
        table.remove(tags[1]);
        table.remove(tags[2]);
        assert!(table.overdue(at(29)).is_empty());
        assert_eq!(table.overdue(at(30)), vec![tags[0]]);
    }
}
