//! Bytes that former versions wrote to logs and snapshots, and what they still mean. Nothing in here is ever changed: a new
//! format gets a new fixture.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that cannot be read fails the test")]

use std::{sync::Arc, time::Duration};

use prost::Message;
use rollcall_proto::storage as proto;
use rollcall_registry::{
    codec::{command_from_proto, command_to_proto},
    model::{
        command::{
            Batch, ChangeKind, Command, Expect, OpenSession, SessionChange, SetAccessRules, SetGroupPolicy,
        },
        feature_level::FeatureLevel,
        ids::{
            AttachNumber, BatchNumber, DeviceKey, Epoch, Etag, Incarnation, InstanceId, LogIndex, NodeId,
            UnixMillis,
        },
        invariants,
        policy::{GroupPolicy, Policy, RegistrationMode},
        profile::Profile,
        record::Standing,
        state::State,
    },
};

/// The log of a small cluster: founding, NodeUp, a batch of two opens, a close and an update, AdmitNode, NodeDown.
const LOG_WITHOUT_RECORDS: &str = include_str!("fixtures/log_without_records.hex");
/// The snapshot after those entries.
const SNAPSHOT_WITHOUT_RECORDS: &str = include_str!("fixtures/snapshot_without_records.hex");
/// One of each command about records, and a batch with its time, as batches were written before they were packed.
const LOG_WITH_RECORDS: &str = include_str!("fixtures/log_with_records.hex");
/// A packed batch: opens in two namespaces, one of them conditional, an update and a close.
const PACKED_BATCH: &str = include_str!("fixtures/packed_batch.hex");
/// The snapshot after the first log, then this one.
const SNAPSHOT_WITH_RECORDS: &str = include_str!("fixtures/snapshot_with_records.hex");

/// What is said of a group: the fields, which the command and the record share.
const GROUP_POLICY: &str = "0a0764656661756c7412047369676e18882720e0d403";
/// A text of rules, as a field of the command; of the record it is another field.
const ACCESS_RULES: &str = "2a0578203d2031";
/// A raised level: NodeUp and AdmitNode that say what they know, RaiseLevel, and the cluster's and a node's record after them.
const RAISED_LEVEL: &str = include_str!("fixtures/raised_level.hex");

