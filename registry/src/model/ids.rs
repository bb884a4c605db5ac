//! The names of things: newtypes for ids, epochs, indexes and keys. No behaviour beyond order and display.

use std::fmt;

use compact_str::CompactString;

use crate::limits::EPOCH_POSITION_BITS;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A node's id: allocated by the cluster, never reused, never 0.
    NodeId
}
number! {
    /// One life of a node: the log index of its `NodeUp`. 0: it never came up.
    Incarnation
}
number! {
    /// Orders the sessions of a device; unique in the cluster and always rising. 0: no session yet.
    ///
    /// Made from the log index of the entry that opened the session and the position in its batch, over the cluster's
    /// epoch base; compares only within one cluster id.
    Epoch
}
number! {
    /// A position in the replicated log. 0: before the first entry.
    LogIndex
}
number! {
    /// One process of a device's agent: random, never 0.
    InstanceId
}
number! {
    /// The device's own order of its attaches within one instance.
    AttachNumber
}
number! {
    /// The order of a node's batches within one incarnation; the first is 1.
    BatchNumber
}
number! {
    /// How often a node's process was started on its data folder.
    BootCounter
}
number! {
    /// A wall clock, in milliseconds since 1970, as the proposer of an entry had it; for expiry and display alone. 0: not
    /// said.
    UnixMillis
}
number! {
    /// Changes with each change of a device's record by an administrator: random, never 0. 0 stands for a record that its
    /// device made by itself.
    Etag
}
number! {
    /// How often a node registered within one start of its process; the first is 1.
    Registration
}

impl Epoch {
    /// The epoch of the session that the change at `position` of the batch in entry `index` opens.
    ///
    /// Rises with (index, position) as long as a batch has at most 2^[`EPOCH_POSITION_BITS`] changes.
    pub fn new(base: u64, index: LogIndex, position: u32) -> Self {
        Self(base.saturating_add((index.0 << EPOCH_POSITION_BITS) | u64::from(position)))
    }
}

macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// The 16 bytes that stand for it on the wire and on disk.
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// The reverse of [`Self::to_bytes`]; `None` unless there are exactly 16 bytes.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(|bytes| Self(u128::from_be_bytes(bytes)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }
    };
}

opaque! {
    /// A cluster: random, made at its founding. Epochs, indexes and tokens compare only within one.
    ClusterId
}
opaque! {
    /// A data folder: random, made with it. Another one under the same node name means that the disk was lost.
    StorageId
}

/// The namespace of requests that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A device: its namespace and its id in there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceKey {
    /// The namespace.
    pub namespace: CompactString,
    /// The id, unique in the namespace.
    pub device: CompactString,
}

impl DeviceKey {
    /// The device of this namespace (empty: [`DEFAULT_NAMESPACE`]) and id.
    pub fn new(namespace: &str, device: &str) -> Self {
        Self { namespace: namespace_or_default(namespace).into(), device: device.into() }
    }
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.device)
    }
}

/// A group: its namespace and its name in there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// The namespace.
    pub namespace: CompactString,
    /// The name, unique in the namespace.
    pub group: CompactString,
}

impl GroupKey {
    /// The group of this namespace (empty: [`DEFAULT_NAMESPACE`]) and name.
    pub fn new(namespace: &str, group: &str) -> Self {
        Self { namespace: namespace_or_default(namespace).into(), group: group.into() }
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.group)
    }
}

/// The namespace that a request means: [`DEFAULT_NAMESPACE`] for one that names none.
pub fn namespace_or_default(namespace: &str) -> &str {
    if namespace.is_empty() { DEFAULT_NAMESPACE } else { namespace }
}
