//! `rollcall.v1.ClusterService`: the cluster and its nodes.

use rollcall_proto::api::{
    DemoteNodeRequest, DemoteNodeResponse, GetClusterRequest, GetClusterResponse, ListNodesRequest,
    ListNodesResponse, Node, NodeRole, NodeState, PromoteNodeRequest, PromoteNodeResponse, RemoveNodeRequest,
    RemoveNodeResponse, SaveSnapshotRequest, TransferLeadershipRequest, TransferLeadershipResponse,
    cluster_service_server::ClusterService,
};
use rollcall_registry::{MembershipChange, routes::view::NodeView};
use tonic::{Request, Response, Status};

use super::{page::Page, read::cluster_id, save_snapshot, status::Refusal, validate::Invalid, view};
use crate::cluster::{Cluster, ClusterStatus};

/// Serves the cluster.
#[derive(Debug, Clone)]
pub struct ClusterApi<C> {
    cluster: C,
}

impl<C: Cluster> ClusterApi<C> {
    /// Serves this cluster.
    pub fn new(cluster: C) -> Self {
        Self { cluster }
    }

    /// Makes a change; the node's id, and the index as of which it holds.
    async fn change(&self, change: MembershipChange) -> Result<(u64, u64), Refusal> {
        let changed = self.cluster.change_membership(&change).await?;
        Ok((changed.node.0, changed.index.0))
    }

    fn show(&self, node: &NodeView, status: &ClusterStatus) -> Node {
        let role = if status.leader == Some(node.id) {
            NodeRole::Leader
        } else if status.voters.contains(&node.id) {
            NodeRole::Voter
        } else {
            NodeRole::Learner
        };
        let state = match (node.up, node.draining) {
            (true, false) => NodeState::Up,
            (true, true) => NodeState::Draining,
            (false, _) => NodeState::Down,
        };
        Node {
            name: node.name.to_string(),
            node_id: node.id.0,
            role: role as i32,
            state: state as i32,
            peer_addr: node.addresses.peer.clone(),
            api_addr: node.addresses.api.clone(),
            device_addr: node.addresses.device.clone(),
            http_addr: node.addresses.http.clone(),
            incarnation: node.incarnation.0,
            sessions: self.cluster.routes().sessions_of(node.id),
            version: node.version.to_string(),
        }
    }
}

#[tonic::async_trait]
impl<C: Cluster> ClusterService for ClusterApi<C> {
    async fn get_cluster(
        &self,
        _request: Request<GetClusterRequest>,
    ) -> Result<Response<GetClusterResponse>, Status> {
        let status = self.cluster.status();
        let routes = self.cluster.routes();
        let counts = routes.counts();
        let voters_up =
            status.voters.iter().filter(|id| routes.node(**id).is_some_and(|node| node.up)).count();
        Ok(Response::new(GetClusterResponse {
            cluster_id: cluster_id(&self.cluster),
            node: status.name,
            leader: status.leader.map(|leader| view::node_name(leader, routes)).unwrap_or_default(),
            term: status.term,
            applied_index: status.applied.0,
            last_log_index: status.last_log.0,
            voters: count(status.voters.len()),
            learners: count(status.learners.len()),
            failure_tolerance: count(failure_tolerance(status.voters.len(), voters_up)),
            devices: counts.devices,
            sessions: counts.sessions,
            has_quorum: status.has_quorum,
        }))
    }

    async fn list_nodes(
        &self,
        request: Request<ListNodesRequest>,
    ) -> Result<Response<ListNodesResponse>, Status> {
        let request = request.into_inner();
        let page = Page::read(request.page_size, &request.page_token, &["nodes"])?;
        let routes = self.cluster.routes();
        let index = routes.applied_index();
        let after = |node: &NodeView| page.after.as_deref().is_none_or(|after| node.name.as_str() > after);
        let mut nodes: Vec<_> =
            routes.nodes().into_iter().filter(|node| after(node)).take(page.limit()).collect();
        let next_page_token = page.cut(&mut nodes, |node| node.name.as_str());
        let status = self.cluster.status();
        Ok(Response::new(ListNodesResponse {
            nodes: nodes.iter().map(|node| self.show(node, &status)).collect(),
            next_page_token,
            index: index.0,
            cluster_id: cluster_id(&self.cluster),
        }))
    }

    type SaveSnapshotStream = save_snapshot::Parts;

    async fn save_snapshot(
        &self,
        request: Request<SaveSnapshotRequest>,
    ) -> Result<Response<Self::SaveSnapshotStream>, Status> {
        Ok(Response::new(save_snapshot::open(&self.cluster, &request.into_inner()).await?))
    }

    async fn remove_node(
        &self,
        request: Request<RemoveNodeRequest>,
    ) -> Result<Response<RemoveNodeResponse>, Status> {
        let name = named(request.into_inner().name)?;
        let (node_id, index) = self.change(MembershipChange::Remove(name)).await?;
        Ok(Response::new(RemoveNodeResponse { node_id, index, cluster_id: cluster_id(&self.cluster) }))
    }

    async fn promote_node(
        &self,
        request: Request<PromoteNodeRequest>,
    ) -> Result<Response<PromoteNodeResponse>, Status> {
        let name = named(request.into_inner().name)?;
        let (node_id, index) = self.change(MembershipChange::Promote(name)).await?;
        Ok(Response::new(PromoteNodeResponse { node_id, index, cluster_id: cluster_id(&self.cluster) }))
    }

    async fn demote_node(
        &self,
        request: Request<DemoteNodeRequest>,
    ) -> Result<Response<DemoteNodeResponse>, Status> {
        let name = named(request.into_inner().name)?;
        let (node_id, index) = self.change(MembershipChange::Demote(name)).await?;
        Ok(Response::new(DemoteNodeResponse { node_id, index, cluster_id: cluster_id(&self.cluster) }))
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        let to = Some(request.into_inner().to).filter(|to| !to.is_empty());
        let change = MembershipChange::TransferLeadership(to);
        let changed = self.cluster.change_membership(&change).await.map_err(Refusal::from)?;
        let name = |node| view::node_name(node, self.cluster.routes());
        Ok(Response::new(TransferLeadershipResponse {
            from: changed.former_leader.map(name).unwrap_or_default(),
            to: name(changed.node),
            term: changed.term,
        }))
    }
}

fn named(name: String) -> Result<String, Invalid> {
    if name.is_empty() { Err(Invalid::new("name", "it names no node")) } else { Ok(name) }
}

/// How many voters may still be lost before there is no quorum.
fn failure_tolerance(voters: usize, up: usize) -> usize {
    up.saturating_sub(voters / 2 + 1)
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::failure_tolerance;

    #[test]
    fn a_cluster_bears_the_loss_of_what_exceeds_its_quorum() {
        for (voters, up, tolerance) in
            [(1, 1, 0), (2, 2, 0), (3, 3, 1), (3, 2, 0), (3, 1, 0), (5, 5, 2), (5, 4, 1)]
        {
            assert_eq!(failure_tolerance(voters, up), tolerance, "{up} of {voters}");
        }
        assert_eq!(failure_tolerance(0, 0), 0);
    }
}
