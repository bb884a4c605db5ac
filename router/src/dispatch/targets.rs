//! The devices of one broadcast: their ids end to end, with four bytes each to find them by.

use std::ops::ControlFlow;

use crate::{core::broadcast::Target, limits};

/// The devices of one broadcast.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    ids: String,
    ends: Vec<u32>,
    overflowed: bool,
}

impl Targets {
    /// Adds a device, unless there are as many as are allowed.
    pub(crate) fn add(&mut self, device: &str) -> ControlFlow<()> {
        let fits = self.ends.len() < limits::BROADCAST_TARGETS
            && self.ids.len() + device.len() <= limits::BROADCAST_ID_BYTES;
        if !fits {
            self.overflowed = true;
            return ControlFlow::Break(());
        }
        self.ids.push_str(device);
        // The bound of their bytes is below that of the number.
        self.ends.push(self.ids.len() as u32);
        ControlFlow::Continue(())
    }

    /// Whether there were more than are allowed.
    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// How many they are.
    pub(crate) fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    /// Gives back the room that growing left over.
    pub(crate) fn shrink(&mut self) {
        self.ids.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// A device's id; empty: there is no such device.
    pub(crate) fn id(&self, target: Target) -> &str {
        let at = target as usize;
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.ends.get(at).and_then(|end| self.ids.get(begin..*end as usize)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_keeps_its_id() {
        let mut targets = Targets::default();
        for id in ["a", "", "long-name", "ü"] {
            assert!(targets.add(id).is_continue());
        }
        targets.shrink();
        let ids: Vec<&str> = (0..5).map(|target| if target < 4 { targets.id(target) } else { "" }).collect();
        assert_eq!(ids, ["a", "", "long-name", "ü", ""]);
        assert_eq!(targets.len(), 4);
    }

    #[test]
    fn a_million_devices_take_24_bytes_each_and_no_more_are_taken() {
        let mut targets = Targets::default();
        for number in 0..limits::BROADCAST_TARGETS {
            assert!(targets.add(&format!("device-{number:013}")).is_continue());
        }
        targets.shrink();
        assert_eq!(targets.ids.capacity() + targets.ends.capacity() * 4, 24 * limits::BROADCAST_TARGETS);
        assert!(!targets.overflowed());
        assert!(targets.add("one more").is_break() && targets.overflowed());
    }
}
