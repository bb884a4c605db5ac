//! Callers who pipeline: many calls in flight on one `InvokeStream`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rollcall_proto::api::{
    InvokeRequest, InvokeStreamRequest, InvokeStreamResponse, Reason,
    invoke_service_client::InvokeServiceClient, invoke_stream_request::Kind,
    invoke_stream_response::Result as Answer,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use super::unary::connect;
use crate::{limits, limits::WARM_UP};

/// What every call on a stream must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Answered,
    NobodyThere,
}

/// Calls per second over so many streams, each on a connection of its own, with so many in flight altogether.
///
/// # Errors
/// Nobody listens; a call came to something else.
pub(crate) async fn rate(
    url: &str,
    request: &InvokeRequest,
    expected: Expected,
    streams: usize,
    in_flight: usize,
    window: Duration,
) -> anyhow::Result<f64> {
    let done = Arc::new(AtomicU64::new(0));
    let mut running = JoinSet::new();
    for _ in 0..streams {
        let stream = CallStream { calls: Calls::open(url, request).await?, expected };
        running.spawn(stream.run(in_flight / streams, done.clone()));
    }
    let measured = async {
        tokio::time::sleep(WARM_UP).await;
        let (from, begun) = (done.load(Relaxed), Instant::now());
        tokio::time::sleep(window).await;
        (done.load(Relaxed) - from) as f64 / begun.elapsed().as_secs_f64()
    };
    tokio::select! {
        rate = measured => Ok(rate),
        Some(ended) = running.join_next() => match ended? {
            Ok(()) => bail!("a stream ended"),
            Err(error) => Err(error),
        },
    }
}

/// The same call again and again, on a stream of its own.
pub(super) struct Calls {
    requests: mpsc::UnboundedSender<InvokeStreamRequest>,
    /// What comes back, in any order.
    pub(super) answers: Streaming<InvokeStreamResponse>,
    request: InvokeRequest,
}

impl Calls {
    /// Opens a stream, on a connection of its own.
    ///
    /// # Errors
    /// Nobody listens.
    pub(super) async fn open(url: &str, request: &InvokeRequest) -> anyhow::Result<Self> {
        let mut client =
            InvokeServiceClient::new(connect(url).await?).max_decoding_message_size(limits::MESSAGE_BYTES);
        let (requests, frames) = mpsc::unbounded_channel();
        let answers = client.invoke_stream(UnboundedReceiverStream::new(frames)).await?.into_inner();
        Ok(Self { requests, answers, request: request.clone() })
    }

    /// Makes a call.
    ///
    /// # Errors
    /// The stream is over.
    pub(super) fn send(&self, tag: u64) -> anyhow::Result<()> {
        let call = InvokeStreamRequest { tag, kind: Some(Kind::Call(self.request.clone().into())) };
        self.requests.send(call).context("the stream is over")
    }
}

struct CallStream {
    calls: Calls,
    expected: Expected,
}

impl CallStream {
    /// A new call for each answer, until the task is dropped.
    async fn run(mut self, in_flight: usize, done: Arc<AtomicU64>) -> anyhow::Result<()> {
        for tag in 0..in_flight as u64 {
            self.calls.send(tag)?;
        }
        let mut next = in_flight as u64;
        while let Some(answer) = self.calls.answers.message().await? {
            self.check(answer)?;
            done.fetch_add(1, Relaxed);
            self.calls.send(next)?;
            next += 1;
        }
        Ok(())
    }

    fn check(&self, answer: InvokeStreamResponse) -> anyhow::Result<()> {
        match (answer.result, self.expected) {
            (Some(Answer::Response(answer)), Expected::Answered) => {
                let expected = self.calls.request.payload.len();
                ensure!(answer.payload.len() == expected, "an answer of another length");
            }
            (Some(Answer::Failure(failure)), Expected::NobodyThere) => {
                ensure!(failure.reason() == Reason::NoDevice, "{failure:?}");
            }
            (other, _) => bail!("unexpected: {other:?}"),
        }
        Ok(())
    }
}
