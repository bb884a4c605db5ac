//! What reads bytes from outside, as functions of bytes alone. Each may refuse what it gets; none may panic. The targets of
//! `cluster-tests/fuzz` are these functions, too.

use bytes::Bytes;
use prost::Message;
use rollcall_proto::{api, device, peer, storage};
use rollcall_registry::{
    backup::Manifest,
    codec::command_from_proto,
    model::{ids::LogIndex, state::State},
    raft::entry_codec::decode_entry,
};

/// A state that commands are applied to: nodes, devices, sessions, records.
const SNAPSHOT: &str = include_str!("../../../registry/tests/fixtures/snapshot_with_records.hex");

/// The bytes that a fixture's line stands for.
pub(crate) fn from_hex(line: &str) -> Vec<u8> {
    let digits = line.trim().as_bytes();
    let digit = |at: usize| char::from(digits[at]).to_digit(16).unwrap_or_default() as u8;
    (0..digits.len() / 2).map(|at| digit(2 * at) << 4 | digit(2 * at + 1)).collect()
}

/// An entry of the log, with its framing.
pub(crate) fn log_entry(bytes: &[u8]) {
    let _ = decode_entry(Bytes::copy_from_slice(bytes));
}

/// A command of the log, and what it does to a state.
pub(crate) fn command(bytes: &[u8]) {
    let Ok(command) = storage::Command::decode(bytes) else { return };
    let Ok(command) = command_from_proto(command) else { return };
    let Ok(mut state) = State::restore(&mut from_hex(SNAPSHOT).as_slice()) else { return };
    let next = LogIndex(state.applied_index().0 + 1);
    let _ = state.apply(next, &command);
}

/// A snapshot's body.
pub(crate) fn snapshot(mut bytes: &[u8]) {
    let _ = State::restore(&mut bytes);
}

/// The manifest of a backup.
pub(crate) fn manifest(bytes: &[u8]) {
    let _ = Manifest::decode(bytes);
}

/// What a device says, and what its node says to it.
pub(crate) fn device_frames(bytes: &[u8]) {
    let _ = device::AttachRequest::decode(bytes);
    let _ = device::AttachResponse::decode(bytes);
}

/// What nodes say to each other.
pub(crate) fn peer_frames(bytes: &[u8]) {
    let _ = peer::LinkRequest::decode(bytes);
    let _ = peer::LinkResponse::decode(bytes);
    let _ = peer::AppendRequest::decode(bytes);
    let _ = peer::ProposeRequest::decode(bytes);
}

/// What services ask.
pub(crate) fn api_requests(bytes: &[u8]) {
    let _ = api::InvokeRequest::decode(bytes);
    let _ = api::InvokeStreamRequest::decode(bytes);
    let _ = api::BroadcastRequest::decode(bytes);
}
