//! The HTTP listener: `/livez`, `/readyz`, `/metrics`. Nothing here decides what is ready.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

use crate::lifecycle::Readiness;

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    /// Whether the node takes calls.
    pub readiness: watch::Receiver<Readiness>,
    /// What `/metrics` renders.
    pub metrics: PrometheusHandle,
}

/// The pages as a router.
///
/// `/livez` is 200 as long as the process answers. `/readyz` is 200 with `ready` or `degraded`, or 503 with the reasons,
/// one a line.
pub fn router(pages: Pages) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(pages)
}

async fn readyz(State(pages): State<Pages>) -> Response {
    let readiness = pages.readiness.borrow().clone();
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{readiness}\n")).into_response()
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let text = pages.metrics.render();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
