//! Checks at the start that log what will hurt later. None of them keeps a node from starting.

use std::{os::unix::fs::PermissionsExt, path::PathBuf, time::SystemTime};

use futures::future::join_all;
use rollcall_transport::Connector;

use super::{examine, peers};
use crate::{
    cluster::Cluster,
    config::{Permissions, SecuritySettings},
    limits::{CLOCKS_APART_MOST, FSYNC_SLOW, NAME_SLOW, OPEN_FILES_LEAST},
};

const OTHERS_READ: u32 = 0o006;
const OTHERS_WRITE: u32 = 0o002;

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

/// Keys that everybody on the machine may read, and rules that everybody may write, protect nothing.
pub(super) fn warn_of_exposed_files(security: &SecuritySettings) {
    let listeners = security.listeners.iter().map(|own| (&own.key, OTHERS_READ));
    let peers = security.peers.iter().map(|peers| (&peers.identity.key, OTHERS_READ));
    let rules = match &security.access {
        Permissions::File(path) => Some((path, OTHERS_WRITE)),
        Permissions::Open | Permissions::Unsaid => None,
    };
    for (path, bits) in listeners.chain(peers).chain(rules) {
        let mode = std::fs::metadata(path).map(|file| file.permissions().mode());
        if mode.is_ok_and(|mode| mode & bits != 0) {
            tracing::warn!(path = %path.display(), "everybody on this machine may read this key, or write these rules");
        }
    }
}
