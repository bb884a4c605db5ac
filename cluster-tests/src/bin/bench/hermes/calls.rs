//! The callers: open loop, whatever happens to earlier calls.

use std::{sync::Arc, time::Duration};

use rollcall_cluster_tests::{Cluster, refusal};
use rollcall_proto::api::{InvokeRequest, invoke_service_client::InvokeServiceClient};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};
use tonic::transport::Channel;

use super::{
    devices::{BUSINESS, SIGN, group},
    tally::{Kind, Site, Tally},
};
use crate::{
    limits::{BUSINESS_RATE, CALL_LASTS, END_PATIENCE, MESSAGE_BYTES, SIGNATURE_RATE},
    router::unary::connect,
};

/// Runs until it is finished.
pub(super) struct Load {
    sources: Vec<JoinHandle<JoinSet<()>>>,
    stop: tokio_util::sync::CancellationToken,
}

/// How long a signature may take.
const SIGNATURE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a business call may take: it works for 20 s.
const BUSINESS_TIMEOUT: Duration = Duration::from_secs(30);
/// How long after its time a call's answer may be on its way.
const SLACK: Duration = Duration::from_millis(500);

impl Load {
    /// Starts to call, through all nodes by turns.
    ///
    /// # Errors
    /// A node does not listen.
    pub(super) async fn start(cluster: &Cluster, tally: Arc<Tally>) -> anyhow::Result<Self> {
        let mut channels = Vec::new();
        for node in &cluster.nodes {
            channels.push(connect(&node.api_url()).await?);
        }
        let stop = tokio_util::sync::CancellationToken::new();
        let sources = [(Kind::Signature, SIGNATURE_RATE), (Kind::Business, BUSINESS_RATE)];
        let start = |(kind, rate)| {
            tokio::spawn(call_at(rate, kind, channels.clone(), Arc::clone(&tally), stop.clone()))
        };
        Ok(Self { sources: sources.map(start).into(), stop })
    }

    /// Makes no more calls, and waits for those that are in flight.
    pub(super) async fn finish(self) {
        self.stop.cancel();
        for source in self.sources {
            if let Ok(mut calls) = source.await {
                let all = async { while calls.join_next().await.is_some() {} };
                let _ = tokio::time::timeout(END_PATIENCE, all).await;
            }
        }
    }
}

async fn call_at(
    per_second: f64,
    kind: Kind,
    channels: Vec<Channel>,
    tally: Arc<Tally>,
    stop: tokio_util::sync::CancellationToken,
) -> JoinSet<()> {
    let (begun, mut calls) = (Instant::now(), JoinSet::new());
    for number in 0.. {
        tokio::select! {
            () = sleep_until(begun + Duration::from_secs_f64(number as f64 / per_second)) => {}
            () = stop.cancelled() => break,
        }
        while calls.try_join_next().is_some() {}
        // Three of five calls are for the larger site, as are three of five devices.
        let site = if number % 5 < 3 { Site::Well } else { Site::Behind };
        let channel = channels[number % channels.len()].clone();
        calls.spawn(call(channel, kind, site, Arc::clone(&tally)));
    }
    calls
}

async fn call(channel: Channel, kind: Kind, site: Site, tally: Arc<Tally>) {
    let (action, timeout) = match kind {
        Kind::Signature => (SIGN, SIGNATURE_TIMEOUT),
        Kind::Business => (BUSINESS, BUSINESS_TIMEOUT.max(CALL_LASTS)),
    };
    let request = InvokeRequest {
        group: group(site).to_owned(),
        action: action.to_owned(),
        payload: vec![b'x'; crate::limits::PAYLOAD_BYTES].into(),
        timeout: prost_types::Duration::try_from(timeout).ok(),
        ..InvokeRequest::default()
    };
    let mut client = InvokeServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
    let (phase, begun) = (tally.phase(), Instant::now());
    let answer = client.invoke(request).await;
    let took = begun.elapsed();
    if took > timeout + SLACK {
        tally.was_late();
    }
    let failure = answer.is_err().then(|| match refusal(answer) {
        Ok(refused) => format!("{} {}", refused.reason, refused.outcome),
        Err(error) => format!("{error:#}"),
    });
    tally.ended(phase, kind, site, failure, took);
}
