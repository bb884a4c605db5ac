//! `rollcall.v1.RegistryService`: who exists, and who is connected where.

use std::{collections::BTreeMap, pin::Pin};

use futures::Stream;
use rollcall_proto::api::{
    CreateDeviceRequest, CreateDeviceResponse, DeleteDeviceRequest, DeleteDeviceResponse, Device,
    DisconnectDeviceRequest, DisconnectDeviceResponse, ExplainRouteRequest, ExplainRouteResponse,
    GetDeviceRequest, GetDeviceResponse, GetGroupPolicyRequest, GetGroupPolicyResponse,
    GetRegistryPolicyRequest, GetRegistryPolicyResponse, Group, ListDevicesRequest, ListDevicesResponse,
    ListGroupPoliciesRequest, ListGroupPoliciesResponse, ListGroupsRequest, ListGroupsResponse,
    SetGroupPolicyRequest, SetGroupPolicyResponse, UpdateDeviceRequest, UpdateDeviceResponse,
    UpdateRegistryPolicyRequest, UpdateRegistryPolicyResponse, WatchDevicesRequest, WatchDevicesResponse,
    registry_service_server::RegistryService,
};
use rollcall_registry::{model::ids::DeviceKey, routes::view::DeviceFilter};
use rollcall_router::{LinkView, Router};
use rollcall_transport::Peer;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    administration, group_policies,
    page::Page,
    read::{cluster_id, fresh},
    retirement::retired,
    route_explanation,
    status::{self, Refusal},
    validate, view, watch,
};
use crate::{
    access::{
        Identity, Verb,
        audit::{self, Refused},
        denied,
    },
    cluster::Cluster,
};

/// Serves the registry.
#[derive(Clone)]
pub struct RegistryApi<C: Cluster> {
    cluster: C,
    router: Router<C>,
    closing: CancellationToken,
}

impl<C: Cluster> RegistryApi<C> {
    /// Serves this registry; watches end when `closing` is cancelled.
    pub fn new(cluster: C, router: Router<C>, closing: CancellationToken) -> Self {
        Self { cluster, router, closing }
    }

    /// Lists and watches are the first that a node under pressure refuses.
    fn has_time(&self) -> Result<(), Status> {
        self.router.admit_listing().map_err(|failure| status::of_failure(&failure))
    }

    async fn device_page(&self, request: ListDevicesRequest) -> Result<ListDevicesResponse, Refusal> {
        validate::name("namespace", &request.namespace)?;
        validate::name("group", &request.group)?;
        validate::name("node", &request.node)?;
        validate::labels(&request.labels)?;
        let sorted: BTreeMap<&str, &str> =
            request.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let namespace = validate::namespace(&request.namespace);
        let connected = if request.connected_only { "connected" } else { "" };
        let mut filters = vec![namespace, &request.group, &request.node, connected];
        filters.extend(sorted.iter().flat_map(|(key, value)| [*key, *value]));
        let page = Page::read(request.page_size, &request.page_token, &filters)?;

        let index = fresh(&self.cluster, request.consistency, request.min_index).await?;
        let routes = self.cluster.routes();
        let node = (!request.node.is_empty()).then(|| routes.node_by_name(&request.node).map(|node| node.id));
        let mut devices = match node {
            // A name that no node has holds no device.
            Some(None) => Vec::new(),
            _ => {
                let filter = DeviceFilter {
                    group: (!request.group.is_empty()).then_some(request.group.as_str()),
                    labels: sorted.into_iter().collect(),
                    node: node.flatten(),
                    connected_only: request.connected_only,
                };
                routes.devices_after(namespace, page.after.as_deref(), &filter, page.limit())
            }
        };
        let next_page_token = page.cut(&mut devices, |device| device.key.device.as_str());
        Ok(ListDevicesResponse {
            devices: devices.iter().map(|device| view::device(device, routes)).collect(),
            next_page_token,
            index: index.0,
            cluster_id: cluster_id(&self.cluster),
        })
    }

    async fn group_page(&self, request: ListGroupsRequest) -> Result<ListGroupsResponse, Refusal> {
        validate::name("namespace", &request.namespace)?;
        let namespace = validate::namespace(&request.namespace);
        let page = Page::read(request.page_size, &request.page_token, &["groups", namespace])?;
        let index = fresh(&self.cluster, request.consistency, request.min_index).await?;
        let mut groups = self.cluster.routes().groups_after(namespace, page.after.as_deref(), page.limit());
        let next_page_token = page.cut(&mut groups, |group| group.name.as_str());
        let groups = groups.into_iter().map(|group| Group {
            name: group.name.into(),
            connected: group.connected,
            capacity: group.capacity,
        });
        Ok(ListGroupsResponse {
            groups: groups.collect(),
            next_page_token,
            index: index.0,
            cluster_id: cluster_id(&self.cluster),
        })
    }

