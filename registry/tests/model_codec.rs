//! The codec: what is written is read back, and nothing panics on any bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use compact_str::CompactString;
use proptest::{
    collection::{btree_map, btree_set, vec},
    prelude::*,
};
use prost::Message;
use rollcall_proto::storage::{self as proto, command::Kind};
use rollcall_registry::{
    codec::{
        CodecError, command_from_proto, command_to_proto, level_of, profile_from_proto, profile_to_proto,
    },
    limits::SNAPSHOT_RECORD_BYTES,
    model::{
        command::{
            Addresses, AdmitNode, Batch, ChangeKind, Command, DeleteDevice, Expect, FoundCluster,
            FoundingMember, LogFloor, NodeDown, NodeDownReason, NodeDraining, NodeUp, OpenSession, PutDevice,
            RaiseLevel, RemoveExpired, RemoveNode, SessionChange, SetAccessRules, SetGroupPolicy, SetPolicy,
            SetSuffrage, Suffrage, Sweep,
        },
        feature_level::FeatureLevel,
        ids::{
            AttachNumber, BatchNumber, BootCounter, ClusterId, DeviceKey, Epoch, Etag, Incarnation,
            InstanceId, LogIndex, NodeId, Registration, StorageId, UnixMillis,
        },
        policy::{GroupPolicy, RegistrationMode},
        profile::Profile,
        snapshot::RestoreError,
        state::State,
    },
};

fn text() -> impl Strategy<Value = CompactString> {
    "\\PC{0,30}".prop_map(CompactString::from)
}

fn profile() -> impl Strategy<Value = Profile> {
    let names = || btree_set(text(), 0..4);
    (names(), btree_map(text(), text(), 0..4), names(), 1..=u32::MAX).prop_map(
        |(groups, labels, actions, capacity)| Profile {
            groups: groups.into_iter().collect(),
            labels: labels.into_iter().collect(),
            actions: actions.into_iter().collect(),
            capacity,
        },
    )
}

fn addresses() -> impl Strategy<Value = Addresses> {
    let address = || "[a-z]{0,9}(:[0-9]{1,5})?";
    (address(), address(), address(), address()).prop_map(|(peer, api, device, http)| Addresses {
        peer,
        api,
        device,
        http,
    })
}

fn change() -> impl Strategy<Value = SessionChange> {
    let open = (any::<u64>(), any::<u64>(), profile(), text(), prop::option::of(1..u64::MAX));
    let kind = prop_oneof![
        open.prop_map(|(instance, attach_number, profile, remote_addr, only_if)| {
            ChangeKind::Open(OpenSession {
                instance: InstanceId(instance),
                attach_number: AttachNumber(attach_number),
                profile: Arc::new(profile),
                remote_addr,
                only_if: only_if.map(Epoch),
            })
        }),
        any::<u64>().prop_map(|epoch| ChangeKind::Close(Epoch(epoch))),
        (any::<u64>(), profile())
            .prop_map(|(epoch, profile)| ChangeKind::Update(Epoch(epoch), Arc::new(profile))),
    ];
    (text(), text(), kind)
        .prop_map(|(namespace, device, kind)| SessionChange { device: DeviceKey { namespace, device }, kind })
}

fn founding() -> impl Strategy<Value = Command> {
    let member =
        (any::<u64>(), text(), any::<u128>(), addresses()).prop_map(|(node, name, storage, addresses)| {
            FoundingMember { node: NodeId(node), name, storage: StorageId(storage), addresses }
        });
    (any::<u128>(), vec(member, 0..4), any::<[u8; 32]>(), any::<u64>()).prop_map(
        |(cluster_id, members, token_key, epoch_base)| {
            Command::FoundCluster(FoundCluster {
                cluster_id: ClusterId(cluster_id),
                members,
                token_key,
                epoch_base,
                registration: Default::default(),
            })
        },
    )
}

fn node_up() -> impl Strategy<Value = Command> {
    let said = (addresses(), text(), any::<u64>(), any::<u32>());
    (any::<u64>(), any::<u128>(), any::<u64>(), any::<u64>(), said).prop_map(
        |(node, storage, boot, registration, (addresses, version, at, level))| {
            Command::NodeUp(NodeUp {
                node: NodeId(node),
                storage: StorageId(storage),
                boot: BootCounter(boot),
                registration: Registration(registration),
                addresses,
                version,
                at: UnixMillis(at),
                feature_level: FeatureLevel(level),
            })
        },
    )
}

