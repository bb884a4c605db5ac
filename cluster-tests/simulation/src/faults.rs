//! What is broken, when, and for how long: drawn from the seed alone, whatever the cluster does.

use std::time::Duration;

use crate::{
    chance::Chance,
    limits::{DISK, MACHINES, SAFETY, SLOW_DISK},
    network::{Silence, Wire},
};

/// Something that is broken or mended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// The wire from one machine to another.
    Wire(usize, usize, Wire),
    /// A machine loses its node, and what its disk did not have.
    Crash(usize, Silence),
    /// A machine's node is started, if it has none.
    Start(usize),
    /// A machine stands still for so long.
    Pause(usize, Duration),
    /// A machine's disk takes so long at most.
    Disk(usize, Duration),
    /// A machine gives up its log behind a snapshot.
    Compact(usize),
}

/// One machine is alone for longer than a lease lasts, in each run, while nothing new breaks: its life ends, and it is to know
/// so in time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Isolation {
    pub(crate) machine: usize,
    from: Duration,
    until: Duration,
}

impl Isolation {
    /// Of this seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut chance = Chance::of(seed, 5);
        let from = chance.time(Duration::from_secs(2), Duration::from_secs(12));
        let lasts = chance.time(Duration::from_secs(6), Duration::from_secs(9));
        Self { machine: chance.below(MACHINES), from, until: from + lasts }
    }

    /// Whether a fault would change it, or break something else meanwhile: the others are to end its life in time.
    fn forbids(&self, at: Duration, fault: &Fault) -> bool {
        let forbidden = match *fault {
            Fault::Wire(from, to, wire) => {
                from == self.machine || to == self.machine || wire != Wire::default()
            }
            Fault::Crash(..) | Fault::Pause(..) => true,
            Fault::Start(_) | Fault::Disk(..) | Fault::Compact(_) => false,
        };
        forbidden && self.from <= at && at <= self.until
    }
}

/// The faults of a run, by their times.
pub(crate) fn plan(seed: u64) -> Vec<(Duration, Fault)> {
    let (mut chance, isolation) = (Chance::of(seed, 4), Isolation::of(seed));
    let mut plan = Vec::new();
    let mut at = chance.time(Duration::ZERO, Duration::from_secs(1));
    while at < SAFETY {
        let most = Duration::from_millis(LASTS[chance.below(LASTS.len())]);
        let lasts = chance.time(Duration::from_millis(100), most);
        one(&mut chance, at, lasts, &mut plan);
        at += chance.time(Duration::from_millis(100), Duration::from_millis(2_500));
    }
    plan.retain(|(at, fault)| !isolation.forbids(*at, fault));
    let machine = isolation.machine;
    for other in (0..MACHINES).filter(|other| *other != machine) {
        for (from, to) in [(machine, other), (other, machine)] {
            plan.push((isolation.from, Fault::Wire(from, to, Wire { cut: true, ..Wire::default() })));
            plan.push((isolation.until, Fault::Wire(from, to, Wire::default())));
        }
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

/// Most faults are short; some outlast elections and leases.
const LASTS: [u64; 4] = [800, 2_500, 6_000, 10_000];

fn one(chance: &mut Chance, at: Duration, lasts: Duration, plan: &mut Vec<(Duration, Fault)>) {
    let machine = chance.below(MACHINES);
    let other = (machine + 1 + chance.below(MACHINES - 1)) % MACHINES;
    let others = (0..MACHINES).filter(|other| *other != machine);
    let cut = Wire { cut: true, ..Wire::default() };
    let mut for_a_while = |from, to, wire| {
        plan.push((at, Fault::Wire(from, to, wire)));
        plan.push((at + lasts, Fault::Wire(from, to, Wire::default())));
    };
    match chance.below(13) {
        // Alone.
        0 | 1 => others.for_each(|other| {
            for_a_while(machine, other, cut);
            for_a_while(other, machine, cut);
        }),
        // Heard by nobody, or hearing nobody.
        2 => others.for_each(|other| for_a_while(machine, other, cut)),
        3 => others.for_each(|other| for_a_while(other, machine, cut)),
        // Two that do not see each other; one that does not hear the other.
        4 => {
            for_a_while(machine, other, cut);
            for_a_while(other, machine, cut);
        }
        5 => for_a_while(machine, other, cut),
        6 => {
            let wire = Wire { delay: chance.time(DISK, Duration::from_millis(900)), ..Wire::default() };
            others.for_each(|other| {
                for_a_while(machine, other, wire);
                for_a_while(other, machine, wire);
            });
        }
        7 => {
            let wire = Wire { loss: chance.between(0.05, 0.5), ..Wire::default() };
            others.for_each(|other| for_a_while(other, machine, wire));
        }
        8 | 9 => {
            let silent = if chance.happens(0.5) { Silence::Silent } else { Silence::Reset };
            plan.push((at, Fault::Crash(machine, silent)));
            plan.push((at + lasts, Fault::Start(machine)));
        }
        10 => {
            // All at once, or nearly, while their disks are slow: what they share is about to fail.
            let (takes, within) =
                (chance.time(DISK, SLOW_DISK), chance.time(Duration::ZERO, Duration::from_secs(1)));
            for each in 0..MACHINES {
                let fails = at + within + chance.time(Duration::ZERO, Duration::from_millis(20));
                let back = fails + chance.time(Duration::ZERO, lasts.min(Duration::from_secs(2)));
                plan.push((at, Fault::Disk(each, takes)));
                plan.push((fails, Fault::Crash(each, Silence::Reset)));
                plan.push((back, Fault::Disk(each, DISK)));
                plan.push((back, Fault::Start(each)));
            }
        }
        11 => plan.push((at, Fault::Pause(machine, lasts))),
        _ => {
            plan.push((at, Fault::Disk(machine, chance.time(DISK, SLOW_DISK))));
            plan.push((at + lasts, Fault::Disk(machine, DISK)));
            plan.push((at, Fault::Compact(other)));
        }
    }
}