    async fn end_session(
        &self,
        request: DisconnectDeviceRequest,
    ) -> Result<DisconnectDeviceResponse, Refusal> {
        let device_id = &request.device_id;
        let key = device_key(&request.namespace, device_id)?;
        let device = self.cluster.routes().device(&key).ok_or_else(|| Refusal::unknown_device(device_id))?;
        let held = device.session.ok_or_else(|| Refusal::not_connected(device_id))?;
        if request.epoch != 0 && request.epoch != held.epoch.0 {
            return Err(Refusal::epoch_mismatch(device_id, held.epoch.0));
        }
        let ended = self.cluster.disconnect(key, held.epoch).await;
        let index = ended.map_err(|error| Refusal::of_change(device_id, &error))?;
        Ok(DisconnectDeviceResponse {
            epoch: held.epoch.0,
            index: index.0,
            cluster_id: cluster_id(&self.cluster),
        })
    }

    fn link(&self, node: rollcall_registry::model::ids::NodeId) -> Option<LinkView> {
        self.router.link(node)
    }
}

#[tonic::async_trait]
impl<C: Cluster> RegistryService for RegistryApi<C> {
    async fn get_device(
        &self,
        request: Request<GetDeviceRequest>,
    ) -> Result<Response<GetDeviceResponse>, Status> {
        let who = Identity::of(request.extensions());
        let request = request.into_inner();
        let key = device_key(&request.namespace, &request.device_id)?;
        let index = fresh(&self.cluster, request.consistency, request.min_index).await?;
        let routes = self.cluster.routes();
        let device = routes.device(&key).map(|device| view::device(&device, routes));
        let may = |device: &Device| {
            let mut groups = device.groups.iter();
            let namespace = &device.namespace;
            who.may(Verb::Read, namespace, None)
                || groups.any(|group| who.may(Verb::Read, namespace, Some(group)))
        };
        // One that may not be seen is answered as one that is not there.
        let device = device.filter(may).ok_or_else(|| Refusal::unknown_device(&request.device_id))?;
        Ok(Response::new(GetDeviceResponse {
            device: Some(device),
            index: index.0,
            cluster_id: cluster_id(&self.cluster),
        }))
    }

    async fn list_devices(
        &self,
        request: Request<ListDevicesRequest>,
    ) -> Result<Response<ListDevicesResponse>, Status> {
        self.has_time()?;
        let asked = request.get_ref();
        permit(&request, Verb::Read, &asked.namespace, &asked.group)?;
        Ok(Response::new(self.device_page(request.into_inner()).await?))
    }

    async fn list_groups(
        &self,
        request: Request<ListGroupsRequest>,
    ) -> Result<Response<ListGroupsResponse>, Status> {
        self.has_time()?;
        permit(&request, Verb::Read, &request.get_ref().namespace, "")?;
        Ok(Response::new(self.group_page(request.into_inner()).await?))
    }

    type WatchDevicesStream = Pin<Box<dyn Stream<Item = Result<WatchDevicesResponse, Status>> + Send>>;

    async fn watch_devices(
        &self,
        request: Request<WatchDevicesRequest>,
    ) -> Result<Response<Self::WatchDevicesStream>, Status> {
        self.has_time()?;
        let asked = request.get_ref();
        permit(&request, Verb::Watch, &asked.namespace, &asked.group)?;
        let retired = retired(&request);
        let changes = watch::open(&self.cluster, request.into_inner(), retired, self.closing.clone())?;
        Ok(Response::new(Box::pin(changes)))
    }

    async fn disconnect_device(
        &self,
        request: Request<DisconnectDeviceRequest>,
    ) -> Result<Response<DisconnectDeviceResponse>, Status> {
        permit(&request, Verb::Administer, &request.get_ref().namespace, "")?;
        Ok(Response::new(self.end_session(request.into_inner()).await?))
    }

    async fn explain_route(
        &self,
        request: Request<ExplainRouteRequest>,
    ) -> Result<Response<ExplainRouteResponse>, Status> {
        permit(&request, Verb::Read, &request.get_ref().namespace, "")?;
        let request = request.into_inner();
        validate::name("from", &request.from)?;
        let key = device_key(&request.namespace, &request.device_id)?;
        route_explanation::asked_here(&self.cluster, &request.from)?;
        let explained = route_explanation::explain(&self.cluster, &key, |node| self.link(node));
        Ok(Response::new(explained))
    }

