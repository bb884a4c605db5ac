//! Watches over the bare model: what a node's end looks like, and where a watch can go on.

use std::sync::Arc;

use super::*;
use crate::model::{
    command::{
        Addresses, Batch, ChangeKind, Command, FoundCluster, FoundingMember, NodeDown, NodeDownReason,
        NodeUp, OpenSession, SessionChange, Sweep,
    },
    feature_level::FeatureLevel,
    ids::{
        AttachNumber, BatchNumber, BootCounter, DeviceKey, Epoch, Incarnation, InstanceId, NodeId,
        Registration, StorageId, UnixMillis,
    },
    profile::Profile,
    state::State,
};

/// More than a watcher copies at a time.
const DEVICES: u64 = 3 * WATCH_AHEAD as u64 / 2;

/// A replica with its history.
struct Replica {
    state: State,
    history: WatchHistory,
    index: LogIndex,
    numbers: [u64; 3],
}

impl Replica {
    /// Nodes 1 and 2 are up.
    fn new() -> Self {
        let state = State::new();
        let history = WatchHistory::new(state.routes());
        let mut replica = Self { state, history, index: LogIndex(0), numbers: [0; 3] };
        let member = |id: u64| FoundingMember {
            node: NodeId(id),
            name: format!("n{id}").into(),
            storage: StorageId(id.into()),
            addresses: Addresses::default(),
        };
        replica.apply(Command::FoundCluster(FoundCluster {
            cluster_id: ClusterId(7),
            members: vec![member(1), member(2)],
            token_key: [0; 32],
            epoch_base: 0,
            registration: Default::default(),
        }));
        replica.up(1, 1);
        replica.up(2, 1);
        replica
    }

    fn apply(&mut self, command: Command) {
        self.index = LogIndex(self.index.0 + 1);
        let applied = self.state.apply(self.index, &command);
        self.history.applied(self.index, &applied.events);
    }

    fn up(&mut self, id: u64, registration: u64) {
        self.numbers[id as usize] = 0;
        self.apply(Command::NodeUp(NodeUp {
            node: NodeId(id),
            storage: StorageId(id.into()),
            boot: BootCounter(1),
            registration: Registration(registration),
            addresses: Addresses::default(),
            version: "test".into(),
            at: UnixMillis(0),
            feature_level: FeatureLevel::NEWEST,
        }));
    }

    fn incarnation(&self, id: u64) -> Incarnation {
        self.state.routes().node(NodeId(id)).map_or(Incarnation(0), |node| node.incarnation)
    }

    fn down(&mut self, id: u64) {
        let (node, incarnation) = (NodeId(id), self.incarnation(id));
        let (reason, at) = (NodeDownReason::LeaseLapsed, UnixMillis(0));
        self.apply(Command::NodeDown(NodeDown { node, incarnation, reason, at, floor: None }));
    }

    fn batch(&mut self, id: u64, changes: Vec<SessionChange>) {
        self.numbers[id as usize] += 1;
        let number = BatchNumber(self.numbers[id as usize]);
        let (node, incarnation, at) = (NodeId(id), self.incarnation(id), UnixMillis(0));
        self.apply(Command::Batch(Batch { node, incarnation, number, changes, at }));
    }

    fn open(&mut self, id: u64, devices: impl IntoIterator<Item = u64>) {
        self.batch(id, devices.into_iter().map(opening).collect());
    }

    fn now(&self) -> Cursor {
        Cursor { cluster: ClusterId(7), index: self.index, position: END }
    }

    /// All that a watcher sees after a cursor.
    async fn seen(&self, after: Cursor) -> Vec<(Cursor, String)> {
        let mut watch = self.history.watch(Some(after)).expect("the history reaches back so far");
        let mut seen = Vec::new();
        while let Ok(item) = tokio::time::timeout(std::time::Duration::from_millis(200), watch.next()).await {
            let item = item.expect("the watch goes on");
            seen.push((item.cursor, told(&item.event)));
        }
        seen
    }
}

