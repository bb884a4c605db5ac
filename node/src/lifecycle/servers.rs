//! The four servers: which services each listener has, and how its connections are kept.

use std::sync::Arc;

use rollcall_proto::{
    FILE_DESCRIPTOR_SET,
    api::{
        cluster_service_server::ClusterServiceServer, invoke_service_server::InvokeServiceServer,
        registry_service_server::RegistryServiceServer,
    },
    device::device_service_server::DeviceServiceServer,
};
use rollcall_router::Router;
use rollcall_transport::Incoming;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::{InterceptorLayer, Routes},
    transport::{Error, Server},
};
use tonic_health::pb::health_server::HealthServer;

use super::{Leaving, Readiness, ages};
use crate::{
    access::{AccessControl, AccessLayer},
    api::{
        ArrivalLayer, ClusterApi, DeviceApi, HealthApi, InvokeApi, PatienceLayer, RegistryApi, Routed,
        reflection,
    },
    cluster::Cluster,
    config::Settings,
    http::{self, Caller, Pager, Pages},
    limits::{
        API_STREAMS, CONNECTION_WINDOW_BYTES, DEVICE_STREAMS, HEADER_LIST_BYTES, KEEPALIVE_INTERVAL,
        KEEPALIVE_TIMEOUT, LOCAL_RESETS, MESSAGE_OVERHEAD_BYTES, PENDING_RESETS, STREAM_WINDOW_BYTES,
    },
    security::PeerNames,
    telemetry::{GrpcMetricsLayer, traces::Traces},
};

/// A server that runs; resolves to an error only if it broke.
pub(super) type Running = JoinHandle<Result<(), Error>>;

/// What the API listener serves with.
pub(super) struct Api<C: Cluster> {
    pub(super) cluster: C,
    pub(super) router: Router<C>,
    pub(super) settings: Arc<Settings>,
    pub(super) traces: Traces,
    pub(super) leaving: Leaving<C>,
    pub(super) readiness: watch::Receiver<Readiness>,
    /// Ends open streams.
    pub(super) closing: CancellationToken,
    /// Who may come in.
    pub(super) access: AccessControl,
}

/// Serves services until `stop`, then until their connections have ended.
pub(super) fn serve_api<C: Cluster>(incoming: Incoming, api: Api<C>, stop: CancellationToken) -> Running {
    let (calls, connection_age) = (api.settings.calls, api.settings.max_connection_age);
    let message_bytes = calls.max_payload_bytes + MESSAGE_OVERHEAD_BYTES;
    let invoke = InvokeApi::new(
        Routed::new(api.router.clone(), api.cluster.clone()),
        calls,
        api.settings.access_log,
        api.traces,
        api.closing.clone(),
    )
    .limited(api.settings.rates);
    let cluster = ClusterApi {
        cluster: api.cluster.clone(),
        router: api.router.clone(),
        readiness: api.readiness.clone(),
        leaving: api.leaving,
        closing: api.closing.clone(),
        settings: api.settings,
    };
    let mut routes = Routes::builder();
    routes
        .add_service(
            InvokeServiceServer::new(invoke)
                .max_decoding_message_size(message_bytes)
                .max_encoding_message_size(message_bytes),
        )
        .add_service(RegistryServiceServer::new(RegistryApi::new(api.cluster, api.router, api.closing)))
        .add_service(ClusterServiceServer::new(cluster))
        .add_service(HealthServer::new(HealthApi::new(api.readiness)));
    reflection::add_to(&mut routes);
    let metrics = GrpcMetricsLayer::new(
        FILE_DESCRIPTOR_SET,
        &["rollcall.v1.InvokeService", "rollcall.v1.RegistryService", "rollcall.v1.ClusterService"],
    );
    let (routes, access, stopping) = (routes.routes(), AccessLayer::new(api.access), stop.clone());
    ages::serve(incoming, connection_age, stop, move |age, connections| {
        let server = match age {
            Some(age) => builder().max_connection_age(age),
            None => builder(),
        };
        let server = server
            .max_concurrent_streams(API_STREAMS)
            .layer(metrics.clone())
            .layer(ArrivalLayer)
            .layer(access.clone())
            .layer(PatienceLayer)
            .add_routes(routes.clone());
        server.serve_with_incoming_shutdown(connections, stopping.clone().cancelled_owned())
    })
}

/// Serves devices until `stop`, then until their connections have ended.
pub(super) fn serve_devices<C: Cluster>(
    incoming: Incoming,
    router: Router<C>,
    max_payload_bytes: usize,
    access: AccessControl,
    stop: CancellationToken,
) -> Running {
    let message_bytes = max_payload_bytes + MESSAGE_OVERHEAD_BYTES;
    let devices = DeviceServiceServer::new(DeviceApi::new(router))
        .max_decoding_message_size(message_bytes)
        .max_encoding_message_size(message_bytes);
    let metrics = GrpcMetricsLayer::new(FILE_DESCRIPTOR_SET, &["rollcall.device.v1.DeviceService"]);
    let server = builder().max_concurrent_streams(DEVICE_STREAMS).layer(metrics);
    let server = server.layer(AccessLayer::new(access)).add_service(devices);
    tokio::spawn(server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()))
}

/// Serves peers until `stop`, then until their connections have ended.
pub(super) fn serve_peers<C: Cluster>(
    incoming: Incoming,
    cluster: &C,
    router: &Router<C>,
    asked: ClusterApi<C>,
    stop: CancellationToken,
) -> Running {
    let routes = cluster.peer_routes().add_service(router.link_service());
    let routes = routes.add_service(ClusterServiceServer::new(asked));
    let names = PeerNames { routes: cluster.routes().clone() };
    let server = builder().layer(InterceptorLayer::new(names)).add_routes(routes);
    tokio::spawn(server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()))
}

/// Serves health and metrics until the task is aborted.
pub(super) fn serve_http<C: Cluster>(incoming: Incoming, pages: Pages<C>) -> JoinHandle<std::io::Result<()>> {
    let service = http::router(pages).into_make_service_with_connect_info::<Caller>();
    tokio::spawn(async move { axum::serve(Pager(incoming), service).await })
}

fn builder() -> Server {
    Server::builder()
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}