fn bytes(hex: &str) -> Vec<u8> {
    let hex = hex.trim();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn log(fixture: &str) -> Vec<Command> {
    let command = |line| command_from_proto(proto::Command::decode(bytes(line).as_slice()).unwrap()).unwrap();
    fixture.lines().map(command).collect()
}

fn apply(state: &mut State, commands: &[Command]) {
    for command in commands {
        let index = LogIndex(state.applied_index().0 + 1);
        state.apply(index, command);
        invariants::check(state).unwrap();
    }
}

fn restored(fixture: &str) -> State {
    let state = State::restore(&mut bytes(fixture).as_slice()).unwrap();
    invariants::check(&state).unwrap();
    state
}

#[test]
fn a_log_from_before_records_leads_to_the_snapshot_of_then() {
    let mut state = State::new();
    apply(&mut state, &log(LOG_WITHOUT_RECORDS));
    let old = restored(SNAPSHOT_WITHOUT_RECORDS);
    assert_eq!(old.digest(), state.digest());
    assert_eq!(old.routes().policy(), Policy::default());
    let device = old.routes().device(&DeviceKey::new("", "a")).unwrap();
    assert_eq!((device.profile.capacity, device.enabled, device.session), (3, true, None));
    assert_eq!(device.standing, Standing::SelfMade { away_since: UnixMillis(0) });
}

#[test]
fn commands_about_records_and_batches_of_the_first_level_are_written_as_ever() {
    for (line, command) in LOG_WITH_RECORDS.lines().zip(log(LOG_WITH_RECORDS)) {
        assert_eq!(hex(&command_to_proto(&command, FeatureLevel::FIRST).encode_to_vec()), line);
    }
    let kinds: Vec<_> = log(LOG_WITH_RECORDS);
    assert!(matches!(&kinds[0], Command::PutDevice(put)
        if put.expect == Expect::NoRecord && put.new_etag == Etag(0x11) && put.labels.is_some()));
    assert!(matches!(&kinds[1], Command::PutDevice(put)
        if put.expect == Expect::Etag(Etag(0x11)) && put.enabled == Some(false) && put.groups.is_none()));
    assert!(matches!(&kinds[2], Command::DeleteDevice(delete) if delete.etag.is_none()));
    assert!(matches!(&kinds[3], Command::SetPolicy(set)
        if set.registration == Some(RegistrationMode::Known) && set.record_ttl.is_none()));
    assert!(matches!(&kinds[4], Command::RemoveExpired(expired)
        if expired.cutoff == UnixMillis(1_000) && expired.devices.len() == 1));
    assert!(matches!(&kinds[5], Command::Sweep(sweep) if sweep.rows[0].1 == Epoch(12_288)));
    assert!(matches!(&kinds[6], Command::NodeDown(down) if down.at == UnixMillis(2_000)));
}

#[test]
fn a_snapshot_with_records_is_written_and_read_as_ever() {
    let mut state = State::new();
    apply(&mut state, &log(LOG_WITHOUT_RECORDS));
    apply(&mut state, &log(LOG_WITH_RECORDS));
    let mut written = Vec::new();
    state.snapshot().write(&mut written).unwrap();
    assert_eq!(hex(&written), SNAPSHOT_WITH_RECORDS.trim());
    assert_eq!(restored(SNAPSHOT_WITH_RECORDS).digest(), state.digest());
}

#[test]
fn a_packed_batch_is_written_and_read_as_ever() {
    let profile = |site: &str| Arc::new(Profile::new(["sign", "echo"], [("site", site)], ["echo"], 2));
    let open = |attach_number, site, remote_addr: &str, only_if| {
        ChangeKind::Open(OpenSession {
            instance: InstanceId(u64::MAX),
            attach_number: AttachNumber(attach_number),
            profile: profile(site),
            remote_addr: remote_addr.into(),
            only_if,
        })
    };
    let change =
        |(namespace, device, kind)| SessionChange { device: DeviceKey::new(namespace, device), kind };
    let changes = [
        ("", "a", open(1, "hz1", "10.0.0.1:4000", None)),
        ("other", "ä", open(300, "hz2", "", Some(Epoch(12_288)))),
        ("", "b", open(0, "hz1", "[::1]:1", None)),
        ("", "a", ChangeKind::Update(Epoch(12_288), profile("hz2"))),
        ("", "b", ChangeKind::Close(Epoch(12_290))),
    ];
    let batch = Command::Batch(Batch {
        node: NodeId(2),
        incarnation: Incarnation(3),
        number: BatchNumber(4),
        changes: changes.map(change).to_vec(),
        at: UnixMillis(5),
    });
    assert_eq!(
        hex(&command_to_proto(&batch, FeatureLevel::PACKED_BATCHES).encode_to_vec()),
        PACKED_BATCH.trim()
    );
    assert_eq!(log(PACKED_BATCH), [batch]);
}

#[test]
fn what_is_said_of_a_group_is_written_and_read_as_ever() {
    let millis = |millis| Some(Duration::from_millis(millis));
    let policy = GroupPolicy { default_timeout: millis(5_000), max_timeout: millis(60_000) };
    let said = SetGroupPolicy { namespace: "default".into(), group: "sign".into(), policy };
    let command = Command::SetGroupPolicy(said);
    let written = format!("ca0116{GROUP_POLICY}");
    assert_eq!(hex(&command_to_proto(&command, FeatureLevel::GROUP_POLICIES).encode_to_vec()), written);
    assert_eq!(log(&written), std::slice::from_ref(&command));

    let mut state = State::new();
    apply(&mut state, &log(LOG_WITHOUT_RECORDS));
    apply(&mut state, &[command]);
    let mut snapshot = Vec::new();
    state.snapshot().write(&mut snapshot).unwrap();
    assert!(hex(&snapshot).contains(&format!("182a16{GROUP_POLICY}")), "{}", hex(&snapshot));
    assert_eq!(restored(&hex(&snapshot)).digest(), state.digest());
}

#[test]
fn who_may_do_what_is_written_and_read_as_ever() {
    let set = SetAccessRules { expect: Expect::NoRecord, new_etag: Etag(7), text: "x = 1".into() };
    let command = Command::SetAccessRules(set);
    let written = format!("d201121200210700000000000000{ACCESS_RULES}");
    assert_eq!(hex(&command_to_proto(&command, FeatureLevel::ACCESS_RULES).encode_to_vec()), written);
    assert_eq!(log(&written), std::slice::from_ref(&command));

    let mut state = State::new();
    apply(&mut state, &log(LOG_WITHOUT_RECORDS));
    apply(&mut state, &[command]);
    let mut snapshot = Vec::new();
    state.snapshot().write(&mut snapshot).unwrap();
    let record = format!("123210090700000000000000{}", ACCESS_RULES.replacen("2a", "12", 1));
    assert!(hex(&snapshot).contains(&record), "{}", hex(&snapshot));
    assert_eq!(restored(&hex(&snapshot)).digest(), state.digest());
}

#[test]
fn a_raised_level_is_written_and_read_as_ever() {
    let (raising, snapshot) = RAISED_LEVEL.trim().rsplit_once('\n').unwrap();
    let commands = log(raising);
    for (line, command) in raising.lines().zip(&commands) {
        assert_eq!(hex(&command_to_proto(command, FeatureLevel::FIRST).encode_to_vec()), line);
    }
    let (first, raised) = (FeatureLevel(0), FeatureLevel(1));
    assert!(matches!(&commands[0], Command::NodeUp(up) if up.feature_level == raised));
    assert!(matches!(&commands[1], Command::AdmitNode(admit) if admit.feature_level == raised));
    assert!(matches!(&commands[2], Command::RaiseLevel(raise) if raise.level == raised));
    let mut state = State::new();
    apply(&mut state, &log(LOG_WITHOUT_RECORDS)[..1]);
    assert_eq!(state.routes().feature_level(), first);
    apply(&mut state, &commands);
    assert_eq!(state.routes().feature_level(), raised);
    let mut written = Vec::new();
    state.snapshot().write(&mut written).unwrap();
    assert_eq!(hex(&written), snapshot);
    assert_eq!(restored(snapshot).digest(), state.digest());
}

#[test]
fn a_snapshot_of_an_unknown_level_is_refused() {
    let cluster = proto::ClusterRecord {
        cluster_id: vec![1; 16].into(),
        token_key: vec![1; 32].into(),
        feature_level: FeatureLevel::NEWEST.0 + 1,
        ..Default::default()
    };
    let record = proto::SnapshotRecord { kind: Some(proto::snapshot_record::Kind::Cluster(cluster)) };
    let refused = State::restore(&mut record.encode_length_delimited_to_vec().as_slice()).unwrap_err();
    assert!(
        std::error::Error::source(&refused).unwrap().to_string().contains("start a newer one"),
        "{refused}"
    );
}
