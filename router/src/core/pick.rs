//! Which of its own devices the holder gives a group's call to: the one with the least in flight that has room.

use crate::limits::PICK_SAMPLE;

/// How busy a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Calls it has or that wait for it.
    pub(crate) calls: u32,
    /// Calls it takes at once now; at least 1.
    pub(crate) capacity: u32,
    /// Its share of a group's calls, in percent of an equal device's: less while it is being led back.
    pub(crate) percent: u32,
    /// Whether it takes new calls at all.
    pub(crate) taking: Taking,
}

/// Whether a device takes new calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    /// It does.
    Calls,
    /// It is ejected, or is believed gone.
    Nothing,
}

impl Load {
    /// Whether it can start a call now.
    pub(crate) fn has_room(self) -> bool {
        self.taking == Taking::Calls && self.calls < self.capacity
    }

    /// Compares the share of capacity in use, without division.
    fn is_below(self, other: Self) -> bool {
        u64::from(self.calls) * u64::from(other.capacity) < u64::from(other.calls) * u64::from(self.capacity)
    }
}

/// The least loaded of the devices seen so far.
#[derive(Default)]
struct Best(Option<(usize, Load)>);

impl Best {
    fn see(&mut self, position: usize, load: Load) {
        if self.0.is_none_or(|(_, least)| load.is_below(least)) {
            self.0 = Some((position, load));
        }
    }

    fn with_room(&self) -> Option<(usize, Load)> {
        self.0.filter(|(_, load)| load.has_room())
    }
}

/// Chooses among devices, visited in a rotating order so that equals take turns; `turn` is the number of this one.
///
/// An idle device is taken at once. After [`PICK_SAMPLE`] devices the best that has room is taken; while none has
/// room the search goes on. A device that is being led back is passed over in as many turns as its share is below a
/// full one, unless only such devices have room. Returns the position in the iteration, and whether the device has
/// room. `None`: there are no devices.
pub(crate) fn least_loaded(
    devices: impl Iterator<Item = (usize, Load)>,
    turn: usize,
) -> Option<(usize, Room)> {
    // 61 and 100 have no common divisor: each hundred turns has every number once, small and large ones mixed.
    let share_needed = u32::try_from(turn % 100 * 61 % 100).unwrap_or(0);
    let (mut best, mut weak, mut out) = (Best::default(), Best::default(), None);
    for (seen, (position, load)) in devices.enumerate() {
        match load.taking {
            Taking::Nothing => out = out.or(Some(position)),
            Taking::Calls if load.percent <= share_needed => weak.see(position, load),
            Taking::Calls if load.calls == 0 => return Some((position, Room::Some)),
            Taking::Calls => best.see(position, load),
        }
        if seen + 1 >= PICK_SAMPLE && (best.with_room().is_some() || weak.with_room().is_some()) {
            break;
        }
    }
    let with_room = best.with_room().or(weak.with_room()).map(|(position, _)| (position, Room::Some));
    let without = || best.0.or(weak.0).map(|(position, _)| (position, Room::None));
    with_room.or_else(without).or_else(|| out.map(|position| (position, Room::Ejected)))
}

/// Whether a device can start a call now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// It can.
    Some,
    /// The call would have to wait.
    None,
    /// All devices are kept out.
    Ejected,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn loads(pairs: &[(u32, u32)]) -> impl Iterator<Item = (usize, Load)> + '_ {
        let load = |&(calls, capacity)| Load { calls, capacity, percent: 100, taking: Taking::Calls };
        pairs.iter().map(load).enumerate()
    }

    #[test]
    fn the_smallest_share_of_capacity_wins() {
        assert_eq!(least_loaded(loads(&[(1, 2), (3, 10), (1, 3)]), 0), Some((1, Room::Some)));
    }

    #[test]
    fn an_idle_device_is_taken_at_once() {
        assert_eq!(least_loaded(loads(&[(1, 9), (0, 1), (0, 9)]), 0), Some((1, Room::Some)));
    }

    #[test]
    fn of_busy_devices_the_least_overfull_is_named() {
        assert_eq!(least_loaded(loads(&[(5, 1), (2, 1), (3, 1)]), 0), Some((1, Room::None)));
        assert_eq!(least_loaded(loads(&[]), 0), None);
    }

    #[test]
    fn a_device_that_is_led_back_gets_its_share_and_no_more_while_others_have_room() {
        let idle = Load { calls: 0, capacity: 1, percent: 100, taking: Taking::Calls };
        let devices = [idle, Load { percent: 30, ..idle }];
        let mut turns = [0; 2];
        for turn in 0..1_000 {
            let order = (turn % 2..2).chain(0..turn % 2).map(|at| (at, devices[at]));
            let (position, room) = least_loaded(order, turn).expect("there are devices");
            assert_eq!(room, Room::Some);
            turns[position] += 1;
        }
        assert_eq!(turns, [850, 150]);
        let busy = Load { calls: 1, ..idle };
        assert_eq!(least_loaded([busy, devices[1]].into_iter().enumerate(), 99), Some((1, Room::Some)));
    }

    #[test]
    fn ejected_devices_are_taken_only_to_be_refused() {
        let idle = Load { calls: 0, capacity: 1, percent: 100, taking: Taking::Calls };
        let (out, full) = (Load { taking: Taking::Nothing, ..idle }, Load { calls: 1, ..idle });
        assert_eq!(least_loaded([out, idle].into_iter().enumerate(), 0), Some((1, Room::Some)));
        assert_eq!(least_loaded([out, full].into_iter().enumerate(), 0), Some((1, Room::None)));
        assert_eq!(least_loaded([out, out].into_iter().enumerate(), 0), Some((0, Room::Ejected)));
    }

    proptest! {
        #[test]
        fn room_is_found_wherever_it_is(pairs in prop::collection::vec((0..4u32, 1..4u32), 1..200)) {
            let any = pairs.iter().any(|&(calls, capacity)| calls < capacity);
            let (position, room) = least_loaded(loads(&pairs), 0).expect("there are devices");
            prop_assert_eq!(room == Room::Some, any);
            let (calls, capacity) = pairs[position];
            prop_assert_eq!(calls < capacity, any);
        }
    }
}
