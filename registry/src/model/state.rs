//! The replicated state: what the log's commands add up to. The commands themselves are in `apply`.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    apply,
    command::{Addresses, Command},
    event::{BatchOutcome, Event},
    feature_level::FeatureLevel,
    ids::{BatchNumber, ClusterId, LogIndex, NodeId, Registration},
    policy::{AccessRules, GroupPolicies, Policy},
    rejection::CommandRejection,
    response::Response,
};
use crate::routes::{
    Routes,
    life::Life,
    roster::{Roster, RosterNode},
    view::NodeView,
    writer::Writer,
};

/// What an entry did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// For the proposer.
    pub response: Response,
    /// For this node's own parts and for watchers, in order.
    pub events: Vec<Event>,
}

impl Applied {
    /// Nothing but an answer.
    pub(super) fn answer(response: Response) -> Self {
        Self { response, events: Vec::new() }
    }
}

impl From<CommandRejection> for Applied {
    fn from(rejection: CommandRejection) -> Self {
        Self::answer(Response::Rejected(rejection))
    }
}

/// The cluster's own record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub(crate) id: ClusterId,
    pub(crate) token_key: [u8; 32],
    pub(crate) epoch_base: u64,
    pub(crate) next_node_id: u64,
    pub(crate) feature_level: FeatureLevel,
    pub(crate) policy: Policy,
    pub(crate) group_policies: Arc<GroupPolicies>,
    pub(crate) access_rules: Option<Arc<AccessRules>>,
}

/// A node's record.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) view: NodeView,
    pub(crate) registration: Registration,
    /// Its current or last life; `None`: it never came up.
    pub(crate) life: Option<Arc<Life>>,
    /// Its last batch of this life.
    pub(crate) last_batch: Option<BatchOutcome>,
}

impl Node {
    /// The number of its last batch of this life; 0: none.
    pub(crate) fn batch_number(&self) -> BatchNumber {
        self.last_batch.as_ref().map_or(BatchNumber(0), |outcome| outcome.number)
    }
}

/// The replicated state of one replica.
///
/// Changed by one thread, in the order of the log; read by any number through [`Routes`]. Deterministic: the same
/// entries lead to the same state, responses and events on each replica. Nothing in here reads a clock, draws a random
/// number that shows, or does I/O.
#[derive(Debug)]
pub struct State {
    routes: Routes,
    pub(crate) writer: Writer,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// The state before the first entry.
    pub fn new() -> Self {
        let writer = Writer::new();
        let routes = Routes::over(Arc::clone(writer.tables()));
        Self { routes, writer, cluster: None, nodes: BTreeMap::new() }
    }

    /// Applies the command of the entry at `index`. Entries come in the order of the log, each once.
    ///
    /// A refusal is a response like any other. Readers see all of the entry's rows once [`Routes::applied_index`]
    /// has reached it, and may see some of them earlier.
    pub fn apply(&mut self, index: LogIndex, command: &Command) -> Applied {
        let tables = Arc::clone(self.writer.tables());
        let _entry = tables.begin_entry();
        let applied = match command {
            Command::FoundCluster(found) => apply::found_cluster(self, found),
            Command::AdmitNode(admit) => apply::admit_node(self, admit),
            Command::NodeUp(up) => apply::node_up(self, index, up),
            Command::NodeDown(down) => apply::node_down(self, down),
            Command::NodeDraining(draining) => apply::node_draining(self, draining),
            Command::Batch(batch) => apply::batch(self, index, batch),
            Command::RemoveNode(remove) => apply::remove_node(self, remove),
            Command::SetSuffrage(set) => apply::set_suffrage(self, set),
            Command::PutDevice(put) => apply::put_device(self, put),
            Command::DeleteDevice(delete) => apply::delete_device(self, delete),
            Command::SetPolicy(policy) => apply::set_policy(self, *policy),
            Command::SetAccessRules(set) => apply::set_access_rules(self, set),
            Command::SetGroupPolicy(set) => apply::set_group_policy(self, set),
            Command::RaiseLevel(raise) => apply::raise_level(self, raise),
            Command::RemoveExpired(expired) => apply::remove_expired(self, expired),
            Command::Sweep(sweep) => apply::sweep(self, sweep),
        };
        self.advance(index);
        applied
    }