/// Names whose order is not that of their numbers.
fn device(number: u64) -> DeviceKey {
    let namespace = if number.is_multiple_of(3) { "b" } else { "a" };
    DeviceKey::new(namespace, &format!("d-{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn opening(number: u64) -> SessionChange {
    let groups = vec![if number.is_multiple_of(2) { "even" } else { "odd" }.to_owned()];
    let profile = Profile::new(groups, std::collections::HashMap::new(), vec!["echo".into()], 1);
    let open = OpenSession {
        instance: InstanceId(number + 1),
        attach_number: AttachNumber(1),
        profile: Arc::new(profile),
        remote_addr: "".into(),
        only_if: None,
    };
    SessionChange { device: device(number), kind: ChangeKind::Open(open) }
}

fn told(event: &Event) -> String {
    match event {
        Event::Closed { device, session, cause, profile } => {
            format!("closed {device} {} {cause:?} {:?}", session.epoch, profile.groups)
        }
        Event::Opened { device, session, .. } => format!("opened {device} {}", session.epoch),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_nodes_end_is_the_end_of_each_of_its_sessions_in_the_order_of_their_names() {
    let mut replica = Replica::new();
    replica.open(1, 0..DEVICES);
    replica.open(2, [DEVICES]);
    let before = replica.now();
    replica.down(1);
    let seen = replica.seen(before).await;
    assert_eq!(seen.len() as u64, DEVICES);
    let mut names: Vec<_> = (0..DEVICES).map(device).collect();
    names.sort_by(|a, b| (&a.namespace, &a.device).cmp(&(&b.namespace, &b.device)));
    for (position, ((cursor, text), device)) in (0..).zip(seen.iter().zip(&names)) {
        assert_eq!((cursor.index, cursor.position), (replica.index, position));
        assert!(text.starts_with(&format!("closed {device} ")) && text.contains("NodeLost"), "{text}");
    }
}

#[tokio::test]
async fn a_watch_resumed_at_any_position_of_a_nodes_end_misses_nothing_and_repeats_nothing() {
    let mut replica = Replica::new();
    replica.open(1, 0..DEVICES);
    let before = replica.now();
    replica.down(1);
    // Most of them come back elsewhere before anybody looks.
    replica.open(2, 0..DEVICES - 7);
    let whole = replica.seen(before).await;
    assert_eq!(whole.len() as u64, 2 * DEVICES - 7);
    for at in (0..whole.len()).step_by(37).chain([WATCH_AHEAD - 1, WATCH_AHEAD, DEVICES as usize - 1]) {
        let mut watch = replica.history.watch(Some(whole[at].0)).expect("it goes on");
        for expected in &whole[at + 1..] {
            let item = watch.next().await.expect("there is more");
            assert_eq!((item.cursor, told(&item.event)), *expected, "resumed after position {at}");
        }
    }
}

#[tokio::test]
async fn a_watch_goes_on_at_another_replica_from_within_a_nodes_end() {
    let mut replicas = [Replica::new(), Replica::new()];
    for replica in &mut replicas {
        replica.open(1, 0..DEVICES);
        replica.down(1);
    }
    let start = Cursor { cluster: ClusterId(7), index: LogIndex(3), position: END };
    let one = replicas[0].seen(start).await;
    assert_eq!(one, replicas[1].seen(start).await);
    let middle = DEVICES as usize + 100;
    assert_eq!(one[middle + 1..], replicas[1].seen(one[middle].0).await);
}

#[tokio::test]
async fn a_start_over_a_life_that_nobody_ended_ends_it_first() {
    let mut replica = Replica::new();
    replica.open(1, 0..3);
    let before = replica.now();
    replica.up(1, 2);
    let seen = replica.seen(before).await;
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|(cursor, text)| cursor.index == replica.index && text.contains("NodeLost")));
}

#[tokio::test]
async fn what_is_cleared_after_a_nodes_end_is_not_told_again() {
    let mut replica = Replica::new();
    replica.open(1, 0..4);
    let epoch = |position| Epoch::new(0, LogIndex(4), position);
    replica.down(1);
    let before = replica.now();
    replica.apply(Command::Sweep(Sweep { rows: vec![(device(0), epoch(0)), (device(1), epoch(1))] }));
    replica.batch(2, vec![SessionChange { device: device(2), kind: ChangeKind::Close(epoch(2)) }]);
    replica.open(2, [3]);
    let seen = replica.seen(before).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].1.starts_with("opened"));
}

#[tokio::test]
async fn an_end_with_more_sessions_than_are_kept_makes_older_cursors_too_old() {
    let replica = Replica::new();
    let before = replica.now();
    let down = |sessions| Event::NodeDown { node: NodeId(1), incarnation: Incarnation(2), sessions };
    let at = |index| Cursor { index: LogIndex(index), ..before };
    replica.history.applied(LogIndex(10), &[down(WATCH_LOST_SESSIONS / 2 + 1)]);
    assert!(replica.history.watch(Some(before)).is_ok());
    replica.history.applied(LogIndex(11), &[down(WATCH_LOST_SESSIONS / 2 + 1)]);
    let old = replica.history.watch(Some(before));
    assert_eq!(old.err(), Some(WatchError::TooOld { asked: before.index, oldest: LogIndex(10) }));
    assert!(replica.history.watch(Some(at(10))).is_ok(), "the newer one is kept");
    replica.history.applied(LogIndex(12), &[down(WATCH_LOST_SESSIONS + 1)]);
    assert!(replica.history.watch(Some(at(11))).is_err());
    assert!(replica.history.watch(Some(at(12))).is_ok());
}

#[tokio::test]
async fn a_watcher_that_is_overtaken_within_a_nodes_end_is_told_so() {
    let mut replica = Replica::new();
    replica.open(1, 0..DEVICES);
    let mut watch = replica.history.watch(Some(replica.now())).expect("from now on");
    replica.down(1);
    watch.next().await.expect("the first end");
    let down =
        Event::NodeDown { node: NodeId(2), incarnation: Incarnation(3), sessions: WATCH_LOST_SESSIONS + 1 };
    replica.history.applied(LogIndex(50), &[down]);
    let mut read = 1;
    let error = loop {
        match watch.next().await {
            Ok(_) => read += 1,
            Err(error) => break error,
        }
    };
    assert!(read <= WATCH_AHEAD && matches!(error, WatchError::TooOld { .. }), "{read} {error}");
}
