//! Bytes that are right: where the mutations begin.

use bytes::Bytes;
use prost::Message;
use rollcall_proto::{
    api, device, peer,
    storage::{self, entry::Payload},
};

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

fn log_id() -> storage::LogId {
    storage::LogId { term: 3, leader: 1, index: 4 }
}

/// One member, in both of two sets of voters. More would be written in another order each time.
fn membership() -> storage::Membership {
    let voters = || storage::VoterSet { ids: vec![1] };
    let member = storage::Member { name: "n1".into(), ..Default::default() };
    storage::Membership { configs: vec![voters(), voters()], members: [(1, member)].into() }
}

/// What lies in the log: commands, a change of the members, and a leader's blank entry.
pub(crate) fn log_entries() -> Vec<Vec<u8>> {
    let commands = commands().into_iter().filter_map(|bytes| storage::Command::decode(&*bytes).ok());
    let payloads = commands.map(|command| Some(Payload::Command(command)));
    let payloads = payloads.chain([Some(Payload::Membership(membership())), None]);
    payloads.map(|payload| storage::Entry { log_id: Some(log_id()), payload }.encode_to_vec()).collect()
}

pub(crate) fn manifests() -> Vec<Vec<u8>> {
    let manifest = storage::BackupManifest {
        format: 1,
        cluster_id: Bytes::from_static(&[1; 16]),
        last_log_id: Some(log_id()),
        membership: Some(membership()),
        version: "0.1.0".into(),
        saved_by: "n1".into(),
        body_bytes: 100,
        body_sha256: Bytes::from_static(&[2; 32]),
        ..Default::default()
    };
    vec![manifest.encode_to_vec()]
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

/// What leaders say to followers, and followers to leaders.
fn raft_messages() -> Vec<Vec<u8>> {
    let vote = Some(storage::Vote { term: 3, node: 1, ..Default::default() });
    let entries = log_entries().into_iter().take(3).map(Bytes::from).collect();
    let (prev_log_id, leader_commit) = (Some(log_id()), Some(log_id()));
    let snapshot = snapshots().swap_remove(0).into();
    vec![
        peer::AppendRequest { vote, prev_log_id, leader_commit, entries }.encode_to_vec(),
        peer::VoteRequest { vote, last_log_id: Some(log_id()), leadership_transfer: true }.encode_to_vec(),
        peer::InstallSnapshotRequest { part: Some(peer::install_snapshot_request::Part::Data(snapshot)) }
            .encode_to_vec(),
        peer::ProposeRequest { command: None, encoded: commands().swap_remove(0).into() }.encode_to_vec(),
    ]
}

/// What nodes say to each other, over links and for Raft.
pub(crate) fn peer_frames() -> Vec<Vec<u8>> {
    [link_packets(), raft_messages()].concat()
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

/// Configuration files.
pub(crate) fn configurations() -> Vec<Vec<u8>> {
    const PLAIN: &str = r#"
name = "n1"
data_dir = "/var/lib/rollcall"
join = ["n1:7402", "n2:7402", "[::1]:7402"]
bootstrap_expect = 3
api_addr = "127.0.0.1:7400"
heartbeat_interval = "5s"
max_payload = "4MiB"
isolation = "serve_all"
max_feature_level = 1
insecure = true
"#;
    const SECURED: &str = r#"
name = "n2"
log_level = "info,rollcall_registry=debug"
tls_cert = "tls.pem"
tls_key = "tls.key"
peer_cert = "peer.pem"
peer_key = "peer.key"
peer_ca = "ca.pem"
access = "access.toml"
api_trusted_proxies = "10.0.0.0/8,fd00::/8"
max_connection_age = "30m"
connect_rate = 200
"#;
    [PLAIN, SECURED].map(|text| text.as_bytes().to_vec()).into()
}

/// Files of who may do what, the second with a key set of its issuer.
pub(crate) fn access_rules() -> Vec<Vec<u8>> {
    const ROLES: &str = r#"
[[roles]]
name = "operators"
members = ["anyone", "token:harness", "cert:n*", "role:issuer/ops"]
allow = [{ may = ["invoke", "read", "watch", "administer", "attach"], namespaces = ["*"], groups = ["a*"], devices = ["*"] }]

[[tokens]]
name = "harness"
sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"#;
    const ISSUERS: &str = r#"
[[issuers]]
name = "issuer"
issuer = "https://issuer.example"
audience = "rollcall"
keys = "keys.json"
"#;
    const KEYS: &str = r#"{"keys": [
{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
{"kty": "EC", "crv": "P-256", "kid": "2", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
]}"#;
    vec![ROLES.as_bytes().to_vec(), [ISSUERS.as_bytes(), b"\0", KEYS.as_bytes()].concat()]
}
