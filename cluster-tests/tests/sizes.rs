//! What is too large for the log is refused with a reason, whichever way it comes, and stops nobody.

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use prost::Message;
use rollcall_cluster_tests::{Cluster, Lab, SPREAD_PATIENCE, as_member, propose};
use rollcall_proto::{
    peer::{JoinRequest, ProposeRequest, join_response, propose_response},
    storage::{
        Addresses, AnyRecord, AssignedLabels, Batch, CloseSession, Command, DeviceName, Label, NodeUp,
        PutDevice, SessionChange, command::Kind, put_device, session_change,
    },
};
use rollcall_registry::model::feature_level::FeatureLevel;

/// More than the largest entry, less than the largest message between nodes.
const LARGE: usize = 3 * 1024 * 1024 / 2;

/// A command as a member hands it on: to be encoded by the leader, or as it shall stand in the log.
fn requests(kind: Kind) -> [ProposeRequest; 2] {
    let command = Command { kind: Some(kind) };
    let encoded = command.encode_to_vec().into();
    [
        ProposeRequest { command: Some(command), encoded: Bytes::new() },
        ProposeRequest { command: None, encoded },
    ]
}

fn name(device_id: &str) -> DeviceName {
    DeviceName { namespace: "default".into(), device_id: device_id.into() }
}

/// One of each way in which a command can be too large.
fn large_commands() -> Vec<(&'static str, Kind)> {
    let long = "x".repeat(LARGE);
    let labels = AssignedLabels { labels: vec![Label { key: "k".to_owned(), value: long.clone() }] };
    let record = PutDevice {
        device: Some(name("large")),
        expect: Some(put_device::Expect::Any(AnyRecord {})),
        new_etag: 7,
        labels: Some(labels),
        ..Default::default()
    };
    let close = |device_id: String| SessionChange {
        namespace: "default".into(),
        device_id,
        kind: Some(session_change::Kind::Close(CloseSession { epoch: 1 })),
    };
    let many = (0..LARGE / 200).map(|number| close(format!("{number:0>180}"))).collect();
    let up = NodeUp {
        node_id: 1,
        storage_id: vec![1; 16].into(),
        addresses: Some(Addresses { peer: long.clone(), ..Default::default() }),
        ..Default::default()
    };
    vec![
        ("a record with an endless label", Kind::PutDevice(record)),
        (
            "a batch of too many changes",
            Kind::Batch(Batch { node_id: 1, changes: many, ..Default::default() }),
        ),
        (
            "a batch with one endless change",
            Kind::Batch(Batch { node_id: 1, changes: vec![close(long)], ..Default::default() }),
        ),
        ("a registration with an endless address", Kind::NodeUp(up)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fits_into_no_entry_is_refused_and_stops_nobody() -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let leader = cluster.leader(SPREAD_PATIENCE).await?;
    let before = leader.api()?.cluster().await?;
    for (what, kind) in large_commands() {
        for node in &cluster.nodes {
            for request in requests(kind.clone()) {
                let way = if request.command.is_some() { "as it is" } else { "encoded" };
                let answer = propose(&cluster, node, request).await.with_context(|| what.to_owned())?;
                match answer {
                    propose_response::Result::TooLarge(large) => {
                        ensure!(large.bytes > large.limit, "{what}, {way}, at {}: {large:?}", node.name);
                    }
                    other => bail!("{what}, {way}, at {}: {other:?}", node.name),
                }
            }
        }
    }
    for (what, name_bytes, addr_bytes) in
        [("name", LARGE, 10), ("address", 10, LARGE), ("address", 10, 2_000)]
    {
        let request = JoinRequest {
            name: "n".repeat(name_bytes),
            storage_id: vec![1; 16].into(),
            addresses: Some(Addresses { peer: "a".repeat(addr_bytes), ..Default::default() }),
            feature_level: FeatureLevel::NEWEST.0,
        };
        match as_member(&leader)?.join(request).await?.into_inner().result {
            Some(join_response::Result::Refused(reason)) => {
                ensure!(reason.contains("bytes"), "an endless {what}: {reason}");
            }
            other => bail!("a newcomer with an endless {what}: {other:?}"),
        }
    }
    let after = leader.api()?.cluster().await?;
    ensure!((after.term, after.leader) == (before.term, before.leader), "leadership has moved");
    ensure!(leader.api()?.nodes().await?.len() == 3, "a newcomer was let in");
    let device = Lab::new("plain", "sizes").attach(&[leader.device_url()]).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;
    for node in &cluster.nodes {
        node.api()?.echo("sizes", &device.device_id).await?;
    }
    cluster.finish().await
}
