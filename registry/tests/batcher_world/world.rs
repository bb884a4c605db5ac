//! Some nodes' batchers over one log: each sees the log late, and proposals take their time.

use std::{collections::BTreeMap, sync::Arc};

use rollcall_registry::{
    batcher::core::{Batcher, Completion, Effect, Ticket},
    clock::Moment,
    handle::{ChangeError, Opened},
    model::{
        command::{
            Addresses, ChangeKind, Command, FoundCluster, FoundingMember, NodeDown, NodeDownReason, NodeUp,
            OpenSession, SessionChange,
        },
        event::Event,
        feature_level::FeatureLevel,
        ids::{
            AttachNumber, BatchNumber, BootCounter, ClusterId, DeviceKey, Epoch, Incarnation, InstanceId,
            LogIndex, NodeId, Registration, StorageId, UnixMillis,
        },
        invariants,
        profile::Profile,
        state::State,
    },
    routes::view::Route,
};

pub(crate) const NODES: u64 = 3;
const DEVICES: u8 = 4;
const BASE: u64 = 1_000_000;

struct Node {
    core: Batcher,
    incarnation: Incarnation,
    /// Entries of the log that it has applied.
    applied: usize,
    running: Option<BatchNumber>,
}

pub(crate) struct World {
    state: State,
    log: Vec<(LogIndex, Vec<Event>)>,
    nodes: BTreeMap<u64, Node>,
    registrations: BTreeMap<u64, u64>,
    on_the_way: Vec<Arc<Command>>,
    now: Moment,
    /// What was asked, by ticket; an open's instance is its ticket.
    asked: BTreeMap<u64, SessionChange>,
    told: BTreeMap<u64, Completion>,
}

fn device(number: u8) -> DeviceKey {
    DeviceKey::new("", &format!("d{}", number % DEVICES))
}

