//! Runs the inputs of a script against a state, checking all invariants after each.

use rollcall_registry::model::{
    command::{
        Addresses, AdmitNode, Batch, Command, DeleteDevice, Expect, FoundCluster, FoundingMember, NodeDown,
        NodeDownReason, NodeDraining, NodeUp, RaiseLevel, RemoveExpired, RemoveNode, Sweep,
    },
    feature_level::FeatureLevel,
    ids::{
        BatchNumber, BootCounter, ClusterId, Etag, Incarnation, LogIndex, NodeId, Registration, StorageId,
        UnixMillis,
    },
    invariants::{self, EpochHistory},
    state::State,
};

use super::{
    input::{self, Line},
    output,
};

/// A state and the log's end.
pub(crate) struct Runner {
    state: State,
    history: EpochHistory,
    index: u64,
    base: u64,
}

impl Runner {
    pub(crate) fn new() -> Self {
        Self { state: State::new(), history: EpochHistory::default(), index: 0, base: 0 }
    }

    /// What the inputs give, one line each or more.
    pub(crate) fn run(&mut self, inputs: &str) -> String {
        let lines: Vec<&str> = inputs.lines().filter(|line| !line.starts_with('#')).collect();
        let mut written = String::new();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.starts_with(' ')) {
            let below = lines[at + 1..].iter().take_while(|line| line.starts_with(' '));
            let below: Vec<Line<'_>> = below.map(|line| Line(line)).collect();
            written.push_str(&self.input(Line(line), &below));
            invariants::check(&self.state).unwrap();
        }
        written
    }

    fn input(&mut self, line: Line<'_>, below: &[Line<'_>]) -> String {
        let storage = || StorageId(line.number("storage", 0));
        let addresses = || Addresses { peer: line.all("peer").collect(), ..Addresses::default() };
        let level = || FeatureLevel(line.number("level", 0));
        match line.word(0) {
            "found" => self.found(line),
            "admit" => self.apply(&Command::AdmitNode(AdmitNode {
                name: line.word(1).into(),
                storage: storage(),
                addresses: addresses(),
                feature_level: level(),
            })),
            "up" => self.apply(&Command::NodeUp(NodeUp {
                node: NodeId(line.id(1)),
                storage: StorageId(line.number("storage", u128::from(line.id(1)))),
                boot: BootCounter(line.number("boot", 1)),
                registration: Registration(line.number("reg", 1)),
                addresses: addresses(),
                version: line.all("version").collect(),
                at: UnixMillis(line.number("t", 0)),
                feature_level: level(),
            })),
            "down" => self.apply(&Command::NodeDown(NodeDown {
                node: NodeId(line.id(1)),
                incarnation: Incarnation(line.number("inc", 0)),
                reason: NodeDownReason::LeaseLapsed,
                floor: None,
                at: UnixMillis(line.number("t", 0)),
            })),
            "draining" => self.apply(&Command::NodeDraining(NodeDraining {
                node: NodeId(line.id(1)),
                incarnation: Incarnation(line.number("inc", 0)),
                provided: line.lives("if").collect(),
            })),
            "remove" => self.apply(&Command::RemoveNode(RemoveNode {
                node: NodeId(line.id(1)),
                at: UnixMillis(line.number("t", 0)),
            })),
            "batch" => self.apply(&Command::Batch(Batch {
                node: NodeId(line.id(1)),
                incarnation: Incarnation(line.number("inc", 0)),
                number: BatchNumber(line.number("no", 0)),
                changes: below.iter().map(|line| line.change(self.base)).collect(),
                at: UnixMillis(line.number("t", 0)),
            })),
            "create" => self.apply(&line.put(Expect::NoRecord)),
            "put" => self.apply(&line.put(line.expect())),
            "delete" => self.apply(&Command::DeleteDevice(DeleteDevice {
                device: input::device(line.word(1)),
                etag: line.all("if").next().map(|etag| Etag(etag.parse().unwrap())),
            })),
            "policy" => self.apply(&line.policy()),
            "access" => self.apply(&line.access_rules()),
            "group" => self.apply(&line.group_policy()),
            "level" => self.apply(&Command::RaiseLevel(RaiseLevel {
                level: FeatureLevel(line.word(1).parse().unwrap()),
                members: line.lives("member").collect(),
            })),
            "expire" => self.apply(&Command::RemoveExpired(RemoveExpired {
                cutoff: UnixMillis(line.number("before", 0)),
                at: UnixMillis(line.number("t", 0)),
                devices: line.words().skip(1).map(input::device).collect(),
            })),
            "sweep" => self.apply(&Command::Sweep(Sweep {
                rows: below.iter().map(|line| line.swept(self.base)).collect(),
            })),
            "blank" => {
                self.index += 1;
                self.state.advance(LogIndex(self.index));
                String::new()
            }
            "restore" => self.restore(),
            _ => self.look(line),
        }
    }

    fn found(&mut self, line: Line<'_>) -> String {
        let base = line.number("base", 0);
        let member = |(id, name): (u64, &str)| FoundingMember {
            node: NodeId(id),
            name: name.into(),
            storage: StorageId(id.into()),
            addresses: Addresses::default(),
        };
        let found = FoundCluster {
            cluster_id: ClusterId(line.number("cluster", 1)),
            members: (1..).zip(line.words().skip(1)).map(member).collect(),
            token_key: [7; 32],
            epoch_base: base,
            registration: Default::default(),
        };
        let written = self.apply(&Command::FoundCluster(found));
        if self.base == 0 {
            self.base = base;
        }
        written
    }

    fn apply(&mut self, command: &Command) -> String {
        self.index += 1;
        let applied = self.state.apply(LogIndex(self.index), command);
        self.history.observe(&applied.events).unwrap();
        let mut written = format!("{}: {}\n", self.index, output::response(self.base, &applied.response));
        for event in &applied.events {
            written.push_str(&format!("   {}\n", output::event(self.base, event)));
        }
        written
    }

    /// Replaces the state by its own snapshot's; a handle taken before must show the new one.
    fn restore(&mut self) -> String {
        let mut bytes = Vec::new();
        self.state.snapshot().write(&mut bytes).unwrap();
        let mut restored = State::restore(&mut bytes.as_slice()).unwrap();
        assert_eq!(restored.digest(), self.state.digest());
        restored.advance(LogIndex(self.index));
        self.state.install(restored);
        String::new()
    }

    fn look(&self, line: Line<'_>) -> String {
        let routes = self.state.routes();
        let lines = match line.word(0) {
            "route" => {
                let key = input::device(line.word(1));
                vec![output::route(self.base, &routes.route(&key.namespace, &key.device))]
            }
            "device" => {
                let view = routes.device(&input::device(line.word(1)));
                vec![output::device(self.base, view.as_ref())]
            }
            "devices" => {
                let (after, limit) = (line.all("after").next(), line.number("limit", 100));
                let page = routes.devices_after("", after, &Default::default(), limit);
                page.iter().map(|view| output::device(self.base, Some(view))).collect()
            }
            "candidates" => {
                let mut out = Vec::new();
                let matched = routes.candidates("", line.word(1), line.word(2), &line.labels(), &mut out);
                let on = |c: &rollcall_registry::routes::view::Candidate| {
                    format!("{} on {} take {}", c.devices, c.node, c.capacity)
                };
                std::iter::once(format!("{matched:?}")).chain(out.iter().map(on)).collect()
            }
            "groups" => {
                let group = |group: &rollcall_registry::routes::view::GroupView| {
                    format!("{} connected={} capacity={}", group.name, group.connected, group.capacity)
                };
                routes.groups_after("", line.all("after").next(), 100).iter().map(group).collect()
            }
            "access?" => {
                let rules = routes.access_rules();
                vec![
                    rules
                        .map_or("nothing is stored".into(), |it| format!("version {}: {}", it.etag, it.text)),
                ]
            }
            "level?" => vec![format!("level {}", routes.feature_level())],
            "policy?" => {
                let policy = routes.policy();
                vec![format!("{:?}, records stay {:?}", policy.registration, policy.record_ttl)]
            }
            "group?" => {
                let (namespace, group) = input::group(line.word(1));
                vec![output::group_policy(&routes.group_policy(namespace, group))]
            }
            "said" => {
                let (namespace, limit) =
                    (line.all("in").next().unwrap_or("default"), line.number("limit", 100));
                let said = routes.group_policies_after(namespace, line.all("after").next(), limit);
                let line = |(group, policy): &(_, _)| format!("{group}: {}", output::group_policy(policy));
                std::iter::once(format!("{} groups", routes.group_policies()))
                    .chain(said.iter().map(line))
                    .collect()
            }
            "leftovers" => {
                let cutoff = line.all("before").next().map(|before| UnixMillis(before.parse().unwrap()));
                vec![output::leftovers(self.base, &routes.leftovers(cutoff, 100))]
            }
            "nodes" => routes.nodes().iter().map(|node| output::node(node)).collect(),
            "counts" => {
                let counts = routes.counts();
                let (applied, cluster) = (routes.applied_index(), routes.cluster_id().is_some());
                vec![format!(
                    "{} devices, {} sessions, applied {applied}, founded {cluster}",
                    counts.devices, counts.sessions
                )]
            }
            other => panic!("unknown input {other:?}"),
        };
        lines.into_iter().map(|line| line + "\n").collect()
    }
}
