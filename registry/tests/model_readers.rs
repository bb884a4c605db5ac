//! Readers beside apply: each row is seen as one entry left it, and the applied index never runs ahead of the rows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a thread that cannot go on fails the test")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rollcall_registry::{
    Routes,
    model::{
        command::{
            Addresses, Batch, ChangeKind, Command, FoundCluster, FoundingMember, NodeUp, OpenSession,
            SessionChange,
        },
        ids::{
            AttachNumber, BatchNumber, BootCounter, ClusterId, DeviceKey, Epoch, Incarnation, InstanceId,
            LogIndex, NodeId, Registration, StorageId, UnixMillis,
        },
        profile::Profile,
        state::State,
    },
    routes::view::Route,
};

const ENTRIES: u64 = 3_000;

#[test]
fn readers_see_whole_rows_and_never_an_index_ahead_of_them() {
    let mut state = State::new();
    let node = NodeId(1);
    let (storage, addresses) = (StorageId(1), Addresses::default());
    let member = FoundingMember { node, name: "n1".into(), storage, addresses: addresses.clone() };
    let found =
        FoundCluster { cluster_id: ClusterId(1), members: vec![member], token_key: [0; 32], epoch_base: 0 };
    let (boot, registration) = (BootCounter(1), Registration(1));
    let up = NodeUp { node, storage, boot, registration, addresses, version: "1".into(), at: UnixMillis(1) };
    state.apply(LogIndex(1), &Command::FoundCluster(found));
    state.apply(LogIndex(2), &Command::NodeUp(up));
    state.apply(LogIndex(3), &open(3));
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (routes, done) = (state.routes(), Arc::clone(&done));
            thread::spawn(move || read(&routes, &done))
        })
        .collect();
    let mut views = Vec::new();
    for index in 4..ENTRIES {
        state.apply(LogIndex(index), &open(index));
        if index.is_multiple_of(100) {
            views.push((state.digest(), state.snapshot()));
        }
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        reader.join().unwrap();
    }
    assert!(views.iter().all(|(digest, view)| view.digest() == *digest));
}

/// Opens the device with as much capacity as the entry's index.
fn open(index: u64) -> Command {
    let profile = Profile::new(["sign"], [("site", "hz1")], ["echo"], index as u32);
    let open = OpenSession {
        instance: InstanceId(index),
        attach_number: AttachNumber(1),
        profile: Arc::new(profile),
        remote_addr: "".into(),
        only_if: None,
    };
    Command::Batch(Batch {
        node: NodeId(1),
        incarnation: Incarnation(2),
        number: BatchNumber(index - 2),
        changes: vec![SessionChange { device: DeviceKey::new("", "d"), kind: ChangeKind::Open(open) }],
        at: UnixMillis(1),
    })
}

fn read(routes: &Routes, done: &AtomicBool) {
    let mut newest = Epoch(0);
    while !done.load(Ordering::Acquire) {
        let applied = routes.applied_index();
        let Route::Held { session, profile } = routes.route("", "d") else { panic!("it is not held") };
        assert_eq!(session.instance.0, u64::from(profile.capacity));
        assert!(session.epoch >= newest && session.epoch >= Epoch::new(0, applied, 0));
        newest = session.epoch;
    }
}