impl World {
    pub(crate) fn new() -> Self {
        let node = |id| Node {
            core: Batcher::new(NodeId(id)),
            incarnation: Incarnation(0),
            applied: 0,
            running: None,
        };
        let mut world = Self {
            state: State::new(),
            log: Vec::new(),
            nodes: (1..=NODES).map(|id| (id, node(id))).collect(),
            registrations: BTreeMap::new(),
            on_the_way: Vec::new(),
            now: Moment::from_millis(1),
            asked: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        let member = |id: u64| FoundingMember {
            node: NodeId(id),
            name: format!("n{id}").into(),
            storage: StorageId(id.into()),
            addresses: Addresses::default(),
        };
        world.write(&Command::FoundCluster(FoundCluster {
            cluster_id: ClusterId(1),
            members: (1..=NODES).map(member).collect(),
            token_key: [3; 32],
            epoch_base: BASE,
            registration: Default::default(),
        }));
        world
    }

    fn write(&mut self, command: &Command) {
        let index = LogIndex(self.log.len() as u64 + 1);
        let applied = self.state.apply(index, command);
        self.log.push((index, applied.events));
        invariants::check(&self.state).unwrap();
    }

    pub(crate) fn open(&mut self, node: u64, number: u8, patience_ms: u64) {
        let instance = InstanceId(self.asked.len() as u64 + 1);
        let open = OpenSession {
            instance,
            attach_number: AttachNumber(1),
            profile: Arc::new(Profile::new(["g"], [], ["echo"], 1)),
            remote_addr: "".into(),
            only_if: None,
        };
        self.ask(node, SessionChange { device: device(number), kind: ChangeKind::Open(open) }, patience_ms);
    }

    /// Closes what the device has now, or had never.
    pub(crate) fn close(&mut self, node: u64, number: u8, waits: bool) {
        let device = device(number);
        let epoch = self.session(&device).map_or(Epoch(BASE), |(_, epoch)| epoch);
        let change = SessionChange { device, kind: ChangeKind::Close(epoch) };
        if waits {
            self.ask(node, change, 5_000);
        } else {
            self.nodes.get_mut(&node).unwrap().core.submit(change, None, Moment::default());
        }
    }

    fn ask(&mut self, node: u64, change: SessionChange, patience_ms: u64) {
        let ticket = self.asked.len() as u64 + 1;
        let deadline = self.now + std::time::Duration::from_millis(patience_ms);
        self.asked.insert(ticket, change.clone());
        self.nodes.get_mut(&node).unwrap().core.submit(change, Some(Ticket(ticket)), deadline);
    }

    fn session(&self, device: &DeviceKey) -> Option<(InstanceId, Epoch)> {
        match self.state.routes().route(&device.namespace, &device.device) {
            Route::Held { session, .. } => Some((session.instance, session.epoch)),
            _ => None,
        }
    }

    pub(crate) fn commit(&mut self, pick: usize, keep: bool) {
        if self.on_the_way.is_empty() {
            return;
        }
        let at = pick % self.on_the_way.len();
        let command = Arc::clone(&self.on_the_way[at]);
        if !keep {
            self.on_the_way.remove(at);
        }
        self.write(&command);
    }

    pub(crate) fn lose(&mut self, pick: usize) {
        if !self.on_the_way.is_empty() {
            self.on_the_way.remove(pick % self.on_the_way.len());
        }
    }

    /// The proposal in flight ends, truly or not.
    pub(crate) fn answer(&mut self, node: u64, committed: bool) {
        let node = self.nodes.get_mut(&node).unwrap();
        if let Some(number) = node.running.take() {
            node.core.proposal_ended(number, committed, self.now);
        }
    }

    pub(crate) fn register(&mut self, node: u64) {
        let registration = self.registrations.entry(node).or_default();
        *registration += 1;
        let up = NodeUp {
            node: NodeId(node),
            storage: StorageId(node.into()),
            boot: BootCounter(1),
            registration: Registration(*registration),
            addresses: Addresses::default(),
            version: "".into(),
            at: UnixMillis(0),
            feature_level: FeatureLevel::NEWEST,
        };
        self.write(&Command::NodeUp(up));
    }

    pub(crate) fn lapse(&mut self, node: u64) {
        let incarnation = self.state.routes().node(NodeId(node)).unwrap().incarnation;
        let down = NodeDown {
            node: NodeId(node),
            incarnation,
            reason: NodeDownReason::LeaseLapsed,
            at: UnixMillis(0),
            floor: None,
        };
        self.write(&Command::NodeDown(down));
    }

    pub(crate) fn apply(&mut self, node: u64, entries: usize) {
        for _ in 0..entries {
            let at = self.nodes[&node].applied;
            let Some((_, events)) = self.log.get(at) else { return };
            let events = events.clone();
            self.nodes.get_mut(&node).unwrap().applied += 1;
            for event in &events {
                self.tell(node, event);
            }
        }
    }

    /// As the node's observer of its own log does.
    fn tell(&mut self, id: u64, event: &Event) {
        let node = self.nodes.get_mut(&id).unwrap();
        let mut effects = Vec::new();
        match event {
            Event::NodeUp { node: up, incarnation } if up.0 == id => {
                node.incarnation = *incarnation;
                node.core.registered(*incarnation, &mut effects);
            }
            Event::NodeDown { node: down, incarnation, .. }
                if down.0 == id && node.incarnation == *incarnation =>
            {
                node.incarnation = Incarnation(0);
                node.core.lapsed(&mut effects);
            }
            Event::BatchApplied(outcome)
                if outcome.node.0 == id && outcome.incarnation == node.incarnation =>
            {
                node.core.applied(outcome, |index, at| Epoch::new(BASE, index, at), &mut effects);
            }
            _ => {}
        }
        self.carry_out(id, effects);
    }

    pub(crate) fn install_snapshot(&mut self, id: u64) {
        self.nodes.get_mut(&id).unwrap().applied = self.log.len();
        let batches: Vec<_> = self.state.last_batches().map(Event::BatchApplied).collect();
        for batch in &batches {
            self.tell(id, batch);
        }
        let view = self.state.routes().node(NodeId(id)).unwrap();
        let (node, incarnation, held) = (NodeId(id), view.incarnation, self.nodes[&id].incarnation);
        match view.up {
            true if incarnation != held => self.tell(id, &Event::NodeUp { node, incarnation }),
            false if held != Incarnation(0) => {
                self.tell(id, &Event::NodeDown { node, incarnation: held, sessions: 0 });
            }
            _ => {}
        }
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        self.now = self.now + std::time::Duration::from_millis(millis);
        for id in 1..=NODES {
            let mut effects = Vec::new();
            self.nodes.get_mut(&id).unwrap().core.poll(self.now, &mut effects);
            self.carry_out(id, effects);
        }
    }

    fn carry_out(&mut self, id: u64, effects: Vec<Effect>) {
        let mut proposed = 0;
        for effect in effects {
            match effect {
                Effect::Propose(command) => {
                    let Command::Batch(batch) = &*command else { panic!("not a batch: {command}") };
                    self.nodes.get_mut(&id).unwrap().running = Some(batch.number);
                    self.on_the_way.push(command);
                    proposed += 1;
                }
                Effect::Complete(Ticket(ticket), completion) => {
                    let twice = self.told.insert(ticket, completion);
                    assert_eq!(twice, None, "ticket {ticket} was answered twice");
                }
            }
        }
        assert!(proposed <= 1, "two proposals at once");
    }

    /// Everybody registers, everything is committed and applied, until nothing waits.
    pub(crate) fn settle(&mut self) {
        for id in 1..=NODES {
            if !self.state.routes().node(NodeId(id)).unwrap().up {
                self.register(id);
            }
        }
        for _ in 0..1_000 {
            for id in 1..=NODES {
                self.apply(id, usize::MAX);
                self.answer(id, false);
            }
            self.pass(600);
            while !self.on_the_way.is_empty() {
                self.commit(0, false);
            }
            let caught_up = self.nodes.values().all(|node| node.applied == self.log.len());
            if caught_up && self.nodes.values().all(|node| node.core.pending() == 0) {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn opened(&self, ticket: u64) -> Vec<Opened> {
        let events =
            self.log.iter().flat_map(|(index, events)| events.iter().map(move |event| (index, event)));
        let opened = events.filter_map(|(index, event)| match event {
            Event::Opened { session, .. } if session.instance.0 == ticket => {
                Some(Opened { epoch: session.epoch, index: *index })
            }
            _ => None,
        });
        opened.collect()
    }

    fn closed(&self, device: &DeviceKey, epoch: Epoch, at: LogIndex) -> bool {
        let events = |range: std::ops::RangeInclusive<LogIndex>| {
            let entries = self.log.iter().filter(move |(index, _)| range.contains(index));
            entries.flat_map(|(_, events)| events)
        };
        let told = events(at..=at).any(|event| {
            matches!(event, Event::Closed { device: which, session, .. } if which == device && session.epoch == epoch)
        });
        // Of a session that had ended with its node before nothing is told any more.
        let holder = events(LogIndex(0)..=at).find_map(|event| match event {
            Event::Opened { session, .. } if session.epoch == epoch => {
                Some((session.node, session.incarnation))
            }
            _ => None,
        });
        let was_void = || {
            events(LogIndex(0)..=at).any(|event| {
                matches!(event, Event::NodeDown { node, incarnation, .. } if Some((*node, *incarnation)) == holder)
            })
        };
        told || was_void()
    }

    /// Nothing happens twice, and whoever was answered was told what the log says.
    pub(crate) fn check_history(&self) {
        for (&ticket, change) in &self.asked {
            let opened = match change.kind {
                ChangeKind::Open(_) => self.opened(ticket),
                ChangeKind::Close(_) | ChangeKind::Update(..) => Vec::new(),
            };
            assert!(opened.len() <= 1, "ticket {ticket} was opened {} times", opened.len());
            match (self.told.get(&ticket), &change.kind) {
                (Some(Completion::Done(told)), ChangeKind::Open(_)) => assert_eq!(opened, [*told]),
                (Some(Completion::Done(told)), ChangeKind::Close(epoch)) => {
                    assert!(
                        self.closed(&change.device, *epoch, told.index),
                        "ticket {ticket} closed nothing"
                    );
                }
                (Some(Completion::Failed(ChangeError::Rejected(_))), _) => {
                    assert!(opened.is_empty(), "ticket {ticket} was refused and opened");
                }
                _ => {}
            }
        }
    }

    pub(crate) fn check_settled(&self) {
        self.check_history();
        for ticket in self.asked.keys() {
            assert!(self.told.contains_key(ticket), "ticket {ticket} was never answered");
        }
        for number in 0..DEVICES {
            let Some((instance, epoch)) = self.session(&device(number)) else { continue };
            let told = self.told.get(&instance.0);
            assert!(
                matches!(told, Some(Completion::Done(opened)) if opened.epoch == epoch),
                "device {number} has a session that {told:?} was told of"
            );
        }
    }
}
