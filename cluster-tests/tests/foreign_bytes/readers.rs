//! What reads bytes from outside, as functions of bytes alone. Each says whether it takes what it gets; none may panic. The targets of
//! `cluster-tests/fuzz` are these functions, too.

use std::path::Path;

use bytes::Bytes;
use prost::Message;
use rollcall_node::{
    access,
    config::{Environment, Layers, Settings},
};
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
pub(crate) fn log_entry(bytes: &[u8]) -> bool {
    decode_entry(Bytes::copy_from_slice(bytes)).is_ok()
}

/// A command of the log, and what it does to a state.
pub(crate) fn command(bytes: &[u8]) -> bool {
    let Ok(command) = storage::Command::decode(bytes) else { return false };
    let Ok(command) = command_from_proto(command) else { return false };
    let Ok(mut state) = State::restore(&mut from_hex(SNAPSHOT).as_slice()) else { return false };
    let next = LogIndex(state.applied_index().0 + 1);
    let _ = state.apply(next, &command);
    true
}

/// A snapshot's body.
pub(crate) fn snapshot(mut bytes: &[u8]) -> bool {
    State::restore(&mut bytes).is_ok()
}

/// The manifest of a backup.
pub(crate) fn manifest(bytes: &[u8]) -> bool {
    Manifest::decode(bytes).is_ok()
}

/// What a device says, and what its node says to it.
pub(crate) fn device_frames(bytes: &[u8]) -> bool {
    is_any(&[reads::<device::AttachRequest>, reads::<device::AttachResponse>], bytes)
}

/// What nodes say to each other.
pub(crate) fn peer_frames(bytes: &[u8]) -> bool {
    let messages = [
        reads::<peer::LinkRequest>,
        reads::<peer::LinkResponse>,
        reads::<peer::AppendRequest>,
        reads::<peer::AppendResponse>,
        reads::<peer::VoteRequest>,
        reads::<peer::InstallSnapshotRequest>,
        reads::<peer::TransferLeaderRequest>,
        reads::<peer::ProposeRequest>,
        reads::<peer::JoinRequest>,
        reads::<peer::BeatRequest>,
    ];
    is_any(&messages, bytes)
}

/// What services ask.
pub(crate) fn api_requests(bytes: &[u8]) -> bool {
    let messages = [
        reads::<api::InvokeRequest>,
        reads::<api::InvokeStreamRequest>,
        reads::<api::BroadcastRequest>,
        reads::<api::GetDeviceRequest>,
        reads::<api::CreateDeviceRequest>,
        reads::<api::ListDevicesRequest>,
        reads::<api::WatchDevicesRequest>,
        reads::<api::SetGroupPolicyRequest>,
        reads::<api::SetAccessRulesRequest>,
    ];
    is_any(&messages, bytes)
}

fn reads<M: Message + Default>(bytes: &[u8]) -> bool {
    M::decode(bytes).is_ok()
}

/// Whether one of them takes the bytes; all are asked.
fn is_any(messages: &[fn(&[u8]) -> bool], bytes: &[u8]) -> bool {
    messages.iter().filter(|reads| reads(bytes)).count() > 0
}

/// A configuration file, and what its values mean.
pub(crate) fn configuration(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let environment = Environment { hostname: "n1".to_owned(), ..Environment::default() };
    let Ok(layers) = Layers::of_file(Path::new("rollcall.toml"), text, &environment) else { return false };
    Settings::from_layers(&layers).is_ok()
}

/// A file of who may do what; behind a zero byte, the key set of its issuers.
pub(crate) fn access_rules(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    access::check(&bytes[..end], bytes.get(end + 1..).unwrap_or_default()).is_ok()
}
