//! Properties of the batcher's core over the real model: proposals that are lost, late or doubled, lapses, snapshots.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a run that cannot go on fails the test")]

#[path = "batcher_world/world.rs"]
mod world;

use proptest::{collection::vec, prelude::*};
use world::{NODES, World};

/// A step of a run. Picks are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Open {
        node: u64,
        device: u8,
        patience_ms: u64,
    },
    Close {
        node: u64,
        device: u8,
        waits: bool,
    },
    /// A proposal on its way is committed; kept, it will come again.
    Commit {
        pick: usize,
        keep: bool,
    },
    Lose {
        pick: usize,
    },
    Answer {
        node: u64,
        committed: bool,
    },
    Apply {
        node: u64,
        entries: usize,
    },
    Snapshot {
        node: u64,
    },
    Register {
        node: u64,
    },
    Lapse {
        node: u64,
    },
    Pass {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let node = 1..=NODES;
    let pick = 0..100_usize;
    prop_oneof![
        6 => (node.clone(), 0..4_u8, prop_oneof![Just(100_u64), Just(5_000)])
            .prop_map(|(node, device, patience_ms)| Step::Open { node, device, patience_ms }),
        2 => (node.clone(), 0..4_u8, any::<bool>())
            .prop_map(|(node, device, waits)| Step::Close { node, device, waits }),
        6 => (pick.clone(), prop::bool::weighted(0.3)).prop_map(|(pick, keep)| Step::Commit { pick, keep }),
        2 => pick.prop_map(|pick| Step::Lose { pick }),
        3 => (node.clone(), any::<bool>()).prop_map(|(node, committed)| Step::Answer { node, committed }),
        5 => (node.clone(), 1..4_usize).prop_map(|(node, entries)| Step::Apply { node, entries }),
        1 => node.clone().prop_map(|node| Step::Snapshot { node }),
        2 => node.clone().prop_map(|node| Step::Register { node }),
        1 => node.prop_map(|node| Step::Lapse { node }),
        4 => prop_oneof![Just(1_u64), Just(60), Just(700)].prop_map(|millis| Step::Pass { millis }),
    ]
}

fn run(world: &mut World, step: &Step) {
    match *step {
        Step::Open { node, device, patience_ms } => world.open(node, device, patience_ms),
        Step::Close { node, device, waits } => world.close(node, device, waits),
        Step::Commit { pick, keep } => world.commit(pick, keep),
        Step::Lose { pick } => world.lose(pick),
        Step::Answer { node, committed } => world.answer(node, committed),
        Step::Apply { node, entries } => world.apply(node, entries),
        Step::Snapshot { node } => world.install_snapshot(node),
        Step::Register { node } => world.register(node),
        Step::Lapse { node } => world.lapse(node),
        Step::Pass { millis } => world.pass(millis),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_change_is_answered_once_and_truly_and_no_session_is_left_unknown(steps in vec(step(), 0..120)) {
        let mut world = World::new();
        for step in &steps {
            run(&mut world, step);
            world.check_history();
        }
        world.settle();
        world.check_settled();
    }
}
