//! The yardstick: a tonic server that answers calls itself, with nothing behind it.
//!
//! It speaks the same protocol with the fields that an echo needs, with the same threads and windows as a node.

use std::time::Duration;

use bytes::Bytes;
use rollcall_proto::api::{
    BroadcastRequest, InvokeRequest, InvokeResponse, InvokeStreamRequest,
    invoke_service_server::{InvokeService, InvokeServiceServer},
};
use tokio::net::TcpListener;
use tokio_stream::Empty;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

use crate::{
    children::{Helper, commands, say},
    limits,
};

/// The action that asks for a large reply.
pub(crate) const LARGE: &str = "large";

/// Starts a raw echo in a process of its own; gives its URL.
///
/// # Errors
/// It does not start.
pub(crate) async fn start() -> anyhow::Result<(Helper, String)> {
    let mut helper = Helper::start(&["echo-server"])?;
    let url = helper.hear().await?;
    Ok((helper, url))
}

/// The child: serves until the parent is gone.
///
/// # Errors
/// The port, the transport.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(format!("http://{}", listener.local_addr()?));
    let echo = InvokeServiceServer::new(Echo { large: Bytes::from(vec![b'x'; limits::LARGE_BYTES]) })
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .max_encoding_message_size(limits::MESSAGE_BYTES);
    let incoming =
        TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(Duration::from_secs(20)));
    let server = Server::builder()
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .add_service(echo);
    let parent_gone = async {
        let mut commands = commands();
        while let Ok(Some(_)) = commands.next_line().await {}
    };
    // Not a graceful stop: streams of a parent that is gone never end.
    tokio::select! {
        served = server.serve_with_incoming(incoming) => Ok(served?),
        () = parent_gone => Ok(()),
    }
}

struct Echo {
    large: Bytes,
}

#[tonic::async_trait]
impl InvokeService for Echo {
    async fn invoke(&self, request: Request<InvokeRequest>) -> Result<Response<InvokeResponse>, Status> {
        let request = request.into_inner();
        let payload = if request.action == LARGE { self.large.clone() } else { request.payload };
        Ok(Response::new(InvokeResponse { payload, ..Default::default() }))
    }

    type InvokeStreamStream = Empty<Result<rollcall_proto::api::InvokeStreamResponse, Status>>;

    async fn invoke_stream(
        &self,
        _: Request<Streaming<InvokeStreamRequest>>,
    ) -> Result<Response<Self::InvokeStreamStream>, Status> {
        Err(Status::unimplemented("the yardstick is unary"))
    }
    type BroadcastStream = Empty<Result<rollcall_proto::api::BroadcastResponse, Status>>;

    async fn broadcast(
        &self,
        _: Request<BroadcastRequest>,
    ) -> Result<Response<Self::BroadcastStream>, Status> {
        Err(Status::unimplemented("the yardstick is unary"))
    }
}
