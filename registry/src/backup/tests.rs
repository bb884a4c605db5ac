//! What was saved comes back, or is refused; what is made of it is a new cluster.

mod recovery;

use std::{
    fs,
    io::Read,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use proptest::{collection::vec, prelude::*};
use rollcall_proto::storage;

use super::*;
use crate::{
    model::{
        command::{
            Addresses, Batch, ChangeKind, Command, FoundCluster, FoundingMember, NodeUp, OpenSession,
            SessionChange,
        },
        feature_level::FeatureLevel,
        ids::{
            AttachNumber, BatchNumber, BootCounter, ClusterId, DeviceKey, Epoch, Incarnation, InstanceId,
            LogIndex, NodeId, Registration, StorageId, UnixMillis,
        },
        profile::Profile,
        record::Standing,
        response::Response,
        state::State,
    },
    raft,
    routes::view::{DeviceFilter, DeviceView},
    storage::{DataDir, LogBackend, SledLog, SnapshotStore, StorageError, StoredLogId, StoredVote, identity},
};

const TERM: u64 = 4;
const CLUSTER: ClusterId = ClusterId(9);

fn device(number: u8) -> DeviceKey {
    DeviceKey::new("", &format!("device-{number}"))
}

fn open(number: u8, attach_number: u64) -> SessionChange {
    let profile =
        Profile::new(["all"], [("floor", if number.is_multiple_of(2) { "0" } else { "1" })], ["echo"], 2);
    let open = OpenSession {
        instance: InstanceId(u64::from(number) + 1),
        attach_number: AttachNumber(attach_number),
        profile: Arc::new(profile),
        remote_addr: "10.0.0.1:1".into(),
        only_if: None,
    };
    SessionChange { device: device(number), kind: ChangeKind::Open(open) }
}

/// The log of a cluster of three: founded, two nodes up, and a batch on the first for each of these lists of devices.
fn commands(batches: &[Vec<u8>]) -> Vec<Command> {
    let member = |id: u64| FoundingMember {
        node: NodeId(id),
        name: format!("n{id}").into(),
        storage: StorageId(id.into()),
        addresses: Addresses { peer: format!("h{id}:7402"), ..Addresses::default() },
    };
    let up = |id: u64| NodeUp {
        node: NodeId(id),
        storage: StorageId(id.into()),
        boot: BootCounter(1),
        registration: Registration(1),
        addresses: Addresses { peer: format!("h{id}:7402"), ..Addresses::default() },
        version: "1".into(),
        at: UnixMillis(1),
        feature_level: FeatureLevel::NEWEST,
    };
    let founding = FoundCluster {
        cluster_id: CLUSTER,
        members: (1..=3).map(member).collect(),
        token_key: [3; 32],
        epoch_base: 500,
        registration: Default::default(),
    };
    let mut commands = vec![Command::FoundCluster(founding), Command::NodeUp(up(1)), Command::NodeUp(up(2))];
    for (number, devices) in (1..).zip(batches) {
        let changes = devices.iter().map(|device| open(*device, number)).collect();
        // The second command, which has index 2, is the incarnation of the first node.
        let (node, incarnation) = (NodeId(1), Incarnation(2));
        commands.push(Command::Batch(Batch {
            node,
            incarnation,
            number: BatchNumber(number),
            at: UnixMillis(1),
            changes,
        }));
    }
    commands
}

fn state(batches: &[Vec<u8>]) -> State {
    let mut state = State::new();
    for (index, command) in (1..).zip(commands(batches)) {
        let applied = state.apply(LogIndex(index), &command);
        assert!(!matches!(applied.response, Response::Rejected(_)), "{command:?}: {}", applied.response);
    }
    state
}

fn membership() -> storage::Membership {
    let member = |id: u64| (id, storage::Member { name: format!("n{id}"), peer_addr: format!("h{id}:7402") });
    storage::Membership {
        configs: vec![storage::VoterSet { ids: vec![1, 2] }],
        members: (1..=3).map(member).collect(),
    }
}

fn about(state: &State) -> About {
    About {
        last_log_id: StoredLogId { term: TERM, leader: 2, index: state.applied_index().0 },
        membership: membership(),
        created_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_706_000_123),
        version: "0.1.0".to_owned(),
        saved_by: "n2".to_owned(),
    }
}

fn bytes(state: &State) -> Vec<u8> {
    let backup = Backup::of_view(about(state), &state.snapshot()).unwrap();
    let expected = backup.file_bytes();
    let mut bytes = Vec::new();
    backup.into_reader().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, expected);
    bytes
}

fn saved(folder: &Path, state: &State) -> BackupFile {
    let path = folder.join("registry.backup");
    fs::write(&path, bytes(state)).unwrap();
    BackupFile::open(&path).unwrap()
}

