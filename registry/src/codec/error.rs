//! Why bytes are not what they should be.

use thiserror::Error;

use crate::model::feature_level::FeatureLevel;

/// Why a record could not be read. The record is damaged, or a newer version wrote it: the node must stop.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// There is no known kind in the record.
    #[error("{0} of a kind that this version does not know")]
    UnknownKind(&'static str),
    /// A part is absent that is always written.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field of a fixed length has another one.
    #[error("{field} has {length} bytes")]
    BadLength {
        /// Which.
        field: &'static str,
        /// Its length.
        length: usize,
    },
    /// A value that no version writes.
    #[error("{field} cannot be {value}")]
    BadValue {
        /// Which.
        field: &'static str,
        /// The value.
        value: u64,
    },
    /// The records are of a cluster whose level this version does not know: it would drop what they say.
    #[error(
        "the cluster is at feature level {level}, this version knows levels up to {newest}: start a newer one"
    )]
    LevelUnknown {
        /// The cluster's.
        level: FeatureLevel,
        /// The newest that this version knows.
        newest: FeatureLevel,
    },
    /// These are not the bytes of such a message.
    #[error("not a record: {0}")]
    NotProtobuf(#[from] prost::DecodeError),
}
