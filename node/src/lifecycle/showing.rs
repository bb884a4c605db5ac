//! Keeps the metrics up that are read off the node rather than counted.

use std::path::PathBuf;

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    cluster::{Cluster, failure_tolerance},
    limits::{PROCESS_SHOWN, READINESS_INTERVAL},
    telemetry::{Beside, ClusterGauges, show_process, show_process_start},
};

/// Shows the cluster, again and again.
pub(super) async fn keep_showing_cluster<C: Cluster>(cluster: C) {
    let mut gauges = ClusterGauges::default();
    let mut ticks = interval(READINESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let status = cluster.status();
        let counts = cluster.routes().counts();
        let beside = Beside {
            failure_tolerance: failure_tolerance(&status, cluster.routes()),
            lease_remaining: cluster.lease_remaining(),
            devices: counts.devices,
            sessions: counts.sessions,
        };
        gauges.show(&status, beside);
    }
}

/// Shows the process and its disk, again and again.
pub(super) async fn keep_showing_process(data_dir: PathBuf) {
    show_process_start();
    let mut ticks = interval(PROCESS_SHOWN);
    loop {
        ticks.tick().await;
        show_process(&data_dir);
    }
}
