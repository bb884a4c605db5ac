//! `rollcall.device.v1.DeviceService`: a device's stream, bridged to the router.

use std::{
    ops::ControlFlow,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use futures::{FutureExt, Stream, StreamExt};
use rollcall_proto::device::{AttachRequest, AttachResponse, device_service_server::DeviceService};
use rollcall_registry::Registrar;
use rollcall_router::{DeviceConnection, Outgoing, Router};
use rollcall_transport::Peer;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

use crate::limits::DEVICE_FRAMES;

/// Serves devices.
#[derive(Clone)]
pub struct DeviceApi<R: Registrar> {
    router: Router<R>,
}

impl<R: Registrar> DeviceApi<R> {
    /// Hands connections to this router.
    pub fn new(router: Router<R>) -> Self {
        Self { router }
    }
}

#[tonic::async_trait]
impl<R: Registrar> DeviceService for DeviceApi<R> {
    type AttachStream = Frames;

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let peer = request.extensions().get::<Peer>();
        let remote_addr = peer.and_then(|peer| peer.address).map(|addr| addr.to_string()).unwrap_or_default();
        let (connection, frames) = self.router.connect(remote_addr);
        let gone = CancellationToken::new();
        tokio::spawn(read(request.into_inner(), connection, gone.clone()));
        Ok(Response::new(Frames { frames, _gone: gone.drop_guard() }))
    }
}

/// How a device's stream ended.
enum End {
    /// The device ended it.
    Finished,
    /// It was lost.
    Broken,
}

/// Reads until the device or the transport ends the stream; always draining, because HTTP/2 ends a connection on which
/// small frames pile up. When the router ends the conversation, its last frames are written before the connection is
/// given up.
async fn read(
    mut requests: Streaming<AttachRequest>,
    mut connection: DeviceConnection,
    gone: CancellationToken,
) {
    let mut frames = Vec::new();
    let mut gone = pin!(gone.cancelled());
    loop {
        let mut next = tokio::select! {
            frame = requests.message() => frame,
            () = connection.over() => return gone.await,
            () = &mut gone => return,
        };
        // What came together is handled together.
        let ended = loop {
            match next {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break Some(End::Finished),
                Err(status) => {
                    tracing::debug!(code = ?status.code(), message = status.message(), "a device's stream broke");
                    break Some(End::Broken);
                }
            }
            let room = frames.len() < DEVICE_FRAMES;
            match room.then(|| requests.message().now_or_never()).flatten() {
                Some(more) => next = more,
                None => break None,
            }
        };
        if let ControlFlow::Break(()) = connection.received(&mut frames).await {
            return gone.await;
        }
        match ended {
            Some(End::Finished) => return connection.finished(),
            Some(End::Broken) => return,
            None => {}
        }
    }
}

/// Frames for the device; dropped by the transport when the stream has ended, which ends the reading too.
pub struct Frames {
    frames: Outgoing,
    _gone: DropGuard,
}

impl Stream for Frames {
    type Item = Result<AttachResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.frames.poll_next_unpin(cx).map(|frame| frame.map(Ok))
    }
}
