//! Which device of a group an affinity key belongs to: rendezvous hashing with bounded load.
//!
//! Each device has a score for each key; the highest wins (Thaler and Ravishankar, "Using Name-Based Mappings to
//! Increase Hit Rates", 1998). A device that comes or goes takes only its own keys along. The scores are a contract
//! between nodes: all of them must send a key to the same device, whatever version they run.

use std::collections::BinaryHeap;

use super::device::Queueing;

/// What is known of a device before it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It may have room.
    Open,
    /// It has no room now.
    Busy,
    /// Its holder cannot be reached.
    Away,
}

/// The next device to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Its position among the members.
    pub(crate) member: usize,
    /// Whether the call may wait there.
    pub(crate) queueing: Queueing,
}

/// One call's way along the devices of its key, best first.
///
/// While others are left, devices without room are passed over. When the attempts or the devices are used up, the
/// call waits at the best device that can be reached.
#[derive(Debug)]
pub(crate) struct Walk {
    order: BinaryHeap<(u64, usize)>,
    attempts: u32,
    home: Option<usize>,
    over: bool,
}

impl Walk {
    /// The way of `key` along these devices, with at most `attempts` steps.
    pub(crate) fn new<'a>(key: &str, members: impl Iterator<Item = &'a str>, attempts: u32) -> Self {
        let scored = members.enumerate().map(|(member, device)| (score(key, device), member));
        Self { order: scored.collect(), attempts, home: None, over: false }
    }

    /// The next step; `None`: there is none left, or no device can be reached.
    pub(crate) fn next(&mut self, standing: impl Fn(usize) -> Standing) -> Option<Step> {
        if self.over {
            return None;
        }
        while self.attempts > 1
            && let Some((_, member)) = self.order.pop()
        {
            let standing = standing(member);
            if standing == Standing::Away {
                continue;
            }
            let alone = self.home.is_none() && self.order.is_empty();
            self.home.get_or_insert(member);
            if standing == Standing::Open && !alone {
                self.attempts -= 1;
                return Some(Step { member, queueing: Queueing::Forbidden });
            }
        }
        self.over = true;
        let reachable = |member: &usize| standing(*member) != Standing::Away;
        let home = self.home.filter(reachable).or_else(|| self.first_reachable(&standing));
        home.map(|member| Step { member, queueing: Queueing::Allowed })
    }

    fn first_reachable(&mut self, standing: &impl Fn(usize) -> Standing) -> Option<usize> {
        while let Some((_, member)) = self.order.pop() {
            if standing(member) != Standing::Away {
                return Some(member);
            }
        }
        None
    }
}

/// FNV-1a over both names, stirred by the finalizer of `SplitMix64` (Steele, Lea and Flood, 2014), without which names
/// that differ in their last letter only would rank alike for every key.
fn score(key: &str, device: &str) -> u64 {
    // No name holds the byte 0xff, so that (ab, c) and (a, bc) differ.
    let bytes = key.bytes().chain([0xff]).chain(device.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("phone-{number}")).collect()
    }

    fn walk(key: &str, devices: &[String], attempts: u32) -> Walk {
        Walk::new(key, devices.iter().map(String::as_str), attempts)
    }

    fn home<'a>(key: &str, devices: &'a [String]) -> &'a str {
        &devices[walk(key, devices, 3).next(|_| Standing::Open).expect("a step").member]
    }

    #[test]
    fn the_scores_never_change() {
        assert_eq!(score("cart-7", "phone-1"), 0xc508_01f7_5371_2158);
        assert_ne!(score("ab", "c"), score("a", "bc"));
    }

    #[test]
    fn keys_spread_evenly() {
        let devices = names(10);
        let mut counts = vec![0_u32; devices.len()];
        for key in 0..10_000 {
            let step = walk(&format!("key-{key}"), &devices, 3).next(|_| Standing::Open).expect("a step");
            counts[step.member] += 1;
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_call_that_finds_no_room_waits_at_home() {
        let devices = names(5);
        let mut walk = walk("key", &devices, 3);
        let steps: Vec<_> = std::iter::from_fn(|| walk.next(|_| Standing::Open)).collect();
        assert_eq!(steps.len(), 3);
        assert_ne!(steps[0].member, steps[1].member);
        assert_eq!(steps[0].member, steps[2].member);
        let waits: Vec<_> = steps.iter().map(|step| step.queueing == Queueing::Allowed).collect();
        assert_eq!(waits, [false, false, true]);
    }

    #[test]
    fn the_only_device_is_asked_once() {
        let devices = names(1);
        let mut walk = walk("key", &devices, 3);
        assert_eq!(walk.next(|_| Standing::Open), Some(Step { member: 0, queueing: Queueing::Allowed }));
        assert_eq!(walk.next(|_| Standing::Open), None);
    }

    proptest! {
        #[test]
        fn a_device_that_goes_takes_only_its_own_keys(count in 2..30usize, gone in 0..30usize, key: u64) {
            let (devices, key) = (names(count), key.to_string());
            let mut fewer = devices.clone();
            let gone = fewer.remove(gone % count);
            let before = home(&key, &devices);
            if before != gone {
                prop_assert_eq!(before, home(&key, &fewer));
            }
        }

        #[test]
        fn a_walk_ends_asks_only_who_can_be_asked_and_waits_last(
            standings in prop::collection::vec(0..3u8, 0..20), attempts in 1..5u32, key: u64,
        ) {
            let standing = |member: usize| [Standing::Open, Standing::Busy, Standing::Away][usize::from(standings[member])];
            let devices = names(standings.len());
            let mut walk = walk(&key.to_string(), &devices, attempts);
            let steps: Vec<_> = std::iter::from_fn(|| walk.next(standing)).take(10).collect();
            prop_assert!(steps.len() <= attempts as usize);
            let reachable = standings.iter().any(|standing| *standing != 2);
            prop_assert_eq!(steps.last().is_some_and(|step| step.queueing == Queueing::Allowed), reachable);
            let Some((_, earlier)) = steps.split_last() else { return Ok(()) };
            for (at, step) in earlier.iter().enumerate() {
                prop_assert_eq!((step.queueing, standing(step.member)), (Queueing::Forbidden, Standing::Open));
                prop_assert!(earlier[..at].iter().all(|other| other.member != step.member), "asked twice");
            }
        }
    }
}
