//! `rollcall.v1.ClusterService`: the cluster and its nodes.

use std::{sync::Arc, time::SystemTime};

use rollcall_proto::api::{
    DemoteNodeRequest, DemoteNodeResponse, DrainNodeRequest, ExamineNodeRequest, ExamineNodeResponse,
    GetAccessRulesRequest, GetAccessRulesResponse, GetClusterRequest, GetClusterResponse, ListNodesRequest,
    ListNodesResponse, Node, NodeRole, NodeState, PromoteNodeRequest, PromoteNodeResponse,
    RebalanceNodeRequest, RebalanceNodeResponse, RemoveNodeRequest, RemoveNodeResponse, SaveSnapshotRequest,
    SetAccessRulesRequest, SetAccessRulesResponse, SetLogFilterRequest, SetLogFilterResponse,
    TransferLeadershipRequest, TransferLeadershipResponse, cluster_service_server::ClusterService,
};
use rollcall_registry::{MembershipChange, routes::view::NodeView};
use rollcall_router::Router;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    access_rules,
    drain_node::{self, Drain, When},
    examine_node,
    page::Page,
    read::cluster_id,
    rebalance_node,
    route_explanation::asked_here,
    save_snapshot,
    status::Refusal,
    validate::Invalid,
    view,
};
use crate::{
    access::Standing,
    cluster::{Cluster, ClusterStatus, failure_tolerance},
    config::Settings,
    lifecycle::{Leaving, Readiness},
    telemetry,
};

/// Serves the cluster.
#[derive(Clone)]
pub struct ClusterApi<C: Cluster> {
    /// The cluster.
    pub cluster: C,
    /// Its calls and devices on this node.
    pub router: Router<C>,
    /// Whether this node should be sent calls.
    pub readiness: watch::Receiver<Readiness>,
    /// The way out.
    pub leaving: Leaving<C>,
    /// Cancelled once this node has drained.
    pub closing: CancellationToken,
    /// What this node was told.
    pub settings: Arc<Settings>,
}

impl<C: Cluster> ClusterApi<C> {
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
            feature_level: node.feature_level.0,
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
        let readiness = self.readiness.borrow().clone();
        Ok(Response::new(GetClusterResponse {
            cluster_id: cluster_id(&self.cluster),
            node: status.name.clone(),
            leader: status.leader.map(|leader| view::node_name(leader, routes)).unwrap_or_default(),
            term: status.term,
            applied_index: status.applied.0,
            last_log_index: status.last_log.0,
            voters: count(status.voters.len()),
            learners: count(status.learners.len()),
            failure_tolerance: count(failure_tolerance(&status, routes)),
            devices: counts.devices,
            sessions: counts.sessions,
            has_quorum: status.has_quorum,
            ready: readiness.is_ready(),
            readiness: readiness.to_string(),
            clock: Some(SystemTime::now().into()),
            feature_level: status.feature_level.0,
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

    type DrainNodeStream = drain_node::Steps;

    async fn drain_node(
        &self,
        request: Request<DrainNodeRequest>,
    ) -> Result<Response<Self::DrainNodeStream>, Status> {
        let request = request.into_inner();
        asked_here(&self.cluster, &request.name)?;
        let drain = Drain {
            cluster: self.cluster.clone(),
            router: self.router.clone(),
            leaving: self.leaving.clone(),
            drained: self.closing.clone(),
        };
        let when = if request.now { When::Now } else { When::InTurn };
        Ok(Response::new(drain_node::begin(drain, when)))
    }

    async fn rebalance_node(
        &self,
        request: Request<RebalanceNodeRequest>,
    ) -> Result<Response<RebalanceNodeResponse>, Status> {
        let request = request.into_inner();
        asked_here(&self.cluster, &request.name)?;
        Ok(Response::new(rebalance_node::rebalance(&self.cluster, &self.router, &request)))
    }

    async fn examine_node(
        &self,
        request: Request<ExamineNodeRequest>,
    ) -> Result<Response<ExamineNodeResponse>, Status> {
        asked_here(&self.cluster, &request.into_inner().name)?;
        let readiness = self.readiness.borrow().clone();
        let examined = examine_node::examine(&self.cluster, &self.router, &self.settings, readiness).await?;
        Ok(Response::new(examined))
    }

    async fn set_log_filter(
        &self,
        request: Request<SetLogFilterRequest>,
    ) -> Result<Response<SetLogFilterResponse>, Status> {
        let request = request.into_inner();
        asked_here(&self.cluster, &request.name)?;
        let former = telemetry::log_filter();
        if !request.filter.is_empty() {
            telemetry::set_log_filter(&request.filter)
                .map_err(|error| Invalid::new("filter", error.to_string()))?;
            tracing::info!(former, filter = request.filter, "what is logged was changed by an operator");
        }
        let filter = telemetry::log_filter();
        Ok(Response::new(SetLogFilterResponse { node: self.cluster.status().name, former, filter }))
    }

    async fn get_access_rules(
        &self,
        _: Request<GetAccessRulesRequest>,
    ) -> Result<Response<GetAccessRulesResponse>, Status> {
        Ok(Response::new(access_rules::get(&self.cluster)))
    }

    async fn set_access_rules(
        &self,
        request: Request<SetAccessRulesRequest>,
    ) -> Result<Response<SetAccessRulesResponse>, Status> {
        let standing = request.extensions().get::<Standing>().cloned();
        let set = access_rules::set(&self.cluster, standing, request.into_inner()).await?;
        Ok(Response::new(set))
    }
}

fn named(name: String) -> Result<String, Invalid> {
    if name.is_empty() { Err(Invalid::new("name", "it names no node")) } else { Ok(name) }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
