//! Snapshots on the wire: a head, then the body in parts; the checksum at the end decides.

use std::io::{self, Read, Write};

use futures::{Stream, stream};
use openraft::Snapshot as RaftSnapshot;
use prost::bytes::Bytes;
use rollcall_proto::{peer, peer::install_snapshot_request::Part, storage};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{
    entry_codec::EntryCodecError,
    snapshot::{self, SnapshotData},
    type_config::{Snapshot, Vote},
    wire,
};
use crate::{
    blocking,
    limits::{SNAPSHOT_PART_BYTES, SNAPSHOT_PROGRESS},
    storage::{SnapshotFile, SnapshotStore, SnapshotWriter, StorageError, snapshot_store::SnapshotReader},
};

/// How many parts are read ahead of the network.
const PARTS_AHEAD: usize = 4;

/// The parts of a snapshot, read from its file as they are sent.
///
/// A file that turns out damaged ends the stream early; the receiver then refuses it for its length.
pub(super) async fn parts(
    vote: &Vote,
    snapshot: &Snapshot,
) -> Result<impl Stream<Item = peer::InstallSnapshotRequest> + Send + 'static, StorageError> {
    let file = match &snapshot.snapshot {
        SnapshotData::Stored(file) => file.clone(),
        SnapshotData::Received(_) => return Err(StorageError::Closed),
    };
    let header = snapshot::header(&snapshot.meta);
    let vote = wire::vote_to_proto(vote);
    let (sender, receiver) = mpsc::channel(PARTS_AHEAD);
    let (checksum, bytes) = (file.checksum(), file.body_bytes());
    let head = peer::SnapshotHead { vote: Some(vote), header: Some(header), bytes, crc32c: checksum };
    blocking::spawn(move || read_parts(&file, &sender));
    let first = stream::iter([part(Part::Head(head))]);
    let rest = tokio_stream::wrappers::ReceiverStream::new(receiver);
    Ok(futures::StreamExt::chain(first, futures::StreamExt::map(rest, |data| part(Part::Data(data)))))
}

fn part(part: Part) -> peer::InstallSnapshotRequest {
    peer::InstallSnapshotRequest { part: Some(part) }
}

fn read_parts(file: &SnapshotFile, parts: &mpsc::Sender<Bytes>) {
    let sent = file.open().map_err(io::Error::other).and_then(|mut reader| send_parts(&mut reader, parts));
    if let Err(error) = sent {
        tracing::error!(path = %file.path().display(), %error, "a snapshot cannot be read");
    }
}

fn send_parts(reader: &mut SnapshotReader, parts: &mpsc::Sender<Bytes>) -> io::Result<()> {
    loop {
        let mut data = Vec::with_capacity(SNAPSHOT_PART_BYTES);
        let length = reader.by_ref().take(SNAPSHOT_PART_BYTES as u64).read_to_end(&mut data)?;
        if length == 0 || !handed_on(parts, data.into()) {
            return Ok(());
        }
    }
}

/// Whether the network still wants it; waits for its turn.
fn handed_on(parts: &mpsc::Sender<Bytes>, data: Bytes) -> bool {
    // In a simulated node nobody can take it meanwhile: what is simulated fits into the parts read ahead.
    #[cfg(feature = "simulation")]
    if crate::simulation::is_on() {
        return parts.try_send(data).is_ok();
    }
    parts.blocking_send(data).is_ok()
}

/// Receives a snapshot into a file that is not yet the node's own: installing it makes it so. What is refused, or breaks off,
/// leaves nothing.
#[allow(clippy::result_large_err)]
pub(super) async fn receive(
    mut parts: Streaming<peer::InstallSnapshotRequest>,
    store: &SnapshotStore,
) -> Result<(Vote, Snapshot), Status> {
    let first = next_part(&mut parts).await?;
    let Some(Part::Head(head)) = first else {
        return Err(Status::invalid_argument("a snapshot begins with its head"));
    };
    let vote = wire::vote_from_proto(head.vote).map_err(malformed)?;
    let header: storage::SnapshotHeader =
        head.header.ok_or_else(|| malformed(EntryCodecError::Missing("header")))?;
    if header.format != snapshot::FORMAT {
        return Err(Status::failed_precondition(format!(
            "the snapshot has format {}, this node reads {}: upgrade this node first",
            header.format,
            snapshot::FORMAT
        )));
    }
    let meta = snapshot::meta(header).map_err(malformed)?;
    let mut writer = store.begin().map_err(failed)?;
    let mut checksum = 0;
    while let Some(part) = next_part(&mut parts).await? {
        let Part::Data(data) = part else {
            return Err(Status::invalid_argument("after its head a snapshot has only data"));
        };
        if writer.body_bytes() + data.len() as u64 > head.bytes {
            return Err(Status::data_loss("the snapshot is longer than its head says"));
        }
        checksum = crc32c::crc32c_append(checksum, &data);
        writer = write(writer, data).await?;
    }
    if (writer.body_bytes(), checksum) != (head.bytes, head.crc32c) {
        return Err(Status::data_loss("the snapshot's length or checksum is wrong"));
    }
    Ok((vote, RaftSnapshot { meta, snapshot: SnapshotData::Received(writer) }))
}

/// The next part; a sender that is silent for too long is given up, with what it has sent.
#[allow(clippy::result_large_err)]
async fn next_part(parts: &mut Streaming<peer::InstallSnapshotRequest>) -> Result<Option<Part>, Status> {
    let next = tokio::time::timeout(SNAPSHOT_PROGRESS, parts.message()).await;
    let next = next.map_err(|_| Status::deadline_exceeded("no part of the snapshot came in time"))??;
    Ok(match next {
        Some(message) => Some(message.part.ok_or_else(|| malformed(EntryCodecError::Missing("part")))?),
        None => None,
    })
}

#[allow(clippy::result_large_err)]
async fn write(mut writer: SnapshotWriter, data: Bytes) -> Result<SnapshotWriter, Status> {
    let written = blocking::spawn(move || writer.write_all(&data).map(|()| writer)).await;
    written.map_err(failed)?.map_err(failed)
}

fn malformed(error: EntryCodecError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn failed(error: impl std::fmt::Display) -> Status {
    Status::internal(format!("the snapshot cannot be stored: {error}"))
}