    async fn create_device(
        &self,
        request: Request<CreateDeviceRequest>,
    ) -> Result<Response<CreateDeviceResponse>, Status> {
        permit(&request, Verb::Administer, &request.get_ref().namespace, "")?;
        let (device, index) = administration::create(&self.cluster, request.into_inner()).await?;
        let cluster_id = cluster_id(&self.cluster);
        Ok(Response::new(CreateDeviceResponse { device: Some(device), index: index.0, cluster_id }))
    }

    async fn update_device(
        &self,
        request: Request<UpdateDeviceRequest>,
    ) -> Result<Response<UpdateDeviceResponse>, Status> {
        permit(&request, Verb::Administer, &request.get_ref().namespace, "")?;
        let (device, index) = administration::update(&self.cluster, request.into_inner()).await?;
        let cluster_id = cluster_id(&self.cluster);
        Ok(Response::new(UpdateDeviceResponse { device: Some(device), index: index.0, cluster_id }))
    }

    async fn delete_device(
        &self,
        request: Request<DeleteDeviceRequest>,
    ) -> Result<Response<DeleteDeviceResponse>, Status> {
        permit(&request, Verb::Administer, &request.get_ref().namespace, "")?;
        let index = administration::delete(&self.cluster, request.into_inner()).await?;
        let cluster_id = cluster_id(&self.cluster);
        Ok(Response::new(DeleteDeviceResponse { index: index.0, cluster_id }))
    }

    async fn get_registry_policy(
        &self,
        _request: Request<GetRegistryPolicyRequest>,
    ) -> Result<Response<GetRegistryPolicyResponse>, Status> {
        let index = self.cluster.routes().applied_index().0;
        let policy = Some(administration::show_policy(self.cluster.routes().policy()));
        Ok(Response::new(GetRegistryPolicyResponse { policy, index, cluster_id: cluster_id(&self.cluster) }))
    }

    async fn update_registry_policy(
        &self,
        request: Request<UpdateRegistryPolicyRequest>,
    ) -> Result<Response<UpdateRegistryPolicyResponse>, Status> {
        let wanted = request.into_inner().policy.unwrap_or_default();
        let index = administration::set_policy(&self.cluster, wanted).await?.0;
        let policy = Some(administration::show_policy(self.cluster.routes().policy()));
        Ok(Response::new(UpdateRegistryPolicyResponse {
            policy,
            index,
            cluster_id: cluster_id(&self.cluster),
        }))
    }

    async fn get_group_policy(
        &self,
        request: Request<GetGroupPolicyRequest>,
    ) -> Result<Response<GetGroupPolicyResponse>, Status> {
        let asked = request.get_ref();
        permit(&request, Verb::Read, &asked.namespace, &asked.group)?;
        Ok(Response::new(group_policies::get(&self.cluster, asked)?))
    }

    async fn list_group_policies(
        &self,
        request: Request<ListGroupPoliciesRequest>,
    ) -> Result<Response<ListGroupPoliciesResponse>, Status> {
        permit(&request, Verb::Read, &request.get_ref().namespace, "")?;
        self.has_time()?;
        Ok(Response::new(group_policies::list(&self.cluster, request.get_ref())?))
    }

    async fn set_group_policy(
        &self,
        request: Request<SetGroupPolicyRequest>,
    ) -> Result<Response<SetGroupPolicyResponse>, Status> {
        let (namespace, group) = match &request.get_ref().policy {
            Some(policy) => (policy.namespace.clone(), policy.group.clone()),
            None => Default::default(),
        };
        permit(&request, Verb::Administer, &namespace, &group)?;
        Ok(Response::new(group_policies::set(&self.cluster, request.into_inner()).await?))
    }
}

/// Whether the caller may do so with a group, or with all of a namespace if it names none.
#[allow(clippy::result_large_err)]
fn permit<T>(request: &Request<T>, verb: Verb, namespace: &str, group: &str) -> Result<(), Status> {
    let group = Some(group).filter(|group| !group.is_empty());
    let (who, namespace) = (Identity::of(request.extensions()), validate::namespace(namespace));
    if who.may(verb, namespace, group) {
        return Ok(());
    }
    let from = request.extensions().get::<Peer>().and_then(|peer| peer.address);
    let what = format!("{verb:?} {namespace}/{}", group.unwrap_or("*"));
    audit::refused(&Refused { who: &who.name, from, what: &what, why: "not permitted" });
    Err(denied())
}

fn device_key(namespace: &str, device_id: &str) -> Result<DeviceKey, Refusal> {
    validate::device(namespace, device_id)?;
    Ok(DeviceKey::new(namespace, device_id))
}
