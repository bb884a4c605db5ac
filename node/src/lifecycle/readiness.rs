//! Whether the node should be sent calls. The judgement is pure; the watcher looks at the cluster and asks.

use std::fmt;

use rollcall_transport::Connector;
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;

use super::peers;
use crate::{
    cluster::Cluster,
    limits::{APPLY_LAG_MOST, READINESS_INTERVAL},
    telemetry::metric_names,
};

/// Whether the node should be sent calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It should not, for these reasons.
    NotReady(Vec<String>),
    /// It should.
    Ready,
    /// It should, although no leader is known anywhere: routing goes on from replicas, and no other node is better.
    Degraded(Vec<String>),
}

impl Readiness {
    /// Whether it should be sent calls.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::NotReady(_) => false,
            Self::Ready | Self::Degraded(_) => true,
        }
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Degraded(reasons) => write!(f, "degraded\n{}", reasons.join("\n")),
            Self::NotReady(reasons) => f.write_str(&reasons.join("\n")),
        }
    }
}

/// What readiness is judged by.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// The node has joined its cluster and registered.
    pub joined: bool,
    /// The node is shutting down.
    pub draining: bool,
    /// The leader heard from a quorum of late.
    pub has_quorum: bool,
    /// This node's lease holds.
    pub lease_held: bool,
    /// Entries of the log that this node has and has not applied.
    pub apply_lag: u64,
    /// A peer that answers has a leader; only asked when this node has none.
    pub peer_has_leader: bool,
}

/// Judges: strict to become ready, lenient to stay so.
///
/// A node that was ready stays so without a leader unless a peer still has one: when the quorum is lost, taking every
/// node out would end the calls that need no quorum.
pub fn judge(before: &Readiness, seen: &Observation) -> Readiness {
    let mut reasons = Vec::new();
    let mut add = |holds: bool, reason: String| {
        if holds {
            reasons.push(reason);
        }
    };
    add(seen.draining, "draining".into());
    add(!seen.joined, "not yet a member of its cluster".into());
    add(seen.joined && !seen.has_quorum, "no leader with a quorum".into());
    add(seen.joined && !seen.lease_held, "the node's lease does not hold".into());
    add(seen.apply_lag > APPLY_LAG_MOST, format!("{} log entries are not applied yet", seen.apply_lag));
    if reasons.is_empty() {
        return Readiness::Ready;
    }
    let leaderless = seen.joined && !seen.draining && !seen.has_quorum && seen.apply_lag <= APPLY_LAG_MOST;
    if before.is_ready() && leaderless && !seen.peer_has_leader {
        return Readiness::Degraded(reasons);
    }
    Readiness::NotReady(reasons)
}

/// What only the lifecycle knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(super) joined: bool,
    pub(super) draining: bool,
}

/// Looks every [`READINESS_INTERVAL`], and at once when the lifecycle gets on, until `stop`.
pub(super) async fn keep_judging<C: Cluster>(
    cluster: C,
    connector: Connector,
    mut progress: watch::Receiver<Progress>,
    readiness: watch::Sender<Readiness>,
    stop: CancellationToken,
) {
    let mut ticks = time::interval(READINESS_INTERVAL);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = progress.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
        let now = *progress.borrow_and_update();
        let was_ready = readiness.borrow().is_ready();
        let seen = observe(&cluster, &connector, now, was_ready).await;
        let judged = judge(&readiness.borrow(), &seen);
        show(&judged);
        readiness.send_if_modified(|current| {
            let changed = *current != judged;
            if changed && current.is_ready() != judged.is_ready() {
                tracing::info!(ready = judged.is_ready(), state = %judged, "readiness changed");
            }
            *current = judged;
            changed
        });
    }
}

async fn observe<C: Cluster>(
    cluster: &C,
    connector: &Connector,
    progress: Progress,
    was_ready: bool,
) -> Observation {
    let status = cluster.status();
    let alone = progress.joined && !progress.draining && was_ready && !status.has_quorum;
    Observation {
        joined: progress.joined,
        draining: progress.draining,
        has_quorum: status.has_quorum,
        lease_held: status.lease_held,
        apply_lag: status.last_log.0.saturating_sub(status.applied.0),
        peer_has_leader: alone && a_peer_has_leader(cluster, connector).await,
    }
}

/// Asks all other nodes at once; true as soon as one says that it has a leader.
async fn a_peer_has_leader<C: Cluster>(cluster: &C, connector: &Connector) -> bool {
    use futures::{StreamExt, stream::FuturesUnordered};
    let this = cluster.node();
    let others = cluster.routes().nodes().into_iter().filter(|node| node.id != this);
    let mut answers: FuturesUnordered<_> =
        others.map(|node| has_leader(connector, node.addresses.peer.to_string())).collect();
    while let Some(has_leader) = answers.next().await {
        if has_leader {
            return true;
        }
    }
    false
}

async fn has_leader(connector: &Connector, peer_addr: String) -> bool {
    peers::ask(connector, &peer_addr).await.is_some_and(|answer| answer.has_quorum)
}

fn show(readiness: &Readiness) {
    let flag = |on: bool| f64::from(u8::from(on));
    metrics::gauge!(metric_names::READY).set(flag(readiness.is_ready()));
    metrics::gauge!(metric_names::DEGRADED).set(flag(matches!(readiness, Readiness::Degraded(_))));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Observation {
        Observation { joined: true, has_quorum: true, lease_held: true, ..Observation::default() }
    }

    fn not_ready() -> Readiness {
        Readiness::NotReady(vec!["starting".into()])
    }

    #[test]
    fn a_node_becomes_ready_with_a_leader_and_its_lease() {
        assert_eq!(judge(&not_ready(), &well()), Readiness::Ready);
        for lacking in [
            Observation { joined: false, ..well() },
            Observation { has_quorum: false, ..well() },
            Observation { lease_held: false, ..well() },
            Observation { draining: true, ..well() },
            Observation { apply_lag: APPLY_LAG_MOST + 1, ..well() },
        ] {
            assert!(!judge(&not_ready(), &lacking).is_ready(), "{lacking:?}");
        }
    }

    #[test]
    fn losing_every_leader_degrades_a_ready_node() {
        let alone = Observation { has_quorum: false, lease_held: false, ..well() };
        let judged = judge(&Readiness::Ready, &alone);
        assert_eq!(judged.to_string(), "degraded\nno leader with a quorum\nthe node's lease does not hold");
        assert!(judge(&judged, &alone).is_ready(), "and it stays so");
        assert_eq!(judge(&judged, &well()), Readiness::Ready);
    }

    #[test]
    fn a_node_cut_off_from_a_living_leader_is_not_ready() {
        let cut_off = Observation { has_quorum: false, peer_has_leader: true, ..well() };
        assert_eq!(judge(&Readiness::Ready, &cut_off).to_string(), "no leader with a quorum");
        let lapsed = Observation { lease_held: false, ..well() };
        assert!(!judge(&Readiness::Ready, &lapsed).is_ready());
    }

    #[test]
    fn a_draining_node_is_never_ready() {
        let draining = Observation { draining: true, has_quorum: false, ..well() };
        assert_eq!(judge(&Readiness::Ready, &draining).to_string(), "draining\nno leader with a quorum");
    }
}
