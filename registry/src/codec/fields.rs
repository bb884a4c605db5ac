//! Fields that several messages share: ids of fixed length, addresses.

use bytes::Bytes;
use rollcall_proto::storage as proto;

use super::CodecError;
use crate::model::{
    command::{Addresses, LogFloor},
    ids::{ClusterId, LogIndex, StorageId},
};

pub(crate) fn cluster_id_from_proto(bytes: &[u8]) -> Result<ClusterId, CodecError> {
    ClusterId::from_bytes(bytes)
        .ok_or(CodecError::BadLength { field: "the cluster's id", length: bytes.len() })
}

pub(crate) fn storage_id_from_proto(bytes: &[u8]) -> Result<StorageId, CodecError> {
    StorageId::from_bytes(bytes)
        .ok_or(CodecError::BadLength { field: "the data folder's id", length: bytes.len() })
}

pub(crate) fn token_key_from_proto(bytes: &[u8]) -> Result<[u8; 32], CodecError> {
    bytes.try_into().map_err(|_| CodecError::BadLength { field: "the token key", length: bytes.len() })
}

pub(crate) fn bytes_to_proto(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

pub(crate) fn addresses_to_proto(addresses: &Addresses) -> proto::Addresses {
    proto::Addresses {
        peer: addresses.peer.clone(),
        api: addresses.api.clone(),
        device: addresses.device.clone(),
        http: addresses.http.clone(),
    }
}

/// Absent addresses are empty ones.
pub(crate) fn addresses_from_proto(addresses: Option<proto::Addresses>) -> Addresses {
    let proto::Addresses { peer, api, device, http } = addresses.unwrap_or_default();
    Addresses { peer, api, device, http }
}

pub(crate) fn log_floor_to_proto(floor: LogFloor) -> proto::LogFloor {
    proto::LogFloor { term: floor.term, index: floor.index.0 }
}

pub(crate) fn log_floor_from_proto(floor: proto::LogFloor) -> LogFloor {
    LogFloor { term: floor.term, index: LogIndex(floor.index) }
}
