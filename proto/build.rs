//! Compiles the protos with protox, so that no `protoc` has to be installed.

use std::{env, fs, path::PathBuf};

use prost::Message;

const PROTOS: &[&str] = &[
    "rollcall/v1/failure.proto",
    "rollcall/v1/invoke.proto",
    "rollcall/v1/registry.proto",
    "rollcall/v1/cluster.proto",
    "rollcall/device/v1/device.proto",
    "rollcall/peer/v1/raft.proto",
    "rollcall/peer/v1/membership.proto",
    "rollcall/peer/v1/link.proto",
    "rollcall/storage/v1/log.proto",
    "rollcall/storage/v1/snapshot.proto",
    "rollcall/storage/v1/backup.proto",
];

/// The package whose services have a codec of their own.
const DEVICES: &str = "rollcall.device.v1";

/// The large variants of frames.
const BOXED: &[&str] = &[
    ".rollcall.v1.InvokeStreamRequest.kind.call",
    ".rollcall.v1.InvokeStreamResponse.result.response",
    ".rollcall.v1.InvokeStreamResponse.result.failure",
    ".rollcall.device.v1.AttachResponse.frame.call",
    ".rollcall.device.v1.AttachRequest.frame.result",
    ".rollcall.peer.v1.CallFrame.kind.call",
    ".rollcall.peer.v1.ReplyFrame.kind.reply",
    ".rollcall.peer.v1.ReplyFrame.kind.failure",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    println!("cargo:rerun-if-changed={}", root.join("rollcall").display());

    let descriptors = protox::compile(PROTOS, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("rollcall.descriptors.bin"), descriptors.encode_to_vec())?;

    let mut devices = descriptors.clone();
    devices.file.retain(|file| file.package() == DEVICES || file.package().starts_with("google."));
    builder().compile_fds(descriptors)?;
    // Once more, over the first: a codec is chosen for all services of a run.
    builder().codec_path("crate::device_codec::DeviceCodec").compile_fds(devices)?;
    Ok(())
}

fn builder() -> tonic_prost_build::Builder {
    // What is in flight by the thousand moves by its pointer, from queue to queue.
    let boxed = BOXED.iter().fold(tonic_prost_build::configure(), |builder, field| builder.boxed(field));
    // The same membership is the same bytes, in whichever log.
    boxed.bytes(".").btree_map(".rollcall.storage.v1.Membership")
}
