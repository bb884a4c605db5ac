//! Bytes that are right: where the mutations begin.

use bytes::Bytes;
use prost::Message;
use rollcall_proto::{api, device, peer};

use crate::readers::from_hex;

/// Logs, line by line a command.
const LOGS: [&str; 3] = [
    include_str!("../../../registry/tests/fixtures/log_with_records.hex"),
    include_str!("../../../registry/tests/fixtures/log_without_records.hex"),
    include_str!("../../../registry/tests/fixtures/packed_batch.hex"),
];
const SNAPSHOTS: [&str; 2] = [
    include_str!("../../../registry/tests/fixtures/snapshot_with_records.hex"),
    include_str!("../../../registry/tests/fixtures/snapshot_without_records.hex"),
];

pub(crate) fn commands() -> Vec<Vec<u8>> {
    LOGS.iter().flat_map(|log| log.lines()).map(from_hex).collect()
}

pub(crate) fn snapshots() -> Vec<Vec<u8>> {
    SNAPSHOTS.iter().map(|snapshot| from_hex(snapshot)).collect()
}

fn profile() -> device::Profile {
    device::Profile {
        groups: vec!["strangers".into()],
        actions: vec!["echo".into()],
        labels: [("site".into(), "north".into())].into(),
        capacity: 3,
    }
}

/// What a device says first of all, and what it may say then, on slot 1.
pub(crate) fn device_frames() -> Vec<Vec<u8>> {
    use device::attach_request::Frame;
    let hello = device::Hello { protocol_min: 1, protocol_max: 1, agent: "stranger".into(), credit: true };
    let attach = device::Attach {
        device_id: "stranger".into(),
        instance: 7,
        attach_number: 1,
        profile: Some(profile()),
        newest_epoch: 3,
        resume_token: Bytes::from_static(&[5; 32]),
        running: vec![Bytes::from_static(&[1; 24])],
        lists_all: true,
        ..Default::default()
    };
    let result = device::Result {
        tag: 1,
        token: Bytes::from_static(&[1; 24]),
        epoch: 3,
        payload: Bytes::from_static(b"payload"),
        payload_bytes: 90,
        ..Default::default()
    };
    let chunk = device::Chunk { tag: 1, data: Bytes::from_static(b"more"), last: false };
    let frames = [
        (0, Frame::Hello(hello)),
        (1, Frame::Attach(attach)),
        (1, Frame::Update(device::Update { update_number: 1, profile: Some(profile()) })),
        (1, Frame::Result(Box::new(result))),
        (1, Frame::Chunk(chunk)),
        (1, Frame::Credit(device::Credit { tag: 0, bytes: 100, messages: 1 })),
        (1, Frame::Cancelled(device::Cancelled { tag: 1, executed: true, ..Default::default() })),
        (1, Frame::Refused(device::Refused { tag: 1, reason: 1, message: "no".into() })),
        (0, Frame::Pong(device::Pong { number: 1 })),
        (1, Frame::Detach(device::Detach { reason: "goodbye".into() })),
    ];
    frames
        .into_iter()
        .map(|(slot, frame)| device::AttachRequest { slot, frame: Some(frame) }.encode_to_vec())
        .collect()
}

/// What the caller's node says to a holder.
pub(crate) fn link_packets() -> Vec<Vec<u8>> {
    use peer::call_frame::Kind;
    let call = peer::ForwardCall {
        token: Some(peer::CallToken { origin: 2, incarnation: 3, call: 4 }),
        namespace: "default".into(),
        group: "bystanders".into(),
        action: "echo".into(),
        device_id: "bystander".into(),
        epoch: 4_097,
        route_index: 1,
        remaining: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        payload: Bytes::from_static(b"payload"),
        payload_bytes: 100,
        idempotent: true,
        request_id: "foreign".into(),
        ..Default::default()
    };
    let chunk = peer::LinkChunk { data: Bytes::from_static(b"more"), last: true };
    let kinds = [
        Kind::Call(Box::new(call)),
        Kind::Chunk(chunk),
        Kind::Cancel(peer::CancelForward { deadline: true, answered: false }),
        Kind::Beat(peer::LinkBeat { number: 1, ..Default::default() }),
        Kind::CreditBytes(1_000),
    ];
    kinds
        .into_iter()
        .map(|kind| {
            let frame = peer::CallFrame { call_id: 1, kind: Some(kind) };
            peer::LinkRequest { frames: vec![frame], made_at_ms: 1 }.encode_to_vec()
        })
        .collect()
}

/// What services ask.
pub(crate) fn api_requests() -> Vec<Vec<u8>> {
    let invoke = api::InvokeRequest {
        group: "strangers".into(),
        action: "echo".into(),
        device_id: "stranger".into(),
        payload: Bytes::from_static(b"payload"),
        timeout: Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 }),
        labels: [("site".into(), "north".into())].into(),
        request_id: "foreign".into(),
        idempotent: true,
        ..Default::default()
    };
    let get = api::GetDeviceRequest { device_id: "bystander".into(), ..Default::default() };
    vec![invoke.encode_to_vec(), get.encode_to_vec()]
}