fn place(folder: &Path) -> Place {
    Place { data_dir: folder.join("data"), name: "n9".to_owned(), peer_addr: "h9:7402".to_owned() }
}

/// The state and the members that a restored folder starts with.
fn restored_state(folder: &Path) -> (State, storage::SnapshotHeader) {
    let dir = DataDir::open(folder, "n9").unwrap();
    let file = SnapshotStore::open(&dir).unwrap().newest().unwrap();
    let (header, mut records) = raft::snapshot::open_records(&file).unwrap();
    let mut state = State::restore(&mut records).unwrap();
    state.advance(LogIndex(file.at().index));
    (state, header)
}

fn views(state: &State) -> Vec<DeviceView> {
    state.routes().devices_after("", None, &DeviceFilter::default(), 1_000)
}

fn highest_epoch(state: &State) -> Epoch {
    let sessions = views(state).into_iter().filter_map(|view| view.session);
    sessions.map(|session| session.epoch).max().unwrap_or_default()
}

#[test]
fn a_manifest_says_what_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let backup = saved(folder.path(), &state(&[vec![1, 2, 3], vec![2]]));
    let manifest = backup.manifest();
    assert_eq!((manifest.cluster(), manifest.index(), manifest.term()), (CLUSTER, LogIndex(5), TERM));
    assert_eq!(
        (manifest.voters(), manifest.learners()),
        (vec!["n1".into(), "n2".into()], vec!["n3".to_owned()])
    );
    assert_eq!((manifest.nodes(), manifest.devices(), manifest.sessions()), (3, 3, 3));
    assert_eq!((manifest.version(), manifest.saved_by()), ("0.1.0", "n2"));
    let created_at = manifest.created_at().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(created_at, Duration::from_millis(1_763_706_000_123));
}

#[test]
fn any_flipped_byte_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = bytes(&state(&[vec![1, 2], vec![2]]));
    let path = folder.path().join("flipped");
    for at in 0..good.len() {
        for bit in [0x01, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= bit;
            fs::write(&path, &bad).unwrap();
            let refused = BackupFile::open(&path).unwrap_err();
            assert!(matches!(refused, BackupError::Damaged { .. }), "byte {at}: {refused}");
        }
    }
}

#[test]
fn a_backup_that_is_cut_or_goes_on_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = bytes(&state(&[vec![1, 2]]));
    let path = folder.path().join("cut");
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert!(matches!(BackupFile::open(&path), Err(BackupError::Damaged { .. })), "{length} bytes");
    }
    fs::write(&path, [&good[..], b"x"].concat()).unwrap();
    let refused = BackupFile::open(&path).unwrap_err().to_string();
    assert!(refused.contains(&format!("it has {} bytes", good.len() + 1)), "{refused}");
}

#[test]
fn what_is_no_backup_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter");
    fs::write(&path, "Dear Sir or Madam, ...........").unwrap();
    assert!(BackupFile::open(&path).unwrap_err().to_string().contains("it is no backup"));
    let missing = BackupFile::open(&folder.path().join("none")).unwrap_err();
    assert!(matches!(missing, BackupError::Storage(StorageError::Io { .. })), "{missing}");
}

