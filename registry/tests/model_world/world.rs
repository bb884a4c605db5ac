//! A state and what a test must know to write commands that mean something: epochs, incarnations, numbers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rollcall_registry::{
    model::{
        command::{
            Addresses, AdmitNode, Batch, ChangeKind, Command, DeleteDevice, Expect, FoundCluster,
            FoundingMember, NodeDown, NodeDownReason, NodeUp, OpenSession, PutDevice, RaiseLevel,
            RemoveExpired, RemoveNode, SessionChange, SetAccessRules, SetGroupPolicy, SetPolicy, Sweep,
        },
        event::Event,
        feature_level::FeatureLevel,
        ids::{
            AttachNumber, BatchNumber, BootCounter, ClusterId, DeviceKey, Epoch, Etag, Incarnation,
            InstanceId, LogIndex, NodeId, Registration, StorageId, UnixMillis,
        },
        invariants::EpochHistory,
        policy::{GroupPolicy, RegistrationMode},
        profile::Profile,
        response::Response,
        state::{Applied, State},
    },
    routes::view::DeviceView,
};

use super::steps::{Change, DEVICES, Expecting, NODES, Newness, Registering, Step};

/// A node as the test sees it.
#[derive(Debug, Clone, Default)]
struct Peer {
    boot: u64,
    registration: u64,
    incarnation: u64,
    number: u64,
}

/// A state and the log that led to it.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) log: Vec<(LogIndex, Command)>,
    history: EpochHistory,
    peers: BTreeMap<u64, Peer>,
    epochs: BTreeMap<DeviceKey, Vec<Epoch>>,
    judged: Option<RaiseLevel>,
}

pub(crate) fn device(number: u8) -> DeviceKey {
    DeviceKey::new(if number.is_multiple_of(2) { "even" } else { "odd" }, &format!("device-{number}"))
}

fn profile(number: u8) -> Arc<Profile> {
    let groups: &[&str] = if number.is_multiple_of(2) { &["all", "even"] } else { &["all"] };
    let site = ["hz1", "hz2"][usize::from(number % 2)];
    let action = ["echo", "render"][usize::from(number / 3 % 2)];
    Arc::new(Profile::new(groups.iter().copied(), [("site", site)], [action], u32::from(number)))
}

fn expecting(expect: Expecting, current: Etag) -> Expect {
    match expect {
        Expecting::None => Expect::NoRecord,
        Expecting::Any => Expect::AnyRecord,
        Expecting::Current => Expect::Etag(current),
        Expecting::Stale => Expect::Etag(Etag(current.0.wrapping_add(1))),
    }
}

/// Of a group in one of two namespaces; 0 ms: nothing is said.
fn group_policy(group: u8, default_ms: u64, max_ms: u64) -> Command {
    let timeout = |ms| (ms != 0).then(|| Duration::from_millis(ms));
    Command::SetGroupPolicy(SetGroupPolicy {
        namespace: device(group).namespace,
        group: format!("group-{group}").into(),
        policy: GroupPolicy { default_timeout: timeout(default_ms), max_timeout: timeout(max_ms) },
    })
}

impl World {
    /// A founded cluster whose nodes are up.
    pub(crate) fn new() -> Self {
        let mut world = Self {
            state: State::new(),
            log: Vec::new(),
            history: EpochHistory::default(),
            peers: (1..=NODES).map(|id| (id, Peer { boot: 1, ..Peer::default() })).collect(),
            epochs: BTreeMap::new(),
            judged: None,
        };
        let member = |id: u64| FoundingMember {
            node: NodeId(id),
            name: format!("n{id}").into(),
            storage: StorageId(id.into()),
            addresses: Addresses::default(),
        };
        world.apply(Command::FoundCluster(FoundCluster {
            cluster_id: ClusterId(1),
            members: (1..=NODES).map(member).collect(),
            token_key: [3; 32],
            epoch_base: 10_000,
            registration: Default::default(),
        }));
        for node in 1..=NODES {
            world.step(&Step::Up { node, registration: Registering::Next });
        }
        world
    }

