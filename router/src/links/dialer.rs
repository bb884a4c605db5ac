//! Keeps one link open: dials, reads its answers, beats, and dials again with back-off.

use std::sync::Arc;

use compact_str::CompactString;
use rand::Rng;
use rollcall_proto::peer::{LinkResponse, link_service_client::LinkServiceClient};
use rollcall_registry::{Registrar, model::ids::NodeId};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior},
};
use tonic::{Request, Streaming, metadata::MetadataValue, transport::Endpoint};

use super::{outbound::OutboundLink, packets::CallPackets, wire};
use crate::{limits, sessions::host::Shared};

/// Whom a link leads to.
pub(crate) struct Target {
    pub(crate) id: NodeId,
    pub(crate) name: CompactString,
    pub(crate) address: String,
}

/// Keeps one link open.
pub(crate) struct Dialer<R> {
    pub(crate) registry: Arc<R>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) link: Arc<OutboundLink>,
    pub(crate) redial: Arc<Notify>,
    pub(crate) target: Target,
}

impl<R: Registrar> Dialer<R> {
    /// Runs until it is aborted.
    pub(crate) async fn run(self) {
        let mut pause = limits::DIAL_BACKOFF_MIN;
        loop {
            match tokio::time::timeout(limits::DIAL_PATIENCE, self.dial()).await {
                Ok(Ok(answers)) => {
                    pause = limits::DIAL_BACKOFF_MIN;
                    let reason = self.attend(answers).await;
                    self.link.broken(Instant::now() + self.shared.config.resume_window);
                    self.shared.metrics.link_broke(&self.target.name);
                    tracing::info!(peer = %self.target.name, reason, "link broke");
                }
                Ok(Err(error)) => tracing::debug!(peer = %self.target.name, %error, "dial failed"),
                Err(_elapsed) => tracing::debug!(peer = %self.target.name, "dial timed out"),
            }
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            tokio::select! {
                () = tokio::time::sleep(jittered) => pause = (pause * 2).min(limits::DIAL_BACKOFF_MAX),
                () = self.redial.notified() => pause = limits::DIAL_BACKOFF_MIN,
            }
        }
    }

    async fn dial(&self) -> Result<Streaming<LinkResponse>, DialError> {
        let cluster = self.registry.routes().cluster_id().ok_or(DialError::NoCluster)?;
        let connector = &self.shared.config.connector;
        let channel = Endpoint::from_shared(connector.url(&self.target.address))?
            .connect_timeout(limits::DIAL_PATIENCE)
            .initial_stream_window_size(limits::LINK_WINDOW_BYTES)
            .initial_connection_window_size(limits::LINK_WINDOW_BYTES)
            .connect_with_connector(connector.clone())
            .await?;
        let session = self.link.next_session();
        let mut request = Request::new(CallPackets { link: Arc::clone(&self.link), session });
        let metadata = request.metadata_mut();
        for (name, value) in [
            (wire::CLUSTER_ID, cluster.to_string()),
            (wire::SOURCE_ID, self.registry.node().to_string()),
            (wire::TARGET_ID, self.target.id.to_string()),
        ] {
            metadata.insert(name, MetadataValue::try_from(value)?);
        }
        let answers = LinkServiceClient::new(channel).link(request).await.map_err(Box::new)?.into_inner();
        self.link.opened();
        tracing::debug!(peer = %self.target.name, "link open");
        Ok(answers)
    }

    /// Reads the answers until the link breaks; says why it did.
    async fn attend(&self, mut answers: Streaming<LinkResponse>) -> &'static str {
        let mut ticks = tokio::time::interval(limits::LINK_BEAT / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                packet = answers.message() => match packet {
                    Ok(Some(packet)) => match self.link.received(packet) {
                        Ok(received) => {
                            self.shared.metrics.late.increment(received.late);
                            self.shared.metrics.picked.increment(received.picked);
                        }
                        Err(broken) => return broken,
                    },
                    Ok(None) => return "the peer closed it",
                    Err(_status) => return "the transport failed",
                },
                due = ticks.tick() => {
                    if !self.link.tick(wire::beat(&self.shared), due.elapsed()) {
                        return "nothing was heard";
                    }
                }
            }
        }
    }
}

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("this node belongs to no cluster yet")]
    NoCluster,
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    #[error(transparent)]
    Metadata(#[from] tonic::metadata::errors::InvalidMetadataValue),
    #[error("{}", .0.message())]
    Refused(#[from] Box<tonic::Status>),
}
