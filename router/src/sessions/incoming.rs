//! Results that are half received on one connection, and the room for them: an agent that waits for credit gets it in the
//! order of asking, as soon as there is room for all of a result; what others send without asking is bounded otherwise.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::{
    core::{in_flight::Tag, lanes::Flow, room::Room},
    limits::{ASSEMBLY_BYTES, DEVICE_ROOM_BYTES},
};

/// A result in chunks, by slot and tag; tag 0: of a call that came on an earlier connection.
pub(crate) type Part = (u32, Tag);

/// Results that are half received on one connection.
#[derive(Debug)]
pub(crate) struct Incoming {
    flow: Flow,
    /// `None` while nothing is on its way, which is nearly always: an idle connection is to be small.
    parts: Option<Box<Parts>>,
}

#[derive(Debug)]
struct Parts {
    room: Room<Part>,
    /// What has room, and how much.
    placed: HashMap<Part, u64>,
    /// Credit that is to be told to the agent.
    due: VecDeque<(Part, u64)>,
}

/// So much is half received that no more is taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Incoming {
    /// Nothing is on its way.
    pub(crate) fn new() -> Self {
        Self { flow: Flow::Free, parts: None }
    }

    /// The agent waits for credit. Said before anything is on its way.
    pub(crate) fn wait_for_credit(&mut self) {
        self.flow = Flow::OnCredit;
        self.parts = None;
    }

    fn parts(&mut self) -> &mut Parts {
        let room = match self.flow {
            Flow::Free => ASSEMBLY_BYTES,
            Flow::OnCredit => DEVICE_ROOM_BYTES,
        };
        self.parts.get_or_insert_with(|| Box::new(Parts::new(room)))
    }

    /// So many bytes of a result are still to come.
    ///
    /// # Errors
    /// An agent that does not wait for credit has sent too much at once.
    pub(crate) fn begin(&mut self, part: Part, missing: u64) -> Result<(), Full> {
        let flow = self.flow;
        let parts = self.parts();
        let placed = match flow {
            Flow::Free if parts.room.take(missing) => true,
            Flow::Free => return Err(Full),
            Flow::OnCredit => parts.room.ask(part, missing),
        };
        if placed {
            parts.place(part, missing, flow);
        }
        Ok(())
    }

    /// A result is whole, or is not wanted any more.
    pub(crate) fn end(&mut self, part: Part) {
        let Some(parts) = &mut self.parts else { return };
        match parts.placed.remove(&part) {
            Some(bytes) => parts.room.free(bytes),
            None => parts.room.forget(part),
        }
        while let Some((part, bytes)) = parts.room.next() {
            parts.place(part, bytes, self.flow);
        }
        self.shrink();
    }

    /// A result came of which so many bytes are missing. If nobody takes it, the agent may send the rest at once: it is
    /// dropped here as it comes, and would stay with the agent for ever if it waited for its turn.
    pub(crate) fn let_pass_unless_taken(&mut self, part: Part, missing: u64) {
        if missing == 0 || self.flow != Flow::OnCredit {
            return;
        }
        let parts = self.parts();
        if !parts.placed.contains_key(&part) && !parts.room.is_waiting(part) {
            parts.due.push_back((part, missing));
        }
    }

    /// The next credit that is to be told to the agent.
    pub(crate) fn next_credit(&mut self) -> Option<(Part, u64)> {
        let next = self.parts.as_mut()?.due.pop_front();
        if next.is_none() {
            self.shrink();
        }
        next
    }

    fn shrink(&mut self) {
        self.parts.take_if(|parts| parts.is_empty());
    }
}

impl Parts {
    fn new(room: u64) -> Self {
        Self { room: Room::new(room), placed: HashMap::new(), due: VecDeque::new() }
    }

    /// What has no room waits for what has it: nothing placed, nothing waits.
    fn is_empty(&self) -> bool {
        self.placed.is_empty() && self.due.is_empty()
    }

