//! A node that does what its test says: a `DeviceService` on loopback whose frames are the test's own.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use rollcall_proto::device::{
    self as wire, AttachRequest, AttachResponse, attach_request,
    attach_response::Frame,
    device_service_server::{DeviceService, DeviceServiceServer},
};
use tokio::{net::TcpListener, sync::mpsc, task::AbortHandle};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// How long anything may take before a test says that it did not happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The chunk size that the node asks for.
pub(crate) const CHUNK_BYTES: u32 = 64 * 1024;

/// A listening node.
pub(crate) struct Node {
    pub(crate) url: String,
    pub(crate) name: String,
    connections: mpsc::Receiver<Connection>,
    server: AbortHandle,
}

/// One connection of an agent.
pub(crate) struct Connection {
    frames: Streaming<AttachRequest>,
    sender: mpsc::Sender<Result<AttachResponse, Status>>,
    name: String,
}

struct Service {
    name: String,
    connections: mpsc::Sender<Connection>,
}

#[tonic::async_trait]
impl DeviceService for Service {
    type AttachStream = ReceiverStream<Result<AttachResponse, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (sender, receiver) = mpsc::channel(1_024);
        let connection = Connection { frames: request.into_inner(), sender, name: self.name.clone() };
        self.connections.send(connection).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Node {
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_on(name, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(crate) async fn start_on(name: &str, addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, connections) = mpsc::channel(16);
        let service = DeviceServiceServer::new(Service { name: name.into(), connections: sender });
        let serve =
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(serve).abort_handle();
        Self { url, name: name.into(), connections, server }
    }

    /// The next connection, up to its Welcome.
    pub(crate) async fn welcome(&mut self) -> Connection {
        self.welcome_with(wire::Welcome::default()).await
    }

    /// The next connection, up to a Welcome with settings of the test's own.
    pub(crate) async fn welcome_with(&mut self, welcome: wire::Welcome) -> Connection {
        let mut connection = within("a connection", self.connections.recv()).await.expect("a connection");
        let (_, frame) = connection.next().await;
        let attach_request::Frame::Hello(hello) = frame else { panic!("no Hello but {frame:?}") };
        assert!(hello.protocol_min <= 1 && hello.protocol_max >= 1 && hello.agent.contains("rollcall-agent"));
        let welcome = wire::Welcome {
            protocol: 1,
            node: connection.name.clone(),
            cluster_id: "k".into(),
            chunk_bytes: CHUNK_BYTES,
            ..welcome
        };
        connection.send(0, Frame::Welcome(welcome)).await;
        connection
    }

    /// The next connection, with its one device attached under an epoch.
    pub(crate) async fn attach(&mut self, epoch: u64) -> (Connection, wire::Attach) {
        let mut connection = self.welcome().await;
        let attach = connection.attach(1, epoch).await;
        (connection, attach)
    }
}

impl Connection {
    pub(crate) async fn send(&self, slot: u32, frame: Frame) {
        let frame = AttachResponse { slot, frame: Some(frame) };
        within("room for a frame", self.sender.send(Ok(frame))).await.expect("the agent listens");
    }

    /// The next frame, and its slot.
    pub(crate) async fn next(&mut self) -> (u32, attach_request::Frame) {
        self.try_next().await.expect("a frame, not the end")
    }

    /// The next frame, or nothing if the agent has ended the stream.
    pub(crate) async fn try_next(&mut self) -> Option<(u32, attach_request::Frame)> {
        let frame = within("a frame", self.frames.message()).await.ok().flatten()?;
        Some((frame.slot, frame.frame.expect("a body")))
    }

    /// Expects an Attach on a slot and grants it.
    pub(crate) async fn attach(&mut self, slot: u32, epoch: u64) -> wire::Attach {
        let attach = self.expect_attach(slot).await;
        let attached = wire::Attached {
            cluster_id: "k".into(),
            epoch,
            resume_token: Bytes::from(format!("resume {epoch}")),
            resumed: attach.newest_epoch > 0,
            ..wire::Attached::default()
        };
        self.send(slot, Frame::Attached(attached)).await;
        attach
    }

    pub(crate) async fn expect_attach(&mut self, slot: u32) -> wire::Attach {
        match self.next().await {
            (on, attach_request::Frame::Attach(attach)) if on == slot => attach,
            other => panic!("no Attach on slot {slot} but {other:?}"),
        }
    }

    /// Sends a call on slot 1, its payload in chunks where it is long.
    pub(crate) async fn call(&self, tag: u64, action: &str, payload: Bytes) {
        let call = wire::Call { epoch: u64::MAX, action: action.into(), ..wire::Call::default() };
        self.call_with(1, tag, payload, call).await;
    }

    pub(crate) async fn call_with(&self, slot: u32, tag: u64, mut payload: Bytes, call: wire::Call) {
        let payload_bytes = payload.len() as u64;
        let mut part = || payload.split_to(payload.len().min(CHUNK_BYTES as usize));
        let first = part();
        let token = Bytes::from(format!("token {tag}"));
        self.send(slot, Frame::Call(wire::Call { tag, token, payload: first, payload_bytes, ..call }.into()))
            .await;
        let mut data = part();
        while !data.is_empty() {
            let next = part();
            self.send(slot, Frame::Chunk(wire::Chunk { tag, data, last: next.is_empty() })).await;
            data = next;
        }
    }

    /// The next result, its chunks put together.
    pub(crate) async fn result(&mut self) -> wire::Result {
        let (slot, mut result) = match self.next().await {
            (slot, attach_request::Frame::Result(result)) => (slot, *result),
            other => panic!("no Result but {other:?}"),
        };
        let mut payload = result.payload.to_vec();
        assert!(payload.len() <= CHUNK_BYTES as usize);
        while (payload.len() as u64) < result.payload_bytes {
            match self.next().await {
                (on, attach_request::Frame::Chunk(chunk)) if on == slot && chunk.tag == result.tag => {
                    assert!(chunk.data.len() <= CHUNK_BYTES as usize);
                    payload.extend_from_slice(&chunk.data);
                    assert_eq!(chunk.last, payload.len() as u64 == result.payload_bytes);
                }
                other => panic!("no chunk but {other:?}"),
            }
        }
        result.payload = payload.into();
        result
    }

    pub(crate) async fn refused(&mut self) -> wire::Refused {
        match self.next().await {
            (_, attach_request::Frame::Refused(refused)) => refused,
            other => panic!("no Refused but {other:?}"),
        }
    }

    pub(crate) async fn cancelled(&mut self) -> wire::Cancelled {
        match self.next().await {
            (_, attach_request::Frame::Cancelled(cancelled)) => cancelled,
            other => panic!("no Cancelled but {other:?}"),
        }
    }
}

/// Waits for something, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
