//! A node's API as services see it: the generated clients, and a call in one line.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use rollcall_agent::Access;
use rollcall_proto::api::{
    Device, GetClusterRequest, GetClusterResponse, GetDeviceRequest, InvokeRequest, InvokeResponse,
    ListNodesRequest, Node, cluster_service_client::ClusterServiceClient,
    invoke_service_client::InvokeServiceClient, registry_service_client::RegistryServiceClient,
};
use rollcall_transport::AuthorizedChannel;
use tonic::{Status, transport::Endpoint};

use crate::limits;

/// A node's API.
#[derive(Debug, Clone)]
pub struct Api {
    /// The name of the node that is asked.
    pub node: String,
    /// Its calls.
    pub invoke: InvokeServiceClient<AuthorizedChannel>,
    /// Its registry.
    pub registry: RegistryServiceClient<AuthorizedChannel>,
    /// Its cluster.
    pub cluster: ClusterServiceClient<AuthorizedChannel>,
    /// Its connection, for other services.
    pub channel: AuthorizedChannel,
}

/// A call to any device of a group, with an empty payload.
pub fn call(group: &str, action: &str) -> InvokeRequest {
    InvokeRequest { group: group.into(), action: action.into(), ..Default::default() }
}

impl Api {
    /// The API at a URL; dialled when it is first used.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn at(node: &str, url: &str, access: &Access) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned()).context("not a URL")?;
        let endpoint = endpoint.connect_timeout(limits::ASK_PATIENCE);
        let channel = access.authorize(endpoint.connect_with_connector_lazy(access.connector()));
        let invoke = InvokeServiceClient::new(channel.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES);
        let registry =
            RegistryServiceClient::new(channel.clone()).max_decoding_message_size(limits::MESSAGE_BYTES);
        let cluster = ClusterServiceClient::new(channel.clone());
        Ok(Self { node: node.to_owned(), invoke, registry, cluster, channel })
    }

    /// Makes a call.
    ///
    /// # Errors
    /// The call's.
    pub async fn call(&self, request: InvokeRequest) -> Result<InvokeResponse, Status> {
        self.invoke.clone().invoke(request).await.map(tonic::Response::into_inner)
    }

    /// Has a device echo a few bytes, and checks that they came back.
    ///
    /// # Errors
    /// The call's, or what is wrong with the answer.
    pub async fn echo(&self, group: &str, device_id: &str) -> anyhow::Result<InvokeResponse> {
        let payload = Bytes::from(format!("{device_id} through {}", self.node));
        let request =
            InvokeRequest { device_id: device_id.into(), payload: payload.clone(), ..call(group, "echo") };
        let answer = self
            .call(request)
            .await
            .with_context(|| format!("a call to {device_id:?} of {group} through {}", self.node))?;
        anyhow::ensure!(answer.payload == payload, "the echo is {:?}", answer.payload);
        anyhow::ensure!(
            device_id.is_empty() || answer.device_id == device_id,
            "{} answered for {device_id}",
            answer.device_id
        );
        Ok(answer)
    }

    /// What the registry of this node says of a device in the default namespace.
    ///
    /// # Errors
    /// It does not know it, or the node does not answer.
    pub async fn device(&self, device_id: &str) -> anyhow::Result<Device> {
        let request = GetDeviceRequest { device_id: device_id.into(), ..Default::default() };
        let answer = self.registry.clone().get_device(quick(request)).await;
        let answer = answer.with_context(|| format!("{} asked for {device_id}", self.node))?;
        answer.into_inner().device.context("an answer without a device")
    }

    /// The cluster as this node sees it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn cluster(&self) -> anyhow::Result<GetClusterResponse> {
        let answer = self.cluster.clone().get_cluster(quick(GetClusterRequest {})).await;
        Ok(answer.with_context(|| format!("{} asked for the cluster", self.node))?.into_inner())
    }

    /// The nodes as this node sees them.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn nodes(&self) -> anyhow::Result<Vec<Node>> {
        let answer = self.cluster.clone().list_nodes(quick(ListNodesRequest::default())).await;
        Ok(answer.with_context(|| format!("{} asked for the nodes", self.node))?.into_inner().nodes)
    }
}

/// A question that is not allowed to take long.
fn quick<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(Duration::min(limits::ASK_PATIENCE, Duration::from_secs(2)));
    request
}
