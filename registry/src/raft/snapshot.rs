//! What a snapshot consists of: a header with openraft's part, then the model's records.

use std::{
    io::{self, Read, Write},
    time::Instant,
};

use openraft::alias::SnapshotMetaOf;
use prost::Message;
use rollcall_proto::storage;

use super::{
    entry_codec::{EntryCodecError, membership_from_proto, membership_to_proto},
    type_config::{StoredMembership, TypeConfig},
    wire,
};
use crate::{
    metrics::{SNAPSHOT_WRITE_SECONDS, SNAPSHOTS_INSTALLED},
    model::{ids::LogIndex, state::State},
    storage::{SnapshotFile, SnapshotStore, SnapshotWriter, StoredLogId, snapshot_store::SnapshotReader},
};

/// The format of the records that this version writes.
pub(crate) const FORMAT: u32 = 1;
/// More than any header: a length beyond it is damage.
const HEADER_BYTES: u32 = 16 * 1024 * 1024;

/// A snapshot that openraft hands about.
#[derive(Debug)]
pub enum SnapshotData {
    /// This node's own.
    Stored(SnapshotFile),
    /// Received whole from the leader, not yet installed.
    Received(SnapshotWriter),
}

type Meta = SnapshotMetaOf<TypeConfig>;

/// openraft's part, as it is sent and stored.
pub(super) fn header(meta: &Meta) -> storage::SnapshotHeader {
    let membership = &meta.last_membership;
    storage::SnapshotHeader {
        format: FORMAT,
        last_log_id: meta.last_log_id.as_ref().map(wire::log_id_to_proto),
        membership_log_id: membership.log_id().as_ref().map(wire::log_id_to_proto),
        membership: Some(membership_to_proto(membership.membership())),
        records: 0,
    }
}

/// The reverse of [`header`].
pub(super) fn meta(header: storage::SnapshotHeader) -> Result<Meta, EntryCodecError> {
    let membership = header.membership.map(membership_from_proto).transpose()?.unwrap_or_default();
    Ok(Meta {
        last_log_id: header.last_log_id.map(wire::log_id_from_proto),
        last_membership: StoredMembership::new(
            header.membership_log_id.map(wire::log_id_from_proto),
            membership,
        ),
    })
}

/// The name under which a snapshot is stored.
pub(super) fn stored_at(meta: &Meta) -> StoredLogId {
    let at = meta.last_log_id.as_ref().map(wire::log_id_to_proto).unwrap_or_default();
    StoredLogId { term: at.term, leader: at.leader, index: at.index }
}

/// Writes a snapshot and makes it the newest. Blocks.
pub(super) fn write(
    store: &SnapshotStore,
    meta: &Meta,
    body: impl FnOnce(&mut SnapshotWriter) -> io::Result<()>,
) -> Result<SnapshotFile, io::Error> {
    write_records(store, &header(meta), stored_at(meta), body)
}

/// Writes a snapshot with this header and makes it the newest. Blocks.
pub(crate) fn write_records(
    store: &SnapshotStore,
    header: &storage::SnapshotHeader,
    at: StoredLogId,
    body: impl FnOnce(&mut SnapshotWriter) -> io::Result<()>,
) -> Result<SnapshotFile, io::Error> {
    let begun = Instant::now();
    let mut writer = store.begin()?;
    writer.write_all(&header.encode_length_delimited_to_vec())?;
    body(&mut writer)?;
    let written = writer.commit(at)?;
    metrics::histogram!(SNAPSHOT_WRITE_SECONDS).record(begun.elapsed());
    Ok(written)
}

/// Opens a snapshot: its header, and its records, which are what was written only if they are read to the end without an
/// error. Blocks.
pub(crate) fn open_records(
    file: &SnapshotFile,
) -> Result<(storage::SnapshotHeader, io::BufReader<SnapshotReader>), io::Error> {
    let mut reader = io::BufReader::new(file.open()?);
    let header = read_header(file, &mut reader)?;
    Ok((header, reader))
}

/// Reads openraft's part of a snapshot. Blocks.
pub(super) fn read_meta(file: &SnapshotFile) -> Result<Meta, io::Error> {
    meta(read_header(file, &mut file.open()?)?).map_err(io::Error::other)
}

/// Reads a snapshot. Blocks.
pub(super) fn read(file: &SnapshotFile) -> Result<(Meta, State), io::Error> {
    let (header, mut reader) = open_records(file)?;
    let mut state = State::restore(&mut reader).map_err(io::Error::other)?;
    state.advance(LogIndex(header.last_log_id.as_ref().map_or(0, |at| at.index)));
    // Only the end of the file says whether all of it was what was written.
    io::copy(&mut reader, &mut io::sink())?;
    Ok((meta(header).map_err(io::Error::other)?, state))
}

fn read_header(file: &SnapshotFile, reader: &mut impl Read) -> Result<storage::SnapshotHeader, io::Error> {
    let header = storage::SnapshotHeader::decode(read_delimited(reader)?.as_slice());
    let header = header.map_err(io::Error::other)?;
    if header.format != FORMAT {
        return Err(io::Error::other(format!(
            "{} has format {}, this version reads {FORMAT}: start the version that wrote it",
            file.path().display(),
            header.format
        )));
    }
    Ok(header)
}

/// Makes a snapshot this node's own. Blocks.
pub(super) fn adopt(
    store: &SnapshotStore,
    meta: &Meta,
    data: SnapshotData,
) -> Result<SnapshotFile, io::Error> {
    match data {
        SnapshotData::Received(writer) => {
            let adopted = writer.commit(stored_at(meta))?;
            metrics::counter!(SNAPSHOTS_INSTALLED).increment(1);
            Ok(adopted)
        }
        SnapshotData::Stored(file) if store.newest().is_some_and(|own| own.path() == file.path()) => Ok(file),
        SnapshotData::Stored(file) => {
            let mut writer = store.begin()?;
            io::copy(&mut file.open()?, &mut writer)?;
            Ok(writer.commit(stored_at(meta))?)
        }
    }
}

fn read_delimited(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length: u64 = 0;
    for shift in (0..35).step_by(7) {
        let mut byte = [0];
        reader.read_exact(&mut byte)?;
        length |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    if length > u64::from(HEADER_BYTES) {
        return Err(io::Error::other("the header of a snapshot is too long"));
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}
