//! Opens a connection and reads it: everything that comes is passed to the worker.

use futures::FutureExt;
use rollcall_proto::device::{
    AttachRequest, AttachResponse, CloseCode, Credentials, Hello, attach_request::Frame,
    device_service_client::DeviceServiceClient,
};
use rollcall_transport::Access;
use tokio::sync::mpsc;
use tonic::{Code, Request, Status, Streaming, transport::Endpoint};

use super::shell::Event;
use crate::{
    core::{Fault, LinkId},
    limits,
    outbox::Outbox,
};

/// Hello, the first frame of all.
pub(super) fn hello(agent: &str) -> AttachRequest {
    let (protocol_min, protocol_max) = (limits::PROTOCOL_MIN, limits::PROTOCOL_MAX);
    let hello = Hello { protocol_min, protocol_max, agent: agent.to_owned(), credit: true };
    AttachRequest { slot: 0, frame: Some(Frame::Hello(hello)) }
}

/// The token as its file has it now; `None`: there is none.
pub(super) async fn credentials(access: &Access) -> Option<AttachRequest> {
    let value = access.authorization().await?;
    let token = value.to_str().ok()?.strip_prefix("Bearer ")?.to_owned();
    Some(AttachRequest { slot: 0, frame: Some(Frame::Credentials(Credentials { token })) })
}

/// Opens the connection, then reads it to its end. Says `Lost` exactly once, at the end.
pub(super) async fn run(
    link: LinkId,
    server: String,
    access: Access,
    outbox: Outbox,
    events: mpsc::Sender<Event>,
) {
    let fault = match tokio::time::timeout(limits::DIAL_PATIENCE, open(&server, &access, outbox)).await {
        Ok(Ok(frames)) => read(link, frames, &events).await,
        Ok(Err(fault)) => fault,
        Err(_) => Fault::transient(format!("{server} did not answer within {:?}", limits::DIAL_PATIENCE)),
    };
    // The worker is gone only when the agent is.
    let _ = events.send(Event::Lost(link, fault)).await;
}

async fn open(server: &str, access: &Access, outbox: Outbox) -> Result<Streaming<AttachResponse>, Fault> {
    let unreachable =
        |error: tonic::transport::Error| Fault::transient(format!("{server}: {}", root(&error)));
    let channel = Endpoint::from_shared(server.to_owned())
        .map_err(unreachable)?
        .http2_keep_alive_interval(limits::KEEPALIVE_INTERVAL)
        .keep_alive_timeout(limits::KEEPALIVE_PATIENCE)
        .keep_alive_while_idle(true)
        .connect_with_connector(access.connector())
        .await
        .map_err(unreachable)?;
    let mut client = DeviceServiceClient::new(channel).max_decoding_message_size(limits::FRAME_BYTES);
    let mut request = Request::new(outbox);
    if let Some(value) = access.authorization().await.and_then(|value| value.to_str().ok()?.parse().ok()) {
        request.metadata_mut().insert("authorization", value);
    }
    let response = client.attach(request).await.map_err(|status| fault(server, &status))?;
    Ok(response.into_inner())
}

async fn read(link: LinkId, mut frames: Streaming<AttachResponse>, events: &mpsc::Sender<Event>) -> Fault {
    if events.send(Event::Connected(link)).await.is_err() {
        return Fault::transient("the agent is gone");
    }
    loop {
        let mut together = Vec::new();
        let mut next = frames.message().await;
        // What came together goes to the worker together.
        let end = loop {
            match next {
                Ok(Some(frame)) => together.push(frame),
                Ok(None) => break Some(Fault::transient("the node ended the connection")),
                Err(status) => break Some(fault("the connection broke", &status)),
            }
            if together.len() >= limits::INBOX_BATCH {
                break None;
            }
            match frames.message().now_or_never() {
                Some(more) => next = more,
                None => break None,
            }
        };
        if !together.is_empty() && events.send(Event::Frames(link, together)).await.is_err() {
            return Fault::transient("the agent is gone");
        }
        if let Some(fault) = end {
            return fault;
        }
    }
}

/// What a status tells an agent to do.
fn fault(what: &str, status: &Status) -> Fault {
    let code = match status.code() {
        Code::Unauthenticated => CloseCode::Unauthenticated,
        Code::PermissionDenied => CloseCode::Forbidden,
        _ => CloseCode::Unspecified,
    };
    let hint = match status.code() {
        Code::Unimplemented => " (is this a node's device port, 7401?)",
        _ => "",
    };
    Fault { code, message: format!("{what}: {}{hint}", describe(status)) }
}

fn describe(status: &Status) -> String {
    if status.message().is_empty() { format!("{:?}", status.code()) } else { status.message().to_owned() }
}

/// The innermost cause, which says "connection refused" where the outermost says "transport error".
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
