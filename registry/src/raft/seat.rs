//! A node's place, taken: Raft and the tasks that belong to it.

use std::sync::Arc;

use tokio::task::AbortHandle;

use super::{
    channels::Channels,
    chores,
    compactor::Compactor,
    comparison::{Comparison, Standing},
    consensus::{Consensus, LeaderError},
    expulsion::Expulsion,
    identity::Seat,
    leader::{Leader, Proposed},
    network::NetworkFactory,
    operator::Operator,
    presence::Presence,
    purge_floor::PurgeFloor,
};
use crate::{
    batcher::{self, BatcherHandle},
    clock::unix_now,
    fatal::{FatalReason, FatalSender},
    leases::keeper::{self, KeeperHandle},
    model::ids::NodeId,
    model::{
        command::{Command, NodeDown, NodeDownReason},
        ids::Epoch,
    },
    observers::LocalObserver,
    registry::{ClusterStatus, Inner},
    routes::Routes,
    start_error::StartError,
};

/// What runs once a node has a place in a cluster.
pub(crate) struct Seated {
    pub(crate) leader: Leader,
    pub(crate) batcher: BatcherHandle,
    pub(crate) presence: AbortHandle,
    pub(super) standing: Standing,
    pub(super) compactor: Compactor,
    others: Vec<AbortHandle>,
}

impl Seated {
    /// The place.
    pub(crate) fn seat(&self) -> Seat {
        self.leader.consensus.seat()
    }

    /// Hands leadership over, then stops everything.
    pub(crate) async fn stop(&self) {
        self.presence.abort();
        for task in &self.others {
            task.abort();
        }
        self.leader.consensus.hand_over().await;
        self.leader.consensus.stop().await;
        self.leader.channels.clear();
    }
}

/// Takes the place that the folder gives; a second time returns what the first did.
///
/// # Cancel safety
/// The place is taken all the same: who asks for consent may hang up while Raft starts.
pub(super) async fn take(inner: &Arc<Inner>) -> Result<&Seated, StartError> {
    let taker = Arc::clone(inner);
    let taken =
        tokio::spawn(async move { taker.seated.get_or_try_init(|| start(&taker)).await.map(drop) }).await;
    taken.map_err(|panic| StartError::Consensus(panic.to_string()))??;
    inner.seated.get().ok_or_else(|| StartError::Consensus("no place was taken".to_owned()))
}

async fn start(inner: &Arc<Inner>) -> Result<Seated, StartError> {
    let seat =
        inner.folder.seat().ok_or_else(|| StartError::Consensus("no place in a cluster".to_owned()))?;
    let parts = inner.parts.lock().take();
    let (log, machine) = parts.ok_or_else(|| StartError::Consensus("it was started before".to_owned()))?;
    let channels = Channels::new(inner.config.connector.clone());
    let routes = inner.routes.clone();
    let expulsion = Expulsion { folder: Arc::clone(&inner.folder), fatal: inner.fatal.clone() };
    let floor = PurgeFloor::default();
    let factory = NetworkFactory {
        seat,
        floor: floor.clone(),
        channels: channels.clone(),
        routes: routes.clone(),
        expulsion: expulsion.clone(),
    };

    // The batcher is there before Raft replays the log, so that it misses nothing; it proposes once Raft is up.
    let (leader_known, leader_later) = tokio::sync::watch::channel(None::<Leader>);
    let (batcher, batching) = batcher::spawn(seat.node, propose_later(leader_later), epochs(routes.clone()));
    // Others ask for this node's incarnation when they see its start: it has to be known by then.
    inner.observers.add_first(Arc::new(LocalObserver {
        node: seat.node,
        boot: inner.folder.boot(),
        routes: routes.clone(),
        lease: Arc::clone(&inner.lease),
        batcher: batcher.clone(),
        changed: Arc::clone(&inner.changed),
        expulsion: expulsion.clone(),
        max_feature_level: inner.config.max_feature_level,
        fatal: inner.fatal.clone(),
    }));

    let consensus = Consensus::start(factory, log, machine).await.map_err(consensus_error)?;
    let (keeper, keeping) = keeper(&consensus, &routes);
    let operator = Operator::new(consensus.clone(), routes.clone(), inner.config.voters);
    let leader = Leader {
        consensus: consensus.clone(),
        channels,
        routes: routes.clone(),
        keeper,
        operator: operator.clone(),
        expulsion,
    };
    leader_known.send_replace(Some(leader.clone()));

    let standing = Standing::new();
    let comparison = Comparison {
        leader: leader.clone(),
        folder: Arc::clone(&inner.folder),
        join: inner.config.join.clone(),
        standing: standing.clone(),
        fatal: inner.fatal.clone(),
    };
    let comparing = tokio::spawn(comparison.run());
    let presence = Presence {
        leader: leader.clone(),
        lease: Arc::clone(&inner.lease),
        changed: Arc::clone(&inner.changed),
        storage: inner.folder.storage(),
        boot: inner.folder.boot(),
        addresses: inner.config.advertise.clone(),
        version: inner.config.version.clone(),
        feature_level: inner.config.max_feature_level,
        fatal: inner.fatal.clone(),
        standing: standing.clone(),
    };
    let presence = tokio::spawn(presence.run()).abort_handle();
    let learner_ttl = inner.config.learner_ttl;
    let chores = chores::run(consensus.clone(), routes, Arc::clone(&inner.folder), operator, learner_ttl);
    let chores = tokio::spawn(chores);
    let compactor = Compactor {
        consensus: consensus.clone(),
        log: inner.log.clone(),
        snapshots: inner.snapshots.clone(),
        floor,
        bounds: inner.config.log_bounds,
    };
    let compacting = tokio::spawn(compactor.clone().run());
    let watching = tokio::spawn(report_end(consensus, inner.fatal.clone()));
    let tasks = [chores, compacting, watching, comparing].map(|task| task.abort_handle());
    let others = tasks.into_iter().chain([batching, keeping]).collect();
    Ok(Seated { leader, batcher, presence, standing, compactor, others })
}

