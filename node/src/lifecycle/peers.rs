//! What another node says of the cluster and of itself, asked at its peer listener.

use rollcall_proto::api::{
    GetClusterRequest, GetClusterResponse, cluster_service_client::ClusterServiceClient,
};
use rollcall_transport::Connector;
use tokio::time;
use tonic::transport::Endpoint;

use crate::limits::PEER_QUESTION;

/// The cluster as the node at this `host:port` sees it; `None`: it did not answer within [`PEER_QUESTION`].
pub(super) async fn ask(connector: &Connector, peer_addr: &str) -> Option<GetClusterResponse> {
    let asked = async {
        let endpoint = Endpoint::from_shared(connector.url(peer_addr)).ok()?;
        let channel = endpoint.connect_with_connector(connector.clone()).await.ok()?;
        let answer = ClusterServiceClient::new(channel).get_cluster(GetClusterRequest {}).await.ok()?;
        Some(answer.into_inner())
    };
    time::timeout(PEER_QUESTION, asked).await.ok().flatten()
}
