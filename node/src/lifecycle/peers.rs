//! What another node says of the cluster and of itself, asked over its API.

use rollcall_proto::api::{
    GetClusterRequest, GetClusterResponse, cluster_service_client::ClusterServiceClient,
};
use tokio::time;
use tonic::transport::Endpoint;

use crate::limits::PEER_QUESTION;

/// The cluster as the node at this `host:port` sees it; `None`: it did not answer within [`PEER_QUESTION`].
pub(super) async fn ask(api_addr: &str) -> Option<GetClusterResponse> {
    let url = format!("http://{api_addr}");
    let asked = async {
        let channel = Endpoint::from_shared(url).ok()?.connect().await.ok()?;
        let answer = ClusterServiceClient::new(channel).get_cluster(GetClusterRequest {}).await.ok()?;
        Some(answer.into_inner())
    };
    time::timeout(PEER_QUESTION, asked).await.ok().flatten()
}
