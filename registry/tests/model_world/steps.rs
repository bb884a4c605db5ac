//! Random steps: commands as a test draws them, before epochs and numbers are known.

use proptest::{collection::vec, prelude::*};

pub(crate) const NODES: u64 = 3;
pub(crate) const DEVICES: u8 = 5;

/// A step of a test.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Up {
        node: u64,
        registration: Registering,
    },
    Down {
        node: u64,
        incarnation: Newness,
    },
    Batch {
        node: u64,
        changes: Vec<Change>,
    },
    RepeatBatch {
        node: u64,
    },
    StrayBatch {
        node: u64,
        incarnation: Newness,
        ahead: u64,
    },
    Admit {
        name: u8,
        storage: u8,
    },
    Remove {
        node: u64,
    },
    Put {
        device: u8,
        expect: Expecting,
        etag: u64,
        assign: u8,
        enabled: Option<bool>,
    },
    Delete {
        device: u8,
        expect: Expecting,
    },
    Policy {
        known: Option<bool>,
    },
    /// A leader looks at what the members can take part in.
    JudgeLevel,
    /// The level is raised, by what was judged some time ago.
    RaiseLevel,
    AccessRules {
        expect: Expecting,
        etag: u64,
        text: u8,
    },
    GroupPolicy {
        group: u8,
        default_ms: u64,
        max_ms: u64,
    },
    Expire {
        cutoff: u64,
        at: u64,
    },
    Sweep,
    Blank,
    Restore,
}

/// What an administrator expects a record to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expecting {
    None,
    Any,
    Current,
    Stale,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Registering {
    Next,
    Again,
    NewBoot,
    OldVersion,
    Old,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Newness {
    Current,
    Old,
}

/// A change of a session; epochs are named by their age: 0 is the device's newest.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Open { device: u8, instance: u64, attach_number: u64, profile: u8, only_if: Option<usize> },
    Close { device: u8, age: usize },
    Update { device: u8, age: usize, profile: u8 },
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    let device = 0..DEVICES;
    let age = prop_oneof![4 => Just(0_usize), 1 => 1..3_usize];
    prop_oneof![
        4 => (device.clone(), 1..4_u64, 1..5_u64, 0..6_u8, prop::option::weighted(0.3, age.clone()))
            .prop_map(|(device, instance, attach_number, profile, only_if)| Change::Open {
                device, instance, attach_number, profile, only_if
            }),
        2 => (device.clone(), age.clone()).prop_map(|(device, age)| Change::Close { device, age }),
        1 => (device, age, 0..6_u8).prop_map(|(device, age, profile)| Change::Update { device, age, profile }),
    ]
}

fn newness() -> impl Strategy<Value = Newness> {
    prop_oneof![3 => Just(Newness::Current), 1 => Just(Newness::Old)]
}

fn expecting() -> impl Strategy<Value = Expecting> {
    prop_oneof![Just(Expecting::None), Just(Expecting::Any), Just(Expecting::Current), Just(Expecting::Stale)]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let node = 1..=NODES;
    let registering = prop_oneof![
        4 => Just(Registering::Next),
        1 => Just(Registering::Again),
        1 => Just(Registering::NewBoot),
        1 => Just(Registering::OldVersion),
        1 => Just(Registering::Old),
    ];
    prop_oneof![
        3 => (node.clone(), registering).prop_map(|(node, registration)| Step::Up { node, registration }),
        1 => (node.clone(), newness()).prop_map(|(node, incarnation)| Step::Down { node, incarnation }),
        10 => (node.clone(), vec(change(), 0..6)).prop_map(|(node, changes)| Step::Batch { node, changes }),
        1 => node.clone().prop_map(|node| Step::RepeatBatch { node }),
        1 => (node, newness(), 0..3_u64)
            .prop_map(|(node, incarnation, ahead)| Step::StrayBatch { node, incarnation, ahead }),
        1 => (0..6_u8, 0..2_u8).prop_map(|(name, storage)| Step::Admit { name, storage }),
        // The named nodes stay, or little would happen after the first removal.
        1 => (NODES + 1..NODES + 4).prop_map(|node| Step::Remove { node }),
        3 => (0..DEVICES, expecting(), 1..1_000_u64, 0..4_u8, prop::option::of(any::<bool>()))
            .prop_map(|(device, expect, etag, assign, enabled)| Step::Put { device, expect, etag, assign, enabled }),
        1 => (0..DEVICES, expecting()).prop_map(|(device, expect)| Step::Delete { device, expect }),
        1 => prop::option::of(any::<bool>()).prop_map(|known| Step::Policy { known }),
        1 => (expecting(), 1..1_000_u64, 0..3_u8)
            .prop_map(|(expect, etag, text)| Step::AccessRules { expect, etag, text }),
        1 => (0..3_u8, 0..3_u64, 0..3_u64)
            .prop_map(|(group, default_ms, max_ms)| Step::GroupPolicy { group, default_ms, max_ms }),
        1 => (0..100_u64, 0..100_u64).prop_map(|(cutoff, at)| Step::Expire { cutoff, at }),
        1 => Just(Step::JudgeLevel),
        1 => Just(Step::RaiseLevel),
        1 => Just(Step::Sweep),
        1 => Just(Step::Blank),
        1 => Just(Step::Restore),
    ]
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 0..60)
}
