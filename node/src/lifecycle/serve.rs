//! `rollcall serve`, from the first port to the last: bind, start, join, serve, drain, leave.

use std::{io, sync::Arc, time::Duration};

use futures::future::join_all;
use metrics_exporter_prometheus::PrometheusHandle;
use rollcall_registry::{LogBounds, MembershipChange};
use rollcall_router::{Router, RouterConfig};
use rollcall_transport::{Entry, Gate, TrustedProxies, incoming};
use thiserror::Error;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Bound, Leaving, ListenError, Readiness,
    balancing::keep_even,
    checks,
    parting::leave_for_good,
    readiness::{Progress, keep_judging},
    servers::{Api, Running, serve_api, serve_devices, serve_http, serve_peers},
    showing::{keep_showing_cluster, keep_showing_process},
    stored_rules,
};
use crate::{
    access::AccessControl,
    api::ClusterApi,
    cluster::{Cluster, ClusterConfig, MemberError},
    config::{LeaveOnStop, Settings},
    http::Pages,
    limits::CLOSE_GRACE,
    security::{self, Certificates, SecurityError},
    telemetry::{
        metric_names,
        traces::{self, Exporting, TraceError, Traces},
    },
};

/// Why a node did not start, or did not stop of its own will.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Certificates, or that there are none.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The data folder, or the cluster.
    #[error("cannot start: {0}")]
    Start(MemberError),
    /// There is no cluster in the data folder, and none to found or join.
    #[error(
        "{data_dir} belongs to no cluster yet and there is none to join: give --join HOST:PORT,... to join one, \
         with --bootstrap-expect COUNT to found one of several nodes, or --bootstrap-expect 1 to found one of this \
         node alone"
    )]
    Nowhere {
        /// The data folder.
        data_dir: String,
    },
    /// The cluster did not take it in.
    #[error("cannot become a member of the cluster: {0}")]
    Join(MemberError),
    /// It had to stop.
    #[error("the node had to stop: {0}")]
    Fatal(String),
    /// Traces.
    #[error(transparent)]
    Traces(#[from] TraceError),
    /// The system refused something basic.
    #[error("cannot serve: {0}")]
    System(#[from] io::Error),
}

impl ServeError {
    /// Whether the node was a member when it failed.
    pub fn was_serving(&self) -> bool {
        matches!(self, Self::Fatal(_))
    }
}

/// Why a node ended that did nothing wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// It was removed from its cluster; for people.
    Removed(String),
}

