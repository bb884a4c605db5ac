//! What members ask of each other, asked by the harness in a member's name.

use anyhow::Context;
use rollcall_proto::peer::{
    ProposeRequest, membership_service_client::MembershipServiceClient, propose_response,
};
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

use crate::{Cluster, Node, limits};

/// The services that a node of a cluster without certificates has for its peers.
///
/// # Errors
/// The address is malformed.
pub fn as_member(of: &Node) -> anyhow::Result<MembershipServiceClient<Channel>> {
    let channel = Endpoint::from_shared(format!("http://{}", of.peer_addr()))?.connect_lazy();
    Ok(MembershipServiceClient::new(channel).max_encoding_message_size(limits::MESSAGE_BYTES))
}

/// Proposes to a node as another member would.
///
/// # Errors
/// The call's [`tonic::Status`], among the causes.
pub async fn propose(
    cluster: &Cluster,
    to: &Node,
    request: ProposeRequest,
) -> anyhow::Result<propose_response::Result> {
    let seen = to.api()?.cluster().await?;
    let nodes = to.api()?.nodes().await?;
    let id = |name: &str| nodes.iter().find(|node| node.name == name).map(|node| node.node_id);
    let from = cluster.nodes.iter().find(|node| node.name != to.name).context("another member")?;
    let mut request = Request::new(request);
    request.set_timeout(limits::ASK_PATIENCE);
    let (source, target) = (id(&from.name).context("its id")?, id(&to.name).context("its id")?);
    for (key, value) in [
        ("rollcall-cluster-id", seen.cluster_id),
        ("rollcall-source-id", source.to_string()),
        ("rollcall-target-id", target.to_string()),
    ] {
        request.metadata_mut().insert(key, value.parse()?);
    }
    let response = as_member(to)?.propose(request).await?.into_inner();
    response.result.context("an empty answer")
}