fn floor() -> impl Strategy<Value = Option<LogFloor>> {
    prop::option::of(
        (any::<u64>(), any::<u64>()).prop_map(|(term, index)| LogFloor { term, index: LogIndex(index) }),
    )
}

fn suffrage() -> impl Strategy<Value = Suffrage> {
    prop_oneof![Just(Suffrage::Automatic), Just(Suffrage::Withheld)]
}

fn key() -> impl Strategy<Value = DeviceKey> {
    (text(), text()).prop_map(|(namespace, device)| DeviceKey { namespace, device })
}

fn group_policy() -> impl Strategy<Value = Command> {
    let timeout = || prop::option::of((1..u64::MAX).prop_map(Duration::from_millis));
    (text(), text(), timeout(), timeout()).prop_map(|(namespace, group, default_timeout, max_timeout)| {
        let policy = GroupPolicy { default_timeout, max_timeout };
        Command::SetGroupPolicy(SetGroupPolicy { namespace, group, policy })
    })
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![
        Just(Expect::NoRecord),
        Just(Expect::AnyRecord),
        any::<u64>().prop_map(|etag| Expect::Etag(Etag(etag)))
    ]
}

fn access_rules() -> impl Strategy<Value = Command> {
    (expect(), any::<u64>(), text()).prop_map(|(expect, etag, text)| {
        Command::SetAccessRules(SetAccessRules { expect, new_etag: Etag(etag), text: text.as_str().into() })
    })
}