    fn place(&mut self, part: Part, bytes: u64, flow: Flow) {
        self.placed.insert(part, bytes);
        if flow == Flow::OnCredit {
            self.due.push_back((part, bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEGABYTE: u64 = 1024 * 1024;

    fn part(tag: u64) -> Part {
        (1, Tag(tag))
    }

    fn on_credit() -> Incoming {
        let mut incoming = Incoming::new();
        incoming.wait_for_credit();
        incoming
    }

    fn credits(incoming: &mut Incoming) -> Vec<u64> {
        std::iter::from_fn(|| incoming.next_credit()).map(|((_, tag), _)| tag.0).collect()
    }

    #[test]
    fn of_many_large_results_some_come_and_the_others_follow_in_turn() {
        let mut incoming = on_credit();
        let fit = DEVICE_ROOM_BYTES / (4 * MEGABYTE);
        for tag in 1..=100 {
            assert_eq!(incoming.begin(part(tag), 4 * MEGABYTE), Ok(()));
        }
        assert_eq!(credits(&mut incoming), (1..=fit).collect::<Vec<_>>());
        for done in 1..=100 {
            incoming.end(part(done));
            let next = done + fit;
            assert_eq!(credits(&mut incoming), if next <= 100 { vec![next] } else { Vec::new() });
        }
        assert!(incoming.parts.is_none());
    }

    #[test]
    fn one_that_nobody_takes_does_not_wait_for_a_turn() {
        let mut incoming = on_credit();
        assert_eq!(incoming.begin(part(1), DEVICE_ROOM_BYTES), Ok(()));
        assert_eq!(incoming.begin(part(2), 7), Ok(()));
        for tag in 1..=3 {
            incoming.let_pass_unless_taken(part(tag), 7);
        }
        assert_eq!(credits(&mut incoming), [1, 3]);
        incoming.end(part(2));
        incoming.end(part(1));
        assert_eq!(credits(&mut incoming), []);
    }

    #[test]
    fn whoever_does_not_wait_is_given_no_credit_and_is_bounded() {
        let mut incoming = Incoming::new();
        assert_eq!(incoming.begin(part(1), ASSEMBLY_BYTES), Ok(()));
        assert_eq!(incoming.begin(part(2), 1), Err(Full));
        incoming.let_pass_unless_taken(part(2), 1);
        assert_eq!(credits(&mut incoming), []);
        incoming.end(part(1));
        assert_eq!(incoming.begin(part(2), 1), Ok(()));
    }

    proptest! {
        #[test]
        fn whatever_was_begun_gets_its_credit_or_was_given_up(
            steps in prop::collection::vec((1..9u64, 1..DEVICE_ROOM_BYTES, any::<bool>()), 1..60),
        ) {
            let mut incoming = on_credit();
            let (mut begun, mut credited) = (Vec::new(), Vec::new());
            for (tag, bytes, ends) in steps {
                if ends {
                    begun.retain(|known| *known != tag);
                    credited.retain(|known| *known != tag);
                    incoming.end(part(tag));
                } else if !begun.contains(&tag) {
                    begun.push(tag);
                    prop_assert_eq!(incoming.begin(part(tag), bytes), Ok(()));
                }
                credited.extend(credits(&mut incoming));
                let placed: Vec<u64> =
                    incoming.parts.iter().flat_map(|parts| parts.placed.values().copied()).collect();
                prop_assert!(placed.iter().sum::<u64>() <= DEVICE_ROOM_BYTES || placed.len() == 1);
                prop_assert!(begun.is_empty() || !placed.is_empty(), "somebody waits for nobody");
            }
            while let Some(tag) = credited.pop() {
                begun.retain(|known| *known != tag);
                incoming.end(part(tag));
                credited.extend(credits(&mut incoming));
            }
            prop_assert!(begun.is_empty(), "no credit for {begun:?}");
        }
    }
}
