//! Sends bytes as gRPC messages, whatever they are.

use std::time::Duration;

use anyhow::Context;
use bytes::{Buf, BufMut, Bytes};
use tokio_stream::StreamExt;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(30);

/// Sends messages as one stream to a method; whatever the node answers, if it does, is let go.
///
/// # Errors
/// The method's name is none.
pub(crate) async fn send(
    channel: Channel,
    method: &'static str,
    metadata: &[(&'static str, String)],
    messages: Vec<Bytes>,
) -> anyhow::Result<()> {
    let mut request = Request::new(tokio_stream::iter(messages).chain(tokio_stream::pending()));
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().context("a metadata value")?);
    }
    let mut client = Grpc::new(channel);
    let talk = async {
        if client.ready().await.is_err() {
            return;
        }
        let path = PathAndQuery::from_static(method);
        let Ok(answers) = client.streaming(request, path, Raw).await else { return };
        let mut answers = answers.into_inner();
        while let Ok(Some(_)) = answers.message().await {}
    };
    // Most streams stay open: the node waits for more.
    let _ = tokio::time::timeout(PATIENCE, talk).await;
    Ok(())
}

/// Messages as they are.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