/// Runs a node until `stop` is cancelled and it has drained, until it is removed from its cluster, or until it must stop.
///
/// # Errors
/// Why it did not start, or had to stop.
pub async fn serve<C: Cluster>(
    settings: Settings,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> Result<Ended, ServeError> {
    metric_names::describe(&settings.name);
    rollcall_registry::metrics::describe();
    rollcall_transport::metrics::describe();
    checks::warn_of_file_limit();
    checks::warn_of_exposed_files(&settings.security);
    let secured = (Certificates::load(&settings)?, security::access(&settings)?);
    let bound = Bound::bind(&settings.listen)?;
    let cluster = C::start(cluster_config(&settings, &bound, &secured.0)).await.map_err(ServeError::Start)?;
    if settings.join.is_empty() && settings.bootstrap_expect == 0 && cluster.status().cluster_id.is_none() {
        cluster.shutdown().await;
        return Err(ServeError::Nowhere { data_dir: settings.data_dir.display().to_string() });
    }
    tokio::spawn(checks::warn_of_slow_disk(settings.data_dir.clone()));
    tokio::spawn(checks::warn_of_names(settings.join.iter().map(ToString::to_string).collect()));
    let router = Router::new(router_config(&settings, &secured.0), Arc::new(cluster.clone()));
    cluster.observe(router.observer());
    let node = Node::start(settings, metrics, bound, secured, cluster, router, stop)?;
    node.run().await
}

fn cluster_config(settings: &Settings, bound: &Bound, certificates: &Certificates) -> ClusterConfig {
    ClusterConfig {
        name: settings.name.clone(),
        data_dir: settings.data_dir.clone(),
        join: settings.join.iter().map(ToString::to_string).collect(),
        bootstrap_expect: settings.bootstrap_expect,
        advertise: bound.advertised(&settings.advertise),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        registration: settings.registration,
        voters: settings.voters,
        learner_ttl: settings.learner_ttl,
        max_feature_level: settings.max_feature_level,
        log_bounds: LogBounds::default(),
        connector: certificates.connector.clone(),
    }
}

fn router_config(settings: &Settings, certificates: &Certificates) -> RouterConfig {
    RouterConfig {
        node_name: settings.name.clone(),
        heartbeat_interval: settings.heartbeat_interval,
        resume_window: settings.resume_window,
        max_payload_bytes: settings.calls.max_payload_bytes,
        connects_per_second: settings.connect_rate,
        isolation: settings.isolation,
        connector: certificates.connector.clone(),
        ..RouterConfig::default()
    }
}

/// A node whose peer and HTTP listeners serve.
struct Node<C: Cluster> {
    settings: Arc<Settings>,
    cluster: C,
    router: Router<C>,
    certificates: Certificates,
    access: AccessControl,
    ports: Option<(super::listeners::Port, super::listeners::Port)>,
    progress: watch::Sender<Progress>,
    readiness: watch::Receiver<Readiness>,
    leaving: Leaving<C>,
    /// Ends the accepting of devices.
    close_devices: CancellationToken,
    /// Ends the API's streams, then its connections.
    close_api: CancellationToken,
    /// Ends everything else.
    close_rest: CancellationToken,
    servers: Vec<Running>,
    peers: Vec<Running>,
    http: JoinHandle<io::Result<()>>,
    traces: Traces,
    exporting: Option<Exporting>,
}

impl<C: Cluster> Node<C> {
    fn start(
        settings: Settings,
        metrics: PrometheusHandle,
        bound: Bound,
        (certificates, access): (Certificates, AccessControl),
        cluster: C,
        router: Router<C>,
        stop: CancellationToken,
    ) -> Result<Self, ServeError> {
        let (progress, progressed) = watch::channel(Progress::default());
        let (judged, readiness) = watch::channel(Readiness::NotReady(vec!["starting".to_owned()]));
        let close_rest = CancellationToken::new();
        tokio::spawn(keep_judging(
            cluster.clone(),
            certificates.connector.clone(),
            progressed,
            judged,
            close_rest.clone(),
        ));
        let mut chores = vec![
            tokio::spawn(keep_showing_cluster(cluster.clone())),
            tokio::spawn(keep_showing_process(settings.data_dir.clone())),
        ];
        if let Some(per_second) = settings.rebalance {
            chores.push(tokio::spawn(keep_even(cluster.clone(), router.clone(), per_second)));
        }
        let stop_chores = close_rest.clone();
        tokio::spawn(async move {
            stop_chores.cancelled().await;
            chores.iter().for_each(JoinHandle::abort);
        });
        let Bound { api, device, peer, http } = bound;
        tracing::info!(
            api = %api.address, device = %device.address, peer = %peer.address, http = %http.address,
            name = settings.name, "ports are bound"
        );
        let (traces, exporting) = match &settings.traces {
            None => (Traces::default(), None),
            Some(to) => {
                traces::start(to, &settings.name).map(|(traces, exporting)| (traces, Some(exporting)))?
            }
        };
        let settings = Arc::new(settings);
        let leaving = Leaving {
            cluster: cluster.clone(),
            progress: progress.clone(),
            stop,
            connector: certificates.connector.clone(),
        };
        let pages = Pages { readiness: readiness.clone(), metrics, leaving: leaving.clone() };
        let (closing, close_api) = (close_rest.clone(), CancellationToken::new());
        certificates.clone().keep_fresh(access.clone(), closing.clone())?;
        let routes = cluster.routes().clone();
        tokio::spawn(stored_rules::follow(routes, access.clone(), closing.clone()));
        let by = |tls: &Option<_>| Entry { tls: tls.clone(), ..Entry::default() };
        let http = serve_http(incoming(http.listen()?, "pages", by(&certificates.pages))?, pages);
        // What nodes ask each other of the cluster is what services ask.
        let asked = ClusterApi {
            cluster: cluster.clone(),
            router: router.clone(),
            readiness: readiness.clone(),
            leaving: leaving.clone(),
            closing: close_api.clone(),
            settings: Arc::clone(&settings),
        };
        let peer = incoming(peer.listen()?, "peers", by(&certificates.peers))?;
        let peers = vec![serve_peers(peer, &cluster, &router, asked, closing)];
        Ok(Self {
            settings,
            cluster,
            router,
            certificates,
            access,
            ports: Some((api, device)),
            progress,
            readiness,
            leaving,
            close_devices: CancellationToken::new(),
            close_api,
            close_rest,
            servers: Vec::new(),
            peers,
            http,
            traces,
            exporting,
        })
    }

    /// Joins, serves, and leaves when told to; or stops at once when it must.
    async fn run(mut self) -> Result<Ended, ServeError> {
        let (cluster, stop) = (self.cluster.clone(), self.leaving.stop.clone());
        let ended = tokio::select! {
            joined = self.join_and_serve() => match joined {
                Ok(never) => match never {},
                Err(error) => Err(error),
            },
            reason = cluster.fatal() => Err(self.stopped_by(reason)),
            () = stop.cancelled() => Ok(Ended::Stopped),
        };
        if ended.is_ok() {
            self.drain().await;
            if self.settings.leave_on_stop == LeaveOnStop::Learners {
                // Boxed: it holds a whole change of the membership.
                Box::pin(leave_for_good(&self.cluster)).await;
            }
        }
        self.leave().await;
        match ended {
            // Not a fault: a supervisor that restarts what failed is to leave it alone.
            Err(_) if cluster.was_removed() => Ok(Ended::Removed(cluster.fatal().await)),
            ended => ended,
        }
    }

    /// A node that is refused while it joins did not start, and had no fault: whichever of its tasks says so first.
    fn stopped_by(&self, reason: String) -> ServeError {
        if self.progress.borrow().joined {
            ServeError::Fatal(reason)
        } else {
            ServeError::Join(MemberError(reason))
        }
    }

    async fn join_and_serve(&mut self) -> Result<std::convert::Infallible, ServeError> {
        self.cluster.join().await.map_err(ServeError::Join)?;
        if let Some((api, device)) = self.ports.take() {
            let security = &self.settings.security;
            // One for both: an address is an address.
            let gate = Gate::new(security.addresses);
            let by = |proxies: &[_], per_second| Entry {
                tls: self.certificates.services.clone(),
                gate: Some(gate.clone()),
                proxies: TrustedProxies::of(proxies),
                per_second,
            };
            let api = incoming(api.listen()?, "services", by(&security.proxies.api, None))?;
            let paced = by(&security.proxies.device, Some(self.settings.connect_rate));
            let device = incoming(device.listen()?, "devices", paced)?;
            let services = Api {
                cluster: self.cluster.clone(),
                router: self.router.clone(),
                settings: Arc::clone(&self.settings),
                traces: std::mem::take(&mut self.traces),
                leaving: self.leaving.clone(),
                readiness: self.readiness.clone(),
                closing: self.close_api.clone(),
                access: self.access.clone(),
            };
            self.servers.push(serve_api(api, services, self.close_api.clone()));
            let payload_bytes = self.settings.calls.max_payload_bytes;
            self.servers.push(serve_devices(
                device,
                self.router.clone(),
                payload_bytes,
                self.access.clone(),
                self.close_devices.clone(),
            ));
        }
        self.progress.send_modify(|progress| progress.joined = true);
        tracing::info!("the node is a member of its cluster and serves");
        checks::warn_of_clocks(&self.cluster, &self.certificates.connector).await;
        std::future::pending().await
    }

    /// Takes no new devices, lets calls in flight end, closes sessions.
    async fn drain(&self) {
        self.progress.send_modify(|progress| progress.draining = true);
        tracing::info!(grace_s = self.settings.drain_grace.as_secs_f64(), "draining");
        self.close_devices.cancel();
        let drained = self.router.drain(self.settings.drain_grace);
        tokio::pin!(drained);
        // Devices are told at once; a cluster without a leader must not hold that up, nor the end.
        tokio::select! {
            () = &mut drained => return,
            () = self.say_that_it_drains() => {}
        }
        drained.await;
    }

    /// Leadership goes early: the longer the drain, the longer the others would follow a node that is about to stop.
    async fn say_that_it_drains(&self) {
        self.cluster.start_draining().await;
        let status = self.cluster.status();
        if status.leader != Some(status.node) || status.voters.len() < 2 {
            return;
        }
        // Boxed: it holds a whole change of the membership.
        let handed =
            Box::pin(self.cluster.change_membership(&MembershipChange::TransferLeadership(None))).await;
        match handed {
            Ok(changed) => tracing::info!(to = %changed.node, "handed leadership over"),
            Err(error) => tracing::warn!(%error, "leadership was not handed over before the drain"),
        }
    }

    async fn leave(self) {
        self.close_devices.cancel();
        self.close_api.cancel();
        close(self.servers, CLOSE_GRACE).await;
        self.cluster.shutdown().await;
        self.close_rest.cancel();
        close(self.peers, CLOSE_GRACE).await;
        self.http.abort();
        drop(self.traces);
        if let Some(exporting) = self.exporting {
            exporting.finish().await;
        }
        tracing::info!("the node has stopped");
    }
}

/// Waits for servers whose stop was asked for; ends those that still have connections after the grace.
async fn close(servers: Vec<Running>, grace: Duration) {
    let handles: Vec<_> = servers.iter().map(|server| server.abort_handle()).collect();
    if timeout(grace, join_all(servers)).await.is_err() {
        handles.iter().for_each(|handle| handle.abort());
    }
}