    /// Notes an entry that changes nothing here: a blank one, or a change of the Raft membership.
    pub fn advance(&mut self, index: LogIndex) {
        self.writer.tables().publish_applied(index);
    }

    /// The last batch of each node's current life.
    pub fn last_batches(&self) -> impl Iterator<Item = BatchOutcome> {
        self.nodes.values().filter_map(|node| node.last_batch.clone())
    }

    /// The last entry applied.
    pub fn applied_index(&self) -> LogIndex {
        self.writer.tables().applied()
    }

    /// The read side. It stays valid over [`Self::install`].
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// Replaces everything by another state, which a snapshot gave; all handles of [`Self::routes`] see it at once.
    ///
    /// Frees the old rows, which takes tens of milliseconds per million of them.
    pub fn install(&mut self, restored: State) {
        self.routes.replace(Arc::clone(restored.writer.tables()));
        self.writer = restored.writer;
        self.cluster = restored.cluster;
        self.nodes = restored.nodes;
    }

    /// The cluster's record.
    pub(super) fn founded(&mut self) -> Result<&mut Cluster, CommandRejection> {
        self.cluster.as_mut().ok_or(CommandRejection::NotFounded)
    }

    /// A node's record.
    pub(super) fn member(&mut self, node: NodeId) -> Result<&mut Node, CommandRejection> {
        self.founded()?;
        self.nodes.get_mut(&node).ok_or(CommandRejection::UnknownNode(node))
    }

    /// Adds a node that has not come up yet.
    pub(super) fn enroll(
        &mut self,
        id: NodeId,
        name: &str,
        storage: super::ids::StorageId,
        addresses: &Addresses,
        feature_level: FeatureLevel,
    ) -> Event {
        let view = NodeView {
            id,
            name: name.into(),
            storage,
            addresses: addresses.clone(),
            version: Default::default(),
            incarnation: Default::default(),
            boot: Default::default(),
            up: false,
            draining: false,
            floor: None,
            suffrage: Default::default(),
            feature_level,
        };
        let node = Node { view, registration: Registration(0), life: None, last_batch: None };
        self.nodes.insert(id, node);
        Event::NodeAdmitted { node: id }
    }

    /// Publishes the cluster and its nodes to the readers.
    pub(super) fn publish_roster(&self) {
        let node = |node: &Node| RosterNode { view: Arc::new(node.view.clone()), life: node.life.clone() };
        self.writer.tables().publish_roster(Roster {
            cluster_id: self.cluster.as_ref().map(|cluster| cluster.id),
            token_key: self.cluster.as_ref().map(|cluster| cluster.token_key),
            epoch_base: self.cluster.as_ref().map_or(0, |cluster| cluster.epoch_base),
            feature_level: self.cluster.as_ref().map(|cluster| cluster.feature_level).unwrap_or_default(),
            next_node: self.cluster.as_ref().map_or(NodeId(0), |cluster| NodeId(cluster.next_node_id)),
            policy: self.cluster.as_ref().map(|cluster| cluster.policy).unwrap_or_default(),
            group_policies: self
                .cluster
                .as_ref()
                .map(|it| Arc::clone(&it.group_policies))
                .unwrap_or_default(),
            access_rules: self.cluster.as_ref().and_then(|cluster| cluster.access_rules.clone()),
            draining: self.nodes.values().any(|record| record.view.draining),
            nodes: self.nodes.iter().map(|(id, record)| (*id, node(record))).collect(),
            names: self.nodes.iter().map(|(id, record)| (record.view.name.clone(), *id)).collect(),
        });
    }
}
