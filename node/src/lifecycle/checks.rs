//! Checks at the start that log what will hurt later. None of them keeps a node from starting.

use std::{path::PathBuf, time::SystemTime};

use futures::future::join_all;
use rollcall_transport::Connector;

use super::{examine, peers};
use crate::{
    cluster::Cluster,
    limits::{CLOCKS_APART_MOST, FSYNC_SLOW, NAME_SLOW, OPEN_FILES_LEAST},
};

/// Warns of a limit on open files that a gateway will run into.
pub(super) fn warn_of_file_limit() {
    // `None` is no limit.
    let Some(limit) = examine::open_files().limit else { return };
    if limit < OPEN_FILES_LEAST {
        tracing::warn!(
            limit,
            wanted = OPEN_FILES_LEAST,
            "few open files are allowed, and each device connection is one; raise the limit \
             (ulimit -n, LimitNOFILE= in systemd)"
        );
    }
}

/// Warns of a disk whose flushes are slow: every change of the registry waits for one.
pub(super) async fn warn_of_slow_disk(data_dir: PathBuf) {
    match examine::disk(data_dir).await {
        Ok(disk) if disk.fsync > FSYNC_SLOW => tracing::warn!(
            fsync_ms = disk.fsync.as_secs_f64() * 1e3,
            "flushing a small write takes long; each connect of a device waits for it on a majority of the nodes"
        ),
        Ok(_) => {}
        Err(error) => tracing::debug!(%error, "the data folder was not measured"),
    }
}

/// Warns of names in the join list that cannot be resolved, or only slowly: each dial asks for them.
pub(super) async fn warn_of_names(join: Vec<String>) {
    for found in examine::names(join).await {
        if let Some(error) = found.error {
            tracing::warn!(name = found.name, error, "a name of the join list cannot be resolved");
        } else if found.took > NAME_SLOW {
            tracing::warn!(
                name = found.name,
                took_ms = found.took.as_secs_f64() * 1e3,
                "a name of the join list is resolved slowly"
            );
        }
    }
}

/// Warns of nodes whose clocks are far from this node's: records expire by them, and logs are compared by them.
pub(super) async fn warn_of_clocks<C: Cluster>(cluster: &C, connector: &Connector) {
    let this = cluster.node();
    let others: Vec<_> =
        cluster.routes().nodes().into_iter().filter(|node| node.id != this && node.up).collect();
    let answers = join_all(others.iter().map(|node| peers::ask(connector, &node.addresses.peer))).await;
    for (node, answer) in others.iter().zip(answers) {
        let theirs =
            answer.and_then(|answer| answer.clock).and_then(|clock| SystemTime::try_from(clock).ok());
        let Some(theirs) = theirs else { continue };
        let ours = SystemTime::now();
        let apart = ours.duration_since(theirs).unwrap_or_else(|later| later.duration());
        if apart > CLOCKS_APART_MOST {
            tracing::warn!(
                node = %node.name,
                apart_s = apart.as_secs_f64(),
                "this node's clock and that of another are far apart; keep them by NTP"
            );
        }
    }
}
