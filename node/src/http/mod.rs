//! The HTTP listener: `/livez`, `/readyz`, `/metrics`, and `/prestop` from this machine alone. Nothing here decides what is
//! ready, or when a node may leave.

mod prestop;

pub use prestop::GO;

use std::{io, net::SocketAddr};

use axum::{
    Router,
    extract::{State, connect_info::Connected},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::{IncomingStream, Listener},
};
use metrics_exporter_prometheus::PrometheusHandle;
use rollcall_transport::{Connection, Incoming};
use tokio::sync::watch;

use crate::{
    cluster::Cluster,
    lifecycle::{Leaving, Readiness},
};

/// What the pages show.
#[derive(Clone)]
pub struct Pages<C> {
    /// Whether the node takes calls.
    pub readiness: watch::Receiver<Readiness>,
    /// What `/metrics` renders.
    pub metrics: PrometheusHandle,
    /// The way out.
    pub leaving: Leaving<C>,
}

/// The listener's connections, as axum takes them.
pub(crate) struct Pager(pub(crate) Incoming);

impl Listener for Pager {
    type Io = Connection;
    type Addr = Option<SocketAddr>;

    async fn accept(&mut self) -> (Connection, Self::Addr) {
        match self.0.next_connection().await {
            Some(connection) => {
                let address = connection.peer().address;
                (connection, address)
            }
            // The runtime ends.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Some(self.0.address()))
    }
}

/// Where a request comes from; `None`: its connection was gone before anybody asked.
#[derive(Debug, Clone, Copy)]
pub struct Caller(pub Option<SocketAddr>);

impl Connected<IncomingStream<'_, Pager>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Pager>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// The pages as a router. It has to be served with the callers' addresses (`ConnectInfo<Caller>`).
///
/// `/livez` is 200 as long as the process answers. `/readyz` is 200 with `ready` or `degraded`, or 503 with the reasons,
/// one a line. A POST to `/prestop` is answered when it is this node's turn to leave, line by line until then.
pub fn router<C: Cluster>(pages: Pages<C>) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz::<C>))
        .route("/metrics", get(metrics::<C>))
        .route("/prestop", post(prestop::prestop::<C>))
        .with_state(pages)
}

async fn readyz<C: Cluster>(State(pages): State<Pages<C>>) -> Response {
    let readiness = pages.readiness.borrow().clone();
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{readiness}\n")).into_response()
}

async fn metrics<C: Cluster>(State(pages): State<Pages<C>>) -> Response {
    let text = pages.metrics.render();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
