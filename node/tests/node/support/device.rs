//! A device at the wire: it speaks frames, answers `echo`, fails `fail`, and leaves `hang` unanswered.

use std::time::Duration;

use rollcall_proto::device::{
    Attach, AttachRequest, AttachResponse, Cancelled, Closed, GoAway, HandlerError, Hello, Pong, Profile,
    Result as CallResult, attach_request::Frame as Up, attach_response::Frame as Down,
    device_service_client::DeviceServiceClient,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

/// A device that is attached.
pub struct WireDevice {
    /// The epoch of its session.
    pub epoch: u64,
    /// Actions of the calls that were cancelled.
    pub cancelled: watch::Receiver<u32>,
    /// What ended it, once it has ended.
    pub ended: watch::Receiver<Option<Ending>>,
}

/// How a device's session or stream ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    Closed(Closed),
    GoAway(GoAway),
    Stream,
}

/// Connects and attaches.
pub async fn attach(
    channel: Channel,
    device_id: &str,
    groups: &[&str],
    labels: &[(&str, &str)],
) -> WireDevice {
    let (up, frames) = mpsc::channel(1_024);
    let hello = Hello { protocol_min: 1, protocol_max: 1, agent: "test".into(), ..Default::default() };
    up.send(AttachRequest { slot: 0, frame: Some(Up::Hello(hello)) }).await.expect("room");
    let mut client = DeviceServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let mut down = client.attach(ReceiverStream::new(frames)).await.expect("a stream").into_inner();
    let profile = Profile {
        groups: groups.iter().map(ToString::to_string).collect(),
        labels: labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        actions: ["echo", "fail", "hang"].map(String::from).to_vec(),
        capacity: 1_000,
    };
    let attach = Attach {
        device_id: device_id.into(),
        instance: 42,
        attach_number: 1,
        profile: Some(profile),
        ..Attach::default()
    };
    up.send(AttachRequest { slot: 1, frame: Some(Up::Attach(attach)) }).await.expect("room");
    let epoch = loop {
        match next(&mut down).await.and_then(|frame| frame.frame) {
            Some(Down::Attached(attached)) => break attached.epoch,
            Some(Down::Welcome(_)) => {}
            other => panic!("{device_id} was not attached but got {other:?}"),
        }
    };
    let (cancels, cancelled) = watch::channel(0);
    let (endings, ended) = watch::channel(None);
    tokio::spawn(answer(down, up, cancels, endings));
    WireDevice { epoch, cancelled, ended }
}

async fn next(down: &mut Streaming<AttachResponse>) -> Option<AttachResponse> {
    let frame = tokio::time::timeout(Duration::from_secs(10), down.message()).await;
    frame.expect("a frame in time").expect("a frame")
}

async fn answer(
    mut down: Streaming<AttachResponse>,
    up: mpsc::Sender<AttachRequest>,
    cancels: watch::Sender<u32>,
    endings: watch::Sender<Option<Ending>>,
) {
    while let Ok(Some(response)) = down.message().await {
        let slot = response.slot;
        let reply = |frame| AttachRequest { slot, frame: Some(frame) };
        let frame = match response.frame {
            Some(Down::Ping(ping)) => {
                AttachRequest { slot: 0, frame: Some(Up::Pong(Pong { number: ping.number })) }
            }
            Some(Down::Call(call)) => {
                let mut result = CallResult {
                    tag: call.tag,
                    token: call.token,
                    epoch: call.epoch,
                    content_type: call.content_type,
                    metadata: call.metadata,
                    ..CallResult::default()
                };
                match call.action.as_str() {
                    "echo" => {
                        result.payload_bytes = call.payload.len() as u64;
                        result.payload = call.payload;
                    }
                    "fail" => result.error = Some(HandlerError { message: "it broke".into() }),
                    _ => continue,
                }
                reply(Up::Result(result.into()))
            }
            Some(Down::Cancel(cancel)) => {
                cancels.send_modify(|count| *count += 1);
                reply(Up::Cancelled(Cancelled { tag: cancel.tag, executed: true, ..Default::default() }))
            }
            Some(Down::Closed(closed)) => {
                endings.send_replace(Some(Ending::Closed(closed)));
                continue;
            }
            Some(Down::GoAway(go_away)) => {
                endings.send_if_modified(|ending| {
                    let first = ending.is_none();
                    ending.get_or_insert(Ending::GoAway(go_away));
                    first
                });
                continue;
            }
            _ => continue,
        };
        if up.send(frame).await.is_err() {
            break;
        }
    }
    endings.send_if_modified(|ending| {
        let first = ending.is_none();
        ending.get_or_insert(Ending::Stream);
        first
    });
}