#[test]
fn format_1_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("format_1.backup");
    fs::write(&path, include_bytes!("format_1.backup")).unwrap();
    let backup = BackupFile::open(&path).unwrap();
    assert_eq!((backup.manifest().cluster(), backup.manifest().index()), (CLUSTER, LogIndex(5)));
    assert_eq!(
        (backup.manifest().nodes(), backup.manifest().devices(), backup.manifest().sessions()),
        (3, 2, 2)
    );
    restore(&backup, &place(folder.path())).unwrap();
    let (restored, _) = restored_state(&folder.path().join("data"));
    let keys: Vec<_> = views(&restored).into_iter().map(|view| view.key).collect();
    assert_eq!(keys, [device(1), device(2)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_restored_cluster_has_the_records_no_sessions_and_higher_epochs(
        batches in vec(vec(0_u8..20, 0..6), 1..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let old = state(&batches);
        let new = restore(&saved(folder.path(), &old), &place(folder.path())).unwrap();
        let (mut state, header) = restored_state(&folder.path().join("data"));

        let record = |view: DeviceView| (view.key, view.profile, view.enabled);
        let records = |state: &State| views(state).into_iter().map(record).collect::<Vec<_>>();
        prop_assert_eq!(records(&state), records(&old));
        for view in views(&state) {
            prop_assert!(view.session.is_none(), "{} has a session", view.key);
            // It has its time to connect to the new cluster.
            let is_timed = matches!(view.standing, Standing::SelfMade { away_since } if away_since > UnixMillis(1));
            prop_assert!(is_timed, "{:?}", view.standing);
        }
        prop_assert_eq!(state.routes().cluster_id(), Some(new.cluster));
        prop_assert_ne!(new.cluster, CLUSTER);
        prop_assert_ne!(state.routes().token_key(), old.routes().token_key());
        let nodes = state.routes().nodes();
        prop_assert_eq!(nodes.len(), 1);
        prop_assert_eq!((nodes[0].id, nodes[0].name.as_str(), nodes[0].up), (NodeId(4), "n9", false));
        let members = header.membership.unwrap();
        prop_assert_eq!(&members.configs[0].ids, &vec![4]);
        prop_assert_eq!(&members.members[&4].peer_addr, "h9:7402");

        let index = LogIndex(state.applied_index().0 + 1);
        let up = NodeUp {
            node: new.node,
            storage: nodes[0].storage,
            boot: BootCounter(1),
            registration: Registration(1),
            addresses: Addresses::default(),
            version: "1".into(),
            at: UnixMillis(1),
            feature_level: FeatureLevel::NEWEST,
        };
        state.apply(index, &Command::NodeUp(up));
        let changes = (0..20).map(|number| open(number, 100)).collect();
        let batch = Batch { node: new.node, incarnation: Incarnation(index.0), number: BatchNumber(1), at: UnixMillis(1), changes };
        state.apply(LogIndex(index.0 + 1), &Command::Batch(batch));
        prop_assert_eq!(state.routes().counts().sessions, 20);
        // Also above what the old cluster gives while it lives on, for a long time.
        let long_after = Epoch::new(500, LogIndex(old.applied_index().0 + 1_000_000_000), 0);
        for view in views(&state) {
            let epoch = view.session.unwrap().epoch;
            prop_assert!(epoch > highest_epoch(&old) && epoch > long_after, "{} is given again", epoch);
        }
    }
}

#[test]
fn an_older_attach_is_refused_in_the_restored_cluster_too() {
    let folder = tempfile::tempdir().unwrap();
    let new = restore(&saved(folder.path(), &state(&[vec![1], vec![1]])), &place(folder.path())).unwrap();
    let (mut state, _) = restored_state(&folder.path().join("data"));
    let storage = state.routes().nodes()[0].storage;
    let up = NodeUp {
        node: new.node,
        storage,
        boot: BootCounter(1),
        registration: Registration(1),
        addresses: Addresses::default(),
        version: "1".into(),
        at: UnixMillis(1),
        feature_level: FeatureLevel::NEWEST,
    };
    state.apply(LogIndex(10), &Command::NodeUp(up));
    let batch = Batch {
        node: new.node,
        incarnation: Incarnation(10),
        number: BatchNumber(1),
        at: UnixMillis(1),
        changes: vec![open(1, 1)],
    };
    let applied = state.apply(LogIndex(11), &Command::Batch(batch));
    let Response::Batch(outcome) = applied.response else { panic!("{}", applied.response) };
    assert_eq!(outcome.refused.len(), 1, "an attach older than the backup's was taken");
}

#[test]
fn a_restored_folder_is_a_single_voter_that_never_voted() {
    let folder = tempfile::tempdir().unwrap();
    let new = restore(&saved(folder.path(), &state(&[vec![1]])), &place(folder.path())).unwrap();
    let dir = DataDir::open(&folder.path().join("data"), "n9").unwrap();
    let log = SledLog::open(&dir).unwrap();
    let at = StoredLogId { term: TERM + 1, leader: 4, index: 4 };
    assert_eq!((log.state().purged, log.state().last), (Some(at), Some(at)));
    assert_eq!(log.vote(), Some(StoredVote { term: TERM + 1, node: 4, committed: false }));
    let identity = identity::load(&dir).unwrap().unwrap();
    assert_eq!((identity.name.as_str(), identity.node_id, identity.boot_counter), ("n9", 4, 0));
    assert_eq!(identity.cluster_id.as_ref(), new.cluster.to_bytes());
}

#[test]
fn only_an_empty_folder_is_restored_into() {
    let folder = tempfile::tempdir().unwrap();
    let backup = saved(folder.path(), &state(&[vec![1]]));
    let place = place(folder.path());
    restore(&backup, &place).unwrap();
    assert!(matches!(restore(&backup, &place), Err(BackupError::NotEmpty { .. })));
    let _running = DataDir::open(&place.data_dir, "n9").unwrap();
    let refused = restore(&backup, &place);
    assert!(matches!(refused, Err(BackupError::Storage(StorageError::InUse { .. }))), "{refused:?}");
}
