//! Readers beside apply: each row is seen as one entry left it, and the applied index never runs ahead of the rows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a thread that cannot go on fails the test")]

use std::{
    ops::ControlFlow,
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
            Addresses, Batch, ChangeKind, Command, FoundCluster, FoundingMember, NodeDown, NodeDownReason,
            NodeUp, OpenSession, SessionChange,
        },
        feature_level::FeatureLevel,
        ids::{
            AttachNumber, BatchNumber, BootCounter, ClusterId, DeviceKey, Epoch, Incarnation, InstanceId,
            LogIndex, NodeId, Registration, StorageId, UnixMillis,
        },
        profile::Profile,
        state::State,
    },
    routes::{Everyone, view::Route},
};

const ENTRIES: u64 = 3_000;

#[test]
fn readers_see_whole_rows_and_never_an_index_ahead_of_them() {
    let mut state = founded();
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

/// A cluster of one node that is up.
fn founded() -> State {
    let mut state = State::new();
    let node = NodeId(1);
    let (storage, addresses) = (StorageId(1), Addresses::default());
    let member = FoundingMember { node, name: "n1".into(), storage, addresses: addresses.clone() };
    let found = FoundCluster {
        cluster_id: ClusterId(1),
        members: vec![member],
        token_key: [0; 32],
        epoch_base: 0,
        registration: Default::default(),
    };
    let (boot, registration) = (BootCounter(1), Registration(1));
    let (version, at, feature_level) = ("1".into(), UnixMillis(1), FeatureLevel::NEWEST);
    let up = NodeUp { node, storage, boot, registration, addresses, version, at, feature_level };
    state.apply(LogIndex(1), &Command::FoundCluster(found));
    state.apply(LogIndex(2), &Command::NodeUp(up));
    state
}

const CONNECTED: u64 = 300;

#[test]
fn who_is_connected_is_seen_as_one_entry_left_it() {
    let mut state = founded();
    (3..3 + CONNECTED).for_each(|index| drop(state.apply(LogIndex(index), &swap(index, false))));
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (routes, done) = (state.routes(), Arc::clone(&done));
            thread::spawn(move || look(&routes, &done))
        })
        .collect();
    for index in 3 + CONNECTED..ENTRIES {
        state.apply(LogIndex(index), &swap(index, true));
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        assert!(reader.join().unwrap() > 0, "it never looked");
    }
}

#[test]
fn who_is_connected_is_said_by_group_labels_and_life() {
    let mut state = founded();
    state.apply(LogIndex(3), &swap(3, false));
    let routes = state.routes();
    let seen = |group, labels: &[(&str, &str)]| {
        let mut seen = Vec::new();
        let whom = Everyone { namespace: "", group, labels };
        let index = routes.visit_connected(&whom, |device| {
            seen.push(device.to_owned());
            ControlFlow::Continue(())
        });
        (index.0, seen)
    };
    assert_eq!(seen(Some("sign"), &[]), (3, vec!["d3".to_owned()]));
    assert_eq!(seen(None, &[("site", "hz1")]).1, ["d3"]);
    assert!(seen(None, &[("site", "moon")]).1.is_empty() && seen(Some("other"), &[]).1.is_empty());
    let (node, incarnation, at) = (NodeId(1), Incarnation(2), UnixMillis(1));
    let down = NodeDown { node, incarnation, reason: NodeDownReason::LeaseLapsed, floor: None, at };
    state.apply(LogIndex(4), &Command::NodeDown(down));
    assert_eq!(seen(Some("sign"), &[]), (4, Vec::new()));
}

#[test]
fn devices_that_are_named_together_are_found_as_one_by_one() {
    let mut state = founded();
    (3..3 + CONNECTED).for_each(|index| drop(state.apply(LogIndex(index), &swap(index, false))));
    let routes = state.routes();
    let ids: Vec<String> = (0..2 * CONNECTED).map(|number| format!("d{}", number * 7 % 500)).collect();
    for asked in [&ids[..0], &ids[..1], &ids[..16], &ids[..17], &ids[..]] {
        let mut told = Vec::new();
        routes.routes_to(asked.iter().map(|id| ("", id.as_str())), |at, route| told.push((at, route)));
        let expected: Vec<_> = asked.iter().map(|id| routes.route("", id)).enumerate().collect();
        assert_eq!(told, expected);
    }
    let mut same = 0;
    routes.routes_to([("", "d3"); 40].into_iter(), |_, route| {
        same += usize::from(route == routes.route("default", "d3"))
    });
    assert_eq!(same, 40);
}

#[test]
fn a_writer_gets_through_between_those_who_ask_for_many_together() {
    let mut state = founded();
    (3..3 + CONNECTED).for_each(|index| drop(state.apply(LogIndex(index), &swap(index, false))));
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (routes, done) = (state.routes(), Arc::clone(&done));
            // The shards of the last device are locked again and again by each of them.
            let ids: Vec<String> = (0..64).map(|number| format!("d{}", 3 + number % 5)).collect();
            thread::spawn(move || {
                while !done.load(Ordering::Acquire) {
                    routes.routes_to(ids.iter().map(|id| ("", id.as_str())), |_, _| ());
                }
            })
        })
        .collect();
    for index in 3 + CONNECTED..ENTRIES {
        state.apply(LogIndex(index), &swap(index, true));
    }
    done.store(true, Ordering::Release);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

/// The entry at `index` opens the device of that number, and closes the one that has been connected longest.
fn swap(index: u64, close: bool) -> Command {
    let Command::Batch(mut batch) = open(index) else { panic!("no batch") };
    batch.changes[0].device = DeviceKey::new("", &format!("d{index}"));
    if close {
        let former = index - CONNECTED;
        // The former opened at this place of its batch.
        let epoch = Epoch::new(0, LogIndex(former), 0);
        let device = DeviceKey::new("", &format!("d{former}"));
        batch.changes.push(SessionChange { device, kind: ChangeKind::Close(epoch) });
    }
    Command::Batch(batch)
}

fn look(routes: &Routes, done: &AtomicBool) -> usize {
    let whom = Everyone { namespace: "", group: Some("sign"), labels: &[] };
    let mut looks = 0;
    while !done.load(Ordering::Acquire) {
        let mut seen = Vec::new();
        let index = routes.visit_connected(&whom, |device| {
            seen.push(device[1..].parse::<u64>().unwrap());
            ControlFlow::Continue(())
        });
        seen.sort_unstable();
        let expected: Vec<u64> = (index.0 + 1 - CONNECTED..=index.0).collect();
        assert_eq!(seen, expected, "at {index}");
        looks += 1;
    }
    looks
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
