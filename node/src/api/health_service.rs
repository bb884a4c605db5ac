//! `grpc.health.v1.Health`, by the node's readiness.
//!
//! tonic-health's own service answers a watch of an unknown service with an error; the protocol wants SERVICE_UNKNOWN.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

use super::status::Refusal;
use crate::lifecycle::Readiness;

/// Serves health.
#[derive(Debug, Clone)]
pub struct HealthApi {
    readiness: watch::Receiver<Readiness>,
}

/// Services whose health is the node's readiness. The empty name is the server as a whole.
const BY_READINESS: &[&str] = &[
    "",
    "readiness",
    "rollcall.v1.InvokeService",
    "rollcall.v1.RegistryService",
    "rollcall.v1.ClusterService",
];
/// The service that is healthy as long as it answers.
const LIVENESS: &str = "liveness";

impl HealthApi {
    /// Healthy while `readiness` is.
    pub fn new(readiness: watch::Receiver<Readiness>) -> Self {
        Self { readiness }
    }
}

#[tonic::async_trait]
impl Health for HealthApi {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match serving(&request.get_ref().service, &self.readiness.borrow()) {
            ServingStatus::ServiceUnknown => {
                Err(Refusal::new(Code::NotFound, "UNKNOWN_SERVICE", "no such service").into())
            }
            status => Ok(Response::new(answer(status))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let mut last = None;
        let changes = WatchStream::new(self.readiness.clone()).filter_map(move |readiness| {
            let status = serving(&service, &readiness);
            let changed = last.replace(status) != Some(status);
            std::future::ready(changed.then(|| Ok(answer(status))))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}

fn serving(service: &str, readiness: &Readiness) -> ServingStatus {
    if service == LIVENESS {
        ServingStatus::Serving
    } else if !BY_READINESS.contains(&service) {
        ServingStatus::ServiceUnknown
    } else if readiness.is_ready() {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}
