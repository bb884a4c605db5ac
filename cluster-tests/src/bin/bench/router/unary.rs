//! Callers of one call at a time, over a few connections.

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use rollcall_proto::api::{
    InvokeRequest, InvokeResponse, Timings, invoke_service_client::InvokeServiceClient,
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use super::{devices::WAIT, raw_echo::LARGE};
use crate::{limits, load::Caller};

/// What a call must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Bytes(usize),
    Refused,
}

/// One who calls and waits.
#[derive(Debug, Clone)]
pub(crate) struct UnaryCaller {
    client: InvokeServiceClient<Channel>,
    request: InvokeRequest,
    expected: Expected,
}

/// A connection to a server, with the settings that all callers share.
///
/// # Errors
/// Nobody listens.
pub(crate) async fn connect(url: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())?
        .tcp_nodelay(true)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES);
    endpoint.connect().await.with_context(|| format!("cannot connect to {url}"))
}

/// An echo of an ordinary payload by a device of a group. The yardstick needs no group.
pub(crate) fn echo(group: &str) -> InvokeRequest {
    let action = if group.is_empty() { "" } else { "echo" };
    InvokeRequest {
        group: group.to_owned(),
        action: action.to_owned(),
        payload: Bytes::from(vec![b'x'; limits::PAYLOAD_BYTES]),
        ..Default::default()
    }
}

/// A call that lasts as long as the longest real ones.
pub(crate) fn wait(group: &str) -> InvokeRequest {
    InvokeRequest { action: WAIT.to_owned(), ..echo(group) }
}

/// A call for a large reply.
pub(crate) fn large(group: &str) -> InvokeRequest {
    InvokeRequest { action: LARGE.to_owned(), payload: Bytes::new(), ..echo(group) }
}

/// An echo of a large payload, there and back: for the yardstick.
pub(crate) fn large_echo() -> InvokeRequest {
    InvokeRequest { payload: Bytes::from(vec![b'x'; limits::LARGE_BYTES]), ..echo("") }
}

impl UnaryCaller {
    /// One caller on this connection.
    pub(crate) fn new(channel: Channel, request: InvokeRequest) -> Self {
        let expected = if request.action == LARGE { limits::LARGE_BYTES } else { request.payload.len() };
        let client = InvokeServiceClient::new(channel)
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES);
        Self { client, request, expected: Expected::Bytes(expected) }
    }

    /// The same, for calls that are refused because nobody is there.
    pub(crate) fn refused(mut self) -> Self {
        self.expected = Expected::Refused;
        self
    }

    /// So many callers over so many connections to a server.
    ///
    /// # Errors
    /// Nobody listens.
    pub(crate) async fn many(
        url: &str,
        request: &InvokeRequest,
        callers: usize,
        connections: usize,
    ) -> anyhow::Result<Vec<Self>> {
        let mut channels = Vec::new();
        for _ in 0..connections {
            channels.push(connect(url).await?);
        }
        let channel = |number: usize| channels[number % connections].clone();
        Ok((0..callers).map(|number| Self::new(channel(number), request.clone())).collect())
    }

    /// One call, and its whole answer.
    ///
    /// # Errors
    /// The call's.
    pub(crate) async fn ask(&mut self) -> Result<InvokeResponse, Status> {
        self.client.invoke(self.request.clone()).await.map(tonic::Response::into_inner)
    }
}

impl Caller for UnaryCaller {
    async fn call(&mut self) -> anyhow::Result<u64> {
        match (self.ask().await, self.expected) {
            (Ok(answer), Expected::Bytes(bytes)) => {
                ensure!(answer.payload.len() == bytes, "an answer of {} bytes", answer.payload.len());
            }
            (Err(status), Expected::Refused) => {
                ensure!(status.code() == Code::FailedPrecondition, "{status}");
            }
            (Ok(_), Expected::Refused) => anyhow::bail!("a call to nobody was answered"),
            (Err(status), Expected::Bytes(_)) => return Err(status.into()),
        }
        Ok(1)
    }
}

/// The part of a call's time that Rollcall added: all but the device's.
pub(crate) fn added(timings: Option<Timings>) -> Option<Duration> {
    let timings = timings?;
    let part = |part: Option<prost_types::Duration>| part.and_then(|part| Duration::try_from(part).ok());
    Some(part(timings.total)?.saturating_sub(part(timings.device)?))
}
