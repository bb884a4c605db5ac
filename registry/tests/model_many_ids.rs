//! Devices that change their id: ids that are used once leave nothing behind in memory or snapshots.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a state that cannot be built fails the test")]

use std::{fs, sync::Arc};

use rollcall_registry::model::{
    command::{
        Addresses, Batch, ChangeKind, Command, FoundCluster, FoundingMember, NodeUp, OpenSession,
        RemoveExpired, SessionChange,
    },
    feature_level::FeatureLevel,
    ids::{
        AttachNumber, BatchNumber, BootCounter, ClusterId, DeviceKey, Epoch, Incarnation, InstanceId,
        LogIndex, NodeId, Registration, StorageId, UnixMillis,
    },
    invariants,
    profile::Profile,
    state::State,
};

const PER_WAVE: u64 = 10_000;
const PER_ENTRY: u64 = 500;

struct Churn {
    state: State,
    index: u64,
    batches: u64,
}

impl Churn {
    fn new() -> Self {
        let (node, storage, addresses) = (NodeId(1), StorageId(1), Addresses::default());
        let member = FoundingMember { node, name: "n1".into(), storage, addresses: addresses.clone() };
        let (cluster_id, token_key) = (ClusterId(1), [0; 32]);
        let mut churn = Self { state: State::new(), index: 0, batches: 0 };
        let founding = FoundCluster {
            cluster_id,
            members: vec![member],
            token_key,
            epoch_base: 0,
            registration: Default::default(),
        };
        churn.apply(Command::FoundCluster(founding));
        let (boot, registration, at) = (BootCounter(1), Registration(1), UnixMillis(1));
        let (version, feature_level) = ("1".into(), FeatureLevel::NEWEST);
        let up = NodeUp { node, storage, boot, registration, addresses, version, at, feature_level };
        churn.apply(Command::NodeUp(up));
        churn
    }

    fn apply(&mut self, command: Command) -> LogIndex {
        self.index += 1;
        self.state.apply(LogIndex(self.index), &command);
        LogIndex(self.index)
    }

    fn batch(&mut self, at: u64, changes: Vec<SessionChange>) -> LogIndex {
        self.batches += 1;
        let (node, incarnation, number) = (NodeId(1), Incarnation(2), BatchNumber(self.batches));
        self.apply(Command::Batch(Batch { node, incarnation, number, changes, at: UnixMillis(at) }))
    }

    /// Devices that nobody has seen before come and go; an hour later their records have expired.
    fn wave(&mut self, wave: u64) {
        let ids: Vec<DeviceKey> =
            (0..PER_WAVE).map(|number| DeviceKey::new("", &format!("phone-{wave:08}-{number:08}"))).collect();
        for devices in ids.chunks(PER_ENTRY as usize) {
            let opened = self.batch(wave, devices.iter().map(open).collect());
            let close = |(position, device): (u32, &DeviceKey)| SessionChange {
                device: device.clone(),
                kind: ChangeKind::Close(Epoch::new(0, opened, position)),
            };
            self.batch(wave + 1, (0..).zip(devices).map(close).collect());
        }
        assert_eq!(self.state.routes().counts().devices, PER_WAVE);
        let cutoff = UnixMillis(wave + 2);
        loop {
            let found = self.state.routes().leftovers(Some(cutoff), 5_000).expired;
            for devices in found.chunks(PER_ENTRY as usize) {
                let devices = devices.to_vec();
                self.apply(Command::RemoveExpired(RemoveExpired { cutoff, at: cutoff, devices }));
            }
            if found.is_empty() {
                break;
            }
        }
        assert_eq!(self.state.routes().counts().devices, 0);
    }

    fn snapshot_bytes(&self) -> usize {
        let mut bytes = Vec::new();
        self.state.snapshot().write(&mut bytes).unwrap();
        bytes.len()
    }
}

fn open(device: &DeviceKey) -> SessionChange {
    // Every device has a label of its own: profiles must go as well.
    let labels = [("serial", device.device.as_str())];
    let open = OpenSession {
        instance: InstanceId(7),
        attach_number: AttachNumber(1),
        profile: Arc::new(Profile::new(["sign"], labels, ["echo"], 1)),
        remote_addr: "".into(),
        only_if: None,
    };
    SessionChange { device: device.clone(), kind: ChangeKind::Open(open) }
}

/// Of this process, in bytes. The kernel's page is taken for 4 KiB; a larger one only makes growth look smaller.
fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

fn leave_nothing_behind(waves: u64) {
    let mut churn = Churn::new();
    let empty = churn.snapshot_bytes();
    churn.wave(1);
    let after_one = resident_bytes();
    for wave in 2..=waves {
        churn.wave(wave);
    }
    let grown = resident_bytes().saturating_sub(after_one);
    invariants::check(&churn.state).unwrap();
    assert!(churn.snapshot_bytes() <= empty + 16, "the snapshot has grown from {empty} bytes");
    assert!(grown < 8 << 20, "{grown} bytes are still held after {waves} waves");
}

#[test]
fn ids_used_once_leave_nothing_behind() {
    leave_nothing_behind(10);
}

#[test]
#[ignore = "takes a minute in a debug build"]
fn a_million_ids_used_once_leave_nothing_behind() {
    leave_nothing_behind(100);
}
