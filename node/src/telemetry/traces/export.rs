//! The way of spans out of the node: a bounded queue, batches, a collector that may be gone.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use rollcall_transport::Connector;
use thiserror::Error;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tonic::transport::Endpoint;

use super::{Recording, TraceSettings, Traces};
use crate::{
    limits::{TRACE_BATCH, TRACE_PATIENCE, TRACE_PAUSE, TRACE_QUEUE},
    telemetry::metric_names::TRACES_DROPPED,
};

/// Why spans cannot be exported.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The endpoint is no URL.
    #[error("otlp_endpoint: `{0}` is no URL")]
    Endpoint(String),
    /// The exporter refused its settings.
    #[error("otlp_endpoint: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Exports what [`Traces`] record, until they are all gone.
#[derive(Debug)]
pub struct Exporting {
    task: JoinHandle<()>,
}

impl Exporting {
    /// Waits a moment for what was recorded to be exported. Drop all [`Traces`] first.
    pub async fn finish(self) {
        let abort = self.task.abort_handle();
        if timeout(TRACE_PATIENCE, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// Begins to record and to export. Must be called within a Tokio runtime; connects when there is something to export.
///
/// # Errors
/// The endpoint is no URL.
pub fn start(settings: &TraceSettings, node: &str) -> Result<(Traces, Exporting), TraceError> {
    let connector = Connector::system();
    let endpoint = Endpoint::from_shared(connector.url(&settings.endpoint))
        .map_err(|_| TraceError::Endpoint(settings.endpoint.clone()))?
        .timeout(TRACE_PATIENCE);
    let channel = endpoint.connect_with_connector_lazy(connector);
    let mut exporter = SpanExporter::builder().with_tonic().with_channel(channel).build()?;
    let of_node = [
        KeyValue::new("service.instance.id", node.to_owned()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    exporter
        .set_resource(&Resource::builder().with_service_name("rollcall").with_attributes(of_node).build());
    let (spans, receiver) = mpsc::channel(TRACE_QUEUE);
    let task = tokio::spawn(export(exporter, receiver));
    Ok((Traces { recording: Some(Recording { sample: settings.sample, spans }) }, Exporting { task }))
}

async fn export(exporter: SpanExporter, mut spans: mpsc::Receiver<SpanData>) {
    let mut quiet_until = Instant::now();
    loop {
        let mut batch = Vec::with_capacity(TRACE_BATCH);
        if spans.recv_many(&mut batch, TRACE_BATCH).await == 0 {
            return;
        }
        let recorded = batch.len() as u64;
        let exported = timeout(TRACE_PATIENCE, exporter.export(batch)).await;
        let error = match exported {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the collector does not answer".to_owned()),
        };
        if let Some(error) = error {
            metrics::counter!(TRACES_DROPPED).increment(recorded);
            // Said now and then: a collector that is gone is gone for every batch.
            if Instant::now() >= quiet_until {
                tracing::warn!(error, spans = recorded, "traces cannot be exported and are dropped");
                quiet_until = Instant::now() + Duration::from_secs(60);
            }
        }
        // More spans go into one batch, and few batches to a collector that is gone.
        if spans.len() < TRACE_BATCH {
            tokio::time::sleep(TRACE_PAUSE).await;
        }
    }
}
