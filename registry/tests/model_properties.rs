//! Properties of the model over random logs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a log that cannot be run fails the test")]

#[path = "model_world/steps.rs"]
mod steps;
#[path = "model_world/world.rs"]
mod world;

use proptest::{collection::vec, prelude::*};
use rollcall_registry::{
    codec::{command_from_proto, command_to_proto},
    model::{
        command::{ChangeKind, Command},
        event::Event,
        feature_level::FeatureLevel,
        ids::LogIndex,
        invariants,
        response::Response,
        state::State,
    },
    routes::view::{DeviceView, Route},
};
use steps::{Change, Step, change, step, steps};
use world::{World, refused_positions, restored};

proptest! {
    #[test]
    fn every_log_keeps_all_invariants(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            let (before, level) = (world.state.routes().counts().devices, world.state.routes().feature_level());
            let events = world.step(step).map(|applied| applied.events).unwrap_or_default();
            invariants::check(&world.state).unwrap();
            invariants::level_never_falls(level, world.state.routes().feature_level()).unwrap();
            let removed = events.iter().filter(|event| matches!(event, Event::Removed { .. })).count() as u64;
            prop_assert!(world.state.routes().counts().devices + removed >= before);
        }
    }

    #[test]
    fn a_late_close_never_removes_a_newer_session(steps in steps(), number in 0..steps::DEVICES, age in 0..3_usize) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.step(&Step::Up { node: 1, registration: steps::Registering::Next });
        let close = Change::Close { device: number, age };
        let ChangeKind::Close(epoch) = world.change(&close).kind else { unreachable!() };
        let before = world.views();
        let applied = world.step(&Step::Batch { node: 1, changes: vec![close] }).unwrap();
        prop_assert!(refused_positions(&applied).is_some());
        for (at, (before, after)) in before.iter().zip(world.views()).enumerate() {
            if at == usize::from(number) {
                invariants::a_late_close_removes_nothing(before.as_ref(), epoch, after.as_ref()).unwrap();
            } else {
                prop_assert_eq!(before, &after);
            }
        }
    }

    #[test]
    fn a_batch_is_the_sequence_of_its_changes(steps in steps(), changes in vec(change(), 0..12)) {
        let (mut whole, mut single) = (World::new(), World::new());
        for world in [&mut whole, &mut single] {
            for step in &steps {
                world.step(step);
            }
            world.step(&Step::Up { node: 1, registration: steps::Registering::Next });
        }
        let refused = whole.step(&Step::Batch { node: 1, changes: changes.clone() });
        let refused = refused_positions(&refused.unwrap()).unwrap();
        // Epochs are those known before the batch, as for the node that gathers one.
        let changes: Vec<_> = changes.iter().map(|change| single.change(change)).collect();
        let mut refused_singly = Vec::new();
        for (position, change) in (0_u32..).zip(changes) {
            let Command::Batch(mut batch) = single.next_batch(1) else { unreachable!() };
            batch.changes = vec![change];
            let applied = single.apply(Command::Batch(batch));
            if !refused_positions(&applied).unwrap().is_empty() {
                refused_singly.push(position);
            }
        }
        prop_assert_eq!(refused, refused_singly);
        let without_epoch = |views: Vec<Option<DeviceView>>| -> Vec<_> {
            let session = |view: &DeviceView| {
                view.session.map(|held| (held.node, held.incarnation, held.instance, held.attach_number))
            };
            views.into_iter().map(|view| view.map(|view| (session(&view), view.profile))).collect()
        };
        prop_assert_eq!(without_epoch(whole.views()), without_epoch(single.views()));
    }

    #[test]
    fn a_restored_snapshot_is_the_same_state(steps in steps(), more in vec(step(), 0..20)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        let view = world.state.snapshot();
        let copy = restored(&world.state);
        prop_assert_eq!(copy.digest(), world.state.digest());
        invariants::check(&copy).unwrap();
        assert_same_answers(&copy, &world.state);
        let mut bytes = Vec::new();
        view.write(&mut bytes).unwrap();
        let digest = view.digest();
        for step in &more {
            world.step(step);
        }
        // What is applied after a snapshot was taken does not show in it.
        let mut later = Vec::new();
        view.write(&mut later).unwrap();
        prop_assert_eq!(bytes, later);
        prop_assert_eq!(digest, view.digest());
    }

    #[test]
    fn the_same_log_gives_the_same_state_answers_and_events(steps in steps(), cut in 0..60_usize) {
        let mut world = World::new();
        for step in steps.iter().filter(|step| !matches!(step, Step::Restore | Step::Blank)) {
            world.step(step);
        }
        // One replica reads the entries from the log, another one starts from a snapshot half-way.
        let (mut straight, mut rejoined) = (State::new(), State::new());
        for (at, (index, command)) in world.log.iter().enumerate() {
            let command = command_from_proto(command_to_proto(command, FeatureLevel::NEWEST)).unwrap();
            if at == cut {
                rejoined.install(restored(&straight));
            }
            let applied = straight.apply(*index, &command);
            if at >= cut {
                prop_assert_eq!(applied, rejoined.apply(*index, &command));
            }
        }
        prop_assert_eq!(straight.digest(), world.state.digest());
        invariants::replicas_equal(&straight, &world.state).unwrap();
        if cut < world.log.len() {
            invariants::replicas_equal(&straight, &rejoined).unwrap();
        }
    }

    #[test]
    fn a_repeat_of_an_entry_changes_nothing(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            let Some((_, command)) = world.log.last().cloned() else { continue };
            let digest = world.state.digest();
            let applied = world.apply(command);
            prop_assert!(applied.events.is_empty(), "{:?}", applied);
            prop_assert_eq!(digest, world.state.digest());
        }
    }
}

