//! Which of its own devices the holder gives a group's call to: the one with the least in flight that has room.

use crate::limits::PICK_SAMPLE;

/// How busy a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Calls it has or that wait for it.
    pub(crate) calls: u32,
    /// Calls it takes at once; at least 1.
    pub(crate) capacity: u32,
}

impl Load {
    /// Whether it can start a call now.
    pub(crate) fn has_room(self) -> bool {
        self.calls < self.capacity
    }

    /// Compares the share of capacity in use, without division.
    fn is_below(self, other: Self) -> bool {
        u64::from(self.calls) * u64::from(other.capacity) < u64::from(other.calls) * u64::from(self.capacity)
    }
}

/// Chooses among devices, visited in a rotating order so that equals take turns.
///
/// An idle device is taken at once. After [`PICK_SAMPLE`] devices the best that has room is taken; while none has
/// room the search goes on. Returns the position in the iteration, and whether the device has room. `None`: there
/// are no devices.
pub(crate) fn least_loaded(devices: impl Iterator<Item = (usize, Load)>) -> Option<(usize, Room)> {
    let mut best: Option<(usize, Load)> = None;
    for (seen, (position, load)) in devices.enumerate() {
        if load.calls == 0 {
            return Some((position, Room::Some));
        }
        if best.is_none_or(|(_, least)| load.is_below(least)) {
            best = Some((position, load));
        }
        if seen + 1 >= PICK_SAMPLE && best.is_some_and(|(_, least)| least.has_room()) {
            break;
        }
    }
    best.map(|(position, load)| (position, if load.has_room() { Room::Some } else { Room::None }))
}

/// Whether a device can start a call now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// It can.
    Some,
    /// The call would have to wait.
    None,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn loads(pairs: &[(u32, u32)]) -> impl Iterator<Item = (usize, Load)> + '_ {
        pairs.iter().map(|&(calls, capacity)| Load { calls, capacity }).enumerate()
    }

    #[test]
    fn the_smallest_share_of_capacity_wins() {
        assert_eq!(least_loaded(loads(&[(1, 2), (3, 10), (1, 3)])), Some((1, Room::Some)));
    }

    #[test]
    fn an_idle_device_is_taken_at_once() {
        assert_eq!(least_loaded(loads(&[(1, 9), (0, 1), (0, 9)])), Some((1, Room::Some)));
    }

    #[test]
    fn of_busy_devices_the_least_overfull_is_named() {
        assert_eq!(least_loaded(loads(&[(5, 1), (2, 1), (3, 1)])), Some((1, Room::None)));
        assert_eq!(least_loaded(loads(&[])), None);
    }

    proptest! {
        #[test]
        fn room_is_found_wherever_it_is(pairs in prop::collection::vec((0..4u32, 1..4u32), 1..200)) {
            let any = pairs.iter().any(|&(calls, capacity)| calls < capacity);
            let (position, room) = least_loaded(loads(&pairs)).expect("there are devices");
            prop_assert_eq!(room == Room::Some, any);
            let (calls, capacity) = pairs[position];
            prop_assert_eq!(calls < capacity, any);
        }
    }
}
