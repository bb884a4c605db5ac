//! `ExamineNode`: what a node finds when it examines itself.

use std::{collections::BTreeSet, time::SystemTime};

use rollcall_proto::api::{ExamineNodeResponse, NameFound};
use rollcall_router::Router;
use tonic::Code;

use super::status::Refusal;
use crate::{
    cluster::Cluster,
    config::Settings,
    lifecycle::{Readiness, examine},
};

/// Measures and answers.
///
/// # Errors
/// `DATA_DIR`: the data folder cannot be written to.
pub(super) async fn examine<C: Cluster>(
    cluster: &C,
    router: &Router<C>,
    settings: &Settings,
    readiness: Readiness,
) -> Result<ExamineNodeResponse, Refusal> {
    let disk = examine::disk(settings.data_dir.clone()).await.map_err(|error| {
        let message = format!("{} cannot be written to: {error}", settings.data_dir.display());
        Refusal::new(Code::FailedPrecondition, "DATA_DIR", message)
    })?;
    let files = examine::open_files();
    let names = examine::names(names(cluster, settings)).await;
    let status = cluster.status();
    Ok(ExamineNodeResponse {
        node: status.name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        clock: Some(SystemTime::now().into()),
        ready: readiness.is_ready(),
        readiness: readiness.to_string(),
        lease_remaining: cluster.lease_remaining().try_into().ok(),
        applied_index: status.applied.0,
        last_log_index: status.last_log.0,
        fsync: disk.fsync.try_into().ok(),
        disk_free_bytes: disk.free_bytes,
        disk_bytes: disk.bytes,
        open_files: files.open,
        open_files_limit: files.limit.unwrap_or_default(),
        names: names.into_iter().map(name).collect(),
        sessions: router.device_count() as u64,
        calls_in_flight: router.calls_in_flight() as u64,
        common_settings: vec![
            format!("voters={}", settings.voters),
            format!("max_payload={}", settings.calls.max_payload_bytes),
        ],
    })
}

/// Those of the join list and those by which other nodes are reached.
fn names<C: Cluster>(cluster: &C, settings: &Settings) -> BTreeSet<String> {
    let joined = settings.join.iter().map(ToString::to_string);
    let nodes = cluster.routes().nodes();
    let advertised = nodes.iter().flat_map(|node| [&node.addresses.peer, &node.addresses.api]);
    joined.chain(advertised.filter(|name| !name.is_empty()).cloned()).collect()
}

fn name(found: examine::NameFound) -> NameFound {
    NameFound { name: found.name, error: found.error.unwrap_or_default(), took: found.took.try_into().ok() }
}