/// All that a reader can ask.
fn assert_same_answers(one: &State, other: &State) {
    let (one, other) = (one.routes(), other.routes());
    assert_eq!((one.counts(), one.policy()), (other.counts(), other.policy()));
    assert_eq!((one.feature_level(), one.access_rules()), (other.feature_level(), other.access_rules()));
    assert_eq!(one.nodes(), other.nodes());
    assert_eq!((one.cluster_id(), one.token_key()), (other.cluster_id(), other.token_key()));
    assert_eq!(one.applied_index(), other.applied_index());
    for namespace in ["even", "odd"] {
        let listed = one.devices_after(namespace, None, &Default::default(), 100);
        assert_eq!(listed, other.devices_after(namespace, None, &Default::default(), 100));
        assert_eq!(one.groups_after(namespace, None, 100), other.groups_after(namespace, None, 100));
        let said = one.group_policies_after(namespace, None, 100);
        assert_eq!(said, other.group_policies_after(namespace, None, 100));
        for view in listed {
            let route: Route = one.route(namespace, &view.key.device);
            assert_eq!(route, other.route(namespace, &view.key.device));
        }
    }
}

#[test]
fn a_batch_with_more_changes_than_an_epoch_can_number_is_refused() {
    let mut world = World::new();
    let close = world.change(&Change::Close { device: 1, age: 0 });
    let Command::Batch(mut batch) = world.next_batch(1) else { unreachable!() };
    batch.changes = vec![close; 4_097];
    let applied = world.apply(Command::Batch(batch.clone()));
    assert!(matches!(applied.response, Response::Rejected(_)), "{:?}", applied.response);
    batch.changes.pop();
    let applied = world.apply(Command::Batch(batch));
    assert_eq!(refused_positions(&applied).unwrap().len(), 4_096);
}

#[test]
fn a_handle_taken_before_sees_what_is_installed() {
    let mut world = World::new();
    let open = Change::Open { device: 1, instance: 1, attach_number: 1, profile: 1, only_if: None };
    world.step(&Step::Batch { node: 1, changes: vec![open] });
    let mut late = State::new();
    let routes = late.routes();
    assert_eq!(routes.applied_index(), LogIndex(0));
    late.install(restored(&world.state));
    assert_eq!(routes.applied_index(), world.state.applied_index());
    assert_eq!(routes.counts().sessions, 1);
    assert!(matches!(routes.route("odd", "device-1"), Route::Held { .. }));
}