    /// Runs a step; the changes' refusals, if it was a batch that was applied.
    pub(crate) fn step(&mut self, step: &Step) -> Option<Applied> {
        let command = match step {
            Step::Up { node, registration } => self.up(*node, *registration),
            Step::Down { node, incarnation } => {
                let incarnation = self.incarnation(*node, *incarnation);
                Command::NodeDown(NodeDown {
                    node: NodeId(*node),
                    incarnation,
                    reason: NodeDownReason::LeaseLapsed,
                    floor: None,
                    at: self.now(),
                })
            }
            Step::Batch { node, changes } => {
                let changes = changes.iter().map(|change| self.change(change)).collect();
                self.batch(*node, Newness::Current, 1, changes)
            }
            Step::RepeatBatch { node } => self.batch(*node, Newness::Current, 0, Vec::new()),
            Step::StrayBatch { node, incarnation, ahead } => {
                let open =
                    Change::Open { device: 0, instance: 9, attach_number: 9, profile: 0, only_if: None };
                let changes = vec![self.change(&open)];
                self.batch(*node, *incarnation, ahead * 2, changes)
            }
            Step::Admit { name, storage } => Command::AdmitNode(AdmitNode {
                name: format!("n{name}").into(),
                storage: StorageId(u128::from(*storage) * 100 + u128::from(*name)),
                addresses: Addresses { peer: format!("host-{storage}:7402"), ..Addresses::default() },
                feature_level: FeatureLevel((*storage).into()),
            }),
            Step::Remove { node } => Command::RemoveNode(RemoveNode { node: NodeId(*node), at: self.now() }),
            Step::Put { device: number, expect, etag, assign, enabled } => {
                self.put(*number, *expect, Etag(*etag), *assign, *enabled)
            }
            Step::Delete { device: number, expect } => {
                let device = device(*number);
                let etag = match self.expect(&device, *expect) {
                    Expect::NoRecord | Expect::AnyRecord => None,
                    Expect::Etag(etag) => Some(etag),
                };
                Command::DeleteDevice(DeleteDevice { device, etag })
            }
            Step::Policy { known } => {
                let mode = |known| if known { RegistrationMode::Known } else { RegistrationMode::Open };
                Command::SetPolicy(SetPolicy { registration: known.map(mode), record_ttl: None })
            }
            Step::GroupPolicy { group, default_ms, max_ms } => group_policy(*group, *default_ms, *max_ms),
            Step::AccessRules { expect, etag, text } => {
                let current = self.state.routes().access_rules().map_or(Etag(77), |rules| rules.etag);
                let expect = expecting(*expect, current);
                // None is a text, too.
                let text = "x".repeat(usize::from(*text)).into();
                Command::SetAccessRules(SetAccessRules { expect, new_etag: Etag(*etag), text })
            }
            Step::JudgeLevel => {
                self.judged = self.judge_level();
                return None;
            }
            Step::RaiseLevel => Command::RaiseLevel(self.judged.clone()?),
            Step::Expire { cutoff, at } => Command::RemoveExpired(RemoveExpired {
                cutoff: UnixMillis(*cutoff),
                at: UnixMillis(*at),
                devices: (0..DEVICES).map(device).collect(),
            }),
            Step::Sweep => {
                Command::Sweep(Sweep { rows: self.state.routes().leftovers(None, usize::MAX).void })
            }
            Step::Blank => {
                let index = LogIndex(self.state.applied_index().0 + 1);
                self.state.advance(index);
                return None;
            }
            Step::Restore => {
                self.restore();
                return None;
            }
        };
        Some(self.apply(command))
    }

    /// Applies the next entry, and learns from what it did.
    pub(crate) fn apply(&mut self, command: Command) -> Applied {
        let index = LogIndex(self.state.applied_index().0 + 1);
        let applied = self.state.apply(index, &command);
        self.log.push((index, command));
        self.history.observe(&applied.events).unwrap();
        for event in &applied.events {
            self.learn(event);
        }
        applied
    }

    fn learn(&mut self, event: &Event) {
        match event {
            Event::Opened { device, session, .. } => {
                self.epochs.entry(device.clone()).or_default().push(session.epoch);
            }
            Event::NodeUp { node, incarnation } => {
                let peer = self.peers.entry(node.0).or_default();
                (peer.incarnation, peer.number) = (incarnation.0, 0);
            }
            Event::BatchApplied(outcome) => {
                self.peers.entry(outcome.node.0).or_default().number = outcome.number.0;
            }
            _ => {}
        }
    }

    /// Replaces the state by what its snapshot restores.
    pub(crate) fn restore(&mut self) {
        let restored = restored(&self.state);
        self.state.install(restored);
    }

