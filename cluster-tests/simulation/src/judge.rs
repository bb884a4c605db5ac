//! What is asked when everything is healed: whether the cluster is whole, and whether its history is one that may be.

use std::time::Duration;

use rollcall_cluster_tests::{
    history::Sight,
    invariants::{Replica, Violation, epochs_rise, owner_linearizable, replicas_equal},
};
use rollcall_registry::{Registrar, Registry, model::ids::DeviceKey};

use crate::{
    cluster::Cluster,
    limits::{DEVICES, LIVENESS, LOOK_EVERY_STEPS, MACHINES, SETTLED},
    outcome::Coverage,
};

/// Lives on until the cluster is whole, at most [`LIVENESS`]; what stays broken is a violation.
pub(crate) fn converges(cluster: &mut Cluster) -> Vec<Violation> {
    let until = cluster.now + LIVENESS;
    let mut whole_since = None;
    let mut probes = [None::<(u64, Duration)>; MACHINES];
    loop {
        (0..LOOK_EVERY_STEPS).for_each(|_| cluster.step());
        let unwell = unwell(cluster, &mut probes);
        let Some(why) = unwell else {
            if *whole_since.get_or_insert(cluster.now) + SETTLED <= cluster.now {
                return Vec::new();
            }
            continue;
        };
        whole_since = None;
        if cluster.now >= until {
            return vec![Violation::of("whole_again_after_healing", format!("after {LIVENESS:?}: {why}"))];
        }
    }
}

/// How long a probe may take before another is sent.
const PROBE: Duration = Duration::from_secs(1);

/// What is not well yet.
fn unwell(cluster: &mut Cluster, probes: &mut [Option<(u64, Duration)>; MACHINES]) -> Option<String> {
    let statuses: Vec<_> = (0..MACHINES).filter_map(|machine| cluster.status(machine)).collect();
    if statuses.len() < MACHINES {
        return Some("a machine does not run".to_owned());
    }
    let mut said = None;
    for (machine, status) in statuses.iter().enumerate() {
        if !status.lease_held || status.leader.is_none() {
            return Some(format!("machine {machine} has no lease or knows no leader: {status:?}"));
        }
        let now = cluster.now;
        let probe = probes[machine].unwrap_or((u64::MAX, Duration::ZERO));
        if !cluster.clients.answered(machine, probe.0) {
            if probe.1 + PROBE <= now {
                probes[machine] = Some((cluster.clients.probe(machine, &cluster.machines), now));
            }
            said = Some(format!("no session opens on machine {machine}"));
        }
    }
    let first = statuses.first().map(|status| (status.leader, status.applied));
    if let Some(other) = statuses.iter().find(|status| Some((status.leader, status.applied)) != first) {
        return Some(format!("machine 0 has {first:?}, another {other:?}"));
    }
    said
}

/// What the histories say.
pub(crate) fn judge(cluster: &Cluster) -> Vec<Violation> {
    let sights = cluster.clients.sights();
    let replicas: Vec<_> = (0..MACHINES).filter_map(|machine| replica(cluster, machine)).collect();
    let mut behind = Vec::new();
    let last = cluster.followed.last();
    for replica in replicas.iter().filter(|replica| replica.index < last.0) {
        let what = format!("{} is at {}, and {last} was applied before", replica.node, replica.index);
        behind.push(Violation::of("nothing_applied_is_lost", what));
    }
    [
        cluster.violations(),
        behind,
        epochs_rise(&sights),
        owner_linearizable(&sights),
        replicas_equal(&replicas),
    ]
    .concat()
}

/// All that a replica says of nodes and devices.
fn replica(cluster: &Cluster, machine: usize) -> Option<Replica> {
    cluster.machines[machine].look(|registry: &Registry| {
        let routes = registry.routes();
        let devices = (0..DEVICES).map(|device| routes.device(&DeviceKey::new("", &format!("d{device}"))));
        Replica {
            node: format!("n{}", machine + 1),
            index: routes.applied_index().0,
            hash: format!("{:?} {:?} {:?}", routes.nodes(), devices.collect::<Vec<_>>(), routes.policy()),
        }
    })
}

/// What happened, as far as clients saw it.
pub(crate) fn coverage(cluster: &Cluster) -> Coverage {
    let sights = cluster.clients.sights();
    let count = |is: fn(&Sight) -> bool| sights.iter().filter(|record| is(&record.sight)).count() as u64;
    Coverage {
        opens: count(|sight| matches!(sight, Sight::Opened(_))),
        unknown: count(|sight| matches!(sight, Sight::MaybeOpened)),
        reads: count(|sight| matches!(sight, Sight::Read(_))),
        ..cluster.coverage()
    }
}