fn record_command() -> impl Strategy<Value = Command> {
    let assigned =
        (prop::option::of(profile()), prop::option::of(profile()), prop::option::of(any::<bool>()));
    let mode = prop_oneof![Just(RegistrationMode::Open), Just(RegistrationMode::Known)];
    prop_oneof![
        (key(), expect(), any::<u64>(), assigned).prop_map(
            |(device, expect, etag, (groups, labels, enabled))| {
                Command::PutDevice(PutDevice {
                    device,
                    expect,
                    new_etag: Etag(etag),
                    groups: groups.map(|profile| profile.groups),
                    labels: labels.map(|profile| profile.labels),
                    enabled,
                })
            }
        ),
        (key(), prop::option::of(any::<u64>())).prop_map(|(device, etag)| {
            Command::DeleteDevice(DeleteDevice { device, etag: etag.map(Etag) })
        }),
        (prop::option::of(mode), prop::option::of(1..u64::MAX)).prop_map(|(registration, ttl)| {
            Command::SetPolicy(SetPolicy { registration, record_ttl: ttl.map(Duration::from_millis) })
        }),
        group_policy(),
        access_rules(),
        (any::<u64>(), any::<u64>(), vec(key(), 0..4)).prop_map(|(cutoff, at, devices)| {
            Command::RemoveExpired(RemoveExpired { cutoff: UnixMillis(cutoff), at: UnixMillis(at), devices })
        }),
        vec((key(), any::<u64>().prop_map(Epoch)), 0..4).prop_map(|rows| Command::Sweep(Sweep { rows })),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let reason = prop_oneof![Just(NodeDownReason::LeaseLapsed), Just(NodeDownReason::Stopped)];
    prop_oneof![
        founding(),
        (text(), any::<u128>(), addresses(), any::<u32>()).prop_map(|(name, storage, addresses, level)| {
            let feature_level = FeatureLevel(level);
            Command::AdmitNode(AdmitNode { name, storage: StorageId(storage), addresses, feature_level })
        }),
        (0..=FeatureLevel::NEWEST.0, vec(any::<(u64, u64)>(), 0..4)).prop_map(|(level, lives)| {
            let members = lives.into_iter().map(|(node, life)| (NodeId(node), Incarnation(life))).collect();
            Command::RaiseLevel(RaiseLevel { level: FeatureLevel(level), members })
        }),
        node_up(),
        (any::<u64>(), any::<u64>(), reason, any::<u64>(), floor()).prop_map(
            |(node, incarnation, reason, at, floor)| {
                let (node, incarnation, at) = (NodeId(node), Incarnation(incarnation), UnixMillis(at));
                Command::NodeDown(NodeDown { node, incarnation, reason, at, floor })
            }
        ),
        // Small ids, so that the lively cluster's own nodes are met.
        (0..4_u64, any::<u64>()).prop_map(|(node, at)| Command::RemoveNode(RemoveNode {
            node: NodeId(node),
            at: UnixMillis(at)
        })),
        (0..4_u64, suffrage())
            .prop_map(|(node, suffrage)| Command::SetSuffrage(SetSuffrage { node: NodeId(node), suffrage })),
        (any::<u64>(), any::<u64>(), vec(any::<(u64, u64)>(), 0..4)).prop_map(
            |(node, incarnation, others)| {
                let life = |(node, incarnation)| (NodeId(node), Incarnation(incarnation));
                let ((node, incarnation), provided) =
                    (life((node, incarnation)), others.into_iter().map(life).collect());
                Command::NodeDraining(NodeDraining { node, incarnation, provided })
            }
        ),
        (any::<u64>(), any::<u64>(), any::<u64>(), vec(change(), 0..8), any::<u64>()).prop_map(
            |(node, incarnation, number, changes, at)| Command::Batch(Batch {
                node: NodeId(node),
                incarnation: Incarnation(incarnation),
                number: BatchNumber(number),
                changes,
                at: UnixMillis(at),
            })
        ),
        record_command(),
    ]
}

/// The bytes of a snapshot of a state that these commands led to.
fn snapshot_of(commands: &[Command]) -> Vec<u8> {
    let mut state = State::new();
    for (index, command) in (1..).zip(commands) {
        state.apply(LogIndex(index), command);
    }
    let mut bytes = Vec::new();
    state.snapshot().write(&mut bytes).unwrap();
    bytes
}

/// A cluster with a node that is up and holds devices.
fn lively() -> Vec<Command> {
    let member = FoundingMember {
        node: NodeId(1),
        name: "n1".into(),
        storage: StorageId(1),
        addresses: Addresses::default(),
    };
    let open = |device: &str| SessionChange {
        device: DeviceKey::new("", device),
        kind: ChangeKind::Open(OpenSession {
            instance: InstanceId(1),
            attach_number: AttachNumber(1),
            profile: Arc::new(Profile::new(["sign"], [("site", "hz1")], ["echo"], 2)),
            remote_addr: "".into(),
            only_if: None,
        }),
    };
    let up = NodeUp {
        node: NodeId(1),
        storage: StorageId(1),
        boot: BootCounter(1),
        registration: Registration(1),
        addresses: Addresses::default(),
        version: "1".into(),
        at: UnixMillis(1),
        feature_level: FeatureLevel::NEWEST,
    };
    vec![
        Command::FoundCluster(FoundCluster {
            cluster_id: ClusterId(1),
            members: vec![member],
            token_key: [1; 32],
            epoch_base: 0,
            registration: Default::default(),
        }),
        Command::NodeUp(up),
        Command::Batch(Batch {
            node: NodeId(1),
            incarnation: Incarnation(2),
            number: BatchNumber(1),
            changes: vec![open("a"), open("b"), open("a")],
            at: UnixMillis(2),
        }),
        Command::PutDevice(PutDevice {
            device: DeviceKey::new("", "b"),
            expect: Expect::AnyRecord,
            new_etag: Etag(3),
            groups: Some(vec!["all".into()]),
            labels: Some(vec![("site".into(), "hz2".into())]),
            enabled: Some(false),
        }),
    ]
}

proptest! {
    #[test]
    fn every_command_is_read_back_as_it_was_written_at_each_level(command in command()) {
        for level in [FeatureLevel::FIRST, FeatureLevel::NEWEST] {
            let bytes = command_to_proto(&command, level).encode_to_vec();
            let read = proto::Command::decode(bytes.as_slice()).unwrap();
            prop_assert!(level_of(&read) <= level || !matches!(command, Command::Batch(_)));
            prop_assert_eq!(command_from_proto(read).unwrap(), command.clone());
        }
    }

    #[test]
    fn a_profile_out_of_order_is_brought_to_its_form(profile in profile()) {
        let mut written = profile_to_proto(&profile);
        written.groups.reverse();
        written.labels.reverse();
        written.actions.extend(written.actions.clone());
        prop_assert_eq!(profile_from_proto(written), profile);
    }

    #[test]
    fn no_command_and_no_bytes_make_apply_panic(commands in vec(command(), 0..20)) {
        // Numbers and names at their extremes: refused or not, the state can be written and read back.
        let mut all = lively();
        all.extend(commands);
        let bytes = snapshot_of(&all);
        State::restore(&mut bytes.as_slice()).unwrap();
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok(command) = proto::Command::decode(bytes.as_slice()) {
            let _ = command_from_proto(command);
        }
        let _ = State::restore(&mut bytes.as_slice());
    }

    #[test]
    fn a_damaged_snapshot_is_refused_or_another_state(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = snapshot_of(&lively());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(state) = State::restore(&mut bytes.as_slice()) {
            rollcall_registry::model::invariants::one_valid_holder(&state).unwrap();
            rollcall_registry::model::invariants::counts_equal_rows(&state).unwrap();
        }
    }

    #[test]
    fn a_snapshot_cut_within_a_record_is_refused(cut in any::<prop::sample::Index>()) {
        let bytes = snapshot_of(&lively());
        let cut = cut.index(bytes.len());
        let mut ends = vec![0];
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            proto::SnapshotRecord::decode_length_delimited(&mut rest).unwrap();
            ends.push(bytes.len() - rest.len());
        }
        let whole_records = ends.contains(&cut) && cut > 0;
        prop_assert_eq!(State::restore(&mut &bytes[..cut]).is_ok(), whole_records);
    }
}