    pub(crate) fn change(&self, change: &Change) -> SessionChange {
        let (number, kind) = match change {
            Change::Open { device, instance, attach_number, profile: number, only_if } => {
                let open = OpenSession {
                    instance: InstanceId(*instance),
                    attach_number: AttachNumber(*attach_number),
                    profile: profile(*number),
                    remote_addr: "10.0.0.1:1".into(),
                    only_if: only_if.map(|age| self.epoch(*device, age)),
                };
                (device, ChangeKind::Open(open))
            }
            Change::Close { device, age } => (device, ChangeKind::Close(self.epoch(*device, *age))),
            Change::Update { device, age, profile: number } => {
                (device, ChangeKind::Update(self.epoch(*device, *age), profile(*number)))
            }
        };
        SessionChange { device: device(*number), kind }
    }

    fn put(
        &self,
        number: u8,
        expect: Expecting,
        new_etag: Etag,
        assign: u8,
        enabled: Option<bool>,
    ) -> Command {
        let device = device(number);
        let assigned = profile(assign);
        Command::PutDevice(PutDevice {
            expect: self.expect(&device, expect),
            device,
            new_etag,
            groups: (assign > 0).then(|| assigned.groups.clone()),
            labels: (assign > 1).then(|| assigned.labels.clone()),
            enabled,
        })
    }

    fn expect(&self, device: &DeviceKey, expect: Expecting) -> Expect {
        let current = self.state.routes().device(device).map_or(Etag(77), |view| view.standing.etag());
        expecting(expect, current)
    }

    /// A clock that rises with the log; nothing but expiry looks at it.
    fn now(&self) -> UnixMillis {
        UnixMillis(self.state.applied_index().0)
    }

    /// A device's epoch of this age; one that was never given if it has none so old.
    fn epoch(&self, number: u8, age: usize) -> Epoch {
        let known = self.epochs.get(&device(number));
        known.and_then(|epochs| epochs.iter().rev().nth(age)).copied().unwrap_or(Epoch(1))
    }

    fn up(&mut self, node: u64, registration: Registering) -> Command {
        let at = self.now();
        let peer = self.peers.get_mut(&node).unwrap();
        match registration {
            Registering::Next => peer.registration += 1,
            Registering::NewBoot | Registering::OldVersion => {
                (peer.boot, peer.registration) = (peer.boot + 1, 1);
            }
            Registering::Again | Registering::Old => {}
        }
        let is_old_version = matches!(registration, Registering::OldVersion);
        let older = u64::from(matches!(registration, Registering::Old));
        Command::NodeUp(NodeUp {
            node: NodeId(node),
            storage: StorageId(node.into()),
            boot: BootCounter(peer.boot),
            registration: Registration(peer.registration.saturating_sub(older)),
            addresses: Addresses::default(),
            version: "1".into(),
            at,
            feature_level: if is_old_version { FeatureLevel::FIRST } else { FeatureLevel::NEWEST },
        })
    }

    /// As a leader does.
    fn judge_level(&self) -> Option<RaiseLevel> {
        let members = self.state.routes().nodes();
        let level = members.iter().map(|member| member.feature_level).min()?;
        let members = members.iter().map(|member| (member.id, member.incarnation)).collect();
        (level > self.state.routes().feature_level()).then_some(RaiseLevel { level, members })
    }

    fn incarnation(&self, node: u64, newness: Newness) -> Incarnation {
        let current = self.peers[&node].incarnation;
        match newness {
            Newness::Current => Incarnation(current),
            Newness::Old => Incarnation(current.saturating_sub(1)),
        }
    }

    fn batch(&self, node: u64, newness: Newness, ahead: u64, changes: Vec<SessionChange>) -> Command {
        Command::Batch(Batch {
            node: NodeId(node),
            incarnation: self.incarnation(node, newness),
            number: BatchNumber(self.peers[&node].number + ahead),
            changes,
            at: self.now(),
        })
    }

    /// An empty batch that a node may send now.
    pub(crate) fn next_batch(&self, node: u64) -> Command {
        self.batch(node, Newness::Current, 1, Vec::new())
    }

    pub(crate) fn views(&self) -> Vec<Option<DeviceView>> {
        (0..DEVICES).map(|number| self.state.routes().device(&device(number))).collect()
    }
}

/// The state that another one's snapshot restores.
pub(crate) fn restored(state: &State) -> State {
    let view = state.snapshot();
    let mut bytes = Vec::new();
    let records = view.write(&mut bytes).unwrap();
    assert_eq!(records, view.records());
    let mut restored = State::restore(&mut bytes.as_slice()).unwrap();
    restored.advance(state.applied_index());
    restored
}

/// The positions that a batch refused; `None` if it was refused whole.
pub(crate) fn refused_positions(applied: &Applied) -> Option<Vec<u32>> {
    match &applied.response {
        Response::Batch(outcome) => Some(outcome.refused.iter().map(|(position, _)| *position).collect()),
        _ => None,
    }
}