fn consensus_error(error: LeaderError) -> StartError {
    StartError::Consensus(error.to_string())
}

fn propose_later(leader: tokio::sync::watch::Receiver<Option<Leader>>) -> batcher::Propose {
    Arc::new(move |command| {
        let mut leader = leader.clone();
        Box::pin(async move {
            let leader = match leader.wait_for(Option::is_some).await {
                Ok(known) => known.clone(),
                Err(_) => None,
            };
            let Some(leader) = leader else {
                return false;
            };
            match leader.propose(&command).await {
                Ok(Proposed::Committed(_)) => true,
                Ok(Proposed::Rejected(reason)) => {
                    tracing::warn!(reason, "a batch was refused");
                    false
                }
                Ok(Proposed::RecordRejected(_)) => false,
                Err(error) => {
                    tracing::debug!(%error, "a batch was not committed yet");
                    false
                }
            }
        })
    })
}

fn epochs(routes: Routes) -> batcher::EpochOf {
    Arc::new(move |index, position| Epoch::new(routes.epoch_base(), index, position))
}

fn keeper(consensus: &Consensus, routes: &Routes) -> (KeeperHandle, AbortHandle) {
    let granting = consensus.clone();
    let reporting = consensus.clone();
    keeper::spawn(
        routes.clone(),
        Arc::new(move || granting.granting_term()),
        Arc::new(move |node, incarnation| {
            let consensus = reporting.clone();
            let reason = NodeDownReason::LeaseLapsed;
            let down = NodeDown { node, incarnation, reason, at: unix_now(), floor: None };
            Box::pin(async move {
                match consensus.write(Command::NodeDown(down)).await {
                    Ok(_) => metrics::counter!(crate::metrics::LEASES_LAPSED).increment(1),
                    Err(error) => tracing::debug!(%error, %node, "a lapse was not committed yet"),
                }
            })
        }),
    )
}

/// Says so when Raft ends by itself.
async fn report_end(consensus: Consensus, fatal: FatalSender) {
    let reason = consensus.ended().await;
    tracing::error!(reason, "consensus ended");
    fatal.stop(FatalReason::Consensus(reason));
}

/// The cluster's status, on top of what is known without Raft.
pub(crate) fn status(seated: &Seated, known: ClusterStatus) -> ClusterStatus {
    let metrics = seated.leader.consensus.metrics();
    let membership = metrics.membership_config.membership();
    let node = seated.seat().node;
    let leader = metrics.current_leader.map(NodeId);
    let has_quorum = if leader == Some(node) {
        seated.leader.consensus.leads_with_quorum()
    } else {
        known.lease_held && leader.is_some()
    };
    ClusterStatus {
        node,
        leader,
        term: metrics.current_term,
        last_log: crate::model::ids::LogIndex(metrics.last_log_index.unwrap_or(0)),
        voters: membership.voter_ids().map(NodeId).collect(),
        learners: membership.learner_ids().map(NodeId).collect(),
        has_quorum,
        ..known
    }
}