#[test]
fn a_command_of_no_known_kind_is_an_error() {
    let unknown = proto::Command { kind: None };
    assert_eq!(command_from_proto(unknown), Err(CodecError::UnknownKind("a command")));
}

#[test]
fn a_record_that_claims_too_many_bytes_is_not_allocated_for() {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(SNAPSHOT_RECORD_BYTES as u64 + 1, &mut bytes);
    let refused = State::restore(&mut bytes.as_slice());
    assert!(matches!(refused, Err(RestoreError::TooLong { record: 0, .. })));
}

#[test]
fn a_packed_batch_that_lacks_something_is_refused() {
    let Command::Batch(mut batch) = lively().remove(2) else { panic!("no batch") };
    let device = DeviceKey::new("", "a");
    batch.changes.push(SessionChange { device: device.clone(), kind: ChangeKind::Close(Epoch(1)) });
    batch.changes.push(SessionChange { device, kind: ChangeKind::Update(Epoch(1), Arc::default()) });
    let written = command_to_proto(&Command::Batch(batch), FeatureLevel::NEWEST);
    let Some(Kind::PackedBatch(whole)) = &written.kind else { panic!("not packed") };
    let lacks: [fn(&mut proto::PackedBatch); 15] = [
        |it| _ = it.names.pop(),
        |it| _ = it.profiles.pop(),
        |it| _ = it.namespaces.pop(),
        |it| _ = it.device_ids.pop(),
        |it| _ = it.device_id_bytes.pop(),
        |it| _ = it.instances.pop(),
        |it| _ = it.attach_numbers.pop(),
        |it| _ = it.remote_addr_bytes.pop(),
        |it| _ = it.only_if_epochs.pop(),
        |it| _ = it.profile_positions.pop(),
        |it| _ = it.epochs.pop(),
        |it| it.kinds[0] = 0,
        |it| it.kinds[0] = 77,
        |it| _ = it.profiles[0].labels.pop(),
        |it| it.profiles[0].groups[0] = u32::MAX,
    ];
    for (number, lack) in lacks.into_iter().enumerate() {
        let mut batch = whole.clone();
        lack(&mut batch);
        let refused = command_from_proto(proto::Command { kind: Some(Kind::PackedBatch(batch)) });
        assert!(refused.is_err(), "number {number}");
    }
    assert!(command_from_proto(written).is_ok());
}
