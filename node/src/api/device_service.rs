//! `rollcall.device.v1.DeviceService`: a device's stream, bridged to the router.

use std::{
    ops::ControlFlow,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use futures::{FutureExt, Stream, StreamExt, future::OptionFuture};
use rollcall_proto::device::{AttachRequest, AttachResponse, device_service_server::DeviceService};
use rollcall_registry::Registrar;
use rollcall_router::{DeviceConnection, Outgoing, Router};
use rollcall_transport::Peer;
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    access::{DeviceDoor, Standing, Verdict},
    limits::{DEVICE_FRAMES, DOOR_ANSWERS},
};

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
        let standing = request.extensions().get::<Standing>().cloned();
        let (connection, frames) = self.router.connect(remote_addr);
        let (entrance, answers) = standing.map(Entrance::new).unzip();
        let gone = CancellationToken::new();
        tokio::spawn(read(request.into_inner(), connection, entrance, gone.clone()));
        Ok(Response::new(Frames { frames, answers, _gone: gone.drop_guard() }))
    }
}

/// How a device's stream ended.
enum End {
    /// The device ended it.
    Finished,
    /// It was lost.
    Broken,
}

/// The door, and how it answers. Where anybody may be any device there is none.
struct Entrance {
    door: DeviceDoor,
    answer: mpsc::Sender<Box<AttachResponse>>,
    /// Until a new token is to be asked for.
    wait: Option<Pin<Box<Sleep>>>,
}

impl Entrance {
    fn new(standing: Standing) -> (Self, mpsc::Receiver<Box<AttachResponse>>) {
        let door = DeviceDoor::new(standing);
        let (answer, answers) = mpsc::channel(DOOR_ANSWERS);
        let wait = door.ask_in().map(|wait| Box::pin(sleep(wait)));
        (Self { door, answer, wait }, answers)
    }

    /// Passes a frame on, if it is to be. Who makes the door answer faster than it reads loses the connection.
    fn take(&mut self, frame: AttachRequest, frames: &mut Vec<AttachRequest>) -> ControlFlow<End> {
        match self.door.judge(&frame) {
            Verdict::Pass => frames.push(frame),
            Verdict::Taken => {}
            Verdict::Refuse(answer) => {
                if self.answer.try_send(answer).is_err() {
                    return ControlFlow::Break(End::Finished);
                }
            }
            Verdict::End => return ControlFlow::Break(End::Finished),
        }
        ControlFlow::Continue(())
    }

    /// Asks the device for a new token, if it needs one.
    fn ask(&mut self) {
        if let Some(question) = self.door.question() {
            // One that does not read its frames is asked again later.
            let _ = self.answer.try_send(Box::new(question));
        }
        self.wait = self.door.ask_in().map(|wait| Box::pin(sleep(wait)));
    }
}

/// Reads until the device or the transport ends the stream; always draining, because HTTP/2 ends a connection on which
/// small frames pile up. When the router ends the conversation, its last frames are written before the connection is
/// given up.
async fn read(
    mut requests: Streaming<AttachRequest>,
    mut connection: DeviceConnection,
    mut entrance: Option<Entrance>,
    gone: CancellationToken,
) {
    let mut frames = Vec::new();
    let mut gone = pin!(gone.cancelled());
    loop {
        let wait = entrance.as_mut().and_then(|entrance| entrance.wait.as_mut());
        let mut next = tokio::select! {
            frame = requests.message() => frame,
            Some(()) = OptionFuture::from(wait) => {
                entrance.as_mut().map(Entrance::ask);
                continue;
            }
            () = connection.over() => return gone.await,
            () = &mut gone => return,
        };
        // What came together is handled together.
        let ended = loop {
            match next {
                Ok(Some(frame)) => match &mut entrance {
                    None => frames.push(frame),
                    Some(entrance) => {
                        if let ControlFlow::Break(end) = entrance.take(frame, &mut frames) {
                            break Some(end);
                        }
                    }
                },
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
    /// Answers of the door, which the router never saw.
    answers: Option<mpsc::Receiver<Box<AttachResponse>>>,
    _gone: DropGuard,
}

impl Stream for Frames {
    type Item = Result<AttachResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(Poll::Ready(Some(answer))) = self.answers.as_mut().map(|answers| answers.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(*answer)));
        }
        self.frames.poll_next_unpin(cx).map(|frame| frame.map(Ok))
    }
}
